"""Curvature along a training, and its path on a plane."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape as ls
from landscape.curvature.estimators.lanczos import lanczos
from landscape.errors import InputError
from landscape.methods import Recorder
from landscape.posteriors import from_training, from_weights

mse = nn.functional.mse_loss
X = torch.linspace(-1, 1, 20)[:, None]


def descend(
    model: nn.Module, targets: Tensor, rate: float, steps: int, recorder: Recorder
) -> nn.Module:
    """Full-batch gradient descent."""
    parameters = list(model.parameters())
    for step in range(steps + 1):
        recorder(step, model)
        gradients = torch.autograd.grad(mse(model(X), targets), parameters)
        with torch.no_grad():
            torch._foreach_sub_(parameters, gradients, alpha=rate)
    return model


def test_full_batch_descent_sharpens_to_the_edge_of_stability(tmp_path: Path) -> None:
    """Cohen et al., arXiv 2103.00065: lambda_1 rises to about 2 / rate and stays there."""
    torch.manual_seed(0)
    layers = nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1)
    model, rate = nn.Sequential(*layers), 0.2
    fifth = 16 * X**5 - 20 * X**3 + 5 * X  # the Chebyshev polynomial of their appendix
    descend(model, fifth, rate, 900, Recorder(tmp_path, every=10, most=16))
    path = from_training(model, tmp_path)
    flatness = ls.measure(path, [(X, fifth)], loss=mse, eigenvalues=1, trace_matvecs=2)
    sharpness = flatness.eigenvalues[:, 0] * rate / 2
    late = np.array(path.counts) >= 600
    assert sharpness[0] < 0.7
    assert 0.95 < np.median(sharpness[late]) < 1.1
    assert sharpness[late].min() > 0.8


def test_on_a_quadratic_it_is_constant(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 1, dtype=torch.float64)
    data = (X.double(), 3 * X.double() + 1)
    parameters = list(model.parameters())
    recorder = Recorder(tmp_path, every=5)
    for step in range(21):
        recorder(step, model)
        gradients = torch.autograd.grad(mse(model(data[0]), data[1]), parameters)
        with torch.no_grad():
            torch._foreach_sub_(parameters, gradients, alpha=0.3)
    path = from_training(model, tmp_path)
    flatness = ls.measure(path, [data], loss=mse, eigenvalues=2, trace_matvecs=2)
    design = torch.cat([data[0], torch.ones_like(data[0])], 1)
    exact = torch.linalg.eigvalsh(2 * design.T @ design / 20).flip(0).numpy()
    assert np.allclose(flatness.eigenvalues, exact, rtol=1e-6)
    assert np.allclose(flatness.trace, exact.sum())
    residual = [design @ w - data[1][:, 0] for w in path.sample(5)]
    assert np.allclose(flatness.loss, [float((r**2).mean()) for r in residual])
    assert flatness.loss[-1] < flatness.loss[0]


def test_a_start_near_the_eigenvector_takes_fewer_products_and_misses_nothing() -> None:
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(300, 300))
    values = torch.cat([torch.tensor([10.0, 9.0, 8.0]), torch.rand(297)])
    matrix = basis @ (values[:, None] * basis.T)
    cold = lanczos(lambda v: matrix @ v, 300, k=1)
    warm = lanczos(lambda v: matrix @ v, 300, k=1, start=cold.vectors[0])
    assert warm.matvecs < cold.matvecs
    # Started at the third eigenvector exactly: the search from a random vector finds the first.
    wrong = lanczos(lambda v: matrix @ v, 300, k=1, start=basis[:, 2])
    assert float(wrong.values[0]) == pytest.approx(10.0)
    assert bool(wrong.converged.all())


def test_measured_in_order_it_is_what_each_point_alone_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, targets = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)), X**2
    descend(model, targets, 0.1, 40, Recorder(tmp_path / "path", every=10))
    path = from_training(model, tmp_path / "path")
    run = ls.Run.create(tmp_path / "run.h5")
    settings = {"loss": mse, "eigenvalues": 2, "trace_matvecs": 19}
    flatness = ls.measure(path, [(X, targets)], store=run, **settings)
    for w, values, trace in zip(path.sample(5), flatness.eigenvalues, flatness.trace, strict=True):
        exact = dense(model, targets, w)
        assert np.allclose(values, exact[:2], rtol=1e-2, atol=1e-3)
        assert trace == pytest.approx(float(exact.sum()), rel=1e-3)
    group = run["trajectory"]
    assert list(group["count"]) == [0, 10, 20, 30, 40]
    assert group.attributes["unit"] == "steps"
    # It continues: what is stored is not measured again.
    kept = {name: values[:2] for name, values in group.items()}
    run.write("trajectory", kept, group.attributes)
    seen: list[int] = []
    again = ls.measure(
        path, [(X, targets)], store=run, progress=lambda done, *_: seen.append(done), **settings
    )
    assert seen == [3, 4, 5]
    assert np.allclose(again.eigenvalues, flatness.eigenvalues, rtol=1e-2, atol=1e-3)
    with pytest.raises(InputError, match="ask for no density"):
        ls.measure(path, [(X, targets)], store=run, density_probes=2, **settings)


def dense(model: nn.Module, targets: Tensor, w: Tensor) -> np.ndarray:
    space = ls.ParameterSpace(model)

    def loss(vector: Tensor) -> Tensor:
        return mse(torch.func.functional_call(model, space.unflatten(vector), (X,)), targets)

    hessian = torch.autograd.functional.hessian(loss, w)
    return torch.linalg.eigvalsh(hessian.double()).flip(0).numpy()


def test_the_path_lies_on_the_plane_of_its_principal_directions(tmp_path: Path) -> None:
    model = nn.Linear(2, 2, bias=False)
    around = torch.tensor([[0.0, 0.0, 0, 0], [3, 0, 0, 0], [4, 1, 0, 0], [5, 1, 0.1, 0]])
    states = [{"weight": w.view(2, 2)} for w in around]
    path = from_training(model, states, counts=[0, 5, 10, 20])
    data = [(torch.eye(2), torch.tensor([0, 1]))]
    run = ls.Run.create(tmp_path / "run.h5")
    surface = ls.surface(path, data, plane="pca", shape=(3, 3), store=run, name="trajectory")
    centred = (around - around.mean(0)).double()
    _, _, axes = torch.linalg.svd(centred)
    rest = centred - centred @ axes[:2].T @ axes[:2]
    assert np.allclose(surface.sample_off_plane, rest.norm(dim=1), atol=1e-6)
    assert np.allclose(np.abs(surface.sample_x), (centred @ axes[0]).abs(), atol=1e-6)
    losses = [nn.functional.cross_entropy(data[0][0] @ w.view(2, 2).T, data[0][1]) for w in around]
    assert np.allclose(surface.sample_loss, losses)
    assert list(run["surfaces/trajectory"]["sample_count"]) == [0, 5, 10, 20]


def test_a_trajectory_is_in_order_and_says_its_steps(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    states = [nn.Linear(1, 1).state_dict() for _ in range(3)]
    path = from_training(model, states, counts=[0, 7, 9])
    assert torch.equal(path.sample(3, 5), from_weights(model, states).distribution.vectors)  # type: ignore[union-attr]
    assert path.num_available(30) == 3
    for wrong in ([0, 7], [7, 7, 9], [9, 7, 0]):
        with pytest.raises(InputError, match="counts, which rise"):
            from_training(model, states, counts=wrong)
    with pytest.raises(InputError, match="give counts="):
        from_training(model, states)
    torch.save(states[0], tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt does not say its step"):
        from_training(model, tmp_path)
