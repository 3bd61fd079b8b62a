"""Loss surfaces over planes in parameter space."""

from landscape.surfaces.directions import filter_normalised, orthonormal_pair
from landscape.surfaces.grid import Surface, surface
from landscape.surfaces.plane import (
    PLANES,
    Plane,
    PlaneKind,
    eigenvectors,
    principal,
    through_samples,
)

__all__ = [
    "PLANES",
    "Plane",
    "PlaneKind",
    "Surface",
    "eigenvectors",
    "filter_normalised",
    "orthonormal_pair",
    "principal",
    "surface",
    "through_samples",
]
