"""Surfaces on losses that are known everywhere."""

import numpy as np
import pytest
import torch
from cases import Memory, Quadratic, classification, generator, mlp, symmetric
from torch import Tensor, nn

from landscape.curvature import expected_sharpness, m_sharpness
from landscape.errors import InputError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, Samples, isotropic
from landscape.surfaces import (
    Plane,
    Surface,
    filter_normalised,
    line,
    orthonormal_pair,
    principal,
    surface,
    through_samples,
)

MATRIX = symmetric(torch.linspace(0.5, 3, 6).double())
BATCHES = [(torch.zeros(n, 1), torch.zeros(n)) for n in (3, 1)]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0]


def posterior(count: int = 5) -> Posterior:
    vectors = torch.randn(count, 6, generator=generator(), dtype=torch.float64)
    return Posterior(ParameterSpace(Quadratic(MATRIX)), Samples(vectors))


def evaluated(q: Posterior, **settings: object) -> Surface:
    return surface(q, BATCHES, **{"loss": loss, "samples": 5, "shape": (4, 7), **settings})  # type: ignore[arg-type]


def test_every_point_of_a_grid_that_is_not_square_has_its_own_loss() -> None:
    found = evaluated(posterior())
    assert found.loss.shape == (4, 7) == (len(found.y), len(found.x))
    for i, y in enumerate(found.y):
        for j, x in enumerate(found.x):
            w = found.plane.origin + x * found.plane.basis[0] + y * found.plane.basis[1]
            assert found.loss[i, j] == pytest.approx(float(0.5 * w @ MATRIX @ w))


def test_samples_are_projected_and_their_distance_is_to_the_plane() -> None:
    q = posterior()
    found = evaluated(q)
    samples = q.sample(5, 0)
    first, second, third = samples[:3]
    np.testing.assert_allclose(found.sample_off_plane[:3], 0, atol=1e-12)
    assert bool((found.sample_off_plane[3:] > 0.1).all())
    assert (found.sample_x[0], found.sample_y[0], found.sample_y[1]) == pytest.approx((0, 0, 0))
    assert found.sample_x[1] == pytest.approx(float((second - first).norm()))
    spanned = torch.stack([second - first, third - first])
    for index in range(5):
        shifted = samples[index] - first
        residual = torch.linalg.lstsq(spanned.T, shifted[:, None]).solution
        distance = (shifted - (spanned.T @ residual)[:, 0]).norm()
        assert found.sample_off_plane[index] == pytest.approx(float(distance), abs=1e-9)
        truth = 0.5 * samples[index] @ MATRIX @ samples[index]
        assert found.sample_loss[index] == pytest.approx(float(truth))


def test_the_grid_reaches_beyond_every_sample() -> None:
    found = evaluated(posterior(), margin=0.25)
    for axis, values in ((found.x, found.sample_x), (found.y, found.sample_y)):
        reach = 0.25 * (values.max() - values.min())
        assert (axis[0], axis[-1]) == pytest.approx((values.min() - reach, values.max() + reach))


def test_the_share_of_variance_is_one_for_samples_on_the_plane() -> None:
    assert evaluated(posterior(3), samples=3).variance_share == pytest.approx(1)
    found, samples = evaluated(posterior()), posterior().sample(5, 0)
    centred = samples - samples.mean(0)
    outside = centred - centred @ found.plane.basis.T @ found.plane.basis
    assert found.variance_share == pytest.approx(float(1 - (outside**2).sum() / (centred**2).sum()))
    assert found.variance_share < 0.99


def test_a_plane_of_ones_own_and_a_fixed_extent() -> None:
    basis = torch.eye(6, dtype=torch.float64)[:2]
    plane = Plane(torch.zeros(6).double(), basis, "random", ("x", "y"))
    store = Memory()
    found = evaluated(posterior(), plane=plane, extent=2.0, shape=(3, 5), store=store)
    assert store.writes[-1][0] == "surfaces/own"
    assert list(found.x) == [-2, -1, 0, 1, 2]
    assert found.loss[0, 0] == pytest.approx(
        float(0.5 * (MATRIX[0, 0] + MATRIX[1, 1]) * 4 + 4 * MATRIX[0, 1])
    )


