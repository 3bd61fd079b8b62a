"""MAP against ridge regression, and SWAG's moments against numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import blobs, network, regression
from test_resume import interrupt

from landscape.errors import InputError
from landscape.methods import MAP, SWAG, Problem
from landscape.methods.swag import Moments
from landscape.objective.parameters import ParameterSpace


def test_map_finds_the_ridge_solution() -> None:
    model, task = regression()
    decay = 0.1
    method = MAP(epochs=1000, batch_size=20, learning_rate=0.05, weight_decay=decay, warmup=0.0)
    found = method.fit(model, task).mean
    x, y = task.train.inputs, task.train.targets
    hessian = x.T @ x / (0.5**2 * len(x))
    truth = torch.linalg.solve(hessian + decay * torch.eye(2), x.T @ y / (0.5**2 * len(x)))
    torch.testing.assert_close(found, truth, rtol=1e-6, atol=0)


def test_swag_moments_are_those_of_numpy() -> None:
    trajectory = np.random.default_rng(0).normal(size=(9, 4)).cumsum(0)
    moments = Moments(rank=3)
    for vector in trajectory:
        moments.add(torch.from_numpy(vector))
    q = moments.gaussian()
    np.testing.assert_allclose(q.mean, trajectory.mean(0))
    np.testing.assert_allclose(q.scale**2, trajectory.var(0) / 2)
    deviations = [trajectory[n] - trajectory[: n + 1].mean(0) for n in (6, 7, 8)]
    np.testing.assert_allclose(q.factor, np.stack(deviations, 1) / np.sqrt(2 * (3 - 1)))


def test_swag_variance_does_not_cancel_in_single_precision() -> None:
    deviations = 1e-3 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    moments = Moments(rank=0)
    for row in deviations:
        moments.add(100.0 + row)
    # What single precision can hold of 100 + row has a rounding of 8e-6, 1 % of a deviation.
    truth = (100.0 + deviations).double().var(0, unbiased=False)
    torch.testing.assert_close(
        moments.gaussian().scale.double() ** 2, truth / 2, rtol=0.05, atol=0.0
    )


def test_a_constant_trajectory_has_a_positive_scale() -> None:
    moments = Moments(rank=0)
    moments.add(torch.ones(2))
    moments.add(torch.ones(2))
    assert bool((moments.gaussian().scale > 0).all())


def test_swag_takes_one_snapshot_an_epoch_from_its_start_at_a_constant_rate() -> None:
    task = blobs()
    method = SWAG(rank=3, epochs=10, start=0.4, batch_size=8, swag_rate=0.01)
    space = ParameterSpace(network())
    problem = Problem(space, task.loss, 30, steps=40, steps_per_epoch=4)
    state = method.init(problem, seed=0)
    ends = []
    for step in range(40):
        state = method.step(state, (task.train.inputs, task.train.targets))
        if step % 4 == 3 and step >= 16:
            ends.append(state.weights.clone())
    assert state.moments.count == 6 == len(ends)
    torch.testing.assert_close(method.posterior(state).mean, torch.stack(ends).mean(0))
    rates = [method.rate(step, 40) for step in range(40)]
    assert rates[16:] == [0.01] * 24
    assert min(rates[2:16]) >= 0.01


def test_without_a_constant_rate_swag_follows_the_shared_schedule() -> None:
    steps = range(40)
    shared = [MAP(epochs=10, learning_rate=0.05).rate(step, 40) for step in steps]
    rates = [SWAG(epochs=12, learning_rate=0.05, swag_rate=0).rate(step, 40) for step in steps]
    assert rates == shared
    assert rates[-1] < 1e-3 < max(rates)


def test_too_few_snapshots_are_refused_before_training() -> None:
    with pytest.raises(InputError, match="leave 5 of the 6 snapshots that rank 5 needs"):
        SWAG(epochs=10, rank=5)
    with pytest.raises(InputError, match="leave 1 of the 2 snapshots that rank 0 needs"):
        SWAG(epochs=1, rank=0)
    with pytest.raises(InputError, match="swag: 0 of the 3 snapshots that rank 2 needs"):
        SWAG(rank=2).posterior(
            SWAG(rank=2).init(Problem(ParameterSpace(network()), "cross_entropy", 3, 9))
        )


def test_a_ball_that_no_step_would_have_is_refused_before_training() -> None:
    problem = Problem(ParameterSpace(network()), "cross_entropy", 3, 9)
    with pytest.raises(InputError, match="begins after the last of 6"):
        SWAG(epochs=12, rank=5, ball="posterior-exact").init(problem)
    SWAG(epochs=14, rank=5, ball="posterior-exact").init(problem)
    SWAG(epochs=12, rank=5).init(problem)


def test_the_ball_of_swags_own_gaussian_is_that_of_its_dense_covariance() -> None:
    task, model = blobs(dtype=torch.float64), network().double()
    method = SWAG(
        ball="posterior-exact", radius=0.5, rank=2, start=0.0, momentum=0.0, weight_decay=0.0
    )
    batch = task.train.inputs, task.train.targets
    state = method.init(Problem(ParameterSpace(model), task.loss, 30, steps=9), seed=0)
    for step in range(9):
        w, length = state.weights.clone(), 0.0
        _, gradient = state.loss_and_gradient(w, batch)
        if step >= 3:  # rank + 1 snapshots
            q = method.posterior(state).gaussian
            covariance = torch.diag(q.scale**2) + q.factor @ q.factor.T
            along = covariance @ gradient
            delta = 0.5 * along / (gradient @ along).sqrt()
            length = float(delta.norm())
            _, gradient = state.loss_and_gradient(w + delta, batch)
        method.step(state, batch)
        torch.testing.assert_close(state.weights, w - method.swag_rate * gradient)
        assert float(state.last["perturbation_norm"]) == pytest.approx(length, rel=1e-9)
        assert (length > 0) == (step >= 3)


def test_a_ball_of_radius_zero_along_swags_trajectory_is_plain_swag() -> None:
    model, task = network(normalisation=True, dropout=0.3), blobs()
    shared: dict[str, Any] = {"epochs": 10, "batch_size": 7, "rank": 2}
    plain = SWAG(**shared).fit(model, task, seed=1, device="cpu")
    ball = SWAG(**shared, ball="posterior-exact", radius=0.0).fit(model, task, seed=1, device="cpu")
    assert torch.equal(ball.gaussian.mean, plain.gaussian.mean)
    assert torch.equal(ball.gaussian.factor, plain.gaussian.factor)
    assert {len(values) for values in ball.history.values()} == {10}


@pytest.mark.parametrize("ball", ["posterior-exact", "posterior-diagonal"])
def test_swag_in_its_own_ball_resumes_to_the_same_gaussian(ball: str, tmp_path: Path) -> None:
    model, task, path = network(dropout=0.3), blobs(), tmp_path / "checkpoint"
    method = SWAG(ball=ball, radius=0.5, epochs=10, batch_size=7, rank=2)
    complete = method.fit(model, task, seed=3, device="cpu")
    lengths = complete.history["perturbation_norm"]
    assert [length > 0 for length in lengths] == [False] * 8 + [True] * 2
    for at in (7, 9):  # before and after there are three snapshots
        with pytest.raises(KeyboardInterrupt):
            method.fit(model, task, seed=3, checkpoint=path, progress=interrupt(at), device="cpu")
    resumed = method.fit(model, task, seed=3, checkpoint=path, device="cpu")
    assert torch.equal(resumed.gaussian.mean, complete.gaussian.mean)
    assert torch.equal(resumed.gaussian.factor, complete.gaussian.factor)
    plain = SWAG(epochs=10, batch_size=7, rank=2).fit(model, task, seed=3, device="cpu")
    assert not torch.equal(plain.mean, complete.mean)
