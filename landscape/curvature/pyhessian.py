"""PyHessian (Yao et al., arXiv 1912.07145) as second backend of the same calls.

PyHessian 0.1 finds eigenvalues by power iteration, which converges to the largest magnitude and
stops when the value stands still. It reports no residuals: they are computed here, with our
matvecs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.autograd.settings import gradient_of, leaf, second_derivatives
from landscape.curvature.estimators.lanczos import Eigenvalues, Which
from landscape.curvature.estimators.operator import check_finite
from landscape.curvature.estimators.probes import Estimate
from landscape.errors import InputError, LandscapeError
from landscape.objective.batches import Batch
from landscape.objective.copies import copy_module
from landscape.objective.derivative_checks import compare_once
from landscape.objective.objective import Objective, check_weight


def top_eigenvalues(
    objective: Objective,
    w: Tensor,
    k: int,
    *,
    which: Which,
    tolerance: float,
    max_matvecs: int | None,
    seed: int,
) -> Eigenvalues:
    """``curvature.top_eigenvalues`` by PyHessian's power iteration.

    Args:
        objective: The objective.
        w: Weights, shape (P,).
        k: How many.
        which: How they are sorted: power iteration finds the largest magnitudes.
        tolerance: PyHessian's own: relative change of the value between two iterations. The
            flags ``converged`` say whether the *residual* is under it.
        max_matvecs: Budget, at least k; each value gets an equal share of iterations (100 by
            default).
        seed: Of the starting vectors.

    Raises:
        InputError: PyHessian cannot express the objective, or the budget is too small.
        LandscapeError: a product is not finite, or PyHessian fails.
    """
    if max_matvecs is not None and max_matvecs < k:
        raise InputError(f"max_matvecs must be at least k = {k}, not {max_matvecs}")
    counter = _Counter()
    per_value = 100 if max_matvecs is None else max_matvecs // k
    with _running(seed):
        _, vectors = _hessian(objective, w, counter).eigenvalues(
            maxIter=per_value, tol=tolerance, top_n=k
        )
    rows = torch.stack([torch.cat([part.reshape(-1) for part in vector]) for vector in vectors])
    operator = objective.hessian(w)
    images = torch.stack([operator(row) for row in rows])
    values = (rows * images).sum(1).double()
    check_finite(values)
    order = (values.abs() if which == "magnitude" else values).argsort(descending=True)
    values, rows, images = values[order], rows[order], images[order]
    residuals = (images - values.to(rows)[:, None] * rows).norm(dim=1).double()
    return Eigenvalues(
        values.cpu(),
        residuals.cpu(),
        rows,
        (residuals <= tolerance * values.abs()).cpu(),
        counter.matvecs,
    )


def trace(objective: Objective, w: Tensor, *, matvecs: int, seed: int) -> Estimate:
    """``curvature.trace`` by PyHessian's Hutchinson estimator.

    PyHessian stops when its running mean stands still, which biases the mean; here it is made to
    take all of ``matvecs`` probes.

    Raises:
        InputError: PyHessian cannot express the objective.
        LandscapeError: a product is not finite, or PyHessian fails.
    """
    counter = _Counter()
    with _running(seed):
        probes = _hessian(objective, w, counter).trace(maxIter=matvecs, tol=-np.inf)
    values = torch.tensor(probes, dtype=torch.float64)
    check_finite(values)
    error = float(values.std() / len(values) ** 0.5)
    return Estimate(float(values.mean()), error, counter.matvecs)


@contextmanager
def _running(seed: int) -> Iterator[None]:
    """PyHessian draws from the global generator; it is left as it was."""
    with torch.random.fork_rng(), warnings.catch_warnings(), second_derivatives():
        # PyHessian calls backward(create_graph=True) on a module that is thrown away here.
        warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
        torch.manual_seed(seed)
        try:
            yield
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise LandscapeError(f"PyHessian failed ({reason}); use backend='lanczos'") from error
        except AssertionError as error:
            # torch's word, until 2.8 none, for the number 0.0 that PyHessian has for a gradient.
            if str(error) and "torch.Tensor" not in str(error):
                raise
            raise InputError(
                "PyHessian needs a loss that depends on every random parameter, and this one does "
                "not; use backend='lanczos'"
            ) from error


class _Counter:
    matvecs = 0


class _Module(nn.Module):
    """The network at w, with PyHessian's view of parameters: the random ones alone."""

    def __init__(self, objective: Objective, w: Tensor) -> None:
        super().__init__()
        space = objective.space
        self.network = copy_module(space.module)
        values = space.unflatten(w)
        for name, parameter in self.network.named_parameters():
            if name in values:
                parameter.data = values[name].detach().clone()
                parameter.requires_grad_()
        for name, buffer in self.network.named_buffers():
            if objective.buffers is not None:
                buffer.copy_(objective.buffers[name])

    def forward(self, inputs: Any) -> Any:
        return self.network(inputs)


class _Loader:
    """The objective's batches, in the objective's type; counts the passes PyHessian makes.

    Attributes:
        examples: N.
        weight: What the objective divides its totals by.
    """

    def __init__(self, objective: Objective, counter: _Counter) -> None:
        self._objective, self._counter = objective, counter
        self.examples, self.weight = 0, 0.0
        for inputs, targets in objective.pairs():
            if not isinstance(inputs, Tensor):
                raise InputError("PyHessian takes one tensor of inputs; use backend='lanczos'")
            self.examples += len(inputs)
            self.weight += float(objective.criterion.weight(inputs, targets))
        if self.examples == 0:
            raise InputError("the data has no batch: nothing to evaluate")
        check_weight(self.weight)

    def __iter__(self) -> Iterator[Batch]:
        self._counter.matvecs += 1
        for inputs, targets in self._objective.pairs():
            yield self._objective.space.move(inputs), self._objective.space.move(targets)


def _hessian(objective: Objective, w: Tensor, counter: _Counter) -> Any:
    try:
        from pyhessian import hessian
    except ImportError as error:
        raise InputError("backend='pyhessian' needs 'pip install pyhessian'") from error

    loader = _Loader(objective, counter)
    share = loader.examples / loader.weight

    def criterion(outputs: Any, targets: Any) -> Tensor:
        # PyHessian multiplies it by the batch's inputs, and divides the sum by all inputs.
        return objective.criterion(outputs, targets)[0] * share / len(outputs)

    compare_once(objective, next(objective.pairs()), "torch", _torch_product)
    return hessian(_Module(objective, w), criterion, dataloader=loader, cuda=w.is_cuda)


def _torch_product(objective: Objective, w: Tensor) -> Callable[[Tensor], Tensor]:
    """H v by torch's own second derivatives, which PyHessian uses."""

    def product(v: Tensor) -> Tensor:
        def matvecs() -> Iterator[tuple[Tensor, Tensor]]:
            at = leaf(w)
            with objective.space.at(at, objective.buffers) as network:
                for batch in objective.pairs():
                    total, weight = objective.batch_total(network, batch)
                    slope = gradient_of(total, at, differentiable=True)
                    yield gradient_of((slope * v).sum(), at), weight

        return objective.mean(matvecs())

    return product
