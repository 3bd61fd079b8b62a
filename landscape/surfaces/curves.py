"""A curve of low loss between two points (Garipov et al., arXiv 1802.10026)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from landscape.errors import InputError, LandscapeError
from landscape.objective.batches import Batch, batch_size
from landscape.objective.objective import Objective
from landscape.posteriors import PosteriorLoss
from landscape.running_stats.normalisation import normalisation_layers
from landscape.surfaces import planes

CurveKind = Literal["bezier", "chain"]
CURVES = ("bezier", "chain")


@dataclass(frozen=True)
class Curve:
    """phi(t) = sum_i c_i(t) * knots[i] for t in [0, 1], with weights that sum to 1.

    Attributes:
        knots: Shape (M, P); the first and the last are the ends.
        kind: ``"bezier"``, with Bernstein polynomials c_i, or ``"chain"``, straight from knot to
            knot in equal times.
    """

    knots: Tensor
    kind: CurveKind

    def coefficients(self, t: float) -> Tensor:
        """c(t), shape (M,)."""
        last = len(self.knots) - 1
        if self.kind == "chain":
            index = torch.arange(last + 1, dtype=torch.float64)
            weights = (1 - (t * last - index).abs()).clamp_min(0)
        else:
            weights = torch.ones(1, dtype=torch.float64)
            for _ in range(last):  # de Casteljau
                padded = torch.nn.functional.pad(weights, (1, 1))
                weights = (1 - t) * padded[1:] + t * padded[:-1]
        return weights.to(self.knots)

    def at(self, t: float) -> Tensor:
        """phi(t), shape (P,)."""
        return self.coefficients(t) @ self.knots


def lowest_curve(
    loss: PosteriorLoss,
    start: Tensor,
    end: Tensor,
    *,
    kind: CurveKind = "bezier",
    bends: int = 1,
    steps: int = 500,
    learning_rate: float = 0.02,
    seed: int = 0,
) -> Curve:
    """The curve between two points along which the mean loss, averaged over t, is low.

    Minimises E[L(phi(t))] over t uniform in [0, 1] by stochastic gradient descent with momentum 0.9
    and a cosine schedule on the knots between the ends, one t and one batch a step, from the
    straight line. Layers with running statistics use those of the batch, as in training; batches of
    one example are left out.

    Args:
        loss: The mean loss, with the data to train on.
        start: First end, shape (P,).
        end: Second end, shape (P,).
        kind: ``"bezier"`` or ``"chain"``.
        bends: Number of knots between the ends, at least 1.
        steps: Number of steps, at least 1.
        learning_rate: Learning rate of the first step.
        seed: Seed of the t.

    Raises:
        InputError: a setting is out of range, or there are no data.
        LandscapeError: the loss is not finite on the way.
    """
    check_training(kind, bends, steps, learning_rate)
    planes.check_finite(torch.stack([start, end]), "end")
    shares = torch.linspace(0, 1, bends + 2, dtype=start.dtype, device=start.device)[:, None]
    straight = Curve(start + shares * (end - start), kind)
    with torch.enable_grad():  # a caller may have turned gradients off
        inner = _trained(straight, loss, steps, learning_rate, seed)
    return Curve(torch.cat([start[None], inner, end[None]]), kind)


def check_training(kind: str, bends: int, steps: int, learning_rate: float) -> None:
    """Check the settings of ``lowest_curve``.

    Raises:
        InputError: one is out of range.
    """
    if kind not in CURVES:
        raise InputError(f"unknown curve '{kind}'; known: {', '.join(CURVES)}")
    if bends < 1 or steps < 1 or not 0 < learning_rate < math.inf:
        raise InputError("a curve needs at least one bend, one step and a positive learning rate")


def _trained(
    curve: Curve, loss: PosteriorLoss, steps: int, learning_rate: float, seed: int
) -> Tensor:
    """The knots between the ends of ``curve``, shape (M - 2, P), trained from where they are."""
    space, start, end = loss.posterior.space, curve.knots[0], curve.knots[-1]
    objective = Objective(space, loss.data, loss.loss)
    next(objective.pairs(), None)  # refuses data that cannot be evaluated
    training = bool(normalisation_layers(space.module))
    inner = curve.knots[1:-1].clone().requires_grad_()
    velocity = torch.zeros_like(inner)
    generator = torch.Generator().manual_seed(seed)
    batches = _endless(loss.data, least=2 if training else 1)
    for step, batch in zip(range(steps), batches, strict=False):
        t = float(torch.rand((), generator=generator))
        coefficients = curve.coefficients(t)
        fixed = coefficients[0] * start + coefficients[-1] * end
        w = fixed + coefficients[1:-1] @ inner
        with space.at(w, training=training) as network:
            total, weight = objective.batch_total(network, batch)
            value = total / weight.clamp_min(torch.finfo(total.dtype).tiny)
            (gradient,) = torch.autograd.grad(value, inner)
        if not bool(value.isfinite()):
            raise LandscapeError(
                "the loss is not finite on the straight line that the curve starts as"
                if step == 0
                else f"the loss along the curve is not finite at step {step + 1}: use a lower "
                "learning rate"
            )
        velocity.mul_(0.9).add_(gradient)
        rate = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        with torch.no_grad():
            inner.sub_(velocity, alpha=rate)
    return inner.detach()


def _endless(data: Iterable[Batch], least: int) -> Iterator[Batch]:
    """Batches of one pass over the data after the other; a loader may shuffle at each."""
    while True:
        is_empty = True
        for batch in data:
            if batch_size(*batch) >= least:
                is_empty = False
                yield batch
        if is_empty:
            examples = f" of {least} examples" if least > 1 else ""
            raise InputError(f"the data has no batch{examples}: nothing to train a curve on")