def test_the_origin_of_the_plane_is_the_first_sample() -> None:
    space, batches = ParameterSpace(mlp()), classification()
    q = isotropic(mlp(), 0.1, mean=space.vector())
    found = surface(q, batches, samples=4, shape=(3, 3), extent=1.0, seed=2)
    truth = Objective(space, batches).evaluate(q.sample(4, 2)[0])
    assert found.loss[1, 1] == pytest.approx(truth.loss)
    assert found.accuracy[1, 1] == truth.accuracy
    assert found.sample_loss[0] == pytest.approx(truth.loss)


def test_a_random_plane_goes_through_the_mean_and_not_a_sample() -> None:
    q = isotropic(mlp(), 0.1, mean=ParameterSpace(mlp()).vector())
    found = surface(q, classification(), plane="random", samples=2, shape=(2, 2))
    assert torch.equal(found.plane.origin, q.mean)
    again, other = (
        surface(q, classification(), plane="random", samples=2, shape=(2, 2), seed=seed)
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(again.loss, found.loss)
    assert not np.array_equal(other.loss, found.loss)


def test_infinity_and_nan_are_kept() -> None:
    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        value = outputs[:, 0]
        return torch.where(value > 2, torch.inf, torch.where(value > 1, torch.nan, value))

    found = evaluated(posterior(), loss=broken)
    plain = evaluated(posterior()).loss
    assert bool(np.isinf(found.loss[plain > 2]).all())
    assert bool(np.isnan(found.loss[(plain > 1) & (plain <= 2)]).all())
    np.testing.assert_allclose(found.loss[plain <= 1], plain[plain <= 1])


def test_a_point_posterior_has_a_random_plane_through_it() -> None:
    space = ParameterSpace(mlp())
    q = Posterior(space, Point(space.vector()))
    batches = classification()
    found = surface(q, batches, plane="random", shape=(3, 3))
    assert found.loss[1, 1] == pytest.approx(float(Objective(space, batches).loss(q.mean)))
    assert found.sample_loss.shape == (1,)
    assert found.sample_off_plane[0] < 1e-12
    assert np.isnan(found.variance_share)
    assert found.x[-1] == pytest.approx(float(q.mean.norm()))
    with pytest.raises(InputError, match="needs three samples, not 1; use 'random'"):
        surface(q, batches)


def test_running_statistics_are_re_estimated_at_every_point() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    space, batches = ParameterSpace(model), classification(batch=23)
    q = Posterior(space, Point(space.vector()), calibration=batches)
    found = surface(q, batches, plane="random", shape=(2, 2))
    w = found.plane.at(float(found.x[0]), float(found.y[0]))
    truth = Objective(space, batches, buffers=q.buffers(w)).loss(w)
    assert found.loss[0, 0] == pytest.approx(float(truth))
    assert found.loss[0, 0] != pytest.approx(float(Objective(space, batches).loss(w)))


def test_surfaces_of_one_kind_lie_side_by_side_under_names() -> None:
    store, own = Memory(), evaluated(posterior()).plane
    for name in (None, "test"):
        evaluated(posterior(), plane=own, store=store, name=name)
    assert {group for group, _, _ in store.writes} == {"surfaces/own", "surfaces/test"}
    written = len(store.writes)
    evaluated(posterior(), plane=own, store=store, name="test")
    assert len(store.writes) == written  # it is there
    for name in ("", "a/b"):
        with pytest.raises(InputError, match="cannot be a name in a store"):
            evaluated(posterior(), store=store, name=name)


def test_the_surface_is_written_with_what_its_axes_are() -> None:
    store = Memory()
    seen = []
    found = evaluated(
        posterior(), store=store, progress=lambda done, total: seen.append((done, total))
    )
    group, variables, attributes = store.writes[-1]
    assert group == "surfaces/samples"
    np.testing.assert_array_equal(variables["loss"], found.loss)
    assert attributes["variance_share"] == found.variance_share
    assert "sample 0" in str(attributes["x_axis"])
    assert seen == [(done, 4) for done in range(1, 5)]


def test_directions_are_normalised_filter_by_filter() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))
    space = ParameterSpace(model)
    w = space.vector()
    direction = filter_normalised(space, w, generator())
    weights, drawn = space.unflatten(w), space.unflatten(direction)
    for name in ("0.weight", "3.weight"):
        rows, filters = drawn[name].flatten(1), weights[name].flatten(1)
        torch.testing.assert_close(rows.norm(dim=1), filters.norm(dim=1))
    for name in ("0.bias", "1.weight", "1.bias", "3.bias"):
        assert float(drawn[name].norm()) == 0


