"""The bins of a reliability diagram, against a loop over bins and against the ECE."""

import numpy as np
import pytest
import torch
from cases import generator
from scipy.stats import binomtest

from landscape.errors import InputError
from landscape.prediction import calibration, ece, reliability
from landscape.prediction.calibration_bins import calibration_gaps, wilson_interval


@pytest.mark.parametrize("seed", range(20))
def test_the_bins_and_the_error_agree(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    examples, classes = int(numbers.integers(1, 200)), int(numbers.integers(2, 12))
    bins = int(numbers.integers(1, 40))
    logits = numbers.uniform(0, 6) * torch.randn(examples, classes, generator=generator(seed))
    log_probabilities = logits.log_softmax(1)
    labels = torch.randint(classes, (examples,), generator=generator(seed + 1))
    found = reliability(log_probabilities, labels, bins=bins)
    assert found.counts.sum() == examples
    filled = found.counts > 0
    shares = found.counts[filled] / examples
    gaps = (found.accuracy - found.mean_confidence)[filled].abs()
    assert ece(log_probabilities, labels, bins=bins) == pytest.approx(float((shares * gaps).sum()))
    low, high = found.edges[:-1], found.edges[1:]
    inside = (low < found.mean_confidence) & (found.mean_confidence <= high + 1e-12)
    assert bool(inside[filled].all())
    assert bool(found.accuracy[~filled].isnan().all())


def test_each_bin_is_closed_above_and_the_last_holds_certainty() -> None:
    confidence = torch.tensor([0.0, 0.25, 0.26, 0.5, 0.75, 1.0], dtype=torch.float64)
    right = torch.tensor([0, 1, 0, 1, 1, 1])
    found = calibration(confidence, right, bins=4)
    assert found.counts.tolist() == [2, 2, 1, 1]
    assert found.right.tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(found.confidence, torch.tensor([0.25, 0.76, 0.75, 1.0]).double())


def test_several_predictions_are_sorted_at_once_as_one_by_one() -> None:
    confidence = torch.rand(3, 50, generator=generator()).double()
    right = torch.rand(3, 50, generator=generator(1)) < confidence
    together = calibration(confidence, right)
    for row in range(3):
        alone = calibration(confidence[row], right[row])
        torch.testing.assert_close(together.counts[row], alone.counts)
        torch.testing.assert_close(together.ece[row], alone.ece)
    gaps = calibration_gaps(confidence, right).abs().sum(-1) / confidence.shape[-1]
    torch.testing.assert_close(gaps, together.ece)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (3, 10), (997, 1000), (0, 40)])
def test_the_interval_is_that_of_scipy(successes: int, trials: int) -> None:
    low, high = wilson_interval(torch.tensor(successes), torch.tensor(trials))
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_an_empty_bin_has_no_accuracy_and_no_interval() -> None:
    found = calibration(torch.tensor([0.9]), torch.tensor([True]), bins=2)
    low, high = found.accuracy_interval()
    assert low.isnan().tolist() == high.isnan().tolist() == [True, False]


def test_no_bin_is_refused() -> None:
    with pytest.raises(InputError, match="bins must be at least 1"):
        calibration(torch.tensor([0.5]), torch.tensor([True]), bins=0)
