"""Averages and metrics against scikit-learn and against values computed by hand."""

import math

import numpy as np
import pytest
import torch
from cases import classification, generator, joined, mlp
from torch import nn

from landscape.errors import InputError
from landscape.objective.likelihood import GaussianLikelihood
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Point, Posterior, Samples, isotropic
from landscape.prediction import Prediction, accuracy, brier, ece, nll, predict, predict_real

LOGITS = torch.log_softmax(torch.randn(50, 4, generator=generator()).double(), 1)
LABELS = torch.randint(4, (50,), generator=generator(1))


def test_accuracy_and_nll_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, log_loss  # which few tests need

    probabilities = LOGITS.exp().numpy()
    assert accuracy(LOGITS, LABELS) == accuracy_score(LABELS, probabilities.argmax(1))
    assert nll(LOGITS, LABELS) == pytest.approx(log_loss(LABELS, probabilities, labels=range(4)))
    target = np.eye(4)[LABELS]
    assert brier(LOGITS, LABELS) == pytest.approx(((probabilities - target) ** 2).sum(1).mean())


def test_calibration_error_by_hand() -> None:
    confidence = torch.tensor([1.0, 0.95, 0.94, 0.6, 2 / 3], dtype=torch.float64)
    log_probabilities = torch.stack([confidence, 1 - confidence], 1).log()
    labels = torch.tensor([0, 1, 0, 0, 0])
    # Bins of 1/15: (14/15, 1] holds the first three, (8/15, 9/15] 0.6, (9/15, 10/15] 2/3.
    gaps = [abs((1 + 0.95 + 0.94) - 2), abs(0.6 - 1), abs(2 / 3 - 1)]
    assert ece(log_probabilities, labels) == pytest.approx(sum(gaps) / 5)
    assert ece(log_probabilities, labels, bins=1) == pytest.approx(abs(confidence.sum() - 4) / 5)


@pytest.mark.parametrize("bins", [15, 4, 1])
def test_calibration_error_is_that_of_a_loop_over_bins(bins: int) -> None:
    # Sure and less sure than right: gaps of both signs, so that the number of bins matters.
    logits = 3 * torch.randn(300, 4, generator=generator()).double()
    sure = torch.rand(300, generator=generator(2)) < 0.6
    answers = torch.where(sure, logits.argmax(1), torch.randint(4, (300,), generator=generator(1)))
    probabilities, labels = logits.softmax(1).numpy(), answers.numpy()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    settings = {} if bins == 15 else {"bins": bins}  # 15 is the default
    assert ece(logits.log_softmax(1), answers, **settings) == pytest.approx(total)


def test_a_confidence_on_the_edge_is_in_the_bin_below() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.375, 0.375 - 1 / 16, 5 / 16]]).double()
    # Both are in (1/4, 1/2]: 0.5 is wrong and 0.375 right.
    assert ece(probabilities.log(), torch.tensor([1, 0]), bins=4) == pytest.approx(0.125 / 2)


def test_perfect_predictions_have_no_error() -> None:
    certain = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    labels = torch.tensor([0, 1])
    assert accuracy(certain, labels) == 1
    assert nll(certain, labels) == ece(certain, labels) == brier(certain, labels) == 0
    assert nll(certain, 1 - labels) == math.inf


def test_probabilities_are_averaged_and_not_logits() -> None:
    samples = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]]]).log()
    prediction = Prediction(samples, torch.tensor([0]))
    torch.testing.assert_close(prediction.average.exp(), torch.tensor([[0.55, 0.45]]))
    assert prediction.metrics()["nll"] == pytest.approx(-math.log(0.55))
    assert [alone["accuracy"] for alone in prediction.sample_metrics()] == [1, 0]
    # Jensen: the average is no worse than the mean of the samples' scores.
    alone = [metrics["nll"] for metrics in prediction.sample_metrics()]
    assert prediction.metrics()["nll"] <= sum(alone) / 2


def test_predictions_are_those_of_the_network_at_each_sample() -> None:
    model = mlp()
    q = isotropic(model, 0.1, mean=ParameterSpace(model).vector())
    x, y = joined(classification())
    found = predict(q, classification(), samples=3, seed=4)
    assert found.log_probabilities.shape == (3, 23, 3)
    assert torch.equal(found.labels, y)
    for row, w in zip(found.log_probabilities, q.sample(3, 4), strict=True):
        nn.utils.vector_to_parameters(w, model.parameters())
        torch.testing.assert_close(row, model(x).log_softmax(1).detach())


