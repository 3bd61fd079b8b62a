"""The average over the first n samples, against averaging those samples directly."""

import math

import pytest
import torch
from cases import generator
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction import (
    Prediction,
    metrics_in_order,
    metrics_in_orders,
    metrics_in_random_orders,
)

NAMES = ("accuracy", "nll", "ece")


def drawn(samples: int, examples: int = 60, classes: int = 5) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(samples, examples, classes, generator=generator(samples))
    labels = torch.randint(classes, (examples,), generator=generator(1))
    return logits.log_softmax(2), labels


def directly(log_probabilities: Tensor, labels: Tensor, order: list[int]) -> dict[str, list[float]]:
    found = [
        Prediction(log_probabilities[order[:count]].double(), labels).metrics()
        for count in range(1, len(order) + 1)
    ]
    return {name: [metrics[name] for metrics in found] for name in NAMES}


@pytest.mark.parametrize("samples", [1, 2, 7])
@pytest.mark.parametrize("descending", [False, True])
def test_the_first_n_are_averaged_as_directly(samples: int, descending: bool) -> None:
    log_probabilities, labels = drawn(samples)
    key = torch.randn(samples, generator=generator(5))
    order = key.argsort(descending=descending).tolist()
    found = metrics_in_order(log_probabilities, labels, key, descending=descending)
    expected = directly(log_probabilities, labels, order)
    for name in NAMES:
        assert found[name].tolist() == pytest.approx(expected[name])


def test_random_orders_are_those_of_their_seed_and_end_in_the_same_average() -> None:
    log_probabilities, labels = drawn(6)
    found = metrics_in_random_orders(log_probabilities, labels, orders=25, seed=3)
    again = metrics_in_random_orders(log_probabilities, labels, orders=25, seed=3)
    whole = Prediction(log_probabilities.double(), labels).metrics()
    alone = Prediction(log_probabilities.double(), labels).sample_metrics()
    for name in NAMES:
        assert found[name].shape == (25, 6)
        assert torch.equal(found[name], again[name])
        assert found[name][:, -1].tolist() == pytest.approx([whole[name]] * 25)
        firsts = {round(value, 9) for value in found[name][:, 0].tolist()}
        assert firsts <= {round(metrics[name], 9) for metrics in alone}
    assert len({round(value, 9) for value in found["nll"][:, 0].tolist()}) > 3


def test_a_label_of_hardly_any_probability_is_not_infinitely_wrong() -> None:
    log_probabilities = torch.tensor([[[0.0, -900.0]], [[0.0, -800.0]]], dtype=torch.float64)
    found = metrics_in_order(log_probabilities, torch.tensor([1]), [0.0, 1.0])
    assert found["nll"].tolist() == pytest.approx([900, 800 + math.log(2)])
    impossible = torch.tensor([[[0.0, -math.inf]]])
    assert metrics_in_order(impossible, torch.tensor([1]), [0.0])["nll"].item() == math.inf


def test_between_classes_of_equal_probability_the_first_is_predicted() -> None:
    even = torch.tensor([[[0.25, 0.25, 0.5], [0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]] * 2]).log()
    for labels in ([0, 0], [1, 1], [2, 1]):
        found = metrics_in_order(even, torch.tensor(labels), [0.0, 1.0])
        expected = directly(even, torch.tensor(labels), [0, 1])
        assert found["accuracy"].tolist() == expected["accuracy"]


def test_equal_keys_keep_their_order_and_nan_goes_last() -> None:
    log_probabilities, labels = drawn(4)
    key = [1.0, math.nan, 1.0, 0.0]
    for descending, order in ((False, [3, 0, 2, 1]), (True, [0, 2, 3, 1])):
        found = metrics_in_order(log_probabilities, labels, key, descending=descending)
        expected = directly(log_probabilities, labels, order)
        assert found["nll"].tolist() == pytest.approx(expected["nll"])


def test_what_cannot_be_ordered_or_scored_is_refused() -> None:
    log_probabilities, labels = drawn(3)
    for bad, message in (
        ((log_probabilities, labels, [1.0, 2.0]), "each of 3 samples needs a key"),
        ((log_probabilities[0], labels, [1.0] * 60), r"samples \(S, N, C\)"),
        ((log_probabilities * math.nan, labels, [1.0] * 3), "hold NaN"),
        ((log_probabilities, labels + 9, [1.0] * 3), "labels must be in"),
        ((log_probabilities, labels[:2], [1.0] * 3), "need log-probabilities"),
        ((log_probabilities[:0], labels, []), r"samples \(S, N, C\)"),
    ):
        with pytest.raises(InputError, match=message):
            metrics_in_order(*bad)
    for orders in ([[0, 1, 1]], [[0, 1]], [0, 1, 2]):
        with pytest.raises(InputError, match="must contain each of them once"):
            metrics_in_orders(log_probabilities, labels, torch.tensor(orders))
    with pytest.raises(InputError, match="orders must be at least 1"):
        metrics_in_random_orders(log_probabilities, labels, orders=0)
