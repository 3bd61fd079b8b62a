"""What every result shares: how well its mean is known, and where it is stored."""

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
