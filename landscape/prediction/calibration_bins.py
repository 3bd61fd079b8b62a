"""Confidence against accuracy in bins of equal width: what a reliability diagram shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError

BINS = 15
_NORMAL_QUANTILE = 1.959963984540054  # 97.5 %: intervals of 95 %


@dataclass(frozen=True)
class Calibration:
    """Examples by their confidence; all float64.

    Bin b holds confidences in (b / bins, (b + 1) / bins], so that 1.0 is in the last.

    Attributes:
        counts: Examples in each bin, shape (..., bins).
        confidence: Sum of their confidences, shape (..., bins).
        right: How many of them are right, shape (..., bins).
    """

    counts: Tensor
    confidence: Tensor
    right: Tensor

    @property
    def edges(self) -> Tensor:
        """Ends of the bins, shape (bins + 1,)."""
        return torch.linspace(0, 1, self.counts.shape[-1] + 1, dtype=torch.float64)

    @property
    def mean_confidence(self) -> Tensor:
        """Mean confidence in each bin, shape (..., bins); NaN in an empty one."""
        return self.confidence / self.counts

    @property
    def accuracy(self) -> Tensor:
        """Share of each bin that is right, shape (..., bins); NaN in an empty one."""
        return self.right / self.counts

    @property
    def ece(self) -> Tensor:
        """Expected calibration error (Guo et al., arXiv 1706.04599), shape (...)."""
        return (self.confidence - self.right).abs().sum(-1) / self.counts.sum(-1)

    def accuracy_interval(self) -> tuple[Tensor, Tensor]:
        """Wilson's 95 % interval of each bin's accuracy, each shape (..., bins); NaN if empty."""
        return wilson_interval(self.right, self.counts)


def calibration(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> Calibration:
    """Sort examples into bins by their confidence.

    Args:
        confidence: Largest predicted probability of each example, in [0, 1], shape (..., N).
        right: Whether that class is the label, shape (..., N).
        bins: Number of bins, of equal width.

    Raises:
        InputError: there is no bin.

    Example:
        >>> found = calibration(torch.tensor([0.4, 1.0, 0.9]), torch.tensor([1, 1, 0]), bins=2)
        >>> found.counts.tolist(), found.right.tolist()
        ([1.0, 2.0], [1.0, 1.0])
    """
    if bins < 1:
        raise InputError(f"the number of bins must be at least 1, not {bins}")
    confidence, right = confidence.double(), right.double()
    index = _bin_of(confidence, bins)
    empty = confidence.new_zeros((*confidence.shape[:-1], bins))
    return Calibration(
        counts=empty.scatter_add(-1, index, torch.ones_like(confidence)),
        confidence=empty.scatter_add(-1, index, confidence),
        right=empty.scatter_add(-1, index, right),
    )


def calibration_gaps(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> Tensor:
    """Sum of confidence - right in each bin: ``calibration``'s ECE at a third of the cost.

    Args:
        confidence: Largest predicted probability of each example, in [0, 1], shape (..., N).
        right: Whether that class is the label, shape (..., N).
        bins: Number of bins, of equal width.

    Returns:
        Shape (..., bins). Their absolute values, summed and divided by N, are the ECE.
    """
    confidence = confidence.double()
    gaps = confidence.new_zeros((*confidence.shape[:-1], bins))
    return gaps.scatter_add_(-1, _bin_of(confidence, bins), confidence - right.double())


def _bin_of(confidence: Tensor, bins: int) -> Tensor:
    return (confidence * bins).ceil_().sub_(1).clamp_(0, bins - 1).long()


def wilson_interval(successes: Tensor, trials: Tensor) -> tuple[Tensor, Tensor]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927), within [0, 1].

    Args:
        successes: How many, any shape.
        trials: Of how many, the same shape.

    Returns:
        Its lower and its upper end; NaN where there was no trial.
    """
    trials = trials.double()
    share, z2 = successes.double() / trials, _NORMAL_QUANTILE**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (
        _NORMAL_QUANTILE
        / (1 + z2 / trials)
        * (share * (1 - share) / trials + z2 / (4 * trials**2)).sqrt()
    )
    return (middle - half).clamp(min=0.0), (middle + half).clamp(max=1.0)
