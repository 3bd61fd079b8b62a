"""Steps of a low-rank Gaussian in the metric of its Fisher information."""

from landscape.posteriors.fisher.approximate import (
    diagonal_step,
    empirical_step,
    euclidean_step,
    score_step,
)
from landscape.posteriors.fisher.exact import steepest_step
from landscape.posteriors.fisher.kl_ball import within
from landscape.posteriors.fisher.restricted import restricted_step

__all__ = [
    "diagonal_step",
    "empirical_step",
    "euclidean_step",
    "restricted_step",
    "score_step",
    "steepest_step",
    "within",
]
