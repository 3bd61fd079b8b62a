"""The gradient at the worst place of a ball.

A *framework* says what is inferred: a point, a Gaussian, a chain. Its *ball* says where the
gradient is taken. Around weights w with gradient g the steepest step in the ball
delta^T M delta <= radius^2 is, to first order in the loss,

    delta = radius M^-1 g / sqrt(g^T M^-1 g),

and the balls differ in the metric M:

    euclidean            I                                  SAM, arXiv 2010.01412
    adaptive             diag(|w| + adaptive_floor)^-2      ASAM, arXiv 2102.11600
    data-fisher          diag(1 + fisher_weight g^2)        FSAM, arXiv 2206.04920
    posterior-exact      Sigma^-1                           FP-BMA, arXiv 2406.15664
    posterior-diagonal   diag(Sigma^-1)
    random               I, with noise in place of g        a control

Sigma is the covariance of a Gaussian that the framework names: the ball is then that of the
divergence between two such Gaussians with means w and w + delta. A framework that infers a Gaussian
q moves theta = (mu, log sigma, U) instead; its steps are in ``landscape.posteriors.fisher``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.methods.loop import Method, S
from landscape.methods.state import Problem, State
from landscape.objective.batches import Batch
from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent, Noise, Posterior
from landscape.posteriors.fisher import approximate, exact, restricted

SCORE_BALLS = ("posterior-empirical", "posterior-score")
POSTERIOR_BALLS = ("posterior-exact", "posterior-diagonal", *SCORE_BALLS)
BALLS = ("none", "euclidean", "adaptive", "data-fisher", *POSTERIOR_BALLS, "random")

G = TypeVar("G", Tensor, GaussianGradient)
D = TypeVar("D", Tensor, GaussianTangent)


@dataclass(frozen=True, kw_only=True)
class Framework(Method[S]):
    """A method that takes its gradient at the worst place of a ball.

    The second gradient is on the same batch, noise and dropout, and does not update running
    statistics. Several processes share the perturbation of the whole batch, so they train as one
    process does. (The SAM paper perturbs each share separately; its objective then depends on the
    number of processes.)

    Attributes:
        ball: One of ``BALLS``; ``"none"`` takes the gradient at the present place.
        radius: rho, the size of the ball. In standard deviations of the Gaussian, sqrt(2 KL), for
            ``"posterior-exact"`` and ``"posterior-diagonal"``; a length for most others.
        relative_radius: rho over sqrt(P), P the number of parameters that move, in place of
            ``radius``. Of the balls in standard deviations only. A step along all parameters alike
            then moves each by this share of its standard deviation, whatever P is.
        fisher_weight: eta of FSAM: the weight of g^2 in the metric of ``"data-fisher"``.
        adaptive_floor: eta of ASAM: added to |w| in the metric of ``"adaptive"``.
    """

    ball: str = "none"
    radius: float | None = 0.05
    relative_radius: float | None = None
    fisher_weight: float = 1.0
    adaptive_floor: float = 0.01

    refused: ClassVar[Mapping[str, str]] = {}
    """Balls that the framework does not take, each with the reason and what to do."""
    in_deviations: ClassVar[tuple[str, ...]] = ("posterior-exact", "posterior-diagonal")
    """Balls whose radius is in standard deviations of a Gaussian."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.ball in BALLS, "ball", f"one of {', '.join(BALLS)}")
        if self.ball in self.refused:
            raise InputError(f"{self.name} takes no ball '{self.ball}': {self.refused[self.ball]}")
        for setting in ("radius", "relative_radius"):
            value = getattr(self, setting)
            self._require(value is None or 0 <= value < math.inf, setting, "at least 0")
        if self.ball == "none" and self.radius not in (0, type(self).radius):
            raise InputError(f"{self.name}: radius={self.radius} needs a ball: ball is 'none'")
        if self.relative_radius is not None:
            if self.radius != type(self).radius:
                raise InputError(f"{self.name}: give radius or relative_radius, not both")
            if self.ball not in self.in_deviations:
                raise InputError(
                    f"{self.name}: relative_radius is in standard deviations, and ball "
                    f"'{self.ball}' is not; it can be {', '.join(self.in_deviations)}"
                )
        self._require(0 <= self.fisher_weight < math.inf, "fisher_weight", "at least 0")
        self._require(0 <= self.adaptive_floor < math.inf, "adaptive_floor", "at least 0")

    def metric(self, problem: Problem, prior: Posterior | None) -> Gaussian | None:
        """The prior, whose covariance is that of a posterior ball; ``None`` for other balls.

        Raises:
            InputError: a posterior ball has no Gaussian prior.
        """
        if self.ball not in POSTERIOR_BALLS:
            return None
        if prior is None:
            raise InputError(
                f"{self.name}: ball '{self.ball}' is that of a Gaussian prior: give one, such as "
                "the SWAG posterior of a source task, or use ball 'euclidean'"
            )
        return prior.gaussian.to(problem.space.device)

    def rho(self, moved: int) -> float:
        """The radius of the ball of ``moved`` parameters."""
        if self.relative_radius is not None:
            return self.relative_radius * math.sqrt(moved)
        assert self.radius is not None
        return self.radius

    def gradient_near(
        self, state: State, w: Tensor, batch: Batch, q: Gaussian | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss's gradient at the worst weights near w.

        Args:
            state: The training's state.
            w: Shape (P,).
            batch: The examples.
            q: The Gaussian with the covariance Sigma of the posterior balls.

        Returns:
            Shape (P,); and the loss at w with the length of the perturbation.
        """

        def evaluate(step: Tensor | None) -> tuple[Tensor, Tensor]:
            place = w if step is None else w + step
            return state.loss_and_gradient(place, batch, update_statistics=step is None)

        return self._worst(
            evaluate, lambda gradient: self.step_of_weights(w, gradient, state.generator, q)
        )

    def gradient_near_gaussian(
        self,
        state: State,
        q: Gaussian,
        noises: Sequence[Noise],
        batch: Batch,
        *,
        rows: Tensor | None = None,
        covariance: bool = True,
    ) -> tuple[GaussianGradient, dict[str, Tensor]]:
        """The expected loss's gradient by theta at the worst Gaussian near q.

        Args:
            state: The training's state.
            q: The Gaussian at theta.
            noises: The noise of each sample, the same for q and for the worst Gaussian. All samples
                see the same dropout. The first one updates the running statistics.
            batch: The examples.
            rows: Indices of the parameters that move; ``None`` for all.
            covariance: Whether log sigma and U move; otherwise only the mean does.

        Returns:
            The gradient; and the loss at q with the length of the perturbation.
        """

        def evaluate(step: GaussianTangent | None) -> tuple[Tensor, GaussianGradient]:
            place = q if step is None else q.moved(step)
            samples = (place.transform(noise) for noise in noises)
            loss, gradients = state.loss_and_gradients(
                samples, batch, update_statistics=step is None
            )
            return loss, place.chain(gradients, noises)

        return self._worst(
            evaluate,
            lambda gradient: self.step_of_gaussian(
                q, gradient, noises, state.generator, rows=rows, covariance=covariance
            ),
        )

    def _worst(
        self, evaluate: Callable[[D | None], tuple[Tensor, G]], step: Callable[[G], D]
    ) -> tuple[G, dict[str, Tensor]]:
        """The gradient at the ball's worst place, and what to report of it.

        Args:
            evaluate: Loss and gradient after a step; at the present place for ``None``.
            step: The step to the worst place, from the gradient at the present one.
        """
        loss, gradient = evaluate(None)
        if self.ball == "none":
            return gradient, {"loss": loss}
        length = torch.zeros_like(loss)
        if self.rho(1) > 0:
            perturbation = step(gradient)
            length = perturbation.norm()
            _, gradient = evaluate(perturbation)
        return gradient, {"loss": loss, "perturbation_norm": length}

    def step_of_weights(
        self, w: Tensor, gradient: Tensor, generator: torch.Generator, q: Gaussian | None = None
    ) -> Tensor:
        """The step to the worst weights of the ball around w, shape (P,); zero where g is zero."""
        if self.ball == "random":
            gradient = torch.randn(w.shape, dtype=w.dtype, device=w.device, generator=generator)
        direction, length = gradient, gradient.norm()
        if self.ball == "adaptive":
            size = w.abs() + self.adaptive_floor
            direction, length = size**2 * gradient, (size * gradient).norm()
        elif self.ball == "data-fisher":
            inverse = 1 / (1 + self.fisher_weight * gradient**2)
            direction, length = inverse * gradient, (inverse.sqrt() * gradient).norm()
        elif self.ball in POSTERIOR_BALLS:
            if q is None:
                raise InputError(f"{self.name}: ball '{self.ball}' needs a Gaussian")
            direction = gradient / q.precision_diagonal
            if self.ball == "posterior-exact":
                direction = q.covariance_product(gradient)
            length = (gradient @ direction).sqrt()
        # The length may be zero by underflow.
        return torch.where(length == 0, 0.0, self.rho(len(w)) / length) * direction

    def step_of_gaussian(
        self,
        q: Gaussian,
        gradient: GaussianGradient,
        noises: Sequence[Noise],
        generator: torch.Generator,
        *,
        rows: Tensor | None = None,
        covariance: bool = True,
    ) -> GaussianTangent:
        """The step to the worst theta of the ball around q.

        ``"euclidean"`` is Euclidean in theta. ``"adaptive"`` and ``"data-fisher"`` are balls of
        weights: they move the mean, and every sample with it. ``"random"`` is the step of a
        gradient of pure noise in the ball of ``"posterior-exact"``.
        """
        radius = self.rho(q.size if rows is None else len(rows))
        if self.ball in SCORE_BALLS:
            by_score = approximate.score_step
            if self.ball == "posterior-empirical":
                by_score = approximate.empirical_step
            return by_score(q, gradient, radius, noises[0], covariance=covariance)
        if self.ball == "random":
            gradient = q.chain([q.noise(generator).diagonal for _ in noises], noises)
        if rows is not None and self.ball in ("posterior-exact", "random"):
            return restricted.restricted_step(q, gradient, radius, rows, covariance=covariance)
        if rows is not None:
            gradient = gradient.restricted(rows)
        if self.ball in ("adaptive", "data-fisher"):
            mean = self.step_of_weights(q.mean, gradient.mean, generator)
            return GaussianTangent.of_mean(mean, q.rank)
        step = {
            "euclidean": approximate.euclidean_step,
            "posterior-diagonal": approximate.diagonal_step,
        }.get(self.ball, exact.steepest_step)
        return step(q, gradient, radius, covariance=covariance)


def all_but(ball: str, framework: str) -> dict[str, str]:
    """The refusals of a method that is the name of one pair of framework and ball."""
    reason = f"it is '{framework}' with ball '{ball}'; use '{framework}' for another ball"
    return {other: reason for other in BALLS if other != ball}
