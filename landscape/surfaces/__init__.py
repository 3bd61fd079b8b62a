"""Loss surfaces over planes in parameter space."""

from landscape.surfaces.directions import filter_normalised, orthonormal_pair
from landscape.surfaces.grid import Surface, surface
from landscape.surfaces.plane import Plane, PlaneKind, through_samples

__all__ = [
    "Plane",
    "PlaneKind",
    "Surface",
    "filter_normalised",
    "orthonormal_pair",
    "surface",
    "through_samples",
]
