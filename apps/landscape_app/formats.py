"""How numbers, times and names are written, the same in tables, figures and messages."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from landscape.store import SampleMean

ABSENT = "–"
_LONGEST_LABEL = 100


def number(value: float | None, digits: int = 3) -> str:
    """A number to ``digits`` significant digits: ``0.0412``, ``1,240``, ``3.1×10⁷``."""
    if value is None:
        return ABSENT
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign = "−" if value < 0 else ""
    magnitude = float(f"{abs(value):.{digits - 1}e}")
    if magnitude == 0:
        return "0"
    power = math.floor(math.log10(magnitude))
    if not -4 < power < 6:
        superscript = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{sign}{magnitude / 10**power:.{digits - 1}f}×10{superscript}"
    return f"{sign}{magnitude:,.{max(digits - 1 - power, 0)}f}"


def finite(value: float | None) -> float | None:
    """A number that JSON has; None for the others."""
    return value if value is not None and math.isfinite(value) else None


def percent(value: float | None) -> str:
    """A share as a percentage: ``93.5 %``."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{100 * value:.1f} %"


def spread(found: SampleMean | None) -> str:
    """``12.3 ± 4.5``, mean and standard deviation; the mean alone where there is no deviation."""
    if found is None:
        return ABSENT
    mean = number(found.mean)
    return mean if math.isnan(found.deviation) else f"{mean} ± {number(found.deviation, 2)}"


def counted(found: SampleMean) -> str:
    """``30 samples``, and what those of a Markov chain are worth."""
    samples = count(found.count, "sample")
    if found.effective < found.count:
        return f"{samples} of a Markov chain, worth {number(found.effective, 2)}"
    return samples


def count(number_of: int, noun: str) -> str:
    """``1 sample``, ``1,200 samples``."""
    return f"{number_of:,} {noun}" + ("" if number_of == 1 else "s")


def duration(seconds: float | None) -> str:
    """``48 s``, ``4 min 12 s`` or ``2 h 05 min``."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(text: str) -> str:
    """An ISO 8601 time as ``2026-03-04 12:34 UTC``; other text as it is."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return text or ABSENT


def label(attributes: Mapping[str, str | int | float], name: str, absent: str = "") -> str:
    """An attribute as a few words in a figure; a file from anybody may hold a whole page there."""
    return shortened(" ".join(str(attributes.get(name, absent)).split()), _LONGEST_LABEL)


def file_name(text: str) -> str:
    """A text from a file as the name of another, that leads nowhere else and is not too long."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".")[:120]


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters, whose middle gives way: runs differ at their ends."""
    if len(text) <= most:
        return text
    kept = (most - 1) // 2
    return f"{text[: most - 1 - kept]}…{text[-kept:]}"


def plain(text: object) -> str:
    """Text from a file for a figure, where Plotly would read ``<b>`` or ``<a>`` as markup."""
    return html.escape(str(text), quote=False)
