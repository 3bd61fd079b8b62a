"""Reliability diagrams: confidence against accuracy in bins of equal width."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError

BINS = 15
_NORMAL_QUANTILE = 1.959963984540054  # 97.5 %: intervals of 95 %


@dataclass(frozen=True)
class Calibration:
    """Examples in bins by their confidence. All tensors are float64.

    Bin b holds confidences in (b / bins, (b + 1) / bins]. Confidence 1 is in the last bin.

    Attributes:
        counts: Number of examples in each bin, shape (..., bins).
        confidence: Sum of the confidences in each bin, shape (..., bins).
        right: Number of correct predictions in each bin, shape (..., bins).
    """

    counts: Tensor
    confidence: Tensor
    right: Tensor

    @property
    def edges(self) -> Tensor:
        """Edges of the bins, shape (bins + 1,)."""
        return torch.linspace(0, 1, self.counts.shape[-1] + 1, dtype=torch.float64)

    @property
    def mean_confidence(self) -> Tensor:
        """Mean confidence in each bin, shape (..., bins); NaN in an empty bin."""
        return self.confidence / self.counts

    @property
    def accuracy(self) -> Tensor:
        """Fraction of correct predictions in each bin, shape (..., bins); NaN in an empty bin."""
        return self.right / self.counts

    @property
    def ece(self) -> Tensor:
        """Expected calibration error (Guo et al., arXiv 1706.04599), shape (...)."""
        return (self.confidence - self.right).abs().sum(-1) / self.counts.sum(-1)

    def accuracy_interval(self) -> tuple[Tensor, Tensor]:
        """Ends of Wilson's 95 % interval of the accuracy in each bin, shape (..., bins) each.

        Both are NaN in an empty bin.
        """
        return wilson_interval(self.right, self.counts)


def calibration(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> Calibration:
    """Sort examples into bins by their confidence.

    Args:
        confidence: Largest predicted probability of each example, in [0, 1], shape (..., N).
        right: Whether the predicted class is the label, shape (..., N).
        bins: Number of bins of equal width.

    Raises:
        InputError: The number of bins is not positive.

    Examples:
        >>> diagram = calibration(torch.tensor([0.4, 1.0, 0.9]), torch.tensor([1, 1, 0]), bins=2)
        >>> diagram.counts.tolist(), diagram.right.tolist()
        ([1.0, 2.0], [1.0, 1.0])
    """
    if bins < 1:
        raise InputError(f"the number of bins must be at least 1, not {bins}")
    confidence, right = confidence.double(), right.double()
    index = _bin_index(confidence, bins)
    empty = confidence.new_zeros((*confidence.shape[:-1], bins))
    return Calibration(
        counts=empty.scatter_add(-1, index, torch.ones_like(confidence)),
        confidence=empty.scatter_add(-1, index, confidence),
        right=empty.scatter_add(-1, index, right),
    )


def calibration_gaps(confidence: Tensor, right: Tensor, *, bins: int = BINS) -> Tensor:
    """The sum of confidence - right in each bin.

    This gives the ECE at a third of the cost of ``calibration``.

    Args:
        confidence: Largest predicted probability of each example, in [0, 1], shape (..., N).
        right: Whether the predicted class is the label, shape (..., N).
        bins: Number of bins of equal width.

    Returns:
        The sums, shape (..., bins). The sum of their absolute values divided by N is the ECE.
    """
    confidence = confidence.double()
    gaps = confidence.new_zeros((*confidence.shape[:-1], bins))
    return gaps.scatter_add_(-1, _bin_index(confidence, bins), confidence - right.double())


def _bin_index(confidence: Tensor, bins: int) -> Tensor:
    return (confidence * bins).ceil_().sub_(1).clamp_(0, bins - 1).long()


def wilson_interval(successes: Tensor, trials: Tensor) -> tuple[Tensor, Tensor]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927), within [0, 1].

    Args:
        successes: Number of successes, any shape.
        trials: Number of trials, the same shape.

    Returns:
        The lower and the upper end of the interval; NaN for no trials.
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
