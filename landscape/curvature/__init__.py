"""Curvature of a loss at given weights, and over a posterior's samples."""

from landscape.curvature.density import (
    Density,
    Quadrature,
    lanczos_quadrature,
    smooth,
    smooth_together,
)
from landscape.curvature.lanczos import Eigenvalues, lanczos
from landscape.curvature.measure import Flatness, measure
from landscape.curvature.network import spectral_density, top_eigenvalues, trace
from landscape.curvature.trace import Trace, hutchinson

__all__ = [
    "Density",
    "Eigenvalues",
    "Flatness",
    "Quadrature",
    "Trace",
    "hutchinson",
    "lanczos",
    "lanczos_quadrature",
    "measure",
    "smooth",
    "smooth_together",
    "spectral_density",
    "top_eigenvalues",
    "trace",
]
