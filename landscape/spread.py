"""A quantity over posterior samples: its mean, its deviation, and how well the mean is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over samples, and the confidence interval of the mean.

    Attributes:
        mean: Of the samples.
        deviation: Standard deviation, n - 1 in the denominator; NaN for one sample.
        count: n.
        low: Lower end of Student's 95 % interval, mean - t deviation / sqrt(n); NaN for one sample.
        high: Its upper end.
    """

    mean: float
    deviation: float
    count: int
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        """The spread of a non-empty vector; values that are not finite show in it."""
        from scipy.special import stdtrit  # its import takes longer than this package's own

        with np.errstate(invalid="ignore", over="ignore"):
            mean = float(values.mean())
            deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        count = len(values)
        half = float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)
        return cls(mean, deviation, count, mean - half, mean + half)

    def __str__(self) -> str:
        if math.isnan(self.deviation):
            return f"{self.mean:.3g}"
        return f"{self.mean:.3g} +- {self.deviation:.2g}"
