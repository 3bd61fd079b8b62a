"""Measures of flatness by name, sample by sample: each is its own function's, and is stored."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from cases import Memory, classification, mlp, squared_error
from torch import nn

from landscape import curvature
from landscape.curvature import MEASURES, measure
from landscape.errors import InputError
from landscape.objective.losses import NormalisedLogits, TemperedLogits
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, Samples, isotropic

FEW = ("worst_l2", "average_adaptive_normalised", "fisher_rao")
QUICK: dict[str, Any] = {"eigenvalues": 1, "trace_matvecs": 3, "progress": False}


def posterior() -> Posterior:
    model = mlp()
    return isotropic(model, 0.1, mean=ParameterSpace(model).vector())


def test_every_measure_is_that_of_its_function_at_the_sample() -> None:
    q = posterior()
    w = q.sample(1, 0)[0]
    x, _ = classification(batch=23)[0]
    batches = [(x, q.space.predict(w, x).argmax(1))]  # which it gets right: accuracy can fall
    names = list(MEASURES)
    found = measure(q, batches, samples=1, sharpness=names, temperatures=0.5, **QUICK)
    assert list(found.sharpness) == list(found.sharpness_error) == names
    objective = Objective(q.space, batches)
    truth: dict[str, float] = {}
    losses = {
        "": "cross_entropy",
        "_normalised": NormalisedLogits(),
        "_tempered": TemperedLogits(0.5),
    }
    for ending, loss in losses.items():
        own = objective.with_loss(loss)  # type: ignore[arg-type]
        search: dict[str, Any] = {"steps": 8, "restarts": 2, "seed": 0}
        cube: dict[str, Any] = {"norm": "linf", **search}
        for name, settings in (
            ("worst_l2", {"radius": 0.05, **search}),
            ("worst_l2_adaptive", {"radius": 0.5, "adaptive": True, **search}),
            ("worst_linf", {"radius": 0.001, **cube}),
            ("worst_linf_adaptive", {"radius": 0.02, "adaptive": True, **cube}),
        ):
            truth[name + ending] = curvature.ball_sharpness(own, w, **settings).value
        for name, settings in (
            ("average", {"deviation": 0.01}),
            ("average_adaptive", {"deviation": 0.1, "adaptive": True}),
        ):
            average = curvature.average_sharpness(own, w, pairs=10, seed=0, **settings)
            truth[name + ending] = average.value
        if ending:
            top = curvature.top_eigenvalues(own, w, 5, tolerance=1e-6).values
            truth["lambda_1" + ending] = float(top[0])
            truth["lambda_ratio" + ending] = float(top[0] / top[4])
            truth["trace" + ending] = curvature.trace(own, w, matvecs=43).value
    truth["relative_flatness"] = curvature.relative_flatness(objective, w, matvecs=25).value
    truth["fisher_rao"] = curvature.fisher_rao_norm(objective, w)
    for name, is_aware in (("pac_bayes_sigma", False), ("pac_bayes_sigma_magnitude", True)):
        level = curvature.pac_bayes_sigma(
            objective, w, draws=10, tolerance=0.1, magnitude_aware=is_aware
        )
        truth[name] = level.value
    chains = curvature.local_learning_coefficient(objective, w, chains=3, steps=60)
    truth["learning_coefficient"] = chains.value
    assert set(truth) == set(names)
    for name in names:
        value, error = found.sharpness[name][0], found.sharpness_error[name][0]
        estimated = name.startswith(("trace", "lambda", "relative"))
        tolerance = {"abs": 4 * error + 1e-3 * abs(truth[name])} if estimated else {"rel": 1e-6}
        assert value == pytest.approx(truth[name], **tolerance), name
    summary = found.summary()
    assert summary["fisher_rao"] == pytest.approx(found.sharpness["fisher_rao"].mean())
    assert summary["fisher_rao_count"] == 1


def test_samples_are_stored_one_by_one_beside_the_eigenvalues_and_taken_over() -> None:
    store, q, batches = Memory(), posterior(), classification()
    measure(q, batches, samples=2, store=store, **QUICK)
    plain = len(store.writes)
    whole = measure(q, batches, samples=3, sharpness=FEW, store=store, **QUICK)
    groups = [group for group, _, _ in store.writes[plain:]]
    assert groups == ["samples", "sharpness", "sharpness", "sharpness"]  # two were taken over
    _, variables, attributes = store.writes[-1]
    assert json.loads(str(attributes["measures"])) == [*FEW]
    assert attributes["requested"] == 3
    assert "temperature" not in variables
    before = len(store.writes)
    again = measure(q, batches, samples=3, sharpness=FEW[::-1], store=store, **QUICK)
    assert len(store.writes) == before  # nothing was measured anew
    for name in FEW:
        np.testing.assert_array_equal(whole.sharpness[name], again.sharpness[name])
    other = measure(q, batches, samples=3, sharpness=FEW[:1], store=store, **QUICK)
    assert [group for group, _, _ in store.writes[before:]] == ["sharpness"] * 3
    np.testing.assert_array_equal(whole.sharpness[FEW[0]], other.sharpness[FEW[0]])


def test_samples_at_another_temperature_are_measured_anew() -> None:
    store, q, batches = Memory(), posterior(), classification()

    def measured(temperatures: float | Sequence[float], samples: int) -> np.ndarray:
        return measure(
            q,
            batches,
            samples=samples,
            sharpness=["worst_l2_tempered"],
            temperatures=temperatures,
            store=store,
            **QUICK,
        ).sharpness["worst_l2_tempered"]

    first = measured([2.0, 3.0], 2)
    assert first[0] != first[1]
    before = len(store.writes)
    second = measured([2.0, 0.5, 2.0], 3)
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert [group for group, _, _ in store.writes[before:]].count("sharpness") == 2
    np.testing.assert_array_equal(store.read("sharpness")["temperature"], [2.0, 0.5, 2.0])
    assert measured(2.0, 1)[0] == first[0]


def test_places_of_a_chain_are_stored_with_the_measures() -> None:
    space = ParameterSpace(mlp())
    vectors = space.vector() + 0.1 * torch.randn(4, space.size).double()
    q = Posterior(space, Samples(vectors, torch.tensor([0, 0, 1, 1])))
    store = Memory()
    found = measure(q, classification(), samples=3, sharpness=["fisher_rao"], store=store, **QUICK)
    assert found.places is not None
    stored = store.read("sharpness")
    np.testing.assert_array_equal(np.stack([stored["chain"], stored["place"]], 1), found.places)


def test_what_does_not_exist_at_a_sample_is_nan() -> None:
    """Random labels of three classes: the accuracy cannot fall by 0.1 at these weights."""
    space = ParameterSpace(mlp())
    w = torch.zeros_like(space.vector())
    x, _ = classification(batch=23)[0]
    q = Posterior(space, Samples(torch.stack([space.vector(), w]), torch.zeros(2)))
    batches = [(x, torch.full((23,), 2))]
    found = measure(q, batches, samples=2, sharpness=["pac_bayes_sigma"], **QUICK)
    values, accuracy = found.sharpness["pac_bayes_sigma"], found.accuracy
    assert np.isnan(values[accuracy == 0]).all()
    assert not found.sharpness_converged["pac_bayes_sigma"][accuracy == 0].any()
    assert 0 in accuracy


def test_requests_without_meaning_are_refused_before_any_work() -> None:
    q, batches = posterior(), classification()
    seen: list[int] = []
    settings: dict[str, Any] = {"progress": lambda done, *_: seen.append(done)}

    def refused(message: str, names: Sequence[str], data: Any = batches, **more: Any) -> None:
        with pytest.raises(InputError, match=message) as error:
            measure(more.pop("q", q), data, samples=2, sharpness=names, **settings, **more)
        assert "\n" not in str(error.value)

    refused("unknown sharpness 'sharp'; known: worst_l2, ", ["sharp"])
    refused("sharpness is a list of names, such as", "worst_l2")
    refused("need temperatures=, fitted on validation data", ["trace_tempered"])
    refused("1 temperatures for 2 samples", ["trace_tempered"], temperatures=[1.0])
    refused("temperature must be positive", ["trace_tempered"], temperatures=-1.0)
    real = [(x, y.double()) for x, y in batches]
    line = isotropic(mlp(classes=1), 0.1, mean=ParameterSpace(mlp(classes=1)).vector())
    for name in ("worst_l2_normalised", "trace_tempered"):
        refused("no logits of classes", [name], real, q=line, loss=squared_error, temperatures=1.0)
    refused(
        "costs accuracy: it needs classes", ["pac_bayes_sigma"], real, q=line, loss=squared_error
    )
    two = isotropic(mlp(classes=2), 0.1, mean=ParameterSpace(mlp(classes=2)).vector())
    binary = [(x, y % 2) for x, y in batches]
    refused("two classes cannot be normalised", ["trace_normalised"], binary, q=two)
    assert not seen


def test_regression_has_the_measures_that_need_no_classes() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    q = Posterior(ParameterSpace(model), Point(ParameterSpace(model).vector()))
    real = [(x, y.double()) for x, y in classification()]
    names = ["worst_linf_adaptive", "average", "relative_flatness", "fisher_rao"]
    found = measure(q, real, sharpness=names, loss=squared_error, **QUICK)
    for name in names:
        assert np.isfinite(found.sharpness[name]).all()
