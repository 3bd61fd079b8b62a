"""Laplace: the Gaussian that matches the loss's curvature at its minimum (arXiv 2106.14806)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import vmap

from landscape.autograd.settings import differentiable
from landscape.errors import InputError
from landscape.methods.laplace.ggn import ggn_sum
from landscape.methods.laplace.kronecker_factors import check_kronecker, kronecker_factors
from landscape.methods.point.map import MAP, MAPState
from landscape.methods.state import Problem
from landscape.objective.batches import Batch
from landscape.objective.losses import Criterion, Loss
from landscape.objective.parameters import ParameterSpace
from landscape.objective.subsets import head
from landscape.posteriors import Gaussian, Kronecker, Point, Posterior
from landscape.posteriors.kronecker import Block
from landscape.tasks import Task

STRUCTURES = ("last-layer", "diagonal", "full", "kronecker")
_MAX_FULL = 1 << 13
"""Parameters of a full covariance; their matrix takes 512 MiB, its eigenvectors minutes."""
_POWERS = 6
"""Number of prior precisions to choose from, each ten times the previous one."""
_CHOOSING_SAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Laplace(MAP):
    """N(w*, (sum_n J_n^T Lambda_n J_n + prior_precision I)^-1) around the point w* of MAP.

    J_n is the Jacobian of the network's outputs by w at example n and Lambda_n the loss's Hessian
    by the outputs (diag p - p p^T for cross-entropy): the generalised Gauss-Newton matrix, summed
    over the training set, without dropout. A ``prior`` given to ``fit`` acts on the point as for
    MAP; the prior of the Gaussian is N(0, I / prior_precision). ``ball`` is that of MAP: with
    ``"euclidean"``, w* is the point of SAM.

    Attributes:
        structure: ``"last-layer"``, the full matrix of the last linear layer, whose parameters
            then are the only inferred ones; ``"diagonal"``, its diagonal over all inferred
            parameters; ``"full"`` over all of them, for small networks; or ``"kronecker"``, a
            block for each weight of linear and convolutional layers (``pip install
            curvlinops-for-pytorch``).
        prior_precision: N times the corresponding weight decay; 0 to choose it. ``fit`` chooses it
            on the task's validation data, because the value of the largest marginal likelihood is
            often too small: the samples then lie where the network is far from linear. It takes
            this value, or 10 to 10^5 times it, whichever has the least validation NLL, averaged
            over 10 samples. Without validation data it is the value of the marginal likelihood.
    """

    structure: str = "last-layer"
    prior_precision: float = 0.0

    name: ClassVar[str] = "laplace"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.structure in STRUCTURES, "structure", f"one of {', '.join(STRUCTURES)}")
        self._require(0 <= self.prior_precision < math.inf, "prior_precision", "at least 0")

    def init(self, problem: Problem, *, prior: Posterior | None = None, seed: int = 0) -> MAPState:
        """The start of the point.

        Raises:
            InputError: the covariance would be too large, there is no last layer, or the network
                or the loss has no Kronecker factors.
        """
        self.check(problem)
        return super().init(problem, prior=prior, seed=seed)

    def check(self, problem: Problem) -> None:
        """Check before training that there is a Gaussian of this structure.

        Raises:
            InputError: see ``init``.
        """
        _inferred(problem.space, self.structure)
        if self.structure == "kronecker":
            check_kronecker(problem.space, problem.loss)

    def step(self, state: MAPState, batch: Batch) -> MAPState:
        """One step of the point."""
        return super().step(state, batch)

    def posterior(self, state: MAPState) -> Posterior:
        """The present point; ``around`` puts the Gaussian there."""
        return super().posterior(state)

    def fit(self, model: nn.Module, task: Task, **more: Any) -> Posterior:
        """Train the point, and put the Gaussian ``around`` it; see ``Method.fit``."""
        point = super().fit(model, task, **more)
        return self.around(
            point,
            task.train.to(point.device),
            loss=task.loss,
            validation=task.validation.to(point.device) if len(task.validation) else None,
        )

    def around(
        self,
        point: Posterior,
        batches: Iterable[Batch],
        *,
        loss: Loss = "cross_entropy",
        validation: Iterable[Batch] | None = None,
    ) -> Posterior:
        """The Gaussian around given weights, for example of a pretrained network.

        Args:
            point: A point posterior; its running statistics, if any, are re-estimated.
            batches: The training examples.
            loss: The negative log-likelihood; see ``losses.Criterion``.
            validation: Examples on which a prior precision of 0 is chosen; ``None`` for the value
                of the largest marginal likelihood.

        Returns:
            The Gaussian, with the prior precision in its settings.

        Raises:
            InputError: ``point`` is no point, there is no last layer or it is not inferred, a full
                matrix would be too large, or the loss is not convex in the outputs.
        """
        space, gaussian, precision = self.gaussian(point, batches, loss, validation)
        return replace(
            point,
            space=space,
            distribution=gaussian,
            method=self.name,
            settings={**point.settings, "prior_precision": precision},
        )

    @differentiable()
    def gaussian(
        self,
        point: Posterior,
        batches: Iterable[Batch],
        loss: Loss,
        validation: Iterable[Batch] | None = None,
    ) -> tuple[ParameterSpace, Gaussian | Kronecker, float]:
        """The parameters of ``around``'s Gaussian, the Gaussian, and its prior precision."""
        if not isinstance(point.distribution, Point):
            raise InputError(f"laplace needs a point posterior, not a {point.distribution.kind}")
        space = ParameterSpace(point.network(), _inferred(point.space, self.structure))
        mean = space.vector()
        eigenvalues, make = self._family(space, mean, point, batches, loss)
        if self.prior_precision:
            return space, make(self.prior_precision), self.prior_precision
        evident = best_precision(eigenvalues, mean)
        if validation is None:
            return space, make(evident), evident

        def nll(precision: float) -> float:
            q = replace(point, space=space, distribution=make(precision))
            return _averaged_nll(q, validation, loss)

        best = min((evident * 10.0**power for power in range(_POWERS)), key=nll)
        return space, make(best), best

    def _family(
        self,
        space: ParameterSpace,
        mean: Tensor,
        point: Posterior,
        batches: Iterable[Batch],
        loss: Loss,
    ) -> tuple[Tensor, Callable[[float], Gaussian | Kronecker]]:
        """The curvature's eigenvalues, and the Gaussian of each prior precision."""
        if self.structure == "kronecker":
            factors = kronecker_factors(space, point.network(), batches, loss)

            def kronecker(precision: float) -> Kronecker:
                blocks = [Block(f.left, f.right, (f.values + precision).rsqrt()) for f in factors]
                return Kronecker(mean, tuple(blocks))

            return torch.cat([factor.values.reshape(-1) for factor in factors]), kronecker
        full = self.structure != "diagonal"
        curvature = ggn_sum(space, mean, batches, loss, point.buffers(point.mean), full=full)
        if not full:
            return curvature, lambda precision: Gaussian.diagonal(
                mean, (curvature + precision).rsqrt()
            )
        eigenvalues, basis = torch.linalg.eigh(curvature)
        eigenvalues = eigenvalues.clamp_min(0.0)
        return eigenvalues, lambda precision: _of_spectrum(
            mean, basis, 1 / (eigenvalues + precision)
        )


