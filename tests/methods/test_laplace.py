"""Laplace against Hessians and posteriors that are known by a formula."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import DEVIATION, blobs, exact_posterior, network, regression
from torch import Tensor, nn

from landscape.curvature import measure
from landscape.errors import InputError
from landscape.methods import MAP, SAM, Laplace
from landscape.methods.laplace import ggn
from landscape.methods.laplace.ggn import ggn_sum
from landscape.methods.laplace.laplace import best_precision
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Point, Posterior, isotropic, load
from landscape.prediction import predict
from landscape.tasks import Data, Task


def point(model: nn.Module, random: Any = None) -> Posterior:
    space = ParameterSpace(model, random)
    return Posterior(space, Point(space.vector()))


def covariance(q: Gaussian) -> Tensor:
    return torch.diag(q.scale**2) + q.factor @ q.factor.T


def dense(posterior: Posterior, task: Task) -> Tensor:
    """sum_n J^T (diag p - p p^T) J with the Jacobian of all outputs at once."""
    outputs = torch.func.jacrev(lambda w: posterior.space.call(w, task.train.inputs))
    jacobian = outputs(posterior.mean)
    p = posterior.space.call(posterior.mean, task.train.inputs).softmax(1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("ncp,ncd,ndq->pq", jacobian, inner, jacobian)


def test_linear_regression_has_its_exact_posterior() -> None:
    model, task = regression()
    mean, truth = exact_posterior(task, prior_variance=2.0)
    model.weight.data.copy_(mean[None])
    for structure in ("full", "last-layer"):
        method = Laplace(structure=structure, prior_precision=0.5)
        q = method.around(point(model), task.train, loss=task.loss).gaussian
        torch.testing.assert_close(covariance(q), truth)
    diagonal = Laplace(structure="diagonal", prior_precision=0.5)
    q = diagonal.around(point(model), task.train, loss=task.loss).gaussian
    torch.testing.assert_close(q.scale**2, 1 / torch.linalg.inv(truth).diagonal())


def test_a_network_that_is_sure_of_every_class_is_not_taken_for_a_loss_that_is_not_convex() -> None:
    task, model = blobs(), nn.Linear(2, 3)
    model.weight.data.mul_(40)  # p - p^2 is then rounding, of either sign
    q = Laplace(structure="full", prior_precision=1.0).around(point(model), task.train).gaussian
    assert bool(q.scale.isfinite().all())


def test_softmax_regressions_matrix_is_its_hessian() -> None:
    task, model = blobs(dtype=torch.float64), nn.Linear(2, 3).double()
    here = point(model)
    found = ggn_sum(here.space, here.mean, task.train, "cross_entropy", {}, full=True)
    hessian = Objective(model, task.train).hessian(here.mean)
    columns = torch.stack([hessian(row) for row in torch.eye(9, dtype=torch.float64)], 1)
    torch.testing.assert_close(found, len(task.train) * columns)


@pytest.mark.parametrize("structure", ["last-layer", "diagonal", "full"])
def test_a_networks_covariance_is_the_dense_one(structure: str) -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    found = Laplace(structure=structure, prior_precision=0.7).around(point(model), task.train)
    names = ["4.weight", "4.bias"] if structure == "last-layer" else None
    here = point(model, names)
    assert found.space.names == here.space.names
    precision = dense(here, task) + 0.7 * torch.eye(here.space.size).double()
    if structure == "diagonal":
        precision = torch.diag(precision.diagonal())
    torch.testing.assert_close(covariance(found.gaussian), torch.linalg.inv(precision))
    torch.testing.assert_close(found.mean, here.mean)


def test_how_the_examples_are_divided_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    task, here = blobs(dtype=torch.float64), point(network().double())
    whole = ggn_sum(here.space, here.mean, task.train, "cross_entropy", {}, full=False)
    ragged = replace(task.train, batch_size=7)
    monkeypatch.setattr(ggn, "_MEMORY", 3 * 8 * here.space.size)
    found = ggn_sum(here.space, here.mean, ragged, "cross_entropy", {}, full=False)
    torch.testing.assert_close(found, whole)


def test_the_prior_precision_maximises_linear_regressions_evidence() -> None:
    """Against the evidence in closed form: y ~ N(0, X X^T / tau + noise)."""
    model, task = regression(examples=40)
    x, y = task.train.inputs, task.train.targets
    grid = torch.logspace(-2, 2, 2001, dtype=torch.float64)

    def evidence(tau: Tensor) -> Tensor:
        noise = DEVIATION**2 * torch.eye(len(y)).double()
        marginal = torch.distributions.MultivariateNormal(
            torch.zeros_like(y), x @ x.T / tau + noise
        )
        return marginal.log_prob(y)

    best = grid[torch.stack([evidence(tau) for tau in grid]).argmax()]
    tau = torch.tensor(1.0)
    for _ in range(50):  # Laplace's own evidence is exact at the mode, which moves with tau
        mean, _ = exact_posterior(task, prior_variance=float(1 / tau))
        here = ggn_sum(ParameterSpace(model), mean, task.train, task.loss, {}, full=True)
        tau = torch.tensor(best_precision(torch.linalg.eigvalsh(here), mean))
    assert float(tau) == pytest.approx(float(best), rel=0.01)


def test_the_precision_is_chosen_and_noted() -> None:
    task, model = blobs(), network()
    free = Laplace(structure="full").around(point(model), task.train)
    chosen = free.settings["prior_precision"]
    fixed = Laplace(structure="full", prior_precision=chosen).around(point(model), task.train)
    torch.testing.assert_close(covariance(free.gaussian), covariance(fixed.gaussian))


@pytest.mark.parametrize(("structure", "epochs"), [("diagonal", 5), ("full", 40)])
def test_the_precision_of_fit_has_the_least_nll_of_predictions_on_validation(
    structure: str, epochs: int
) -> None:
    task, model = blobs(), network(normalisation=True)
    method = Laplace(structure=structure, epochs=epochs)
    posterior = method.fit(model, task, device="cpu")
    trained = MAP(epochs=epochs).fit(model, task, device="cpu")
    evident = method.around(trained, task.train).settings["prior_precision"]
    assert isinstance(evident, float)
    nlls = {}
    for power in range(6):
        fixed = replace(method, prior_precision=evident * 10.0**power)
        q = fixed.around(trained, task.train)
        nlls[fixed.prior_precision] = predict(q, task.validation, samples=10).metrics()["nll"]
    best = min(nlls, key=nlls.__getitem__)
    assert posterior.settings["prior_precision"] == pytest.approx(best)
    assert (best > evident) == (epochs == 40)
    unseen = replace(task, validation=task.validation.subset(torch.arange(0)))
    assert method.fit(model, unseen, device="cpu").settings["prior_precision"] == pytest.approx(
        evident
    )


@pytest.mark.parametrize(("ball", "method"), [("none", MAP), ("euclidean", SAM)])
def test_fit_is_the_point_estimate_and_the_gaussian_around_it(ball: str, method: Any) -> None:
    task, model = blobs(), network(normalisation=True)
    trained = method(epochs=5).fit(model, task, device="cpu", seed=1)
    q = Laplace(epochs=5, ball=ball).fit(model, task, device="cpu", seed=1)
    weights = trained.space.unflatten(trained.mean)
    assert q.space.names == ("4.weight", "4.bias")
    torch.testing.assert_close(q.space.unflatten(q.mean)["4.weight"], weights["4.weight"])
    torch.testing.assert_close(q.space.module.get_parameter("0.weight"), weights["0.weight"])
    same = Laplace(ball=ball).around(trained, task.train, validation=task.validation)
    torch.testing.assert_close(covariance(q.gaussian), covariance(same.gaussian))
    assert q.history["train_loss"] == trained.history["train_loss"]


def test_its_samples_are_predicted_with_measured_and_saved(tmp_path: Any) -> None:
    task, model = blobs(), network(normalisation=True)
    posterior = Laplace(epochs=20).fit(model, task, device="cpu")
    assert predict(posterior, task.test, samples=5).metrics()["accuracy"] > 0.9
    flatness = measure(posterior, task.train, samples=2, eigenvalues=2)
    assert bool(torch.as_tensor(flatness.eigenvalues).isfinite().all())
    posterior.save(tmp_path / "laplace.safetensors")
    again = load(tmp_path / "laplace.safetensors", model, calibration=task.train)
    torch.testing.assert_close(again.sample(2, 1), posterior.sample(2, 1))


class Ties(nn.Module):
    """Two layers of one weight; the last has a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs).tanh())


