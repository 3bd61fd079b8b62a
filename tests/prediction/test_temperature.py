"""Temperature scaling against a case with a closed form."""

import math

import pytest
import torch

from landscape.errors import InputError
from landscape.prediction import accuracy, best_temperature, nll, tempered


def three_of_four_right(margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions of class 0 with log-odds ``margin``, right three times of four."""
    one = torch.log_softmax(torch.tensor([margin, 0.0]), 0)
    return one.repeat(4, 1), torch.tensor([0, 0, 0, 1])


@pytest.mark.parametrize("margin", [0.2, 1.0, 12.0])
def test_the_best_temperature_makes_the_confidence_the_accuracy(margin: float) -> None:
    predictions, labels = three_of_four_right(margin)
    # At odds of 3 : 1, where margin / T = log 3.
    found = best_temperature(predictions, labels)
    assert found == pytest.approx(margin / math.log(3), rel=1e-4)
    best = tempered(predictions, found)
    assert best.exp()[0].tolist() == pytest.approx([0.75, 0.25], rel=1e-4)
    assert nll(best, labels) <= nll(predictions, labels)


def test_a_temperature_changes_no_decision_and_1_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions = torch.log_softmax(3 * torch.randn(50, 4, generator=generator), 1)
    labels = torch.randint(4, (50,), generator=generator)
    torch.testing.assert_close(tempered(predictions, 1.0), predictions)
    flat, sharp = tempered(predictions, 20.0), tempered(predictions, 0.05)
    assert accuracy(flat, labels) == accuracy(sharp, labels) == accuracy(predictions, labels)


def test_what_cannot_be_tempered_is_said() -> None:
    predictions, _ = three_of_four_right(1.0)
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="temperature must be positive"):
            tempered(predictions, wrong)
    certain = torch.tensor([[0.0, -math.inf]])
    with pytest.raises(InputError, match="a label has probability 0"):
        best_temperature(certain, torch.tensor([1]))


def test_where_all_are_right_the_surer_the_better() -> None:
    predictions, labels = three_of_four_right(1.0)
    found = best_temperature(predictions[:3], labels[:3])
    assert nll(tempered(predictions[:3], found), labels[:3]) == pytest.approx(0.0, abs=1e-6)
