"""Mixtures against closed forms, torch's mixtures and files."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import norm
from test_gaussian import dense, gaussian, reference
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from landscape.curvature import measure
from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, Kronecker, Mixture, Posterior, PosteriorLoss, load
from landscape.posteriors.fingerprints import fingerprints
from landscape.posteriors.kronecker import Block
from landscape.posteriors.transfer import adapt
from landscape.prediction import predict
from landscape.surfaces import surface

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
BATCHES = [(torch.randn(9, 2), torch.arange(9) % 2)]


def mixture(size: int = 4, rank: int = 2) -> Mixture:
    return Mixture(tuple(gaussian(size, rank, seed) for seed in range(3)), WEIGHTS)


def posterior(dtype: torch.dtype = torch.float32) -> Posterior:
    """Three Gaussians of unlike rank over a small network."""
    space = ParameterSpace(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to(dtype))
    parts = [gaussian(space.size, rank, rank, dtype) for rank in (0, 2, 1)]
    return Posterior(space, Mixture(tuple(parts), WEIGHTS), method="made")


def kronecker(size: int) -> Kronecker:
    one = torch.ones(1, 1)
    return Kronecker(torch.zeros(size), (Block(torch.eye(size), one, torch.ones(size, 1)),))


def covariance(q: Mixture) -> Tensor:
    """The mean of the components' second moments around the mixture's mean."""
    total = torch.zeros(q.size, q.size, dtype=torch.float64)
    for weight, part in zip(q.weights, q.components, strict=True):
        assert isinstance(part, Gaussian)
        off = part.mean - q.mean
        total += weight * (dense(part) + off.outer(off))
    return total


def test_the_density_on_a_line_is_scipys() -> None:
    parts = [(-3.0, 0.5), (0.0, 2.0), (1.5, 0.1)]
    q = Mixture(
        tuple(Gaussian.diagonal(torch.tensor([m], dtype=torch.float64), s) for m, s in parts),
        WEIGHTS,
    )
    points = torch.linspace(-5, 60, 66, dtype=torch.float64)
    at = points.numpy()
    truth = sum(w * norm.pdf(at, m, s) for w, (m, s) in zip(WEIGHTS.tolist(), parts, strict=True))
    found = q.log_prob(points[:, None])
    inside = points < 30  # beyond, scipy's density is 0
    torch.testing.assert_close(found.exp()[inside], torch.as_tensor(truth)[inside])
    far = math.log(0.5) + norm.logpdf(60.0, 0.0, 2.0)
    assert float(found[-1]) == pytest.approx(far, rel=1e-12)
    assert float(q.mean) == pytest.approx(0.2 * -3 + 0.3 * 1.5)


def test_the_density_in_space_is_torchs() -> None:
    q = mixture()
    dense_parts = [reference(part) for part in q.components if isinstance(part, Gaussian)]
    means = torch.stack([part.mean for part in dense_parts])
    covariances = torch.stack([part.covariance_matrix for part in dense_parts])
    same = MixtureSameFamily(Categorical(WEIGHTS), MultivariateNormal(means, covariances))
    points = 3 * torch.randn(5, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(points), same.log_prob(points))
    torch.testing.assert_close(q.log_prob(points[0, 0]), same.log_prob(points[0, 0]))
    torch.testing.assert_close(q.mean, same.mean)
    torch.testing.assert_close(covariance(q).diagonal(), same.variance)


def test_samples_have_the_mean_and_covariance_of_the_mixture() -> None:
    q, count = mixture(2, 1), 4000
    samples = q.sample(count, torch.Generator().manual_seed(0))
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance(q)), (samples - q.mean).T, upper=False
    )
    assert float(white.mean(1).abs().max()) < 5 / count**0.5
    products = torch.stack([white[i] * white[j] for i, j in ((0, 0), (1, 1), (0, 1))])
    z = (products.mean(1) - torch.tensor([1, 1, 0])) / (products.std(1) / count**0.5)
    assert float(z.abs().max()) < 5


def test_components_are_drawn_by_their_weight() -> None:
    ends = tuple(Gaussian.diagonal(torch.tensor([at]), 0.01) for at in (0.0, 1.0, 2.0, 3.0))
    q, count = Mixture(ends, torch.tensor([0.1, 0.0, 0.9, 0.0])), 2000
    nearest = q.sample(count, torch.Generator().manual_seed(0))[:, 0].round()
    shares = torch.bincount(nearest.int(), minlength=4) / count
    assert float(shares[1] + shares[3]) == 0
    assert abs(float(shares[0]) - 0.1) < 5 * (0.1 * 0.9 / count) ** 0.5


def test_the_first_of_many_samples_are_the_first_of_few() -> None:
    q = posterior()
    assert torch.equal(q.sample(7, 1)[:3], q.sample(3, 1))
    assert not torch.equal(q.sample(3, 1), q.sample(3, 2))
    assert q.num_available(50) == 50
    assert q.places(3) is None


def test_a_mixture_of_one_is_that_gaussian() -> None:
    q = gaussian(5, 2)
    points = torch.randn(3, 5, dtype=torch.float64)
    same = Mixture.uniform([q])
    torch.testing.assert_close(same.log_prob(points), q.log_prob(points))
    assert torch.equal(same.mean, q.mean)


def test_the_marginal_is_that_of_the_components() -> None:
    q, chosen = mixture(4, 2), torch.tensor([2, 0])
    part, points = q.marginal(chosen), torch.randn(6, 2, dtype=torch.float64)
    truth = [
        MultivariateNormal(g.mean[chosen], dense(g)[chosen][:, chosen]).log_prob(points)
        for g in q.components
        if isinstance(g, Gaussian)
    ]
    expected = torch.logsumexp(torch.stack(truth) + WEIGHTS.log()[:, None], 0)
    torch.testing.assert_close(part.log_prob(points), expected)
    assert posterior().marginal(["1.bias"]).space.size == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_file_holds_all_of_it(tmp_path: Path, dtype: torch.dtype) -> None:
    q = posterior(dtype)
    other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to(dtype)
    again = load(q.save(tmp_path / "q.safetensors"), other)
    before, after = q.distribution.tensors(), again.distribution.tensors()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(again.sample(5, 3), q.sample(5, 3))
    w = q.sample(1)[0]
    assert torch.equal(again.log_prob(w), q.log_prob(w))
    assert torch.equal(q.distribution.to("cpu").mean, q.mean)


def test_more_than_ten_components_and_kronecker_ones_come_back_in_order(tmp_path: Path) -> None:
    space = ParameterSpace(nn.Linear(2, 2))
    parts = [Gaussian.diagonal(torch.full((6,), float(at)), 0.1) for at in range(12)]
    q = Posterior(space, Mixture.uniform([*parts, kronecker(6)]))
    again = load(q.save(tmp_path / "q.safetensors"), nn.Linear(2, 2)).distribution
    assert isinstance(again, Mixture)
    assert [float(part.mean[0]) for part in again.components] == [*range(12), 0.0]
    assert isinstance(again.components[12], Kronecker)
    with pytest.raises(InputError, match="not one again"):
        q.marginal(["bias"])


def test_weights_and_components_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    q = posterior()
    parts = q.distribution.components  # type: ignore[union-attr]
    prints = [
        fingerprints(PosteriorLoss(Posterior(q.space, distribution), BATCHES))["posterior"]
        for distribution in (
            q.distribution,
            Mixture(parts, WEIGHTS.flip(0)),
            Mixture.uniform(parts),
            Mixture(parts[::-1], WEIGHTS),
        )
    ]
    assert len(set(prints)) == 4
    loaded = load(q.save(tmp_path / "q.safetensors"), q.space.module)
    assert fingerprints(PosteriorLoss(loaded, BATCHES))["posterior"] == prints[0]


def test_its_samples_are_predicted_with_measured_and_surveyed() -> None:
    q = posterior()
    weights = q.sample(4, 2)
    outputs = torch.stack([q.space.call(w, BATCHES[0][0]).softmax(1) for w in weights])
    found = predict(q, BATCHES, samples=4, seed=2).log_probabilities.exp()
    torch.testing.assert_close(found, outputs.detach().float())
    flatness = measure(q, BATCHES, samples=2, eigenvalues=2)
    assert bool(torch.as_tensor(flatness.eigenvalues).isfinite().all())
    assert bool(torch.as_tensor(surface(q, BATCHES, samples=3, shape=(2, 3)).loss).isfinite().all())


def test_what_makes_no_mixture_is_refused_in_a_line() -> None:
    parts = (gaussian(3, 0), gaussian(3, 1))
    for bad in ([0.5, 0.6], [1.5, -0.5], [1.0], [math.nan, 1.0], [[0.5, 0.5]], []):
        with pytest.raises(InputError, match="mixture of 2 components needs as many weights"):
            Mixture(parts, torch.tensor(bad))
    with pytest.raises(InputError, match="over one space, not over 3, 4 parameters"):
        Mixture.uniform([gaussian(3, 0), gaussian(4, 0)])
    with pytest.raises(InputError, match="over one space, not over none parameters"):
        Mixture.uniform([])
    for use in (lambda: adapt(posterior(), nn.Linear(2, 2)), lambda: posterior().kl(posterior())):
        with pytest.raises(InputError, match=r"needs a Gaussian posterior .*, not a mixture"):
            use()


def test_a_file_whose_mixture_is_incomplete_is_refused_in_a_line(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    q = posterior()
    path, bad = q.save(tmp_path / "q.safetensors"), tmp_path / "bad.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, names = file.metadata(), list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
    inside = [name for name in names if name.startswith("distribution/")]
    assert len(inside) == 10
    less = [{name: tensor for name, tensor in tensors.items() if name != out} for out in inside]
    wrong = {
        "weights": torch.tensor([0.5, 0.5]),
        "0.gaussian.mean": torch.zeros(3),
        "0.unknown.mean": torch.zeros(12),
        "x.gaussian.mean": torch.zeros(12),
        "mean": torch.zeros(12),
        "3.gaussian.mean": torch.zeros(12),
    }
    for spoiled in [*less, *({**tensors, f"distribution/{n}": t} for n, t in wrong.items())]:
        save_file(spoiled, bad, metadata=metadata)
        with pytest.raises(InputError) as error:
            load(bad, q.space.module)
        assert "\n" not in str(error.value)
