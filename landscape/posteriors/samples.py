"""A posterior known by samples: Markov chains and ensembles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.errors import InputError


@dataclass(frozen=True)
class Samples:
    """The empirical distribution of the rows of ``vectors``, shape (S, P)."""

    vectors: Tensor

    kind = "samples"

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) == 0:
            raise InputError(
                f"samples are a matrix (S, P) with S >= 1, not {tuple(self.vectors.shape)}"
            )

    @property
    def size(self) -> int:
        """P."""
        return self.vectors.shape[1]

    @property
    def mean(self) -> Tensor:
        """The samples' mean, shape (P,)."""
        return self.vectors.mean(0)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` different rows in random order, shape (count, P).

        Raises:
            InputError: more are asked for than there are.
        """
        if count > len(self.vectors):
            raise InputError(
                f"this posterior holds {len(self.vectors)} samples; ask for no more than that"
            )
        order = torch.randperm(len(self.vectors), generator=generator, device=generator.device)
        return self.vectors[order[:count].to(self.vectors.device)]

    def marginal(self, chosen: Tensor) -> Samples:
        """That of the parameters of the given indices."""
        return Samples(self.vectors[:, chosen])

    def to(self, device: torch.device | str) -> Samples:
        """The same distribution on another device."""
        return Samples(self.vectors.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """What ``save`` writes."""
        return {"vectors": self.vectors}