@torch.no_grad()
def _averaged_nll(q: Posterior, batches: Iterable[Batch], loss: Loss) -> float:
    """Mean over examples of -log mean_s exp(-loss), over samples s: the NLL of the average."""
    criterion, space = Criterion(loss), q.space

    def of_one(output: Tensor, target: Any) -> Tensor:
        return criterion(output[None], target[None])[0]

    by_sample = []
    for w in q.sample(_CHOOSING_SAMPLES):
        buffers = q.buffers(w)
        losses = [
            vmap(of_one)(space.predict(w, inputs, buffers), space.move(targets))
            for inputs, targets in batches
        ]
        by_sample.append(torch.cat(losses))
    averaged = math.log(len(by_sample)) - torch.logsumexp(-torch.stack(by_sample).double(), 0)
    return float(averaged.mean())


def best_precision(eigenvalues: Tensor, mean: Tensor) -> float:
    """The prior precision tau of the largest marginal likelihood under the Laplace approximation.

    It maximises -tau |w*|^2 / 2 + P log(tau) / 2 - log det(G + tau I) / 2 over 1e-6 <= tau <= 1e10,
    with G of the given eigenvalues.
    """
    spectrum, length = eigenvalues.double(), float(mean.double().square().sum())

    def evidence(logarithms: Tensor) -> Tensor:
        tau = logarithms.exp()
        volumes = torch.stack([torch.log1p(spectrum / value).sum() for value in tau])
        return -0.5 * (tau * length + volumes)

    low, high = math.log(1e-6), math.log(1e10)
    for _ in range(4):  # every round divides the range by 50
        grid = torch.linspace(low, high, 101, dtype=torch.float64, device=spectrum.device)
        best = int(evidence(grid).argmax())
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, 100)])
    return math.exp((low + high) / 2)


def _inferred(space: ParameterSpace, structure: str) -> list[str]:
    """The parameters of the Gaussian."""
    names = head(space.module) if structure == "last-layer" else list(space.names)
    if not set(names) <= set(space.names):
        raise InputError(
            "the last layer is not among the inferred parameters: use another structure"
        )
    sizes: Mapping[str, int] = dict(
        zip(space.names, (shape.numel() for shape in space.shapes), strict=True)
    )
    size = sum(sizes[name] for name in names)
    if structure in ("last-layer", "full") and size > _MAX_FULL:
        raise InputError(
            f"a full covariance of {size} parameters is too large (at most {_MAX_FULL}): use "
            "structure='diagonal'"
        )
    return names


def _of_spectrum(mean: Tensor, basis: Tensor, variances: Tensor) -> Gaussian:
    """N(mean, B diag(variances) B^T): the least variance as diagonal, and the rest as factor."""
    least = variances.min()
    factor = basis * (variances - least).clamp_min(0.0).sqrt()
    return Gaussian(mean, torch.full_like(mean, float(least.sqrt())), factor.to(mean))
