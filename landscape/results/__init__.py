"""Means with their errors, and the place of a result in a store: all results have them."""

from landscape.results.sample_mean import (
    ANYTHING,
    MARKOV_CHAINS,
    Range,
    SampleMean,
    effective_count,
    spectrum_means,
)

__all__ = [
    "ANYTHING",
    "MARKOV_CHAINS",
    "Range",
    "SampleMean",
    "effective_count",
    "spectrum_means",
]
