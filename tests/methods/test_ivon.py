"""IVON recovers the mean-field posterior of Bayesian linear regression."""

import builtins
import math

import pytest
import torch
from problems import exact_posterior, network, regression

from landscape.errors import InputError
from landscape.methods import IVON, Problem
from landscape.objective.parameters import ParameterSpace


def test_the_posterior_of_linear_regression_at_two_temperatures() -> None:
    steps, copies = 800, 10
    model, task = regression(copies=copies)
    mean, covariance = exact_posterior(task, prior_variance=1.0)
    variance = 1 / torch.linalg.inv(covariance).diagonal()  # what mean-field inference finds
    batch = (task.train.inputs, task.train.targets)
    for temperature in (1.0, 0.25):
        method = IVON(
            learning_rate=0.05,
            weight_decay=1 / len(task.train),
            beta2=0.99,
            temperature=temperature,
        )
        problem = Problem(ParameterSpace(model), task.loss, len(task.train), steps)
        state = method.init(problem, seed=0)
        for _ in range(problem.steps):
            method.step(state, batch)
        q = method.posterior(state).gaussian
        # The rate falls to zero: the last steps average about a tenth of the draws.
        errors = (q.mean.view(copies, -1).mean(0) - mean) / covariance.diagonal().sqrt()
        assert float(errors.abs().max()) < 5 / math.sqrt(copies * steps / 10)
        # A precision is the average of about 1 / (1 - beta2) draws.
        ratio = temperature * variance * (1 / q.scale**2).view(copies, -1).mean(0)
        assert float(ratio.log().abs().max()) < 5 * math.sqrt(2 / (100 * copies))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "ivon":
            raise ImportError(name)
        return original(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install ivon-opt"):
        IVON().init(Problem(ParameterSpace(network()), "cross_entropy", 3, 3))


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"hess_init": 0.0}, {"beta2": 1.0}, {"temperature": -1.0}):
        with pytest.raises(InputError, match=next(iter(settings))):
            IVON(**settings)
