"""The kinds of distributions over R^P."""

from __future__ import annotations

from collections.abc import Callable

from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.kronecker import Kronecker
from landscape.posteriors.mixture import Mixture
from landscape.posteriors.point import Point
from landscape.posteriors.samples import Samples

Distribution = Point | Gaussian | Samples | Kronecker | Mixture

KINDS: dict[str, Callable[..., Distribution]] = {
    Point.kind: Point,
    Gaussian.kind: Gaussian,
    Samples.kind: Samples,
    Kronecker.kind: Kronecker.from_tensors,
    Mixture.kind: Mixture.from_tensors,
}
"""The function that makes a distribution from its tensors, by kind."""
