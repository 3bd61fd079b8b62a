"""A posterior given by samples: Markov chains and ensembles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError


@dataclass(frozen=True)
class Samples:
    """The empirical distribution of samples.

    Attributes:
        vectors: Samples, shape (S, P).
        chain: Number of each sample's Markov chain, shape (S,); the samples of a chain are in its
            order. ``None`` for independent samples.
    """

    vectors: Tensor
    chain: Tensor | None = None

    kind = "samples"

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) == 0:
            raise InputError(
                f"samples are a matrix (S, P) with S >= 1, not {tuple(self.vectors.shape)}"
            )
        if self.chain is not None and self.chain.shape != self.vectors.shape[:1]:
            raise InputError(
                f"{len(self.vectors)} samples need as many numbers of chains, not an array of "
                f"shape {tuple(self.chain.shape)}"
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
            InputError: ``count`` is larger than the number of samples.
        """
        if count > len(self.vectors):
            raise InputError(
                f"this posterior holds {len(self.vectors)} samples; ask for no more than that"
            )
        return self.vectors[self._drawn(count, generator)]

    def places(self, count: int, generator: torch.Generator) -> np.ndarray | None:
        """Chain and place of the samples that ``sample`` draws, (count, 2); see ``SampleMean``.

        ``None`` for independent samples.
        """
        if self.chain is None:
            return None
        drawn = self._drawn(count, generator).cpu()
        return torch.stack([self.chain.cpu()[drawn], drawn], 1).numpy()

    def marginal(self, chosen: Tensor) -> Samples:
        """The marginal of the parameters of the given indices."""
        return Samples(self.vectors[:, chosen], self.chain)

    def to(self, device: torch.device | str) -> Samples:
        """The same distribution on another device."""
        return Samples(
            self.vectors.to(device), None if self.chain is None else self.chain.to(device)
        )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors in a file."""
        return {"vectors": self.vectors} | ({} if self.chain is None else {"chain": self.chain})

    def _drawn(self, count: int, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(self.vectors), generator=generator, device=generator.device)
        return order[:count].to(self.vectors.device)
