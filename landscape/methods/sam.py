"""SAM: sharpness-aware minimisation (arXiv 2010.01412)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscape.methods.map import MAP, Descent, MAPState, StateT
from landscape.objective.batches import Batch


@dataclass(frozen=True, kw_only=True)
class SharpnessAware(Descent[StateT]):
    """Descent along the gradient at the worst place near w, instead of the one at w.

    The second gradient is of the same batch and dropout, and leaves running statistics alone.
    Several processes share one perturbation, that of the whole batch, and so train as one; the
    paper's perturb each share by itself, which is another objective for every number of processes.

    Attributes:
        radius: rho, the Euclidean length of the perturbation of all inferred parameters together.
    """

    radius: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.radius < math.inf, "radius", "at least 0")

    def gradient(self, state: StateT, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient at w + eps."""
        loss, gradient = state.loss_and_gradient(state.weights, batch)
        perturbation = self._perturbation(gradient)
        _, gradient = state.loss_and_gradient(
            state.weights + perturbation, batch, update_statistics=False
        )
        return gradient, {"loss": loss, "perturbation_norm": perturbation.norm()}

    def _perturbation(self, gradient: Tensor) -> Tensor:
        """Rho g / ||g||, or zero where g is; shape (P,)."""
        return scaled(gradient, self.radius, gradient.norm())


@dataclass(frozen=True, kw_only=True)
class SAM(SharpnessAware[MAPState], MAP):
    """min_w max_{||eps|| <= radius} L(w + eps) + (weight_decay / 2) ||w||^2, to first order.

    A ``prior`` given to ``fit`` only says where training starts: at its mean.
    """

    name: ClassVar[str] = "sam"


def scaled(direction: Tensor, radius: float, length: Tensor) -> Tensor:
    """``direction`` times radius / length; zero where ``length`` is, if only by underflow."""
    return torch.where(length == 0, 0.0, radius / length) * direction
