"""Networks with attention, whose fused kernels have no second derivative."""

import pytest
import torch
from cases import generator
from torch import Tensor, nn

from landscape.autograd.settings import second_derivatives
from landscape.curvature import MATRICES, top_eigenvalues
from landscape.curvature.at_weights import Backend
from landscape.curvature.estimators.lanczos import Which
from landscape.curvature.matrices import Matrix, operator_at
from landscape.objective.objective import Objective


class Encoder(nn.Module):
    """A user's network: torch's own encoder layer, with dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(self.layer(tokens).mean(1))
        return found


def objective() -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Encoder().double()
    x = torch.randn(7, 3, 4, generator=generator(), dtype=torch.float64)
    y = torch.randint(3, (7,), generator=generator(1))
    return Objective(model, [(x[:4], y[:4]), (x[4:], y[4:])])


def test_the_hessian_of_attention_is_the_slope_of_its_gradient() -> None:
    loss = objective()
    w = loss.space.vector()
    v = torch.randn(w.shape, generator=generator(2), dtype=w.dtype)
    step = 1e-6
    slope = (loss.gradient(w + step * v) - loss.gradient(w - step * v)) / (2 * step)
    torch.testing.assert_close(loss.hessian_product(w, v), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_matrix_of_attention_can_be_multiplied(matrix: Matrix) -> None:
    loss = objective()
    w = loss.space.vector()
    product = operator_at(loss, w, matrix)
    first, second = torch.randn(2, loss.size, generator=generator(3), dtype=w.dtype)
    assert float(first @ product(second)) == pytest.approx(float(second @ product(first)))
    assert float(product(first).norm()) > 0


@pytest.mark.parametrize("backend", ["lanczos", "pyhessian"])
def test_both_backends_measure_attention(backend: Backend) -> None:
    loss = objective()
    found = top_eigenvalues(
        loss, loss.space.vector(), 1, tolerance=1e-6, max_matvecs=2000, backend=backend
    )
    # PyHessian's is the largest magnitude, and its sign.
    which: Which = "magnitude" if backend == "pyhessian" else "largest"
    reference = top_eigenvalues(loss, loss.space.vector(), 1, which=which, tolerance=1e-9)
    torch.testing.assert_close(found.values, reference.values, rtol=1e-4, atol=0)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="settings of torch >= 2.9")
def test_full_precision_is_restored_to_what_it_was() -> None:
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [each.fp32_precision for each in settings]
    with second_derivatives():
        assert [each.fp32_precision for each in settings] == ["ieee", "ieee"]
    assert [each.fp32_precision for each in settings] == before
