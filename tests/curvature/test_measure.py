"""Measuring a posterior sample by sample."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cases import Memory, Noisy, classification, dense_hessian, joined, mlp, shuffled
from torch import nn

from landscape.curvature import (
    expected_sharpness,
    measure,
    spectral_density,
    top_eigenvalues,
    trace,
)
from landscape.errors import InputError, LandscapeError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, PosteriorLoss, Samples, isotropic
from landscape.prediction import predict
from landscape.store import schema
from landscape.surfaces import line, surface


def posterior() -> Posterior:
    model = mlp()
    return isotropic(model, 0.1, mean=ParameterSpace(model).vector())


def test_every_sample_is_measured_as_its_dense_hessian_says() -> None:
    q, batches = posterior(), classification()
    found = measure(q, batches, samples=3, eigenvalues=2, tolerance=1e-7, trace_matvecs=99)
    objective = Objective(q.space, batches)
    for index, w in enumerate(q.sample(3, 0)):
        hessian = dense_hessian(objective, w)
        truth = torch.linalg.eigvalsh(hessian).flip(0)[:2]
        np.testing.assert_allclose(found.eigenvalues[index], truth, rtol=1e-6)
        assert found.trace[index] == pytest.approx(float(hessian.trace()))
        assert found.loss[index] == pytest.approx(float(objective.loss(w)))
    assert found.residuals.shape == found.converged.shape == (3, 2)
    assert bool(found.converged.all())


def test_each_sample_is_stored_as_soon_as_it_is_finished() -> None:
    store, seen = Memory(), []
    measure(
        posterior(),
        classification(),
        samples=3,
        eigenvalues=2,
        store=store,
        progress=lambda done, total, row: seen.append((done, total, row["trace"])),
    )
    assert [len(variables["trace"]) for _, variables, _ in store.writes] == [1, 2, 3]  # type: ignore[arg-type]
    assert {group for group, _, _ in store.writes} == {"samples"}
    assert store.writes[0][2]["requested"] == 3
    assert [(done, total) for done, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_measurement_continues_with_the_samples_that_are_missing() -> None:
    store, q, batches = Memory(), posterior(), classification()
    settings: dict[str, Any] = {"eigenvalues": 2, "density_probes": 2, "density_steps": 10}
    whole = measure(q, batches, samples=4, **settings)

    def stop(done: int, total: int, row: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(q, batches, samples=4, **settings, store=store, progress=stop)
    seen: list[int] = []
    found = measure(
        q,
        batches,
        samples=4,
        **settings,
        store=store,
        progress=lambda done, total, row: seen.append(done),
    )
    assert seen == [3, 4]
    for name in ("eigenvalues", "residuals", "converged", "trace", "loss", "matvecs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.seconds[0] == store.writes[1][1]["seconds"][0]  # type: ignore[index]
    for one, other in zip(found.densities, whole.densities, strict=True):
        torch.testing.assert_close(one.density, other.density)
        assert one.quadrature.matvecs == other.quadrature.matvecs == 20
    more = measure(q, batches, samples=5, **settings, store=store)
    np.testing.assert_array_equal(more.trace[:4], whole.trace)
    assert len(store.writes) == 2 * 5


def test_nothing_is_evaluated_to_recognise_a_stored_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, q, batches = Memory(), posterior(), classification()
    calls: list[Callable[[], Any]] = [
        lambda: measure(q, batches, samples=2, eigenvalues=2, store=store).trace,
        lambda: surface(q, batches, shape=(3, 2), samples=3, store=store).loss,
        lambda: line(q, batches, kind="pca", points=3, samples=3, store=store).loss,
        lambda: line(q, batches, kind="chain", points=3, steps=2, store=store).loss,
    ]
    before = [call() for call in calls]

    def refuse(*_: object) -> None:
        raise AssertionError("the loss is evaluated")

    for method in ("evaluate", "evaluate_each", "at"):
        monkeypatch.setattr(PosteriorLoss, method, refuse)
    for call, values in zip(calls, before, strict=True):
        np.testing.assert_array_equal(call(), values)


def test_examples_in_another_order_are_the_same_data() -> None:
    store, q, batches = Memory(), posterior(), classification()
    whole = measure(q, batches, samples=2, eigenvalues=2, store=store)
    again = measure(q, shuffled(batches), samples=2, eigenvalues=2, store=store)
    np.testing.assert_array_equal(again.seconds, whole.seconds)


def test_finished_samples_that_are_not_asked_for_stay() -> None:
    store, q, batches = Memory(), posterior(), classification()
    whole = measure(q, batches, samples=4, eigenvalues=2, store=store)
    (group, columns, about) = store.writes[-1]
    for finished in ([0, 3], [2, 3]):  # on several processes they finish in any order
        some = {name: np.asarray(values)[finished] for name, values in columns.items()}
        store.writes.append((group, some, about))
        found = measure(q, batches, samples=2, eigenvalues=2, store=store)
        np.testing.assert_array_equal(found.trace, whole.trace[:2])
        assert list(store.writes[-1][1]["sample"]) == sorted({0, 1, *finished})  # type: ignore[call-overload]
        assert store.writes[-1][2]["requested"] == 4


@pytest.mark.parametrize("change", ["seed", "matrix", "density", "posterior", "data"])
def test_samples_of_another_measurement_are_not_taken_over(change: str) -> None:
    store, q, batches = Memory(), posterior(), classification()
    measure(q, batches, samples=2, eigenvalues=2, store=store)
    settings: dict[str, Any] = {
        "seed": {"seed": 1},
        "matrix": {"matrix": "gauss-newton"},
        "density": {"density_probes": 2, "density_steps": 3},
    }.get(change, {})
    if change == "posterior":
        q = isotropic(mlp(), 0.2, mean=q.mean)
    if change == "data":
        batches = batches[1:]
    again = measure(q, batches, samples=2, eigenvalues=2, **settings, store=store)
    anew = measure(q, batches, samples=2, eigenvalues=2, **settings)
    np.testing.assert_array_equal(again.eigenvalues, anew.eigenvalues)
    np.testing.assert_array_equal(again.loss, anew.loss)


def test_densities_are_asked_for_stored_on_one_grid_and_counted() -> None:
    store, q, batches = Memory(), posterior(), classification()
    settings = {"samples": 2, "eigenvalues": 2, "density_steps": 20}
    plain = measure(q, batches, **settings)  # type: ignore[arg-type]
    found = measure(q, batches, **settings, density_probes=3, store=store)  # type: ignore[arg-type]
    assert plain.densities == ()
    assert (found.matvecs - plain.matvecs).tolist() == [60, 60]
    groups = [(group, variables) for group, variables, _ in store.writes if group == "density"]
    assert [len(variables["density"]) for _, variables in groups] == [1, 2]  # type: ignore[arg-type]
    stored = schema.conform(*groups[-1])
    alone = spectral_density(
        Objective(q.space, batches),
        q.sample(2, 0)[1],
        probes=3,
        steps=20,
        deflate=top_eigenvalues(Objective(q.space, batches), q.sample(2, 0)[1], 2, seed=1),
        seed=1,
        grid=torch.from_numpy(stored["grid"]),
        width=found.densities[0].width,
    )
    np.testing.assert_allclose(stored["density"][1], alone.density, rtol=1e-9)
    np.testing.assert_allclose(stored["standard_error"][1], alone.standard_error, rtol=1e-9)
    np.testing.assert_allclose(stored["weights"].sum(2), 1)


def test_the_matrix_asked_for_is_measured_and_recorded() -> None:
    store, q, batches = Memory(), posterior(), classification()
    found = measure(
        q,
        batches,
        samples=1,
        matrix="gauss-newton",
        trace_matvecs=43,
        density_probes=2,
        store=store,
    )
    total = trace(Objective(q.space, batches), q.sample(1, 0)[0], matrix="gauss-newton", matvecs=43)
    assert found.trace[0] == pytest.approx(total.value)
    assert [attributes["matrix"] for _, _, attributes in store.writes] == ["gauss-newton"] * 2


def test_budgets_and_tolerances_are_passed_on() -> None:
    q, batches = posterior(), classification()
    short = measure(q, batches, samples=1, max_matvecs=6, tolerance=1e-12)
    assert not short.converged.any()
    assert short.matvecs[0] == 6 + 30
    fine = measure(q, batches, samples=1, trace_tolerance=1e-9)
    assert fine.trace_standard_error[0] == 0


def test_the_summary_is_of_the_largest_eigenvalue_and_the_trace() -> None:
    found = measure(posterior(), classification(), samples=4, eigenvalues=2)
    summary = found.summary()
    largest = found.eigenvalues.max(1)
    mean = sum(largest) / 4
    assert summary["samples"] == 4
    assert summary["lambda_1"] == pytest.approx(mean)
    spread = (sum((value - mean) ** 2 for value in largest) / 3) ** 0.5
    assert summary["lambda_1_deviation"] == pytest.approx(spread)
    assert summary["trace"] == pytest.approx(found.trace.mean())
    assert summary["trace_deviation"] == pytest.approx(found.trace.std() * (4 / 3) ** 0.5)
    half = 3.182 * spread / 2  # Student's quantile at 3 degrees of freedom
    assert summary["lambda_1_low"] == pytest.approx(mean - half, rel=1e-3)
    assert summary["lambda_1_high"] == pytest.approx(mean + half, rel=1e-3)


def test_the_summary_has_a_ratio_of_means_and_a_mean_of_ratios_of_five_eigenvalues() -> None:
    q, batches = posterior(), classification()
    summary = measure(q, batches, samples=4, eigenvalues=2).summary()
    assert not any("ratio" in name for name in summary)
    found = measure(q, batches, samples=4, eigenvalues=5)
    first, fifth = found.eigenvalues[:, 0], found.eigenvalues[:, 4]
    summary = found.summary()
    assert summary["lambda_ratio"] == pytest.approx((first / fifth).mean())
    assert summary["lambda_ratio_of_means"] == pytest.approx(first.mean() / fifth.mean())
    for name in ("lambda_ratio", "lambda_ratio_of_means"):
        assert summary[f"{name}_low"] < summary[name] < summary[f"{name}_high"]
        assert summary[f"{name}_count"] == summary[f"{name}_effective"] == 4


def test_samples_of_a_chain_are_summarised_in_its_order_and_say_what_they_are_worth() -> None:
    space, batches, store = ParameterSpace(mlp()), classification(), Memory()
    steps = 0.02 * torch.randn(12, space.size, generator=torch.Generator().manual_seed(0))
    walk = space.vector() + steps.cumsum(0).to(space.vector())  # neighbours are alike
    settings: dict[str, Any] = {"samples": 12, "eigenvalues": 1, "trace_matvecs": 99}
    q = Posterior(space, Samples(walk, torch.zeros(12)))
    found = measure(q, batches, **settings, store=store)
    assert found.places is not None
    truth = [float(Objective(space, batches).loss(w)) for w in walk]
    np.testing.assert_allclose(found.loss[found.places[:, 1].argsort()], truth)
    stored = schema.conform("samples", store.writes[-1][1])
    np.testing.assert_array_equal(np.stack([stored["chain"], stored["place"]], 1), found.places)
    summary = found.summary()
    assert summary["trace_count"] == 12
    assert summary["trace_effective"] < 6
    independent = measure(Posterior(space, Samples(walk)), batches, **settings)
    assert independent.places is None
    apart = independent.summary()
    assert apart["trace_effective"] == 12
    assert apart["trace"] == summary["trace"]
    assert apart["trace_high"] < summary["trace_high"]
    rise = expected_sharpness(q, batches, samples=12)
    alone = expected_sharpness(Posterior(space, Samples(walk)), batches, samples=12)
    assert (rise.value, alone.effective) == (alone.value, 12)
    assert rise.effective < 6
    assert rise.standard_error == pytest.approx(alone.standard_error * (12 / rise.effective) ** 0.5)


def test_the_backend_asked_for_measures_and_its_products_are_counted() -> None:
    q, batches = posterior(), classification()
    settings = {"samples": 1, "eigenvalues": 1, "trace_matvecs": 9, "backend": "pyhessian"}
    found = measure(q, batches, **settings)  # type: ignore[arg-type]
    objective, w = Objective(q.space, batches), q.sample(1, 0)[0]
    top = top_eigenvalues(objective, w, 1, backend="pyhessian")
    total = trace(objective, w, matvecs=9, backend="pyhessian")
    assert found.eigenvalues[0, 0] == float(top.values[0])
    assert (found.trace[0], found.trace_standard_error[0]) == (total.value, total.standard_error)
    assert found.matvecs[0] == top.matvecs + 9


def test_the_seed_governs_everything() -> None:
    one, same, other = (
        measure(posterior(), classification(), samples=2, eigenvalues=1, seed=seed)
        for seed in (1, 1, 2)
    )
    for name in ("eigenvalues", "residuals", "trace", "loss", "matvecs"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.loss, other.loss)


def test_a_sample_that_is_not_finite_stops_no_other() -> None:
    space, batches, store = ParameterSpace(mlp()), classification(), Memory()
    weights = torch.stack([space.vector(), torch.nan * space.vector(), 2 * space.vector()])
    q = Posterior(space, Samples(weights))
    settings = {"samples": 3, "eigenvalues": 2, "density_probes": 2, "density_steps": 4}
    found = measure(q, batches, **settings, store=store)  # type: ignore[arg-type]
    lost = q.sample(3, 0)[:, 0].isnan().numpy()
    assert lost.sum() == 1
    for array in (found.eigenvalues, found.residuals, found.trace, found.trace_standard_error):
        assert np.isnan(array[lost]).all()
        assert np.isfinite(array[~lost]).all()
    assert not found.converged[lost].any()
    assert np.isnan(found.loss[lost]).all()
    for density, is_lost in zip(found.densities, lost, strict=True):
        assert bool(density.density.isnan().all()) == is_lost
    again: list[int] = []
    measure(q, batches, **settings, store=store, progress=lambda done, *_: again.append(done))  # type: ignore[arg-type]
    assert again == []
    with pytest.raises(LandscapeError, match=r"At the first, the weights hold NaN"):
        measure(Posterior(space, Samples(weights[1:2])), batches, samples=1, eigenvalues=1)


def test_a_point_posterior_has_one_sample_and_no_spread() -> None:
    space = ParameterSpace(mlp())
    found = measure(Posterior(space, Point(space.vector())), classification(), samples=30)
    assert found.trace.shape == (1,)
    assert np.isnan(found.summary()["lambda_1_deviation"])
    assert np.isnan(found.summary()["trace_deviation"])


def test_each_sample_has_its_own_running_statistics() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    space = ParameterSpace(model)
    batches = [joined(classification())]
    q = Posterior(
        space, isotropic(model, 0.5, mean=space.vector()).distribution, calibration=batches
    )
    found = measure(q, batches, samples=2, eigenvalues=1)
    space.module.train()  # with the whole data in one batch, its own statistics are the right ones
    for index, w in enumerate(q.sample(2, 0)):
        buffers = q.buffers(w)
        truth = Objective(space, batches, buffers=buffers).loss(w)
        assert found.loss[index] == pytest.approx(float(truth))
        assert found.loss[index] != pytest.approx(float(Objective(space, batches).loss(w)))


def test_predictions_with_the_same_seed_judge_the_same_samples() -> None:
    q, batches = posterior(), classification()
    found = measure(q, batches, samples=3, eigenvalues=1, seed=9)
    alone = predict(q, batches, samples=3, seed=9).sample_metrics()
    np.testing.assert_allclose(found.loss, [metrics["nll"] for metrics in alone])
    placed = surface(q, batches, samples=3, seed=9, shape=(2, 2))
    np.testing.assert_allclose(found.loss, placed.sample_loss)


def test_batches_that_change_from_pass_to_pass_are_refused() -> None:
    posterior = isotropic(mlp(), 0.1)
    for what in (
        lambda data: measure(posterior, data, samples=1, eigenvalues=1),
        lambda data: surface(posterior, data, shape=(2, 2), samples=3),
    ):
        what(classification())
        with pytest.raises(InputError, match="two passes over the data give different losses"):
            what(Noisy(classification()))


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        measure(posterior(), classification(), samples=0)
    for setting in ("samples", "eigenvalues", "density_probes", "density_steps", "seed"):
        with pytest.raises(InputError, match=r"must be a whole number, not 2\.5"):
            measure(posterior(), classification(), **{setting: 2.5})
    with pytest.raises(InputError, match="cannot compute densities"):
        measure(posterior(), classification(), density_probes=2, backend="pyhessian")
    with pytest.raises(InputError, match="tolerance must be positive"):
        measure(posterior(), [], trace_tolerance=-1.0)
    with pytest.raises(InputError, match="at least 2 probes"):
        measure(posterior(), classification(), density_probes=1)
    with pytest.raises(InputError, match="no batch"):
        measure(posterior(), [], samples=1)
    with pytest.raises(InputError, match="k must be between"):
        measure(posterior(), classification(), samples=1, eigenvalues=44)
