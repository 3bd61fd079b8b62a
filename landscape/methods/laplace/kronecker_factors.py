"""Kronecker factors of the Gauss-Newton matrix, by the package curvlinops."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.losses import Loss
from landscape.objective.parameters import ParameterSpace

LAYERS = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True)
class Factor:
    """A parameter's block: the eigenvectors of B and A, and its eigenvalues (m, n)."""

    left: Tensor
    right: Tensor
    values: Tensor


def kronecker_factors(
    space: ParameterSpace, network: nn.Module, batches: Iterable[Batch], loss: Loss
) -> list[Factor]:
    """For each parameter, eigenvectors and eigenvalues of N B (x) A, a sum over N examples.

    A is the mean outer product of a layer's inputs and B that of the square root of the loss's
    Hessian, pulled back to its outputs (arXiv 1503.05671; positions of a convolution as the
    "expand" rule of arXiv 2311.00636 has it). Biases have B alone.

    Args:
        space: The parameters, all of linear and convolutional layers.
        network: The module with the weights and buffers at which the factors are taken.
        batches: The examples.
        loss: ``"cross_entropy"``.

    Raises:
        InputError: curvlinops is not installed, the loss is another one, or a parameter is tied or
            of another layer.
    """
    layer_of = check_kronecker(space, loss)
    from curvlinops import KFACLinearOperator

    network.eval()
    parameters = [network.get_parameter(name).requires_grad_(True) for name in space.names]
    data = [(space.move(inputs), space.move(targets)) for inputs, targets in batches]
    with torch.random.fork_rng():  # curvlinops seeds the global generator
        state = _state(KFACLinearOperator, network, parameters, data)
    examples = sum(len(targets) for _, targets in data)
    spectra: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}

    def spectrum(side: str, layer: str) -> tuple[Tensor, Tensor]:
        if (side, layer) not in spectra:
            values, vectors = torch.linalg.eigh(state[f"{side}_covariances"][layer].double())
            spectra[side, layer] = (values.clamp_min(0.0), vectors)
        return spectra[side, layer]

    factors = []
    for name, parameter in zip(space.names, parameters, strict=True):
        outer, left = spectrum("gradient", layer_of[name])
        if parameter.ndim == 1:
            inner, right = outer.new_ones(1), outer.new_ones(1, 1)
        else:
            inner, right = spectrum("input", layer_of[name])
        values = examples * outer[:, None] * inner
        parts = (part.to(parameter.dtype).contiguous() for part in (left, right, values))
        factors.append(Factor(*parts))
    return factors


def check_kronecker(space: ParameterSpace, loss: Loss) -> dict[str, str]:
    """The layer of each parameter, by its name.

    Raises:
        InputError: see ``kronecker_factors``.
    """
    if importlib.util.find_spec("curvlinops") is None:
        raise InputError("kronecker needs 'pip install curvlinops-for-pytorch'")
    if loss != "cross_entropy":
        raise InputError("a Kronecker-factored Laplace needs the loss 'cross_entropy'")
    layers = {
        f"{prefix}.{name}".lstrip("."): prefix
        for prefix, layer in space.module.named_modules(remove_duplicate=False)
        for name, _ in layer.named_parameters(recurse=False, remove_duplicate=False)
        if isinstance(layer, LAYERS)
    }
    every = list(space.module.named_parameters(remove_duplicate=False))
    other = [name for name in space.names if name not in layers]
    if other or len(every) != len(list(space.module.parameters())):
        raise InputError(
            "a Kronecker-factored Laplace takes untied parameters of linear and 2D convolutional "
            f"layers, not {other[0] if other else 'tied ones'}: choose others to infer"
        )
    return layers


def _state(
    operator: type, network: nn.Module, parameters: list[Tensor], data: list[Batch]
) -> dict[str, dict[str, Tensor]]:
    factors = operator(
        network,
        nn.CrossEntropyLoss(),
        parameters,
        data,
        fisher_type="type-2",
        check_deterministic=False,
    )
    factors.compute_kronecker_factors()
    state: dict[str, dict[str, Tensor]] = factors.state_dict()
    return state
