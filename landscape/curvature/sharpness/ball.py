"""Worst-case sharpness: the highest rise of the loss within a ball around given weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from landscape.curvature.not_finite import why_not_finite
from landscape.curvature.sharpness.ascent import ascend, check_search
from landscape.errors import InputError, LandscapeError
from landscape.objective.mean_loss import MeanLoss
from landscape.runtime.numbers import check_int

Norm = Literal["l2", "linf"]
_NORMS = ("l2", "linf")
_LENGTH = 8.0
"""Length of a search's first step in radii. Steps so long nearly end at the best place of the ball
for a linear loss, which halves the number of steps for a loss that is about convex."""


@dataclass(frozen=True)
class Ball:
    """The steps e = t * u with ||u|| <= radius, entry by entry; u are its coordinates.

    Attributes:
        radius: Radius.
        norm: ``"l2"`` or ``"linf"``.
        scale: t, shape (P,).
    """

    radius: float
    norm: Norm
    scale: Tensor

    def steepest(self, gradient: Tensor, generator: torch.Generator) -> Tensor:
        """The u at which a linear loss of that gradient is highest; a random one for no slope."""
        # In float64: squares of a loss in small or large units leave float32's range.
        slopes = self.scale.double() * gradient.double()
        if not bool(slopes.any()):
            slopes = self._normal(generator).double()
        direction = slopes.sign() if self.norm == "linf" else slopes / slopes.norm()
        return (self.radius * direction).to(gradient)

    def nearest(self, u: Tensor) -> Tensor:
        """The coordinates within the ball that are nearest to u."""
        if self.norm == "linf":
            return u.clamp(-self.radius, self.radius)
        length = float(u.double().norm())
        return u * (self.radius / length) if length > self.radius else u

    def draw(self, generator: torch.Generator) -> Tensor:
        """Random coordinates: on the sphere for l2, anywhere in the cube for l-infinity."""
        z = self._normal(generator)
        if self.norm == "l2":
            return z * (self.radius / float(z.double().norm()))
        return self.radius * torch.erf(z / 2**0.5)  # uniform

    def _normal(self, generator: torch.Generator) -> Tensor:
        t = self.scale
        return torch.randn(t.shape, dtype=t.dtype, device=t.device, generator=generator)


@dataclass(frozen=True)
class WorstCase:
    """The highest rise of the loss that searches in a ball have found.

    Attributes:
        value: Highest rise; a lower bound for the maximum.
        rises: Rise that each search has found, that from the centre first.
    """

    value: float
    rises: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Highest less lowest rise: near 0 where searches from different places end alike."""
        return max(self.rises) - min(self.rises)


def ball_sharpness(
    objective: MeanLoss,
    w: Tensor | None = None,
    *,
    radius: float = 0.05,
    norm: Norm = "l2",
    adaptive: bool = False,
    steps: int = 15,
    restarts: int = 3,
    seed: int = 0,
) -> WorstCase:
    """The maximum of L(w + e) - L(w) over ||e / t||_p <= radius, for the loss on all data.

    With t = 1 the ball is Euclidean for l2 (Foret et al., arXiv 2010.01412), a cube for l-infinity
    (Keskar et al., arXiv 1609.04836). With t = |w| for each weight it is adaptive: it does not
    change if layers or units are rescaled so that the function stays the same (Kwon et al., arXiv
    2102.11600; Andriushchenko et al., arXiv 2302.07011). The search is a projected ascent along the
    gradient (l2) or its signs (l-infinity), from the centre and from random places. For the mean
    over batches see ``m_sharpness``. To first order the value is radius ||t g||_2, or radius
    ||t g||_1 for l-infinity.

    Args:
        objective: The objective. Its buffers are used as the running statistics of w.
        w: Weights, shape (P,); the model's own if ``None``.
        radius: Radius of the ball, positive; in units of the weights, relative if ``adaptive``.
        norm: ``"l2"`` or ``"linf"``.
        adaptive: Whether t = |w|.
        steps: Number of evaluations of each search.
        restarts: Number of searches, at least 1.
        seed: Seed of the random places.

    Returns:
        The highest rise, in the loss's units, and that of each search.

    Raises:
        InputError: a setting is out of range, the weights are not finite, or there is no data.
        LandscapeError: the loss is not finite within the ball.

    Examples:
        >>> import landscape as ls
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> data = [(torch.tensor([[3.0, 4.0]]), torch.zeros(1))]
        >>> objective = ls.Objective(model, data, loss=lambda outputs, _: outputs[:, 0])
        >>> w = torch.ones(2)
        >>> [round(ball_sharpness(objective, w, norm=p).value, 3) for p in ("l2", "linf")]
        [0.25, 0.35]
    """
    restarts = check_int(restarts, "the number of restarts")
    at = finite_weights(objective, w)
    ball = make_ball(at, radius, norm, adaptive=adaptive, steps=steps)
    generator = torch.Generator(at.device).manual_seed(seed)
    base = float(objective.loss(at))
    starts = [torch.zeros_like(at), *(ball.draw(generator) for _ in range(restarts - 1))]
    ends = [worst_step(objective, at, ball, steps, generator, start) for start in starts]
    rises = [float(objective.loss(at + end)) - base for end in ends]
    return WorstCase(max(rises), tuple(rises))


def make_ball(w: Tensor, radius: float, norm: Norm, *, adaptive: bool, steps: int) -> Ball:
    """The ball around w.

    Raises:
        InputError: the radius is not positive, the norm is unknown, or a search has no step.
    """
    check_search(radius, steps)
    if norm not in _NORMS:
        raise InputError(f"unknown norm '{norm}'; known: {', '.join(_NORMS)}")
    return Ball(radius, norm, w.abs() if adaptive else torch.ones_like(w))


def finite_weights(objective: MeanLoss, w: Tensor | None) -> Tensor:
    """The weights to measure at.

    Raises:
        InputError: they are not finite.
    """
    at = objective.weights(w).detach()
    if not bool(at.isfinite().all()):
        raise InputError("the weights are not finite: there is no sharpness there")
    return at


def worst_step(
    objective: MeanLoss,
    w: Tensor,
    ball: Ball,
    steps: int,
    generator: torch.Generator,
    start: Tensor | None = None,
) -> Tensor:
    """The step e of a ball that raises the loss most, by projected ascent.

    Args:
        objective: L.
        w: Weights, shape (P,).
        ball: The ball.
        steps: Number of evaluations; see ``ascend``.
        generator: Source of the direction where the gradient is zero.
        start: Coordinates to begin at; the centre if ``None``.

    Raises:
        LandscapeError: the loss or its gradient is not finite.
    """

    def place(u: Tensor) -> Tensor:
        return w + ball.scale * u

    def direction(u: Tensor) -> Tensor:
        gradient = objective.gradient(place(u))
        if not bool(gradient.isfinite().all()):
            raise LandscapeError(f"the search stops: {why_not_finite(objective, place(u))}")
        return ball.steepest(gradient, generator)

    best = ascend(
        [torch.zeros_like(w) if start is None else start],
        lambda u: float(objective.loss(place(u))),
        direction,
        lambda u, along, length: ball.nearest(u + length * along),
        steps,
        _LENGTH,
    )
    return ball.scale * best
