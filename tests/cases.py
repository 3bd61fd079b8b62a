"""Losses with curvature known by a formula, and small networks with awkward properties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape.objective.objective import Objective
from landscape.objective.operators.base import FunctionOperator
from landscape.posteriors import Gaussian, GaussianTangent
from landscape.store import schema
from landscape.store.groups import Group

Batches = list[tuple[Tensor, Tensor]]
Shared = Callable[[str, Callable[[Path], None]], Path]
"""Makes the folder of a name once for all processes of the tests: see `shared` in conftest.py."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classification(
    examples: int = 23, features: int = 4, classes: int = 3, batch: int = 12
) -> Batches:
    """Random data in float64; the last batch is smaller."""
    x = torch.randn(examples, features, generator=generator(), dtype=torch.float64)
    y = torch.randint(classes, (examples,), generator=generator(1))
    return list(zip(x.split(batch), y.split(batch), strict=True))


def joined(batches: Batches) -> tuple[Tensor, Tensor]:
    """All examples in one batch."""
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def mlp(features: int = 4, classes: int = 3, seed: int = 0) -> nn.Module:
    """A smooth network in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(features, 5), nn.Tanh(), nn.Linear(5, classes)).double()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """One value an example."""
    return 0.5 * (outputs[:, 0] - targets) ** 2


class Quadratic(nn.Module):
    """L(w) = 1/2 w^T A w, whatever the inputs."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(matrix), dtype=matrix.dtype))
        self.matrix = matrix

    def forward(self, inputs: Tensor) -> Tensor:
        value: Tensor = 0.5 * self.w @ self.matrix @ self.w
        return value.expand(len(inputs), 1)


def quadratic(matrix: Tensor) -> Objective:
    """The objective of ``Quadratic`` on three batches of different size."""
    batches = [(torch.zeros(n, 1), torch.zeros(n)) for n in (3, 3, 1)]
    return Objective(Quadratic(matrix), batches, lambda outputs, _: outputs[:, 0])


def symmetric(spectrum: Tensor, seed: int = 0) -> Tensor:
    """A matrix with the given spectrum and random eigenvectors."""
    size = len(spectrum)
    draw = torch.randn(size, size, generator=generator(seed), dtype=spectrum.dtype)
    basis = torch.linalg.qr(draw)[0]
    return basis @ torch.diag(spectrum) @ basis.T


def concentrated(
    size: int, rank: int, concentration: float, length: float = 1.0, seed: int = 0
) -> Gaussian:
    """A Gaussian in float64 with a share of each column's squared length on one weight.

    ``length`` is that of the columns over the diagonal's scale.
    """
    draws = generator(seed)
    scale = 0.1 * torch.randn(size, generator=draws, dtype=torch.float64).exp()
    columns = torch.randn(rank, size, generator=draws, dtype=torch.float64)
    heavy = torch.randint(size, (rank,), generator=draws)
    columns[torch.arange(rank), heavy] = 0
    columns *= (1 - concentration) ** 0.5 / columns.norm(dim=1, keepdim=True).clamp_min(1e-9)
    columns[torch.arange(rank), heavy] = concentration**0.5
    mean = torch.randn(size, generator=draws, dtype=torch.float64)
    return Gaussian(mean, scale, length * scale[:, None] * columns.T)


def as_type(parts: Gaussian | GaussianTangent, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Mean, scale or log scale, and factor."""
    scale = parts.scale if isinstance(parts, Gaussian) else parts.log_scale
    return parts.mean.to(dtype), scale.to(dtype), parts.factor.to(dtype)


def dense_kl(q: Gaussian, step: GaussianTangent) -> float:
    """KL(q moved by the step || q) by the eigenvalues of dense matrices, in float64."""
    q, step = Gaussian(*as_type(q, torch.float64)), GaussianTangent(*as_type(step, torch.float64))
    moved = q.moved(step)
    before, after = (torch.diag(p.scale**2) + p.factor @ p.factor.T for p in (q, moved))
    root = torch.linalg.inv(torch.linalg.cholesky(before))
    ratios = torch.linalg.eigvalsh(root @ after @ root.T)
    return float((ratios - 1 - ratios.log()).sum() + (root @ step.mean).square().sum()) / 2


def dense_hessian(objective: Objective, w: Tensor) -> Tensor:
    """The Hessian at w by ``torch.func.hessian`` over all examples at once."""
    x, y = joined(list(objective.batches))

    def loss(v: Tensor) -> Tensor:
        total, weight = objective.criterion(objective.space.call(v, x, objective.buffers), y, x)
        return total / weight

    return torch.func.hessian(loss)(w)


def operator_of(matrix: Tensor) -> FunctionOperator:
    """A dense matrix as an operator in its own type."""
    return FunctionOperator(lambda v: matrix @ v, len(matrix), dtype=matrix.dtype)


def columns(operator: object, size: int) -> Tensor:
    """The matrix of an operator, by the unit vectors."""
    identity = torch.eye(size, dtype=torch.float64)
    return torch.stack([operator(row) for row in identity], 1)  # type: ignore[operator]


class Once:
    """An iterable that gives a fresh iterator each time, as a ``DataLoader`` does."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        return iter(self.batches)


class Noisy(Once):
    """A loader that augments: other inputs at every pass."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        noise = generator(self.passes)
        for x, y in super().__iter__():
            yield x + 0.1 * torch.randn(x.shape, generator=noise, dtype=x.dtype), y


def shuffled(batches: Batches, batch: int = 12) -> DataLoader[tuple[Tensor, Tensor]]:
    """The same examples in other batches at every pass, the last one smaller."""
    data = TensorDataset(*joined(batches))
    return DataLoader(data, batch_size=batch, shuffle=True, generator=generator(3))  # type: ignore[arg-type]


class Counted(nn.Module):
    """Layers with running statistics, from 4 features to 4; notes the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.layers = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 4), nn.BatchNorm1d(4)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes.append(len(inputs))
        found: Tensor = self.layers(inputs)
        return found


class Memory:
    """A store that keeps what it was given, and checks it as a run file would."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, Mapping[str, object], Mapping[str, object]]] = []

    def read(self, group: str) -> Group:
        last = {name: (variables, attributes) for name, variables, attributes in self.writes}
        variables, attributes = last[group]
        return Group(schema.conform(group, variables), attributes)  # type: ignore[arg-type]

    def write(
        self,
        group: str,
        variables: Mapping[str, object],
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        self.writes.append((group, variables, attributes or {}))


def write_images(path: Path, classes: int, train: int, test: int, *, first: int = 0) -> None:
    """An ``.npz`` file of 8-bit images in which the number of bright rows tells the class."""
    draw = np.random.default_rng(train)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        labels = np.arange(count) % classes
        images = draw.integers(0, 40, (count, 28, 28), dtype=np.uint8)
        images[np.arange(28) < labels[:, None]] += 200
        arrays |= {f"x_{part}": images, f"y_{part}": labels + first}
    np.savez(path, **arrays)