def test_tied_weights_count_in_both_places() -> None:
    task, model = blobs(classes=2, dtype=torch.float64), Ties().double()
    found = Laplace(prior_precision=1.0).around(point(model), task.train)
    assert found.space.names == ("first.weight", "second.bias")
    precision = dense(found, task) + torch.eye(6).double()
    torch.testing.assert_close(covariance(found.gaussian), torch.linalg.inv(precision))


def test_what_has_no_laplace_approximation_is_refused() -> None:
    task = blobs()
    concave = lambda outputs, targets: -(outputs**2).sum(1) + 0 * targets  # noqa: E731
    wide = nn.Sequential(nn.Linear(2, 4000), nn.Linear(4000, 3))
    images = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 1)))
    for method, given, data, loss, message in (
        (Laplace(), point(network()), task.train, concave, "convex in the network's outputs"),
        (Laplace(), point(wide), task.train, "cross_entropy", "12003 parameters is too large"),
        (Laplace(), point(network(), ["0.bias"]), task.train, "cross_entropy", "last layer is not"),
        (Laplace(), point(nn.Bilinear(2, 2, 3)), task.train, "cross_entropy", "no linear layer"),
        (
            Laplace(structure="full"),
            point(nn.Sequential(nn.Linear(2, 2), images)),
            Data(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long)),
            "cross_entropy",
            "one vector an example",
        ),
        (Laplace(), isotropic(network(), 1.0), task.train, "cross_entropy", "needs a point"),
    ):
        with pytest.raises(InputError, match=message):
            method.around(given, data, loss=loss)
    with pytest.raises(InputError, match="structure must be one of"):
        Laplace(structure="banded")
    with pytest.raises(InputError, match="12003 parameters is too large"):
        Laplace().fit(wide, task, device="cpu")
