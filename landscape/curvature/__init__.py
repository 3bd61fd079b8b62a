"""Curvature of a loss at given weights, and over a posterior's samples."""

from landscape.curvature.lanczos import Eigenvalues, lanczos
from landscape.curvature.measure import Flatness, measure
from landscape.curvature.network import top_eigenvalues, trace
from landscape.curvature.trace import Trace, hutchinson

__all__ = [
    "Eigenvalues",
    "Flatness",
    "Trace",
    "hutchinson",
    "lanczos",
    "measure",
    "top_eigenvalues",
    "trace",
]