def test_two_random_directions_are_nearly_orthogonal_before_and_exactly_after() -> None:
    space = ParameterSpace(nn.Linear(100, 100, bias=False))
    g = generator()
    first, second = (filter_normalised(space, space.vector(), g) for _ in range(2))
    cosine = float(torch.cosine_similarity(first, second, dim=0))
    assert abs(cosine) < 5 / 100  # of draws from [0, 1) it would be 0.75
    basis = orthonormal_pair(first, second).double()
    torch.testing.assert_close(basis @ basis.T, torch.eye(2).double(), atol=1e-6, rtol=0)


def test_samples_that_span_no_plane_are_refused() -> None:
    line = torch.outer(torch.arange(3.0), torch.ones(6)).double()
    for vectors in (line, torch.ones(3, 6).double()):
        with pytest.raises(InputError, match="span no plane"):
            through_samples(vectors)


def test_nearly_parallel_directions_give_a_basis_as_orthonormal_as_any() -> None:
    first = torch.randn(50, generator=generator(), dtype=torch.float64)
    second = first + 1e-9 * torch.randn(50, generator=generator(1), dtype=torch.float64)
    basis = orthonormal_pair(first, second)
    torch.testing.assert_close(basis @ basis.T, torch.eye(2).double(), atol=1e-15, rtol=0)


def test_planes_that_are_none_are_refused() -> None:
    origin = torch.zeros(6).double()
    for basis in (torch.ones(2, 6), torch.eye(6)[:1], 2 * torch.eye(6)[:2], torch.eye(5)[:2]):
        with pytest.raises(InputError, match="orthonormal basis"):
            Plane(origin, basis.double(), "random", ("x", "y"))
    q = Posterior(ParameterSpace(Quadratic(MATRIX)), Point(origin))
    plane = Plane(origin, torch.eye(6).double()[:2], "samples", ("x", "y"))
    with pytest.raises(InputError, match="no spread along an axis of this plane: give an extent"):
        evaluated(q, plane=plane)
    assert evaluated(q, plane=plane, extent=1.0).loss.shape == (4, 7)


def test_bad_requests_are_refused() -> None:
    for settings, message in (
        ({"shape": (1, 5)}, "shape is"),
        ({"shape": 5}, "shape is"),
        ({"shape": (3.5, 5)}, "shape is"),
        ({"shape": (40_000, 40_000)}, "40,000 x 40,000 points are more than 10,000,000"),
        ({"plane": "tsne"}, "unknown plane 'tsne'; known: samples, random, pca, eigenvectors"),
        ({"plane": ("pca",)}, "unknown plane .*; known: samples, random, pca, eigenvectors"),
        ({"plane": None}, "unknown plane 'None'; known: .*, or a Plane"),
        ({"extent": 0.0}, "extent must be finite and positive"),
        ({"extent": np.nan}, "extent must be finite and positive"),
        ({"extent": np.inf}, "extent must be finite and positive"),
        ({"margin": -1.0}, "margin must be finite and not negative"),
        ({"margin": np.inf}, "margin must be finite and not negative"),
        ({"margin": np.nan}, "margin must be finite and not negative"),
        ({"samples": 2}, "needs three samples, not 2"),
        ({"samples": 0}, "number of samples must be at least 1"),
        ({"samples": 3.0}, "number of samples must be a whole number, not 3.0"),
        ({"seed": "0"}, "the seed must be a whole number, not '0'"),
    ):
        with pytest.raises(InputError, match=message):
            evaluated(posterior(), **settings)


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    q, number = posterior(), np.int64
    found = evaluated(q, shape=(number(4), number(5)), samples=number(3), seed=number(1))
    np.testing.assert_array_equal(
        found.loss, evaluated(q, shape=(4, 5), samples=3, seed=1).loss, strict=True
    )


