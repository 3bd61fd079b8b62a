"""The Hessian of an objective by differences of its gradients, where there is no second derivative.

A central difference along a unit vector u is (g(w + t u) - g(w - t u)) / 2t. It is off by rounding
errors of the gradient over t, and by the change of the Hessian over a distance t. The length t is
chosen at the first matvec, where the differences of two lengths agree best; how far they are apart
is the error.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from landscape.autograd.settings import full_precision
from landscape.errors import LandscapeError
from landscape.objective.checks import check_precision
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import Operator

_STEPS = {torch.float32: (1e-1, 3e-2, 1e-2, 3e-3, 1e-3), torch.float64: (1e-3, 1e-4, 1e-5, 1e-6)}
"""Lengths to try, as shares of the weights' norm."""
_EVERY = 10
"""Number of matvecs from one check of the error to the next."""


class DifferenceHessian(Operator):
    """v -> H v for the Hessian H of an objective at fixed weights, by two gradients.

    It needs first derivatives alone, so kernels without a second one can stay, such as those of
    fused attention. In float64 it is nearly exact; in float32 it is not.

    Args:
        objective: The objective.
        w: Weights, shape (P,); the model's own if ``None``.

    Attributes:
        error: Largest relative distance ||D v - D' v|| / ||D v|| between differences of two lengths
            so far, checked at every tenth matvec; ``None`` before the first. Residuals do not
            contain it. For any v, it stands for the error of D v.

    Raises:
        InputError: the weights are not in float32 or float64.
        LandscapeError: (when it multiplies) no two differences agree, as at a kink.

    Examples:
        >>> import landscape as ls
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = ls.Objective(torch.nn.Linear(2, 2, bias=False).double(), data)
        >>> w = torch.full((4,), 0.5, dtype=torch.float64)
        >>> operator = DifferenceHessian(objective, w)
        >>> image = operator @ torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
        >>> [round(value, 6) for value in image.tolist()], operator.error < 1e-6
        ([0.125, 0.0, -0.125, 0.0], True)
    """

    def __init__(self, objective: MeanLoss, w: Tensor | None = None) -> None:
        w = objective.weights(w)
        check_precision(w)
        super().__init__(objective.size, w.dtype, w.device)
        self.objective, self.w = objective, w.detach().clone()
        self.error = None
        self._size = float(self.w.norm()) or 1.0
        self._lengths: tuple[float, float] | None = None

    def _multiply(self, v: Tensor) -> Tensor:
        norm = float(v.norm())
        if norm == 0:
            return torch.zeros_like(v)
        with full_precision():
            if self._lengths is None:
                return self._choose(v / norm) * norm
            image = self._difference(v / norm, self._lengths[0])
            if self.matvecs % _EVERY == 1:
                self._check(image, self._difference(v / norm, self._lengths[1]))
        return image * norm

    def _choose(self, u: Tensor) -> Tensor:
        """The product with a unit vector by the best length, which is kept."""
        lengths = _STEPS[self.dtype]
        images = [self._difference(u, length) for length in lengths]
        distances = [float((one - other).norm()) for one, other in itertools.pairwise(images)]
        best = min(range(len(distances)), key=lambda place: distances[place])
        # The shorter of the two has more rounding, and the longer one more of the third derivative.
        self._lengths = lengths[best], lengths[best + 1]
        self._check(images[best], images[best + 1])
        return images[best]

    def _check(self, image: Tensor, other: Tensor) -> None:
        size = float(image.norm())
        error = float((image - other).norm()) / size if size > 0 else 0.0
        if error > 0.5:
            raise LandscapeError(
                f"differences of gradients do not agree with each other (by {error:.0%}): the loss "
                "has a kink or too little precision there; convert the network with .double()"
            )
        self.error = max(self.error or 0.0, error)

    def _difference(self, u: Tensor, share: float) -> Tensor:
        length = share * self._size
        ahead = self.objective.gradient(self.w + length * u)
        return (ahead - self.objective.gradient(self.w - length * u)) / (2 * length)
