"""The low-rank Gaussian against torch.distributions and automatic differentiation."""

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from landscape.errors import InputError
from landscape.posteriors import Gaussian, GaussianTangent

SHAPES = [(1, 0), (6, 0), (6, 2), (4, 6)]


def gaussian(size: int, rank: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)  # noqa: E731
    return Gaussian(draw(size), draw(size).exp(), draw(size, rank))


def dense(q: Gaussian) -> torch.Tensor:
    return torch.diag(q.scale**2) + q.factor @ q.factor.T


def reference(q: Gaussian) -> MultivariateNormal:
    return MultivariateNormal(q.mean, covariance_matrix=dense(q))


@pytest.mark.parametrize(("size", "rank"), SHAPES)
def test_log_density_is_that_of_torch(size: int, rank: int) -> None:
    q = gaussian(size, rank)
    points = torch.randn(5, size, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(points), reference(q).log_prob(points))
    torch.testing.assert_close(q.log_prob(points[0]), reference(q).log_prob(points[0]))


def test_log_density_of_many_parameters_needs_no_dense_matrix() -> None:
    q = gaussian(50_000, 5)
    torch_q = LowRankMultivariateNormal(q.mean, q.factor, q.scale**2)
    point = torch.randn(50_000, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(point), torch_q.log_prob(point))


@pytest.mark.parametrize(("size", "rank"), SHAPES)
@pytest.mark.parametrize("prior_rank", [0, 3])
def test_kl_is_that_of_torch(size: int, rank: int, prior_rank: int) -> None:
    q, prior = gaussian(size, rank), gaussian(size, prior_rank, seed=1)
    torch.testing.assert_close(q.kl(prior), kl_divergence(reference(q), reference(prior)))
    assert float(q.kl(q).abs()) < 1e-10


@pytest.mark.parametrize(("size", "rank"), SHAPES)
def test_kl_gradient_is_that_of_automatic_differentiation(size: int, rank: int) -> None:
    q, prior = gaussian(size, rank), gaussian(size, 2, seed=1)
    leaves = [q.mean.clone(), q.scale.log(), q.factor.clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    mean, log_scale, factor = leaves
    covariance = torch.diag((2 * log_scale).exp()) + factor @ factor.T
    kl = kl_divergence(MultivariateNormal(mean, covariance_matrix=covariance), reference(prior))
    expected = torch.autograd.grad(kl, leaves, materialize_grads=True)
    found = q.kl_gradient(prior)
    for part, truth in zip((found.mean, found.log_scale, found.factor), expected, strict=True):
        torch.testing.assert_close(part, truth)


@pytest.mark.parametrize("rank", [0, 3])
def test_samples_have_the_mean_and_covariance_of_the_distribution(rank: int) -> None:
    q, count = gaussian(4, rank), 40_000
    samples = q.sample(count, torch.Generator().manual_seed(0))
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(dense(q)), (samples - q.mean).T, upper=False
    )
    # Standard errors: 1 / sqrt(n) for a mean, sqrt(2 / n) at most for a second moment.
    assert float(white.mean(1).abs().max()) < 5 / count**0.5
    moments = white @ white.T / count
    assert float((moments - torch.eye(4)).abs().max()) < 5 * (2 / count) ** 0.5


@pytest.mark.parametrize("count", [1, 3])
def test_chain_is_the_gradient_through_the_samples(count: int) -> None:
    q = gaussian(5, 2)
    generator = torch.Generator().manual_seed(3)
    noises = [q.noise(generator) for _ in range(count)]
    leaves = [q.mean.clone(), q.scale.log(), q.factor.clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    mean, log_scale, factor = leaves
    samples = [mean + log_scale.exp() * z.diagonal + factor @ z.factor for z in noises]
    torch.testing.assert_close(samples[0].detach(), q.transform(noises[0]))
    loss = sum((w**3).sum() for w in samples) / count
    expected = torch.autograd.grad(loss, leaves, retain_graph=True)
    found = q.chain([3 * w.detach() ** 2 for w in samples], noises)
    for part, truth in zip((found.mean, found.log_scale, found.factor), expected, strict=True):
        torch.testing.assert_close(part, truth)
    step = GaussianTangent(*(torch.randn_like(leaf) for leaf in leaves))
    torch.testing.assert_close(
        found.dot(step),
        found.mean @ step.mean
        + found.log_scale @ step.log_scale
        + (found.factor * step.factor).sum(),
    )


def test_products_with_covariance_and_precision_are_inverse() -> None:
    q = gaussian(6, 3)
    v = torch.randn(6, dtype=torch.float64)
    torch.testing.assert_close(q.covariance_product(v), dense(q) @ v)
    torch.testing.assert_close(q.precision_product(q.covariance_product(v)), v)
    torch.testing.assert_close(q.precision_diagonal, torch.linalg.inv(dense(q)).diagonal())


def test_nearly_parallel_columns_in_single_precision() -> None:
    """What SWAG leaves: deviations of one trajectory, much longer than the scale is wide."""
    base = gaussian(200, 1, dtype=torch.float32)
    columns = base.factor + 1e-3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(1))
    q = Gaussian(base.mean, 0.01 * base.scale, columns)
    exact = Gaussian(q.mean.double(), q.scale.double(), q.factor.double())
    point = q.sample(1, torch.Generator().manual_seed(0))[0]
    truth = reference(exact).log_prob(point.double())
    assert float(q.log_prob(point)) == pytest.approx(float(truth), rel=1e-3)


def test_moved_steps_in_the_logarithm_of_the_scale() -> None:
    q = gaussian(3, 1)
    step = GaussianTangent(torch.ones(3), torch.full((3,), 2.0).log(), torch.ones(3, 1))
    moved = q.moved(step)
    torch.testing.assert_close(moved.scale, 2 * q.scale)
    torch.testing.assert_close(moved.factor, q.factor + 1)
    assert float(step.norm()) == pytest.approx((3 + 3 * 0.6931471805599453**2 + 3) ** 0.5)


def test_shapes_and_scales_that_make_no_gaussian_are_refused() -> None:
    with pytest.raises(InputError, match="mean \\(P,\\)"):
        Gaussian(torch.zeros(3), torch.ones(2), torch.zeros(3, 1))
    with pytest.raises(InputError, match="positive"):
        Gaussian.diagonal(torch.zeros(3), 0.0)
    with pytest.raises(InputError, match="cannot be compared"):
        gaussian(3, 0).kl(gaussian(4, 0))