def test_one_example_has_a_prediction_and_scores() -> None:
    model = mlp()
    q = isotropic(model, 0.1, mean=ParameterSpace(model).vector())
    found = predict(q, classification(examples=1), samples=2)
    assert found.log_probabilities.shape == (2, 1, 3)
    p = float(found.probabilities.mean(0)[0, int(found.labels[0])])
    assert found.metrics()["nll"] == pytest.approx(-math.log(p))
    assert found.metrics()["accuracy"] in (0, 1)


def test_a_point_posterior_predicts_once_and_dropout_is_off() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9)).double()
    space = ParameterSpace(model)
    q = Posterior(space, Point(space.vector()))
    one, two = (predict(q, classification()).log_probabilities for _ in range(2))
    assert one.shape[0] == 1
    assert torch.equal(one, two)


def test_running_statistics_are_those_of_the_sample() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    space, batches = ParameterSpace(model), classification()
    vectors = torch.stack([space.vector(), 3 * space.vector()])
    q = Posterior(space, Samples(vectors), calibration=batches)
    found = predict(q, batches, samples=2)
    x, _ = joined(batches)
    for row, w in zip(found.log_probabilities, q.sample(2, 0), strict=True):
        torch.testing.assert_close(row, space.call(w, x, q.buffers(w)).log_softmax(1))


def test_what_cannot_be_scored_is_refused() -> None:
    for log_probabilities, labels, message in (
        (LOGITS, LABELS + 2, r"labels must be in \[0, 4\)"),
        (LOGITS, LABELS - 1, r"labels must be in \[0, 4\), not \[-1, 2\]"),
        (LOGITS, LABELS.double(), "class numbers, not torch.float64"),
        (LOGITS, LABELS[:3], "need log-probabilities"),
        (LOGITS[:0], LABELS[:0], "at least one example"),
        (LOGITS * torch.nan, LABELS, "hold NaN"),
    ):
        for metric in (accuracy, nll, brier, ece):
            with pytest.raises(InputError, match=message):
                metric(log_probabilities, labels)
    space = ParameterSpace(mlp())
    q = Posterior(space, Point(space.vector()))
    with pytest.raises(InputError, match="no batch"):
        predict(q, [])
    with pytest.raises(InputError, match="number of samples must be at least 1"):
        predict(isotropic(mlp(), 0.1), classification(), samples=0)
    flat = isotropic(nn.Sequential(nn.Flatten(0), nn.Linear(4, 3)), 0.1)
    with pytest.raises(InputError, match="returns logits"):
        predict(flat, [(torch.ones(1, 4), torch.zeros(1, dtype=torch.long))])
    with pytest.raises(InputError, match="bins"):
        ece(LOGITS, LABELS, bins=0)


def test_one_logit_is_no_choice_between_classes() -> None:
    x, labels = torch.randn(6, 4), torch.zeros(6, dtype=torch.long)
    posterior = isotropic(nn.Linear(4, 1), 0.1)
    with pytest.raises(InputError, match="but the network has one output"):
        predict(posterior, [(x, labels)], samples=2)


def test_examples_without_a_label_are_left_out() -> None:
    x, labels = torch.randn(6, 4), torch.tensor([0, -100, 2, 1, -100, 0])
    posterior = isotropic(nn.Linear(4, 3), 0.1)
    found = predict(posterior, [(x, labels)], samples=2)
    only = predict(posterior, [(x[labels >= 0], labels[labels >= 0])], samples=2)
    assert found.metrics() == pytest.approx(only.metrics())


def test_noise_that_is_not_one_number_is_refused() -> None:
    data = [(torch.randn(6, 4), torch.randn(6, 2))]
    posterior = isotropic(nn.Linear(4, 2), 0.1)
    for noise in (torch.tensor([0.1, 0.5]), 0.0, math.nan, "loud"):
        with pytest.raises(InputError, match="noise must be positive and finite, one number"):
            predict_real(posterior, data, noise=noise, samples=2)
        with pytest.raises(InputError, match="noise must be positive and finite, one number"):
            GaussianLikelihood(noise)
