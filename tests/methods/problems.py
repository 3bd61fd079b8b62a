"""Problems with known answers, and small tasks to train on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landscape.tasks import Data, Task

DEVIATION = 0.5
"""Standard deviation of the noise of ``regression``."""


def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The negative log-likelihood, up to a constant, of Gaussian noise of ``DEVIATION``.

    It is a sum over all outputs (B, R). Each of them predicts the targets (B,) on its own.
    """
    return 0.5 * ((outputs - targets[:, None]) / DEVIATION).square().sum(1)


def regression(examples: int = 20, features: int = 2, copies: int = 1) -> tuple[nn.Module, Task]:
    """Linear regression in float64, with correlated features.

    The network has one row of weights a copy. Their posteriors are the same and independent, so
    one step with R copies draws as many samples as R steps with one.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(examples, features, generator=generator, dtype=torch.float64)
    x[:, -1] += 0.7 * x[:, 0]
    y = x.sum(1) + DEVIATION * torch.randn(examples, generator=generator, dtype=torch.float64)
    data = Data(x, y)
    model = nn.Linear(features, copies, bias=False).double()
    none = data.subset(torch.arange(0))
    return model, Task("regression", data, none, data, (), loss=half_squared_error)


def exact_posterior(task: Task, prior_variance: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of Bayesian linear regression under N(0, prior_variance I)."""
    x, y = task.train.inputs, task.train.targets
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    covariance = torch.linalg.inv(x.T @ x / DEVIATION**2 + identity / prior_variance)
    return covariance @ x.T @ y / DEVIATION**2, covariance


def blobs(examples: int = 30, classes: int = 3, dtype: torch.dtype = torch.float32) -> Task:
    """Well separated classes in the plane."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(examples) % classes
    angle = labels * (2 * torch.pi / classes)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    data = Data((centres + 0.3 * torch.randn(examples, 2, generator=generator)).to(dtype), labels)
    names = tuple(str(label) for label in range(classes))
    return Task("blobs", data, data, data, names)


class Noted(nn.Module):
    """Dropout that notes what it is given in training, and which of it it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, 2), about half of them."""
        mask = self.dropout(torch.ones(len(inputs), 64))
        if self.training:
            noted.append((inputs.detach().clone(), mask.clone()))
        return inputs * mask[:, :2]


noted: list[tuple[Tensor, Tensor]] = []


def jittered(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """An augmentation."""
    return inputs + torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)


def network(normalisation: bool = False, dropout: float = 0.0) -> nn.Module:
    """A small network for ``blobs``, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(2, 8),
            nn.BatchNorm1d(8) if normalisation else nn.Identity(),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(8, 3),
        )
