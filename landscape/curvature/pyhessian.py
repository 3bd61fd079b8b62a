"""PyHessian (Yao et al., arXiv 1912.07145) as a second backend of the same calls.

PyHessian 0.1 finds eigenvalues by power iteration, which converges to the largest magnitude and
stops when the value stands still. It reports no residuals: they are computed here, with our
matvecs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.autograd.settings import gradient_of, leaf, second_derivatives
from landscape.curvature.estimators.lanczos import Eigenvalues, Which, check_request
from landscape.curvature.estimators.probes import Estimate, check_budget
from landscape.errors import InputError, LandscapeError
from landscape.objective.batches import Batch, batch_size
from landscape.objective.copies import copy_module
from landscape.objective.derivative_checks import compare_once
from landscape.objective.mean_loss import MeanLoss, check_weight, no_batch
from landscape.objective.operators.base import Matvec, Operator, check_finite
from landscape.objective.operators.hessian import Hessian


def top_eigenvalues(
    operator: Operator,
    k: int,
    *,
    which: Which,
    tolerance: float,
    max_matvecs: int | None,
    seed: int,
) -> Eigenvalues:
    """``curvature.top_eigenvalues`` by PyHessian's power iteration.

    Args:
        operator: The Hessian of an objective.
        k: Number of eigenvalues.
        which: Order of the result: power iteration finds the largest magnitudes.
        tolerance: PyHessian's own: relative change of the value between two iterations. The
            flags ``converged`` say whether the *residual* is under it.
        max_matvecs: Largest number of matvecs, at least k; each value gets an equal share of
            iterations (100 by default).
        seed: Seed of the starting vectors.

    Raises:
        InputError: PyHessian cannot express the objective, or a setting is out of range.
        LandscapeError: a matvec is not finite, or PyHessian fails.
    """
    check_request(operator.size, k, tolerance, which)
    if which == "smallest":
        raise InputError("PyHessian cannot find smallest eigenvalues; use backend='lanczos'")
    if max_matvecs is not None and max_matvecs < k:
        raise InputError(f"max_matvecs must be at least k = {k}, not {max_matvecs}")
    per_value = 100 if max_matvecs is None else max_matvecs // k
    with _running(seed):
        hessian, loader = _hessian(operator)
        _, vectors = hessian.eigenvalues(maxIter=per_value, tol=tolerance, top_n=k)
    rows = torch.stack([torch.cat([part.reshape(-1) for part in vector]) for vector in vectors])
    images = (operator @ rows.T).T
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
        loader.passes,
    )


def trace(operator: Operator, *, matvecs: int | None, seed: int) -> Estimate:
    """``curvature.trace`` by PyHessian's Hutchinson estimator.

    PyHessian stops when its running mean stands still, which biases the mean. Here it takes all of
    ``matvecs`` probes.

    Raises:
        InputError: PyHessian cannot express the objective, or there are fewer than 2 matvecs.
        LandscapeError: a matvec is not finite, or PyHessian fails.
    """
    budget = check_budget(matvecs, None)
    with _running(seed):
        hessian, loader = _hessian(operator)
        probes = hessian.trace(maxIter=budget, tol=-np.inf)
    values = torch.tensor(probes, dtype=torch.float64)
    check_finite(values)
    error = float(values.std() / len(values) ** 0.5)
    return Estimate(float(values.mean()), error, loader.passes)


@contextmanager
def _running(seed: int) -> Iterator[None]:
    """Within it PyHessian's draws leave the global generator alone, and its errors are one line."""
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
                "PyHessian needs a loss that depends on every inferred parameter, and this one "
                "does not; use backend='lanczos'"
            ) from error


class _Module(nn.Module):
    """The network at w. Its parameters that require a gradient are those that are inferred."""

    def __init__(self, objective: MeanLoss, w: Tensor) -> None:
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
    """The objective's batches, in the objective's type.

    Attributes:
        examples: N.
        weight: Divisor of the objective's totals.
        passes: Number of passes over the batches, one for each of PyHessian's matvecs.
    """

    def __init__(self, objective: MeanLoss) -> None:
        self._objective = objective
        self.examples, self.weight, self.passes = 0, 0.0, 0
        for inputs, targets in objective.pairs():
            if not isinstance(inputs, Tensor):
                raise InputError("PyHessian takes one tensor of inputs; use backend='lanczos'")
            self.examples += len(inputs)
            self.weight += float(objective.criterion.weight(inputs, targets))
        if self.examples == 0:
            raise no_batch()
        check_weight(self.weight)

    def __iter__(self) -> Iterator[Batch]:
        self.passes += 1
        for inputs, targets in self._objective.pairs():
            yield self._objective.space.move(inputs), self._objective.space.move(targets)


def _hessian(operator: Operator) -> tuple[Any, _Loader]:
    try:
        from pyhessian import hessian
    except ImportError as error:
        raise InputError("backend='pyhessian' needs 'pip install pyhessian'") from error
    if not isinstance(operator, Hessian):
        raise InputError("PyHessian has only an objective's Hessian; use backend='lanczos'")
    objective, w = operator.objective, operator.w
    loader = _Loader(objective)
    share = loader.examples / loader.weight

    def criterion(outputs: Any, targets: Any) -> Tensor:
        # PyHessian multiplies it by the batch's number of inputs, and divides the sum by all.
        return objective.criterion(outputs, targets)[0] * share / batch_size(None, targets, outputs)

    compare_once(objective, next(objective.pairs()), "torch", _torch_hessian)
    module = _Module(objective, w)
    return hessian(module, criterion, dataloader=loader, cuda=w.is_cuda), loader


def _torch_hessian(objective: MeanLoss, w: Tensor) -> Matvec:
    """H v by torch's own second derivatives, which PyHessian uses."""

    def matvec(v: Tensor) -> Tensor:
        def by_batch() -> Iterator[tuple[Tensor, Tensor]]:
            at = leaf(w)
            with objective.space.at(at, objective.buffers) as network:
                for batch in objective.pairs():
                    total, weight = objective.batch_total(network, batch)
                    slope = gradient_of(total, at, differentiable=True)
                    yield gradient_of((slope * v).sum(), at), weight

        return objective.mean(by_batch())

    return matvec
