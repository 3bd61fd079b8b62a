"""Agreement with curvlinops on the same network, loss and data, in double precision."""

import pytest
import torch
from cases import classification, joined, mlp
from torch import Tensor, nn

from landscape.curvature import top_eigenvalues
from landscape.curvature.matrices import Matrix, operator_at
from landscape.models import build
from landscape.objective.objective import Objective

curvlinops = pytest.importorskip("curvlinops")
THEIRS = {
    "hessian": curvlinops.HessianLinearOperator,
    "gauss-newton": curvlinops.GGNLinearOperator,
    "empirical-fisher": curvlinops.EFLinearOperator,
}


def convnet() -> nn.Module:
    return build("convnet", input_shape=(1, 4, 4), classes=3, width=2).double()


def dense(matrix: Matrix, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Their matrix; of one batch, so that nothing depends on how they average batches."""
    parameters = list(model.eval().parameters())
    operator = THEIRS[matrix](
        model, nn.CrossEntropyLoss(), parameters, [joined(batches)], check_deterministic=False
    )
    return operator @ torch.eye(operator.shape[1], dtype=torch.float64)


@pytest.mark.parametrize("matrix", list(THEIRS))
@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_products_and_eigenvalues_are_those_of_curvlinops(matrix: Matrix, kind: str) -> None:
    if kind == "mlp":
        model, batches = mlp(), classification()
    else:
        model = convnet()
        batches = [(x.view(-1, 1, 4, 4), y) for x, y in classification(features=16)]
    truth = dense(matrix, model, batches)
    objective = Objective(model, batches)
    w = objective.space.vector()
    product = operator_at(objective, w, matrix)
    v = torch.randn(len(w), dtype=w.dtype, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(product(v), truth @ v, rtol=1e-8, atol=1e-10)
    found = top_eigenvalues(objective, w, 3, matrix=matrix, tolerance=1e-8)
    spectrum = torch.linalg.eigvalsh((truth + truth.T) / 2).flip(0)[:3]
    torch.testing.assert_close(found.values, spectrum, rtol=1e-6, atol=0)
