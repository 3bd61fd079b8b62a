"""Learning reaches a known optimum within the steps of the demo: 100 epochs of 2 steps."""

import math

import pytest
import torch
from problems import DEVIATION, half_squared_error
from torch import Tensor, nn

from landscape.methods import FPBMA, VI
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Posterior
from landscape.tasks import Data, Task

EXAMPLES = 100


def regression(lengths: Tensor) -> tuple[nn.Module, Task, Tensor]:
    """Linear regression with orthogonal features, and the Hessian of N times the loss."""
    draws = torch.Generator().manual_seed(0)
    size = len(lengths)
    columns = torch.linalg.qr(torch.randn(EXAMPLES, size, generator=draws).double())[0]
    x = columns * math.sqrt(EXAMPLES) * lengths
    w = 0.3 * torch.randn(size, generator=draws, dtype=torch.float64)
    y = x @ w + DEVIATION * torch.randn(EXAMPLES, generator=draws, dtype=torch.float64)
    data = Data(x, y)
    none = data.subset(torch.arange(0))
    task = Task("regression", data, none, data, (), loss=half_squared_error)
    return nn.Linear(size, 1, bias=False).double(), task, x.T @ x / DEVIATION**2


@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_sigma_reaches_its_optimum(beta: float) -> None:
    """From 0.02; the optima are 0.01 to 0.16."""
    model, task, hessian = regression(torch.linspace(0.3, 2.0, 40).double())
    method = VI(prior_scale=0.5, beta=beta, learning_rate=0.02, noise_samples=4)
    assert (method.epochs, method.batch_size) == (100, 50)
    q = method.fit(model, task, device="cpu").gaussian
    optimum = (hessian.diagonal() / beta + 1 / 0.5**2).rsqrt()
    error = (q.scale / optimum).log()
    assert float(error.mean().abs()) < 0.03
    assert float(error.std()) < 0.1
    assert float((optimum / 0.02).log().abs().max()) > 0.6  # it was far away


@pytest.mark.parametrize("seed", [0, 1])
def test_the_low_rank_part_reaches_its_optimum(seed: int) -> None:
    """With a Hessian c I the posterior of a low-rank prior has the columns of the prior."""
    model, task, hessian = regression(torch.full((20,), 0.1 * DEVIATION).double())
    draws = torch.Generator().manual_seed(seed)
    columns = torch.linalg.qr(torch.randn(20, 2, generator=draws, dtype=torch.float64))[0]
    columns = columns * torch.tensor([1.0, 2.0], dtype=torch.float64)
    start = Gaussian(torch.zeros(20).double(), torch.full((20,), 0.3).double(), columns)
    prior = Posterior(ParameterSpace(model), start)
    method = FPBMA(
        radius=0.0, prior_scale=0.0, beta=1.0, learning_rate=0.02, noise_samples=8, epochs=100
    )
    q = method.fit(model, task, prior=prior, seed=seed, device="cpu").gaussian
    before = 0.3**2 * torch.eye(20).double() + columns @ columns.T
    optimum = torch.linalg.inv(torch.linalg.inv(before) + hessian)
    spectrum = torch.linalg.eigvalsh(optimum)
    length = (spectrum[-2:] - spectrum[0]).sum().sqrt()
    assert float(q.factor.norm()) == pytest.approx(float(length), rel=0.06)
    assert float(length) < 0.5 * float(columns.norm())
    assert float(q.scale.mean()) == pytest.approx(float(spectrum[0].sqrt()), rel=0.01)
    after = torch.diag(q.scale**2) + q.factor @ q.factor.T
    root = torch.linalg.inv(torch.linalg.cholesky(optimum))
    ratios = torch.linalg.eigvalsh(root @ after @ root.T)
    assert float((ratios - 1 - ratios.log()).sum()) / 2 < 0.05  # KL, in nats


@pytest.mark.parametrize("slope", [1.0, 30.0])
def test_the_low_rank_part_performs_no_random_walk(slope: float) -> None:
    """With a linear loss the prior's covariance is the optimum, and all slopes are noise to U."""
    size = 1000
    draws = torch.Generator().manual_seed(0)
    data = Data(slope * torch.randn(EXAMPLES, size, generator=draws), torch.zeros(EXAMPLES))
    none = data.subset(torch.arange(0))
    task = Task("slope", data, none, data, (), loss=lambda outputs, _: outputs[:, 0])
    model = nn.Linear(size, 1, bias=False)
    columns = 0.3 * torch.randn(size, 2, generator=draws)
    start = Gaussian(torch.zeros(size), torch.full((size,), 0.3), columns)
    prior = Posterior(ParameterSpace(model), start)
    method = FPBMA(radius=0.0, prior_scale=0.0, beta=1.0, learning_rate=1e-3)
    q = method.fit(model, task, prior=prior, device="cpu").gaussian
    assert float(q.factor.norm()) == pytest.approx(float(columns.norm()), rel=0.05)
    assert float((q.factor - columns).norm()) < 0.12 * float(columns.norm())
