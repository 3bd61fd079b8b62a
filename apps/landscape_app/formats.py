"""Formats of numbers, times and names in tables, figures and messages."""

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
    """The number if it is finite, else None: JSON has no other numbers."""
    return value if value is not None and math.isfinite(value) else None


def percent(value: float | None) -> str:
    """A share as a percentage: ``93.5 %``."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{100 * value:.1f} %"


def spread(mean_over_samples: SampleMean | None) -> str:
    """``12.3 ± 4.5``: mean and standard deviation, or only the mean if there is no deviation."""
    if mean_over_samples is None:
        return ABSENT
    return plus_minus(mean_over_samples.mean, mean_over_samples.deviation)


def plus_minus(value: float, deviation: float) -> str:
    """``12.34 ± 0.45``: the value has the decimals of its deviation, which has two digits."""
    if math.isnan(deviation):
        return number(value)
    size = float(f"{abs(deviation):.1e}")
    if not math.isfinite(value) or not math.isfinite(deviation) or size == 0:
        return f"{number(value)} ± {number(deviation, 2)}"
    last = math.floor(math.log10(size)) - 1  # power of ten of the last digit
    power = math.floor(math.log10(max(abs(value), size)))
    if not -4 < power < 6:
        exponent = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        value, deviation, last = value / 10**power, deviation / 10**power, last - power
        return f"({_to_place(value, last)} ± {_to_place(deviation, last)})×10{exponent}"
    return f"{_to_place(value, last)} ± {_to_place(deviation, last)}"


def percent_plus_minus(share: float, deviation: float) -> str:
    """``93.5 ± 0.4 %``."""
    if not math.isfinite(share) or not math.isfinite(deviation):
        return percent(share)
    return f"{plus_minus(100 * share, 100 * deviation)} %"


def _to_place(value: float, last: int) -> str:
    """A number rounded to the digit at 10^last."""
    text = f"{round(value, -last):,.{max(-last, 0)}f}"
    return "−" + text[1:] if text.startswith("-") else text


def counted(mean_over_samples: SampleMean) -> str:
    """``30 samples``, with the effective number of samples for a Markov chain."""
    samples = count(mean_over_samples.count, "sample")
    if mean_over_samples.effective < mean_over_samples.count:
        return f"{samples} of a Markov chain, worth {number(mean_over_samples.effective, 2)}"
    return samples


def count(amount: int, noun: str) -> str:
    """``1 sample``, ``1,200 samples``."""
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")


def duration(seconds: float | None) -> str:
    """``48 s``, ``4 min 12 s`` or ``2 h 05 min``."""
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"


def moment(text: str) -> str:
    """An ISO 8601 time as ``2026-03-04 12:34 UTC``; other text unchanged."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return text or ABSENT


def timestamp(text: str) -> float | None:
    """An ISO 8601 time in seconds since 1970; None for other text."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def label(attributes: Mapping[str, str | int | float], name: str, absent: str = "") -> str:
    """An attribute as a short text for a figure. An untrusted file may hold a whole page there."""
    return shortened(" ".join(str(attributes.get(name, absent)).split()), _LONGEST_LABEL)


def file_name(text: str) -> str:
    """Text from a file as a file name: without path separators, and not too long."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".")[:120]


def shortened(text: str, most: int) -> str:
    """Text of at most ``most`` characters, cut in the middle: names differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def plain(text: object) -> str:
    """Text from a file, escaped for a figure: Plotly would read ``<b>`` or ``<a>`` as markup."""
    return html.escape(str(text), quote=False)
