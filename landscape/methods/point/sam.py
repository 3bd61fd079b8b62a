"""Sharpness-aware minimisation: names for MAP with a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from landscape.methods.balls.framework import all_but
from landscape.methods.point.map import MAP


@dataclass(frozen=True, kw_only=True)
class SAM(MAP):
    """MAP with a Euclidean ball (arXiv 2010.01412).

    min_w max_{||eps|| <= radius} L(w + eps) + (weight_decay / 2) ||w||^2, to first order:
    eps = radius g / ||g||, over all inferred parameters together.
    """

    ball: str = "euclidean"

    name: ClassVar[str] = "sam"
    refused = all_but("euclidean", "map")


@dataclass(frozen=True, kw_only=True)
class ASAM(MAP):
    """MAP with an adaptive ball (arXiv 2102.11600), which follows a rescaling of the weights.

    eps = radius T^2 g / ||T g|| with T = diag(|w| + adaptive_floor). The formula is applied to all
    parameters alike; the published code leaves T = 1 for biases.
    """

    ball: str = "adaptive"
    radius: float = 0.5

    name: ClassVar[str] = "asam"
    refused = all_but("adaptive", "map")


@dataclass(frozen=True, kw_only=True)
class FSAM(MAP):
    """MAP with a ball that is narrow along parameters of large Fisher information.

    eps = radius f g / sqrt(sum f g^2) with f = 1 / (1 + fisher_weight g^2) (arXiv 2206.04920): g^2
    estimates the diagonal of the data's Fisher information. ``fisher_weight=0`` is SAM.
    """

    ball: str = "data-fisher"

    name: ClassVar[str] = "fsam"
    refused = all_but("data-fisher", "map")