def test_the_principal_plane_holds_most_of_the_variance() -> None:
    q = posterior()
    found, samples = evaluated(q, plane="pca"), q.sample(5, 0)
    values = torch.linalg.svdvals(samples - samples.mean(0)) ** 2
    assert found.variance_share == pytest.approx(float(values[:2].sum() / values.sum()))
    torch.testing.assert_close(found.plane.origin, samples.mean(0))
    assert found.plane.kind == "pca"
    share = 100 * float(values[0] / values.sum())
    assert found.plane.axes[0] == f"first principal direction, {share:.0f} % of the variance"


def test_the_plane_of_eigenvectors_is_that_of_the_largest_curvature() -> None:
    found = evaluated(posterior(), plane="eigenvectors", extent=2.0, shape=(3, 5))
    values, vectors = torch.linalg.eigh(MATRIX)
    cosines = (found.plane.basis @ vectors[:, [-1, -2]]).abs()
    torch.testing.assert_close(cosines, torch.eye(2).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.plane.origin, posterior().mean)
    # Along it the loss is a parabola of that curvature.
    ends = found.loss[1, 0] + found.loss[1, 4] - 2 * found.loss[1, 2]
    assert ends == pytest.approx(4 * float(values[-1]), rel=1e-5)


def test_samples_on_a_line_have_no_principal_plane() -> None:
    line = torch.arange(4.0)[:, None] * torch.ones(6)
    for vectors, message in ((line, "span no plane"), (line[:2], "need three samples")):
        with pytest.raises(InputError, match=message):
            principal(vectors)


def test_an_interrupted_surface_continues_with_the_rows_that_are_missing() -> None:
    store, whole = Memory(), evaluated(posterior())

    def stop(done: int, rows: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(posterior(), store=store, progress=stop)
    assert np.asarray(store.writes[-1][1]["finished"]).tolist() == [1, 1, 0, 0]
    assert np.isnan(np.asarray(store.writes[-1][1]["loss"])[2:]).all()
    seen: list[int] = []
    found = evaluated(posterior(), store=store, progress=lambda done, rows: seen.append(done))
    assert seen == [3, 4]
    np.testing.assert_array_equal(found.loss, whole.loss)
    np.testing.assert_array_equal(store.writes[-1][1]["loss"], whole.loss)


@pytest.mark.parametrize("change", ["seed", "shape", "posterior", "loss", "extent"])
def test_rows_of_another_surface_are_not_taken_over(change: str) -> None:
    store = Memory()
    evaluated(posterior(), store=store)
    changes: dict[str, object] = {
        "seed": {"seed": 1},
        "shape": {"shape": (7, 4)},
        "loss": {"loss": lambda outputs, _: 2 * outputs[:, 0]},
        "extent": {"extent": 3.0},
    }
    q = posterior(6) if change == "posterior" else posterior()
    settings = changes.get(change, {})
    again = evaluated(q, store=store, **settings)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.loss, evaluated(q, **settings).loss)  # type: ignore[arg-type]


class Noise(nn.Module):
    """As Bayes by backprop, or with noise that is small against the outputs."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = nn.Linear(4, 3), scale

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x)
        return outputs + self.scale * torch.randn_like(outputs)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_planes_and_lines_of_a_random_network_are_refused(scale: float) -> None:
    data = [(torch.randn(12, 4), torch.arange(12) % 3)]
    model = Noise(scale)
    posterior = isotropic(model, 0.3, mean=ParameterSpace(model).vector())
    for draw in (
        lambda: surface(posterior, data, plane="random", shape=(2, 2)),
        lambda: surface(posterior, data, plane="samples", shape=(2, 2)),
        lambda: line(posterior, data, points=3),
        lambda: line(posterior, data, kind="bezier", points=3, steps=2),
        lambda: expected_sharpness(posterior, data, samples=2),
        lambda: m_sharpness(Objective(posterior.space, data), posterior.mean),
    ):
        with pytest.raises(InputError, match="random in evaluation mode"):
            draw()
