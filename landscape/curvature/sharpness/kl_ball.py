"""The worst rise of a posterior's expected loss among the posteriors near it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from landscape.curvature.sharpness.ascent import ascend, check_search
from landscape.curvature.sharpness.expected import Sharpness, average_rise
from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.losses import Loss
from landscape.objective.objective import Objective
from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent, Noise, Posterior
from landscape.posteriors.fisher.exact import steepest_step
from landscape.posteriors.fisher.kl_ball import within


def worst_case_sharpness(
    posterior: Posterior,
    data: Iterable[Batch],
    *,
    radius: float = 0.2,
    covariance: bool = True,
    pairs: int = 15,
    steps: int = 10,
    loss: Loss = "cross_entropy",
    seed: int = 0,
) -> Sharpness:
    """Max over q' with KL(q' || q) <= radius^2 / 2 of E_q'[L(w)] - E_q[L(w)].

    This is what FP-BMA lowers (arXiv 2406.15664), with the KL divergence itself and not its second
    order. The search over (mean, log sigma, U) of q' is an ascent along F^-1 g, for the Fisher
    information F of q, on one set of draws. It begins at the better of FP-BMA's step and FP-BMA's
    step of the mean alone. The rise is then measured on another set of draws, with the same noise
    for q and q'. So the value is unbiased for the q' of the search, and a lower bound for the
    worst. Running statistics are those of the samples of q, also where q' is evaluated.

    Args:
        posterior: q, Gaussian.
        data: Fixed data set to measure on, as batches.
        radius: rho, positive; for the mean alone it is a length in standard deviations.
        covariance: Whether log sigma and U move; the mean alone otherwise.
        pairs: Number of mirrored draws to search on, and of those to measure on, at least 2. A pair
            has noise z and -z, so that terms linear in z cancel.
        steps: Number of evaluations of the search.
        loss: A name or a function; see ``losses.Criterion``.
        seed: Seed of the draws.

    Returns:
        The mean over pairs with its standard error.

    Raises:
        InputError: the posterior is not Gaussian, a setting is out of range, or there is no data.
        LandscapeError: the loss is not finite within the ball.
    """
    check_search(radius, steps)
    if pairs < 2:
        raise InputError(f"a worst rise needs at least 2 pairs to know its error, not {pairs}")
    q = posterior.gaussian
    generator = torch.Generator(posterior.device).manual_seed(seed)
    base = Objective(posterior.space, data, loss)
    posterior.check_statistics(base.pairs())
    search, judge = (
        _Draws(posterior, base, [q.noise(generator) for _ in range(pairs)]) for _ in range(2)
    )

    def gradient(step: GaussianTangent) -> GaussianGradient:
        moved = q.moved(step)
        return moved.chain(search.gradients(moved), search.noises)

    def direction(step: GaussianTangent) -> GaussianTangent:
        return steepest_step(q, gradient(step), radius, covariance=covariance)

    def move(step: GaussianTangent, along: GaussianTangent, length: float) -> GaussianTangent:
        return within(q, _sum(step, along, length), radius)

    starts = [GaussianTangent(*(torch.zeros_like(part) for part in (q.mean, q.scale, q.factor)))]
    if covariance:
        first = gradient(starts[0])
        starts += [steepest_step(q, first, radius, covariance=both) for both in (True, False)]
    worst = ascend(
        starts, lambda step: float(search.losses(q.moved(step)).mean()), direction, move, steps
    )
    rises = judge.losses(q.moved(worst)) - judge.losses(q)
    return average_rise(rises.view(2, pairs).mean(0).tolist())


class _Draws:
    """Losses at samples of fixed noise and its mirror, with the statistics of the samples of q."""

    def __init__(self, posterior: Posterior, base: Objective, noises: list[Noise]) -> None:
        self.noises = noises + [Noise(-noise.diagonal, -noise.factor) for noise in noises]
        q = posterior.gaussian
        self._objectives = [
            base.with_buffers(posterior.buffers(q.transform(noise))) for noise in self.noises
        ]

    def losses(self, q: Gaussian) -> Tensor:
        """Shape (2 * pairs,), float64."""
        pairs = zip(self._objectives, self.noises, strict=True)
        losses = [objective.loss(q.transform(noise)) for objective, noise in pairs]
        return torch.stack(losses).double()

    def gradients(self, q: Gaussian) -> list[Tensor]:
        """Gradients of the losses by the samples' weights."""
        pairs = zip(self._objectives, self.noises, strict=True)
        return [objective.gradient(q.transform(noise)) for objective, noise in pairs]


def _sum(step: GaussianTangent, along: GaussianTangent, length: float) -> GaussianTangent:
    return GaussianTangent(
        step.mean + length * along.mean,
        step.log_scale + length * along.log_scale,
        step.factor + length * along.factor,
    )
