"""The loss at posterior samples, each with running statistics of its own."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from cases import Counted, classification, generator, joined, shuffled

from landscape.errors import InputError
from landscape.objective.batches import same_examples
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, PosteriorLoss

BATCHES = classification(batch=7)


def counted(calibration: Iterable[Any]) -> Posterior:
    space = ParameterSpace(Counted().double())
    return Posterior(space, Point(space.vector()), calibration=calibration)


def again(batches: Iterable[Any]) -> Any:
    """The same examples, divided otherwise."""
    x, y = joined(batches)
    return list(zip(x.split(5), y.split(5), strict=True))


@pytest.mark.parametrize(
    ("data", "calibration", "once"),
    [
        (BATCHES, BATCHES, True),
        (BATCHES, again(BATCHES), True),
        (BATCHES, shuffled(BATCHES), False),
        (BATCHES[:2], BATCHES, False),
        ([(x, y.roll(1)) for x, y in BATCHES], BATCHES, False),
        ([(x, y.roll(1)) for x, y in BATCHES], [(x, None) for x, _ in BATCHES], False),
    ],
)
def test_the_pass_that_estimates_statistics_is_the_evaluation_on_the_same_examples(
    data: Any, calibration: Any, once: bool
) -> None:
    posterior = counted(calibration)
    loss = PosteriorLoss(posterior, data)
    weights = torch.randn(3, posterior.space.size, generator=generator(), dtype=torch.float64)
    loss.evaluate(weights[0])  # which looks at the data
    posterior.space.module.passes.clear()
    found = loss.evaluate_each(weights)
    assert len(posterior.space.module.passes) == len(weights) * (1 if once else 1 + len(data))
    for w, each in zip(weights, found, strict=True):
        truth = Objective(posterior.space, data, buffers=posterior.buffers(w)).evaluate(w)
        assert each.loss == pytest.approx(truth.loss, rel=1e-12)
        assert each.accuracy == truth.accuracy


def test_a_shuffled_loader_that_is_both_keeps_examples_and_targets_together() -> None:
    loader = shuffled(BATCHES)
    posterior = counted(loader)
    w = torch.randn(posterior.space.size, generator=generator(), dtype=torch.float64)
    truth = Objective(posterior.space, BATCHES, buffers=posterior.buffers(w)).evaluate(w)
    loss = PosteriorLoss(posterior, loader)
    assert loss._on_calibration
    for _ in range(3):
        found = loss.evaluate(w)
        assert found.loss == pytest.approx(truth.loss, rel=1e-12)
        assert found.accuracy == truth.accuracy


def test_bad_data_are_refused_as_without_statistics() -> None:
    x, y = joined(BATCHES)
    for batches, message in (
        ([(x, y + 7)], "labels must be"),
        ([(x[:, :2], y)], "does not take"),
        (list(zip(x, y, strict=True)), "single examples"),
        ([], "no batch"),
    ):
        posterior = counted(batches)
        with pytest.raises(InputError, match=message):
            PosteriorLoss(posterior, batches).evaluate(posterior.mean)


@pytest.mark.parametrize("divide", [again, list])
def test_examples_are_compared_however_they_are_divided(divide: Callable[..., Any]) -> None:
    x, y = joined(BATCHES)
    assert same_examples(BATCHES, divide(BATCHES))
    assert same_examples([({"a": x, "b": (x,)}, y)], [({"a": x, "b": (x,)}, y)])
    assert not same_examples(BATCHES, divide(BATCHES)[:-1])
    assert not same_examples(BATCHES[:-1], divide(BATCHES))
    assert not same_examples(BATCHES, divide([(x.flip(0), y)]))
    assert not same_examples(BATCHES, divide([(x, y.flip(0))]))
    assert not same_examples([(x.float(), y)], divide(BATCHES))
    assert not same_examples([(x[:, :3], y)], divide(BATCHES))
    assert not same_examples([(x.to_sparse(), y)], [(x.to_sparse(), y)])  # it cannot be seen
    assert not same_examples([(x, torch.tensor(1))], [(x, torch.tensor(1))])
    assert not same_examples([(x, None)], divide(BATCHES))
