"""Lemma 1 on losses whose three matrices are known in closed form."""

import pytest
import torch
from torch import Tensor, nn

from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, Samples
from landscape.study.bound import MATRICES, Lemma, averaged_prediction, lemma, lemma_tables
from landscape.tasks import Data

CURVATURE = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
CENTRE = torch.tensor([0.5, -1.0], dtype=torch.float64)
SHIFT = torch.tensor([0.4, -0.3], dtype=torch.float64)


class Quadratic(nn.Module):
    """A network whose output is (w - c)^T A (w - c) / 2 for every input, shape (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(CENTRE.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        off = self.w - CENTRE
        return (0.5 * off @ CURVATURE @ off).expand(len(inputs), 1)


def output(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs[:, 0]


def at(model: nn.Module, weights: Tensor) -> Posterior:
    space = ParameterSpace(model)
    return Posterior(space, Samples(weights, torch.zeros(len(weights), dtype=torch.long)))


@pytest.fixture(scope="module")
def quadratic() -> Lemma:
    """Two samples c + a and c - a, and one example."""
    posterior = at(Quadratic(), torch.stack([CENTRE + SHIFT, CENTRE - SHIFT]))
    data = Data(torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1))
    return lemma(posterior, data, output, samples=2)


def test_the_three_matrices_of_a_quadratic(quadratic: Lemma) -> None:
    # exp(-loss) of the average is a mixture of two Gaussians at a and -a: its curvature in between
    # is A - A a a^T A, while every other matrix is A.
    of_mixture = CURVATURE - CURVATURE @ torch.outer(SHIFT, SHIFT) @ CURVATURE
    top = float(torch.linalg.eigvalsh(CURVATURE)[-1])
    assert quadratic.middle["mean Hessian"] == pytest.approx(top, rel=1e-6)
    assert quadratic.middle["averaged weights"] == pytest.approx(top, rel=1e-6)
    expected = float(torch.linalg.eigvalsh(of_mixture)[-1])
    assert expected < 0.95 * top
    assert quadratic.middle["averaged prediction"] == pytest.approx(expected, rel=1e-6)


def test_both_sides_of_a_quadratic(quadratic: Lemma) -> None:
    low, top = torch.linalg.eigvalsh(CURVATURE).tolist()
    assert quadratic.smallest == pytest.approx([low, low], rel=1e-6)
    assert quadratic.low == pytest.approx((top + low) / 2, rel=1e-6)
    assert quadratic.high == pytest.approx(top, rel=1e-6)
    assert [quadratic.holds(matrix) for matrix in MATRICES] == [
        (True, True),
        (True, True),
        (quadratic.middle["averaged prediction"] >= (top + low) / 2, True),
    ]


def test_theorem_1s_term_bounds_the_rise_of_a_quadratic(quadratic: Lemma) -> None:
    height = 0.5 * float(SHIFT @ CURVATURE @ SHIFT)
    assert quadratic.loss_of_average == pytest.approx(0.0, abs=1e-12)
    assert quadratic.losses == pytest.approx([height, height])
    assert quadratic.loss_of_prediction == pytest.approx(height)
    # The covariance with n - 1 is 2 a a^T, so the term is |a|^2 lambda_max.
    term = float(SHIFT @ SHIFT) * float(torch.linalg.eigvalsh(CURVATURE)[-1])
    assert quadratic.term("averaged weights") == pytest.approx(term, rel=1e-6)
    assert quadratic.rise() == pytest.approx(height)
    assert height <= term


def test_the_averaged_prediction_of_a_classifier_against_a_dense_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 4).double()
    inputs = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (6,), generator=generator)
    weights = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    objective = averaged_prediction(
        at(model, weights), Data(inputs, labels), "cross_entropy", weights
    )

    def loss(shift: Tensor) -> Tensor:
        def probabilities(w: Tensor) -> Tensor:
            return (inputs @ w[:12].reshape(4, 3).T + w[12:]).softmax(1)

        average = torch.stack([probabilities(w + shift) for w in weights]).mean(0)
        return -average[torch.arange(6), labels].log().mean()

    zero = torch.zeros(16, dtype=torch.float64)
    assert float(objective.loss()) == pytest.approx(float(loss(zero)))
    dense = torch.func.hessian(loss)(zero)
    image = objective.hessian() @ torch.eye(16, dtype=torch.float64)
    torch.testing.assert_close(image, dense)


def test_the_mean_hessian_of_a_network_obeys_both_sides() -> None:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    data = Data(
        torch.randn(5, 2, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    )
    weights = torch.randn(4, 17, generator=generator, dtype=torch.float64)
    posterior = at(model, weights)
    result = lemma(posterior, data, "cross_entropy", samples=4)

    space = ParameterSpace(model)

    def dense(w: Tensor) -> Tensor:
        def loss(vector: Tensor) -> Tensor:
            parts = space.unflatten(vector)
            outputs = torch.func.functional_call(model, parts, (data.inputs,))
            return nn.functional.cross_entropy(outputs, data.targets)

        return torch.func.hessian(loss)(w)

    drawn = posterior.sample(4, 0)
    spectra = [torch.linalg.eigvalsh(dense(w)) for w in drawn]
    mean = torch.linalg.eigvalsh(torch.stack([dense(w) for w in drawn]).mean(0))
    assert result.largest == pytest.approx([float(s[-1]) for s in spectra], rel=1e-3)
    assert result.smallest == pytest.approx([float(s[0]) for s in spectra], rel=1e-2)
    assert min(result.smallest) < 0
    assert result.middle["mean Hessian"] == pytest.approx(float(mean[-1]), rel=1e-3)
    at_average = torch.linalg.eigvalsh(dense(drawn.mean(0)))
    assert result.middle["averaged weights"] == pytest.approx(float(at_average[-1]), rel=1e-3)
    assert result.holds("mean Hessian") == (True, True)


def test_the_tables_count_what_holds() -> None:
    def result(middle: float) -> Lemma:
        return Lemma([4.0, 2.0], [-1.0, -2.0], dict.fromkeys(MATRICES, middle), [0.2], 0.1, 0.1, 1)

    # Left side: max(4 - 2, 2 - 1) / 2 = 1; right side: 3.
    assert (result(2.0).low, result(2.0).high) == (1.0, 3.0)
    sides, numbers = lemma_tables({"swag": {0: result(0.5), 1: result(2.0), 2: result(3.5)}})
    assert [cell.partition(":")[0] for cell in sides.rows[0][1:3]] == ["2 of 3", "2 of 3"]
    assert numbers.rows[0][:3] == ("swag", "3", "1.00 [1.00, 1.00]")
    assert sides.figure is not None
    assert sides.figure.panels[0].series[0].y == (pytest.approx(2 / 3, rel=1e-4),)
