"""The local learning coefficient: how fast the volume of low loss shrinks around given weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.at_weights import top_eigenvalues
from landscape.curvature.sharpness.ball import finite_weights
from landscape.errors import InputError, LandscapeError
from landscape.objective.mean_loss import MeanLoss
from landscape.runtime.numbers import check_int

_SETTLED = 1.1
"""Largest R-hat of chains that have settled (Gelman & Rubin 1992)."""

_MOVES = 0.1
"""Least acceptance of chains that move."""

_STEPS = {True: 0.6, False: 0.2}
"""Step size in units of the inverse of the largest curvature of the sampled density, with and
without a Metropolis test."""


@dataclass(frozen=True)
class LearningCoefficient:
    """An estimate of the local learning coefficient.

    Attributes:
        value: Mean over the chains.
        standard_error: Standard error of the mean by the spread over the chains.
        chains: Estimate of each chain.
        inverse_temperature: beta.
        step_size: Step size of the chains.
        r_hat: Split R-hat of the loss: the deviation of all draws over that within the halves of
            the chains. It is near 1 for chains that have settled.
        acceptance: Mean probability at which the Metropolis test accepts a step; 1 without it.
    """

    value: float
    standard_error: float
    chains: tuple[float, ...]
    inverse_temperature: float
    step_size: float
    r_hat: float
    acceptance: float

    @property
    def is_settled(self) -> bool:
        """Whether the chains move, and agree with each other in each of their halves.

        Acceptance is at least 0.1, and R-hat below 1.1.
        """
        return self.acceptance >= _MOVES and self.r_hat < _SETTLED


def local_learning_coefficient(
    objective: MeanLoss,
    w: Tensor | None = None,
    *,
    chains: int = 4,
    steps: int = 100,
    burn_in: float = 0.3,
    inverse_temperature: float | None = None,
    localisation: float = 300.0,
    step_size: float | None = None,
    metropolis: bool = True,
    seed: int = 0,
) -> LearningCoefficient:
    """The rise n beta (E[L(v)] - L(w)) of v with density exp(-n beta L(v) - gamma |v - w|^2 / 2).

    For n examples, beta = 1 / log n and small gamma this estimates the local learning coefficient
    of w (Lau, Furman, Wang, Murfet & Wei, arXiv 2308.12108). For a minimum with Hessian H it is
    sum_i h_i / (h_i + gamma) / 2 with the eigenvalues h_i of n beta H: half the number of
    directions that the loss holds tighter than gamma does. At weights that are no minimum, as are
    most samples of a posterior, it can be negative. L is a mean negative log-likelihood in nats.

    The expectation is over Langevin chains on the whole data's gradient, which all begin at w. A
    step is Langevin's with the pull towards w taken at its middle, and a Metropolis test accepts or
    rejects it (pCNL; Cotter, Roberts, Stuart & White, arXiv 1202.0709). So the value does not
    depend on the step size, and steps in many dimensions may be long. Without the test it is SGLD
    as in the paper, v <- v - (step_size / 2) (n beta grad L(v) + gamma (v - w)) + N(0, step_size),
    which makes the part of a direction with the curvature h too large by about step_size h / 4, and
    more for a network.

    Args:
        objective: The objective. Its buffers are used as the running statistics of w.
        w: Weights w, shape (P,); the model's own if ``None``.
        chains: Number of chains, at least 2.
        steps: Number of steps of each chain.
        burn_in: Share of the steps that is left out, in [0, 1).
        inverse_temperature: beta; 1 / log n if ``None``.
        localisation: gamma, positive. Weights stay within about 1 / sqrt(gamma) of w; the network
            should still work under such noise, or chains hardly move.
        step_size: Step size; by default 0.6 over n beta times the largest eigenvalue of the Hessian
            at w plus gamma, or 0.2 over it without the test.
        metropolis: Whether steps are tested.
        seed: Seed of the noise.

    Returns:
        The coefficient, with its error over chains and diagnostics; see ``is_settled``.

    Raises:
        InputError: a setting is out of range, the weights are not finite, or there are fewer than 3
            examples.
        LandscapeError: a chain diverges.
    """
    chains = check_int(chains, "the number of chains", least=2)
    steps = check_int(steps, "the number of steps", least=4)
    if not 0 <= burn_in < 1 or steps - int(burn_in * steps) < 4:
        raise InputError(f"burn_in must be in [0, 1) and leave 4 of {steps} steps, not {burn_in}")
    given = {"inverse_temperature": inverse_temperature, "step_size": step_size}
    for name, value in {**given, "localisation": localisation}.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be positive and finite, not {value}")
    at = finite_weights(objective, w)
    examples = _examples(objective)
    beta = 1 / math.log(examples) if inverse_temperature is None else inverse_temperature
    if step_size is None:
        top = top_eigenvalues(objective, at, 1, tolerance=0.1, seed=seed)
        largest = max(float(top.values[0]), 0.0)
        step_size = _STEPS[metropolis] / (examples * beta * largest + localisation)
    base = float(objective.loss(at))
    generator = torch.Generator(at.device).manual_seed(seed)
    chain = _Chain(objective, at, examples * beta, localisation, step_size)
    draws = [list(chain.run(steps, generator, metropolis=metropolis)) for _ in range(chains)]
    losses, acceptances = np.moveaxis(np.array(draws)[:, int(burn_in * steps) :], 2, 0)
    values = examples * beta * (losses.mean(1) - base)
    return LearningCoefficient(
        float(values.mean()),
        float(values.std(ddof=1)) / math.sqrt(chains),
        tuple(values.tolist()),
        beta,
        step_size,
        split_r_hat(losses),
        float(acceptances.mean()),
    )


@dataclass(frozen=True)
class _Place:
    """A place of a chain: the weights less w, n beta L there, its gradient, and L."""

    away: Tensor
    energy: float
    slope: Tensor
    loss: float


@dataclass(frozen=True)
class _Chain:
    """Langevin dynamics of the density exp(-scale L(v) - localisation |v - centre|^2 / 2)."""

    objective: MeanLoss
    centre: Tensor
    scale: float
    localisation: float
    step_size: float

    def run(
        self, steps: int, generator: torch.Generator, *, metropolis: bool
    ) -> Iterator[tuple[float, float]]:
        """The loss after each step, and the step's chance in a Metropolis test."""
        place = self._at(torch.zeros_like(self.centre))
        half = 0.5 * self.step_size * self.localisation
        for _ in range(steps):
            noise = torch.randn(
                place.away.shape,
                dtype=place.away.dtype,
                device=place.away.device,
                generator=generator,
            )
            noise *= math.sqrt(self.step_size)
            if not metropolis:
                place = self._at(
                    place.away - 0.5 * self.step_size * place.slope - half * place.away + noise
                )
                yield place.loss, 1.0
                continue
            # Half of the pull towards w is taken at the end of the step.
            pulled = (1 - half / 2) * place.away - 0.5 * self.step_size * place.slope + noise
            proposal = self._at(pulled / (1 + half / 2))
            chance = math.exp(min(self._odds(place, proposal) - self._odds(proposal, place), 0.0))
            if float(torch.rand((), device=noise.device, generator=generator)) < chance:
                place = proposal
            yield place.loss, chance

    def _odds(self, place: _Place, proposal: _Place) -> float:
        """The function whose difference is the logarithm of the odds of a step (Cotter et al.)."""
        slope, eighth = place.slope.double(), self.step_size / 8
        moved = (proposal.away - place.away).double() @ slope
        pull = self.localisation * (proposal.away + place.away).double() @ slope
        return place.energy + float(0.5 * moved + eighth * (pull + slope @ slope))

    def _at(self, away: Tensor) -> _Place:
        loss, gradient = self.objective.loss_and_gradient(self.centre + away)
        if not bool(loss.isfinite()) or not bool(gradient.isfinite().all()):
            raise LandscapeError(
                f"a chain diverges at the step size {self.step_size:.3g}: take a smaller one"
            )
        value = float(loss)
        return _Place(away, self.scale * value, self.scale * gradient, value)


def split_r_hat(draws: np.ndarray) -> float:
    """Split R-hat of a quantity over chains (Gelman et al., "Bayesian Data Analysis", 11.4).

    Args:
        draws: Shape (chains, draws), at least 4 draws; an odd last draw is left out.

    Returns:
        The deviation of all draws over that within half chains, about 1 or more; infinity if halves
        differ and do not move.
    """
    half = draws.shape[1] // 2
    halves = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((half - 1) / half + between / within)


def _examples(objective: MeanLoss) -> float:
    """n, the number of examples, or of labels that count with their weights."""
    weights = [float(objective.criterion.weight(*batch)) for batch in objective.pairs()]
    if sum(weights) < 3:
        raise InputError(
            f"the learning coefficient needs at least 3 examples, not {sum(weights):g}"
        )
    return sum(weights)
