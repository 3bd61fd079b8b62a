"""The numbers of a run that figures and the list compare, each with its interval over samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from landscape.store import SampleMean, Summary

LABELS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "nll": "NLL (nat)",
    "ece": "ECE",
    "brier": "Brier score",
    "rmse": "RMSE",
    "train_loss": "training loss (nat)",
    "lambda_1": "λ<sub>1</sub> (nat)",
    "lambda_ratio": "λ<sub>1</sub> / λ<sub>5</sub>",
    "trace": "trace (nat)",
    "samples": "samples",
    "training_seconds": "time of training (s)",
    "seed": "seed",
}
"""Titles of axes, by the name of a quantity. Other quantities are settings and sharpness."""

SHARPNESS = "sharpness."
"""Beginning of the names of measures of sharpness."""


@dataclass(frozen=True)
class Reading:
    """A number of a run.

    Attributes:
        value: The number, or its mean over samples.
        low: Lower end of the 95 % interval of the mean; NaN if there is none.
        high: Upper end of the interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


def readings(summary: Summary) -> dict[str, Reading]:
    """The finite numbers of a run by their names."""
    values: dict[str, float | SampleMean | None] = {
        name: getattr(summary, name) for name in LABELS if hasattr(summary, name)
    }
    values |= {f"{SHARPNESS}{name}": mean for name, mean in summary.sharpness.items()}
    found = {}
    for name, value in values.items():
        reading = (
            Reading(value.mean, value.low, value.high)
            if isinstance(value, SampleMean)
            else Reading(math.nan if value is None else float(value))
        )
        if math.isfinite(reading.value):
            found[name] = reading
    return found


def label(name: str) -> str:
    """The title of an axis of a quantity."""
    if name.startswith("lambda_") and name[7:].isdigit():
        return f"λ<sub>{name[7:]}</sub> (nat)"
    return LABELS.get(name, name.removeprefix(SHARPNESS))
