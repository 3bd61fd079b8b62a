"""A mixture of Gaussians: several modes of a posterior."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.kronecker import Kronecker

Component = Gaussian | Kronecker

_COMPONENTS: dict[str, Callable[..., Component]] = {
    Gaussian.kind: Gaussian,
    Kronecker.kind: Kronecker.from_tensors,
}


@dataclass(frozen=True)
class Mixture:
    """The density sum_m weights_m q_m(w) of Gaussians q_m.

    Args:
        components: The q_m, M Gaussians over the same R^P.
        weights: Probability of each, shape (M,). They sum to 1, up to single precision.

    Raises:
        InputError: there is no component, they are over spaces of different size, or the weights
            are not M probabilities that sum to 1.

    Examples:
        >>> ends = [Gaussian.diagonal(torch.tensor([at]), 0.5) for at in (-2.0, 2.0)]
        >>> q = Mixture.uniform(ends)
        >>> q.mean, q.log_prob(torch.tensor([2.0])).exp()
        (tensor([0.]), tensor(0.3989))
    """

    components: tuple[Component, ...]
    weights: Tensor

    kind = "mixture"

    def __post_init__(self) -> None:
        if len({q.size for q in self.components}) != 1:
            raise InputError(
                "a mixture needs components over one space, not over "
                f"{', '.join(str(q.size) for q in self.components) or 'none'} parameters"
            )
        shares = self.weights.to(self.components[0].mean)
        rounding = max(torch.finfo(kind).eps for kind in (shares.dtype, torch.float32))
        slack = len(self.components) * rounding
        is_one_each = shares.shape == (len(self.components),)
        if not (is_one_each and shares.min() >= 0 and abs(float(shares.sum()) - 1) <= slack):
            raise InputError(
                f"a mixture of {len(self.components)} components needs as many weights that are "
                "not negative and sum to 1"
            )
        object.__setattr__(self, "weights", shares)

    @classmethod
    def uniform(cls, components: Sequence[Component]) -> Mixture:
        """The mixture in which all components have the same weight."""
        ones = torch.ones(len(components), dtype=torch.float64)
        return cls(tuple(components), ones / max(1, len(components)))

    @classmethod
    def from_tensors(cls, weights: Tensor, **parts: Tensor) -> Mixture:
        """The inverse of ``tensors``."""
        grouped: dict[tuple[int, str], dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in parts.items():
            index, kind, name = key.split(".")
            grouped[int(index), kind][name] = tensor
        ordered = sorted(grouped)
        return cls(tuple(_COMPONENTS[key[1]](**grouped[key]) for key in ordered), weights)

    @property
    def size(self) -> int:
        """P."""
        return self.components[0].size

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture, shape (P,); it may lie where the density is low."""
        return self.weights @ torch.stack([q.mean for q in self.components])

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` independent samples, shape (count, P), each of a component drawn by weight."""
        ends = self.weights.cpu().double().cumsum(0)
        samples = []
        for _ in range(count):
            drawn = torch.rand(
                1, dtype=torch.float64, device=generator.device, generator=generator
            ).cpu()
            index = min(int((ends <= drawn * ends[-1]).sum()), len(ends) - 1)
            samples.append(self.components[index].sample(1, generator)[0])
        return torch.stack(samples)

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density, in nats, of w (..., P); shape (...)."""
        densities = torch.stack([q.log_prob(w) for q in self.components], -1)
        return torch.logsumexp(densities + self.weights.log(), -1)

    def marginal(self, chosen: Tensor) -> Mixture:
        """The marginal of the parameters of the given indices.

        Raises:
            InputError: a component is Kronecker-factored.
        """
        return Mixture(tuple(q.marginal(chosen) for q in self.components), self.weights)

    def to(self, device: torch.device | str) -> Mixture:
        """The same distribution on another device."""
        return Mixture(tuple(q.to(device) for q in self.components), self.weights.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors in a file: ``weights``, and ``INDEX.KIND.NAME`` of each component."""
        named = {"weights": self.weights}
        for index, q in enumerate(self.components):
            named |= {f"{index}.{q.kind}.{name}": part for name, part in q.tensors().items()}
        return named
