"""Curvature in units of the weights: measures that rescaled layers do not change."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.curvature.blocks import restrict
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.estimators.trace import krylov_aware
from landscape.curvature.not_finite import explained
from landscape.curvature.sharpness.ball import finite_weights
from landscape.errors import InputError
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.base import FunctionOperator
from landscape.objective.operators.fisher import EmpiricalFisher
from landscape.objective.operators.hessian import Hessian


def relative_flatness(
    objective: MeanLoss,
    w: Tensor | None = None,
    layer: str | None = None,
    *,
    matvecs: int | None = None,
    seed: int = 0,
) -> Estimate:
    """Relative flatness of a layer, sum over its units s, s' of <w_s, w_s'> tr(H_ss').

    w_s are the weights into unit s, and H_ss' is the block of the Hessian of L by w_s and w_s'
    (Petzka, Kamp, Adilova, Sminchisescu & Boley, "Relative Flatness and Generalization", 2021,
    arXiv 2001.00939, definition 3). With W = U S V^T it is the trace of (S U^T x I) H (U S x I),
    which is estimated. Rescaled layers or units s with the same function do not change it.

    Args:
        objective: The objective.
        w: Weights, shape (P,); the model's own if ``None``.
        layer: Name of a weight matrix (units, inputs) or of a convolution's weight, whose units are
            its output channels. By default the last one of the inferred parameters.
        matvecs: Number of matvecs, by default 30; see ``krylov_aware``. At min(units, inputs) times
            inputs the value is exact.
        seed: Seed of the probes.

    Returns:
        The estimate with its standard error, in the loss's units.

    Raises:
        InputError: there is no such weight matrix, or too few matvecs.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> import landscape as ls
        >>> model = torch.nn.Linear(1, 2, bias=False)
        >>> objective = ls.Objective(model, [(torch.ones(1, 1), torch.tensor([0]))])
        >>> w = torch.tensor([1.0, -1.0])  # H is p (1 - p) [[1, -1], [-1, 1]]
        >>> round(relative_flatness(objective, w).value, 4) == round(4 * 0.10499359, 4)
        True
    """
    at = finite_weights(objective, w)
    name = _weight(objective, layer)
    part = restrict(objective, at, [name])
    weight = part.space.unflatten(part.space.vector())[name].flatten(1)
    left, lengths, _ = torch.linalg.svd(weight.double(), full_matrices=False)
    factor = (left * lengths).to(weight)  # its square is W W^T
    hessian = Hessian(part)

    def multiply(v: Tensor) -> Tensor:
        image = hessian @ (factor @ v.view(factor.shape[1], -1)).flatten()
        pulled: Tensor = factor.T @ image.view(weight.shape)
        return pulled.flatten()

    size = factor.shape[1] * weight.shape[1]
    operator = FunctionOperator(multiply, size, weight.dtype, weight.device)
    with explained(hessian):
        return krylov_aware(operator, matvecs=matvecs, seed=seed)


def fisher_rao_norm(objective: MeanLoss, w: Tensor | None = None) -> float:
    """The Fisher-Rao norm of the weights, sqrt(w^T F w) = sqrt(mean_n (w . g_n)^2).

    g_n is the gradient of example n's loss, and F the empirical Fisher information (Liang, Poggio,
    Rakhlin & Stokes, arXiv 1711.01530, definition 2). Rescaled layers or units with the same
    function do not change it. For a ReLU network without biases it is the number of layers times
    sqrt(mean_n (f_n . dl_n / df_n)^2). It is exact for the given data: one matvec.

    Args:
        objective: The objective. The network's outputs are one tensor, its first axis the example.
        w: Weights, shape (P,); the model's own if ``None``.

    Returns:
        The norm, in the loss's units.

    Raises:
        InputError: the outputs are not as above, or there is no data.
        LandscapeError: the norm is not finite.
    """
    at = finite_weights(objective, w)
    fisher = EmpiricalFisher(objective, at, memory=0)
    with explained(fisher):
        square = float(at.double() @ (fisher @ at).double())
    return math.sqrt(max(square, 0.0))


def _weight(objective: MeanLoss, layer: str | None) -> str:
    """Name of the weight matrix that is meant."""
    shapes = dict(zip(objective.space.names, objective.space.shapes, strict=True))
    matrices = [name for name, shape in shapes.items() if len(shape) >= 2]
    if layer is None and matrices:
        return matrices[-1]
    if layer not in matrices:
        wanted = "a weight matrix" if layer is None else f"a weight matrix '{layer}'"
        known = ", ".join(matrices) or "none"
        raise InputError(f"relative flatness needs {wanted} among the inferred ones: {known}")
    return layer
