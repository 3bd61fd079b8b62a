"""The parameters that are not inferred, trained by SGD at the same time as the inferred ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace

DETERMINISTIC = ("freeze", "train")
"""What may happen to the parameters that are not inferred."""


class JointSpace:
    """The inferred parameters and the rest in one space, so that one pass gives both gradients.

    The rest are all other parameters of the model that require a gradient.

    Args:
        model: The network; it is not changed.
        inferred: The space of its inferred parameters.

    Attributes:
        space: The space of both.
        inferred: The space of the inferred parameters.

    Raises:
        InputError: no other parameter requires a gradient, or one is not real floating-point.
    """

    def __init__(self, model: nn.Module, inferred: ParameterSpace) -> None:
        own = set(inferred.names)
        self.inferred = inferred
        self.space = ParameterSpace(
            model,
            lambda name, parameter: name in own or parameter.requires_grad,
            device=inferred.device,
        )
        if self.space.size == inferred.size:
            raise InputError(
                "deterministic='train' has nothing to train: none of the parameters that are not "
                "inferred requires a gradient"
            )
        self._is_inferred = [name in own for name in self.space.names]
        self._lengths = [shape.numel() for shape in self.space.shapes]

    def join(self, inferred: Tensor, rest: Tensor) -> Tensor:
        """The vector of both, shape (P + R,), from vectors (P,) and (R,)."""
        parts, at = [], {True: 0, False: 0}
        for is_inferred, length in zip(self._is_inferred, self._lengths, strict=True):
            begin = at[is_inferred]
            at[is_inferred] += length
            parts.append((inferred if is_inferred else rest)[begin : at[is_inferred]])
        return torch.cat(parts)

    def divide(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of ``join``: vectors (P,) and (R,) from one of shape (P + R,)."""
        parts: dict[bool, list[Tensor]] = {True: [], False: []}
        pieces = torch.split(vector, self._lengths)
        for is_inferred, part in zip(self._is_inferred, pieces, strict=True):
            parts[is_inferred].append(part)
        return torch.cat(parts[True]), torch.cat(parts[False])

    def with_rest(self, rest: Tensor) -> ParameterSpace:
        """A space of the inferred parameters whose network has the given rest, shape (R,)."""
        space = ParameterSpace(self.space.module, self.inferred.names)
        both = self.space.hold(self.join(space.vector(), rest))
        for name, value in self.space.unflatten(both).items():
            space.module.get_parameter(name).copy_(value)
        return space

    def start(self) -> Rest:
        """The rest at the model's own values."""
        _, values = self.divide(self.space.vector())
        return Rest(values, torch.zeros_like(values), torch.zeros_like(values))


@dataclass
class Rest:
    """The rest under SGD.

    Attributes:
        values: Its present values, shape (R,).
        velocity: Its momentum, shape (R,).
        average: Its mean over the places that ``keep`` took in, shape (R,).
        count: Number of these places.
        gradient: The loss's gradient by the rest in the last pass, shape (R,); ``None`` after a
            step.
    """

    values: Tensor
    velocity: Tensor
    average: Tensor
    count: int = 0
    gradient: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The mean over the places taken in; the present values before the first one."""
        return self.average if self.count else self.values

    def descend(self, rate: float, momentum: float, weight_decay: float) -> None:
        """One step of SGD along the gradient of the last pass."""
        assert self.gradient is not None, "a step without a pass"
        slope = self.gradient.add(self.values, alpha=weight_decay)
        self.velocity.mul_(momentum).add_(slope)
        self.values.sub_(self.velocity, alpha=rate)
        self.gradient = None

    def keep(self) -> None:
        """Take in the present values, as a method takes a snapshot or a sample."""
        self.count += 1
        self.average += (self.values - self.average) / self.count
