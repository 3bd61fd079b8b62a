"""The loss over planes, lines and curves in parameter space."""

from landscape.surfaces.curves import CURVES, Curve, CurveKind, lowest_curve
from landscape.surfaces.directions import filter_normalised, orthonormal_pair
from landscape.surfaces.grid import Surface, surface
from landscape.surfaces.lines import LINES, Line, LineKind, line
from landscape.surfaces.planes import (
    PLANES,
    SHARED_PLANES,
    Plane,
    PlaneKind,
    SharedKind,
    eigenvectors,
    principal,
    through_means,
    through_samples,
)
from landscape.surfaces.shared import shared_surface

__all__ = [
    "CURVES",
    "Curve",
    "CurveKind",
    "LINES",
    "Line",
    "LineKind",
    "PLANES",
    "Plane",
    "PlaneKind",
    "SHARED_PLANES",
    "SharedKind",
    "Surface",
    "eigenvectors",
    "filter_normalised",
    "line",
    "lowest_curve",
    "orthonormal_pair",
    "principal",
    "shared_surface",
    "surface",
    "through_means",
    "through_samples",
]
