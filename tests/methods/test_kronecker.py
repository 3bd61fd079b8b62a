"""The Kronecker-factored Laplace against dense matrices, and its distribution against torch's."""

from pathlib import Path

import pytest
import torch
from problems import blobs, network
from test_laplace import Ties, covariance, point
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.methods import Laplace
from landscape.objective.batches import Batch
from landscape.posteriors import Kronecker, Posterior, load
from landscape.posteriors.kronecker import Block
from landscape.prediction import predict


def dense(q: Kronecker) -> Tensor:
    """The covariance: of a block, (left x right) diag(scale^2) (left x right)^T."""
    blocks = []
    for block in q.blocks:
        basis = torch.kron(block.left, block.right)
        blocks.append(basis @ torch.diag(block.scale.reshape(-1) ** 2) @ basis.T)
    return torch.block_diag(*blocks)


def gaussian(seed: int = 0) -> Kronecker:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    turn = lambda n: torch.linalg.qr(draw(n, n))[0]  # noqa: E731
    blocks = Block(turn(2), turn(3), draw(2, 3).exp()), Block(turn(2), turn(1), draw(2, 1).exp())
    return Kronecker(draw(8), blocks)


def test_density_and_samples_are_those_of_the_dense_gaussian() -> None:
    q = gaussian()
    reference = torch.distributions.MultivariateNormal(q.mean, dense(q))
    points = torch.randn(4, 8, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(points), reference.log_prob(points))
    torch.testing.assert_close(q.log_prob(points[0]), reference.log_prob(points[0]))
    count = 40_000
    samples = q.sample(count, torch.Generator().manual_seed(0)) - q.mean
    deviations = dense(q).diagonal().sqrt()
    error = (samples.T @ samples / count - dense(q)) / deviations / deviations[:, None]
    assert float(error.abs().max()) < 5 * (2 / count) ** 0.5


@pytest.mark.parametrize("layer", [nn.Linear(4, 3, bias=False), nn.Conv2d(1, 3, 2, bias=False)])
def test_one_layer_at_one_example_is_exact(layer: nn.Module) -> None:
    """There the Gauss-Newton matrix is one Kronecker product."""
    model = nn.Sequential(layer, nn.Flatten()).double()
    shape = (1, 4) if isinstance(layer, nn.Linear) else (1, 1, 2, 2)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batches: list[Batch] = [(inputs, torch.tensor([1]))]
    settings = {"prior_precision": 0.3}
    exact = Laplace(structure="full", **settings).around(point(model), batches).gaussian
    found = Laplace(structure="kronecker", **settings).around(point(model), batches).distribution
    assert isinstance(found, Kronecker)
    torch.testing.assert_close(dense(found), covariance(exact))


def test_factors_of_several_layers_are_means_over_examples() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    found = Laplace(structure="kronecker", prior_precision=0.7).around(point(model), task.train)
    x = task.train.inputs
    hidden = model[:4](x)
    p = model(x).softmax(1)
    outer = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]).mean(0)
    inner = hidden.T @ hidden / len(x)
    precision = len(x) * torch.kron(outer, inner) + 0.7 * torch.eye(24).double()
    rows = slice(24, 48)  # of 4.weight, after 16 + 8 of the first layer
    torch.testing.assert_close(dense(found.distribution)[rows, rows], torch.linalg.inv(precision))


def test_it_trains_predicts_and_is_saved(tmp_path: Path) -> None:
    task, model = blobs(), network()
    posterior = Laplace(epochs=30, structure="kronecker").fit(model, task, device="cpu")
    assert predict(posterior, task.test, samples=5).metrics()["accuracy"] > 0.9
    posterior.save(tmp_path / "laplace.safetensors")
    again = load(tmp_path / "laplace.safetensors", model)
    # But for rounding: what was read lies elsewhere in memory, and is summed in another order.
    torch.testing.assert_close(again.sample(2, 1), posterior.sample(2, 1))
    w = posterior.sample(1)[0]
    torch.testing.assert_close(again.log_prob(w), posterior.log_prob(w))


def test_the_users_generator_is_left_alone() -> None:
    task = blobs()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Laplace(structure="kronecker").around(point(network()), task.train)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_has_no_factors_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    task, method, steps = blobs(), Laplace(structure="kronecker"), []
    record = lambda *arguments: steps.append(arguments)  # noqa: E731
    for model, message in (
        (network(normalisation=True), r"convolutional layers, not 1\.weight"),
        (Ties(), "not tied ones"),
    ):
        given = blobs(classes=2) if isinstance(model, Ties) else task
        with pytest.raises(InputError, match=message):
            method.fit(model, given, device="cpu", progress=record)
    with pytest.raises(InputError, match="not one again"):
        Posterior(point(nn.Linear(2, 2)).space, gaussian_of(6)).marginal(["bias"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install curvlinops-for-pytorch"):
        method.fit(network(), task, device="cpu", progress=record)
    assert steps == []


def gaussian_of(size: int) -> Kronecker:
    one = torch.eye(1)
    return Kronecker(torch.zeros(size), (Block(torch.eye(size), one, torch.ones(size, 1)),))
