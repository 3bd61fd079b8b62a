"""Lines and curves on losses that are known everywhere."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from cases import Memory, Quadratic, classification, dense_hessian, generator, mlp, symmetric
from torch import Tensor, nn

from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, PosteriorLoss, Samples, isotropic
from landscape.posteriors.fingerprints import fingerprints
from landscape.store import schema
from landscape.surfaces import Curve, LineKind, line, lowest_curve, surface

MATRIX = symmetric(torch.linspace(0.5, 3, 6).double())
BATCHES = [(torch.zeros(n, 1), torch.zeros(n)) for n in (3, 1)]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0]


def posterior(count: int = 5) -> Posterior:
    vectors = torch.randn(count, 6, generator=generator(), dtype=torch.float64)
    return Posterior(ParameterSpace(Quadratic(MATRIX)), Samples(vectors))


class Ring(nn.Module):
    """L(w) = (|w|^2 - 1)^2: a valley that is a circle."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        value: Tensor = ((self.w**2).sum() - 1) ** 2
        return value.expand(len(inputs), 1)


def ring() -> Posterior:
    ends = torch.eye(2, dtype=torch.float64)
    return Posterior(ParameterSpace(Ring()), Samples(ends))


def test_a_line_between_samples_has_the_loss_of_the_points_on_it() -> None:
    q = posterior()
    first, second = q.sample(5, 0)[:2]
    found = line(q, BATCHES, points=7, loss=loss)
    assert (found.x[0], found.x[-1]) == pytest.approx((0, float((second - first).norm())))
    for t, value in zip(np.linspace(0, 1, 7), found.loss, strict=True):
        w = first + t * (second - first)
        assert value == pytest.approx(float(0.5 * w @ MATRIX @ w))


@pytest.mark.parametrize("kind", ["random", "pca", "eigenvectors"])
def test_a_line_of_another_kind_is_the_first_axis_of_the_plane(kind: str) -> None:
    q = isotropic(mlp(), 0.1, mean=ParameterSpace(mlp()).vector())
    batches = classification()
    found = line(q, batches, kind=kind, points=5, extent=0.7, samples=4)  # type: ignore[arg-type]
    plane = surface(q, batches, plane=kind, shape=(3, 5), extent=0.7, samples=4)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.loss, plane.loss[1])
    np.testing.assert_allclose(found.accuracy, plane.accuracy[1])
    np.testing.assert_allclose(found.x, plane.x)
    assert found.axis == plane.plane.axes[0]


def test_the_curvature_along_an_eigenvector_is_its_eigenvalue() -> None:
    space, batches = ParameterSpace(mlp()), classification()
    q = Posterior(space, Point(space.vector()))
    found = line(q, batches, kind="eigenvectors", points=3, extent=1e-3)
    second = (found.loss[0] - 2 * found.loss[1] + found.loss[2]) / 1e-6
    hessian = dense_hessian(Objective(space, batches), space.vector())
    assert second == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)


@pytest.mark.parametrize("kind", ["bezier", "chain"])
def test_curves_are_what_their_formulas_say(kind: str) -> None:
    knots = torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    curve = Curve(knots, kind)  # type: ignore[arg-type]
    torch.testing.assert_close(curve.at(0.0), knots[0])
    torch.testing.assert_close(curve.at(1.0), knots[-1])
    t = 0.3
    if kind == "bezier":
        weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
        truth = sum(weight * knot for weight, knot in zip(weights, knots, strict=True))
    else:
        truth = 0.1 * knots[0] + 0.9 * knots[1]
    torch.testing.assert_close(curve.at(t), truth)
    assert float(curve.coefficients(t).sum()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["bezier", "chain"])
def test_a_curve_finds_the_valley_that_the_line_misses(kind: str) -> None:
    straight = line(ring(), BATCHES, loss=loss)
    assert straight.barrier == pytest.approx(0.25)
    curve = line(ring(), BATCHES, kind=kind, loss=loss, steps=300, learning_rate=0.05)  # type: ignore[arg-type]
    assert curve.barrier < 0.04  # two chords cannot do better than 0.03
    assert (curve.x[0], curve.x[-1]) == (0, 1)
    assert curve.loss[[0, -1]] == pytest.approx([0, 0], abs=1e-12)
    more = lowest_curve(
        PosteriorLoss(ring(), BATCHES, loss),
        *ring().sample(2, 0),
        kind=kind,
        bends=3,  # type: ignore[arg-type]
    )
    radii = torch.stack([more.at(t) for t in np.linspace(0, 1, 11)]).norm(dim=1)
    assert bool(((radii - 1).abs() < 0.1).all())


