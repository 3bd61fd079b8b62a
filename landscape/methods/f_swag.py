"""F-SWAG: SWAG along a trajectory of SAM (arXiv 2302.02713)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.methods.sam import SharpnessAware
from landscape.methods.swag import SWAG, SWAGState


@dataclass(frozen=True, kw_only=True)
class FSWAG(SharpnessAware[SWAGState], SWAG):
    """The Gaussian of the snapshots that SAM leaves, one an epoch, at a constant learning rate.

    Everything but the gradient is SWAG's. A ``prior`` given to ``fit`` only says where training
    starts: at its mean.
    """

    name: ClassVar[str] = "f-swag"
