"""A multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from landscape.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLP(nn.Module):
    """Linear layers with activations between them. Inputs of any shape are flattened.

    Args:
        input_shape: Shape of one input.
        classes: Number of outputs.
        widths: Number of units of each hidden layer; empty for a linear model.
        activation: Name of the activation, one of ``ACTIVATIONS``.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        widths: Sequence[int] = (64, 64),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise InputError(
                f"mlp: activation is one of {', '.join(ACTIVATIONS)}, not '{activation}'"
            )
        if any(width < 1 for width in widths):
            raise InputError(f"mlp: widths must be at least 1, not {list(widths)}")
        layers: list[nn.Module] = [nn.Flatten()]
        before = math.prod(input_shape)
        for width in widths:
            layers += [nn.Linear(before, width), ACTIVATIONS[activation]()]
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (B, classes) of inputs (B, *input_shape)."""
        outputs: Tensor = self.layers(inputs)
        return outputs