def test_a_curve_through_a_network_with_running_statistics_re_estimates_them() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = classification()[0]
    batches = [*classification(), (x[:1], y[:1])]  # by which a layer cannot normalise
    start = ParameterSpace(model).vector()
    q = Posterior(
        ParameterSpace(model),
        Samples(torch.stack([start, start.flip(0)])),
        calibration=batches,
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fingerprint = fingerprints(PosteriorLoss(q, batches))
    found = line(q, batches, kind="bezier", steps=20, points=3)
    assert fingerprints(PosteriorLoss(q, batches)) == fingerprint
    first, second = q.sample(2, 0)
    for value, w in ((found.loss[0], first), (found.loss[-1], second)):
        assert value == pytest.approx(PosteriorLoss(q, batches).evaluate(w).loss)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    with pytest.raises(InputError, match="no batch of 2 examples"):
        lowest_curve(PosteriorLoss(q, [(x[:1], y[:1])]), first, second)


def test_a_line_is_stored_and_its_progress_shown() -> None:
    store, seen = Memory(), []
    found = line(
        posterior(),
        BATCHES,
        points=3,
        loss=loss,
        store=store,
        progress=lambda done, total: seen.append((done, total)),
    )
    ((group, variables, attributes),) = store.writes
    assert group == "lines/samples"
    np.testing.assert_array_equal(schema.conform(group, variables)["loss"], found.loss)
    assert "sample 0" in str(attributes["x_axis"])
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("kind", ["samples", "bezier"])
def test_an_interrupted_line_continues_with_the_points_that_are_missing(
    kind: LineKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"kind": kind, "points": 5, "loss": loss, "steps": 20}
    store, whole = Memory(), line(ring(), BATCHES, **settings)

    def stop(done: int, points: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        line(ring(), BATCHES, **settings, store=store, progress=stop)
    assert np.asarray(store.writes[-1][1]["finished"]).tolist() == [1, 1, 1, 0, 0]
    seen: list[int] = []
    with monkeypatch.context() as patch:  # nor is a curve trained again

        def trained(*_: object, **__: object) -> Curve:
            raise AssertionError("trained again")

        patch.setattr(sys.modules[line.__module__], "lowest_curve", trained)
        found = line(
            ring(), BATCHES, **settings, store=store, progress=lambda done, _: seen.append(done)
        )
    assert seen == [4, 5]
    np.testing.assert_array_equal(found.loss, whole.loss)
    group, variables, _ = store.writes[-1]
    np.testing.assert_array_equal(schema.conform(group, variables)["loss"], whole.loss)


@pytest.mark.parametrize("change", ["seed", "posterior", "loss", "steps", "extent"])
def test_points_of_another_line_are_not_taken_over(change: str) -> None:
    kind: LineKind = "bezier" if change == "steps" else "samples"
    common: dict[str, Any] = {"kind": kind, "points": 4, "steps": 10, "loss": loss}
    store = Memory()
    line(posterior(), BATCHES, **common, store=store)
    changes: dict[str, dict[str, Any]] = {
        "seed": {"seed": 1},
        "loss": {"loss": lambda outputs, _: 2 * outputs[:, 0]},
        "steps": {"steps": 11},
        "extent": {"extent": 3.0},
    }
    q = posterior(6) if change == "posterior" else posterior()
    settings = {**common, **changes.get(change, {})}
    again = line(q, BATCHES, **settings, store=store)
    np.testing.assert_array_equal(again.loss, line(q, BATCHES, **settings).loss)


def test_lines_of_one_kind_lie_side_by_side_under_names() -> None:
    store = Memory()
    for name in (None, "test"):
        line(posterior(), BATCHES, points=3, loss=loss, store=store, name=name)
    assert {group for group, _, _ in store.writes} == {"lines/samples", "lines/test"}
    with pytest.raises(InputError, match="'a/b' cannot be a name in a store"):
        line(posterior(), BATCHES, loss=loss, store=store, name="a/b")


def test_a_curve_is_trained_on_every_pass_of_a_loader_that_shuffles_and_keeps_no_batch() -> None:
    passes = []

    class Loader:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            passes.append(len(passes))
            yield from BATCHES

    mean_loss = PosteriorLoss(ring(), Loader(), loss)
    before = len(passes)
    lowest_curve(mean_loss, *ring().sample(2, 0), steps=6)
    assert len(passes) - before >= 3  # six steps on passes of two batches


def test_a_curve_and_a_plane_of_eigenvectors_need_gradients_whatever_the_caller_has_off() -> None:
    common: dict[str, Any] = {"points": 3, "steps": 10, "loss": loss}
    for kind in ("bezier", "eigenvectors"):
        with torch.no_grad():
            found = line(posterior(), BATCHES, kind=kind, **common)
        np.testing.assert_allclose(
            found.loss, line(posterior(), BATCHES, kind=kind, **common).loss, rtol=1e-9
        )


def test_a_sample_that_is_not_finite_is_said_to_be() -> None:
    vectors = posterior().sample(4, 0).clone()
    vectors[2, 1] = torch.nan
    q = Posterior(posterior().space, Samples(vectors))
    for kind in ("samples", "pca", "chain"):
        with pytest.raises(InputError, match=r"sample \d is not finite"):
            line(q, BATCHES, kind=kind, samples=4, loss=loss)
        if kind != "chain":
            with pytest.raises(InputError, match=r"sample \d is not finite"):
                surface(q, BATCHES, plane=kind, samples=4, loss=loss, shape=(2, 2))


def test_bad_requests_are_refused() -> None:
    q = posterior()
    for settings in ({"margin": np.inf}, {"margin": -0.1}, {"extent": np.inf}, {"extent": 0.0}):
        with pytest.raises(InputError, match="must be finite and"):
            line(q, BATCHES, loss=loss, **settings)
    with pytest.raises(InputError, match="unknown line 'circle'"):
        line(q, BATCHES, kind="circle")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="points must be at least 2"):
        line(q, BATCHES, points=1)
    with pytest.raises(InputError, match="points are more than 10,000,000"):
        line(q, BATCHES, points=20_000_000)
    with pytest.raises(InputError, match="needs two"):
        line(Posterior(q.space, Point(q.mean)), BATCHES, kind="chain")
    with pytest.raises(InputError, match="are the same"):
        line(Posterior(q.space, Samples(q.mean.repeat(3, 1))), BATCHES)
    with pytest.raises(InputError, match="at least one bend"):
        line(q, BATCHES, kind="bezier", steps=0, loss=loss)
    with pytest.raises(InputError, match="no batch"):
        line(q, [], kind="bezier", loss=loss)
    with pytest.raises(LandscapeError, match="not finite at step"):
        line(q, BATCHES, kind="chain", learning_rate=1e200, loss=loss)
    nowhere = [(torch.zeros(1, 1), torch.full((1,), torch.nan))]
    with pytest.raises(LandscapeError, match="not finite on the straight line"):
        line(q, nowhere, kind="chain", loss=lambda f, y: loss(f, y) + y)
    for reach in ({"margin": 0.1}, {"extent": 1.0}):
        with pytest.raises(InputError, match=r"the curve 'chain' .* no margin and no extent"):
            line(q, BATCHES, kind="chain", loss=loss, **reach)
    with pytest.raises(InputError, match="three samples, not 2; use more, or 'random'"):
        line(q, BATCHES, kind="pca", samples=2, loss=loss)


@pytest.mark.parametrize("kind", ["pca", "random", "eigenvectors"])
def test_one_parameter_has_one_line_and_no_plane(kind: Any) -> None:
    space = ParameterSpace(Quadratic(torch.tensor([[4.0]]).double()))
    q = Posterior(space, Samples(torch.tensor([[1.0], [2.0], [3.0]]).double()))
    found = line(q, BATCHES, kind=kind, extent=1.0, points=3, loss=loss)
    assert found.loss.tolist() == pytest.approx([2, 8, 18])
    with pytest.raises(InputError, match="a plane needs at least two inferred parameters"):
        surface(q, BATCHES, plane=kind, samples=3, loss=loss)
