"""Curvature of layers against blocks cut out of the dense matrix."""

import pytest
import torch
from cases import classification, columns, dense_hessian, mlp
from torch import nn

from landscape.curvature import MATRICES, by_block, restrict, top_eigenvalues
from landscape.curvature.blocks import layers
from landscape.errors import InputError
from landscape.objective.objective import Objective


def somewhere(objective: Objective) -> torch.Tensor:
    """Other weights than the module's own."""
    return objective.space.vector() + 0.3


def test_layers_are_the_diagonal_blocks() -> None:
    objective = Objective(mlp(), classification())
    w = somewhere(objective)
    dense = dense_hessian(objective, w)
    found = by_block(objective, w, eigenvalues=2, tolerance=1e-8, trace_matvecs=30)
    cuts = {"0": slice(0, 25), "2": slice(25, 43)}
    assert list(found) == list(cuts)
    for name, cut in cuts.items():
        part, truth = found[name], dense[cut, cut]
        assert part.size == len(truth)
        torch.testing.assert_close(part.top.values, torch.linalg.eigvalsh(truth).flip(0)[:2])
        assert part.trace.value == pytest.approx(float(truth.trace()))
    whole = top_eigenvalues(objective, w, 1, tolerance=1e-8).values[0]
    assert all(float(part.top.values[0]) < float(whole) for part in found.values())


def test_a_block_has_the_matrix_the_names_and_the_statistics_asked_for() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    base = Objective(model, classification())
    objective = base.with_buffers({n: v + 1 for n, v in base.space.buffers().items()})
    w = somewhere(objective)
    names = ["1.weight", "3.bias"]
    part = restrict(objective, w, names)
    at = [25, 26, 27, 28, 29, 50, 51, 52]
    block = dense_hessian(objective, w)[at][:, at]
    torch.testing.assert_close(columns(part.hessian(part.space.vector()), 8), block)
    found = by_block(objective, w, {"both": names}, matrix="gauss-newton", eigenvalues=20)["both"]
    assert found.names == ("1.weight", "3.bias")
    assert len(found.top.values) == 8
    assert found.trace.value != pytest.approx(float(block.trace()), rel=1e-3)


def test_the_objective_that_is_restricted_stays_as_it_was() -> None:
    objective = Objective(mlp(), classification())
    w = somewhere(objective)
    before = objective.space.vector().clone(), objective.loss(w)
    restrict(objective, w, ["2.bias"])
    assert torch.equal(objective.space.vector(), before[0])
    assert torch.equal(objective.loss(w), before[1])


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


def test_a_parameter_of_no_layer_is_a_block_of_its_own() -> None:
    assert layers(Objective(Bare(), []).space) == {"scale": ["scale"]}


def test_names_that_are_not_there_are_refused() -> None:
    objective = Objective(mlp(), classification(), parameters=["0.weight"])
    w = objective.space.vector()
    with pytest.raises(InputError, match=r"'2.bias' is not among the inferred parameters: 0"):
        by_block(objective, w, {"head": ["2.bias"]})
    with pytest.raises(InputError, match="no parameter is chosen"):
        by_block(objective, w, {"nothing": []})
    with pytest.raises(InputError, match="k must be between"):
        by_block(objective, w, eigenvalues=0)
    with pytest.raises(InputError, match="blocks is a dict"):
        by_block(objective, w, ["0.weight"])  # type: ignore[arg-type]


def test_one_name_is_a_list_of_one() -> None:
    objective = Objective(mlp(), classification())
    w = somewhere(objective)
    one, listed = (by_block(objective, w, {"a": names}) for names in ("2.weight", ["2.weight"]))
    assert one["a"].names == listed["a"].names == ("2.weight",)
    assert Objective(mlp(), classification(), parameters="2.weight").space.names == ("2.weight",)


def test_all_that_is_made_in_inference_mode_can_be_differentiated() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        layers = (nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        return nn.Sequential(*layers).double()

    with torch.inference_mode():
        data = [(1 * inputs, targets) for inputs, targets in classification()]
        base = Objective(network(), data)
        objective = base.with_buffers({n: v + 1 for n, v in base.space.buffers().items()})
        w = somewhere(objective)
        inside = {
            matrix: by_block(objective, w, matrix=matrix)  # type: ignore[arg-type]
            for matrix in MATRICES
        }
    base = Objective(network(), classification())
    objective = base.with_buffers({n: v + 1 for n, v in base.space.buffers().items()})
    for matrix, found in inside.items():
        outside = by_block(objective, somewhere(objective), matrix=matrix)  # type: ignore[arg-type]
        for name, block in found.items():
            torch.testing.assert_close(block.top.values, outside[name].top.values)
            assert block.trace.value == pytest.approx(outside[name].trace.value)
