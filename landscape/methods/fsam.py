"""FSAM: sharpness-aware minimisation in the Fisher metric (arXiv 2206.04920)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from landscape.methods.sam import SAM, scaled


@dataclass(frozen=True, kw_only=True)
class FSAM(SAM):
    """SAM with a ball that is narrow along parameters of large Fisher information.

    The perturbation is eps = radius f g / sqrt(sum f g^2) with f = 1 / (1 + eta g^2): g^2 estimates
    the diagonal of the Fisher information of the data, and F^ = 1 + eta g^2 gives the ball
    eps^T F^ eps <= radius^2.

    Attributes:
        eta: Weight of the Fisher information; 0 is SAM.
    """

    eta: float = 1.0

    name: ClassVar[str] = "fsam"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.eta < math.inf, "eta", "at least 0")

    def _perturbation(self, gradient: Tensor) -> Tensor:
        inverse = 1 / (1 + self.eta * gradient**2)
        length = (inverse.sqrt() * gradient).norm()
        return scaled(inverse * gradient, self.radius, length)
