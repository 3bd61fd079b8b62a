"""Lemma 1 and Theorem 1 of arXiv 2406.15664, with each of the three matrices that they speak of.

For M posterior samples with the Hessians H_m of the training loss Lemma 1 says

    max over m of (1 / M) (lambda_max(H_m) + sum over n != m of lambda_min(H_n))
        <= lambda_max(A) <= mean over m of lambda_max(H_m).

Weyl's inequalities prove it if A is the mean of the H_m. The paper then uses it for the Hessian at
the averaged weights and for that of the averaged prediction, which are other matrices:

- ``"mean Hessian"``: (1 / M) sum H_m;
- ``"averaged weights"``: the Hessian of the loss at the mean of the samples;
- ``"averaged prediction"``: the Hessian of -(1 / N) sum_n log[(1 / M) sum_m p(y_n | x_n, w_m + d)]
  at d = 0, with d a shift that all samples have in common.

The loss of the averaged prediction depends on M weights. The common shift is what moving the
posterior's mean does to them. It gives a matrix of the size of the others, equal to them if all
samples are equal. On a quadratic loss with Hessian A and samples of covariance S the first two
matrices are A, and for one example with two samples the third is A - A S A.

Theorem 1 adds (P sigma^2 / 2) lambda_max to the training loss, with sigma the deviation of a
perturbation of all P weights. Here P sigma^2 is the trace of the samples' covariance, so the term
bounds the second-order rise of the loss from the averaged weights to the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from landscape import workflow
from landscape.curvature import FunctionOperator, Operator, lanczos
from landscape.objective.losses import Loss
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, PosteriorLoss
from landscape.study.candidates import Candidate
from landscape.study.comparison import tuned_trainings
from landscape.study.figures import Figure, Panel, Series
from landscape.study.ledger import Ledger
from landscape.study.metrics import Results, collect, test_metric
from landscape.study.runner import Finished, Runner
from landscape.study.tables import Table, means, over_seeds
from landscape.study.toy import share
from landscape.study.tuning import tune
from landscape.tasks import Data

MATRICES = ("mean Hessian", "averaged weights", "averaged prediction")
"""The three matrices that Lemma 1 is about."""

_SLACK = 0.01
"""Share by which an inequality may fail by the error of the eigenvalues."""


@dataclass(frozen=True)
class Lemma:
    """Both sides of Lemma 1 with the three matrices, and what Theorem 1 needs.

    Attributes:
        largest: lambda_max of the Hessian at each sample.
        smallest: lambda_min of the Hessian at each sample.
        middle: lambda_max of each of ``MATRICES``.
        losses: Training loss in nats at each sample.
        loss_of_average: Training loss at the averaged weights.
        loss_of_prediction: Training loss of the averaged prediction.
        variance: Trace of the samples' covariance, P sigma^2.
    """

    largest: list[float]
    smallest: list[float]
    middle: dict[str, float]
    losses: list[float]
    loss_of_average: float
    loss_of_prediction: float
    variance: float

    @property
    def low(self) -> float:
        """Left side: max over m of (1 / M) (lambda_max(H_m) + sum of the others' lambda_min)."""
        others = sum(self.smallest)
        pairs = zip(self.largest, self.smallest, strict=True)
        return max(large + others - small for large, small in pairs) / len(self.largest)

    @property
    def high(self) -> float:
        """Right side: the mean over m of lambda_max(H_m)."""
        return sum(self.largest) / len(self.largest)

    def holds(self, matrix: str) -> tuple[bool, bool]:
        """Whether the left and the right inequality hold for one of ``MATRICES``.

        An excess of 1 % of the right side counts as an error of the eigenvalues.
        """
        value, slack = self.middle[matrix], _SLACK * abs(self.high)
        return value >= self.low - slack, value <= self.high + slack

    def value(self, matrix: str) -> float:
        """lambda_max of one of ``MATRICES``."""
        return self.middle[matrix]

    def ratio(self, matrix: str) -> float:
        """lambda_max of one of ``MATRICES`` over the right side."""
        return self.middle[matrix] / self.high

    def rise(self) -> float:
        """Mean loss of the samples minus the loss at the averaged weights."""
        return sum(self.losses) / len(self.losses) - self.loss_of_average

    def term(self, matrix: str) -> float:
        """Theorem 1's term (P sigma^2 / 2) lambda_max in nats, for one of ``MATRICES``."""
        return 0.5 * self.variance * self.middle[matrix]


class SamplesTogether(nn.Module):
    """A network at M weights w_m + d, whose only parameter is the shift d, shape (P,).

    Args:
        space: The network's parameters.
        weights: The weights w_m, shape (M, P).
        buffers: Running statistics of each sample.
    """

    def __init__(
        self, space: ParameterSpace, weights: Tensor, buffers: Sequence[dict[str, Tensor]]
    ) -> None:
        super().__init__()
        self.network = space.module
        self.shift = nn.Parameter(torch.zeros_like(weights[0]))
        self.register_buffer("weights", weights)
        self._unflatten: Callable[[Tensor], dict[str, Tensor]] = space.unflatten
        self._buffers_of_samples = list(buffers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of all samples, shape (B, M, ...)."""
        assert isinstance(self.weights, Tensor)
        outputs = []
        for w, buffers in zip(self.weights, self._buffers_of_samples, strict=True):
            parts = {**self._unflatten(w + self.shift), **buffers}
            outputs.append(torch.func.functional_call(self.network, parts, (inputs,)))
        return torch.stack(outputs, 1)


def averaged_prediction(posterior: Posterior, data: Data, loss: Loss, weights: Tensor) -> Objective:
    """The training loss of the averaged prediction, as a function of a common shift d.

    Args:
        posterior: Posterior of the samples.
        data: Data of the loss.
        loss: Loss of one prediction, -log p(y | x, w): a name or a function, as for ``Objective``.
        weights: The samples, shape (M, P).
    """
    buffers = [posterior.buffers(w) for w in weights]
    together = SamplesTogether(posterior.space, weights, buffers)
    space = ParameterSpace(together, "shift", dtype=weights.dtype)
    return Objective(space, data, partial(_averaged_loss, loss))


def _averaged_loss(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """-log[(1 / M) sum_m exp(-loss_m)] of each example, from outputs (B, M, ...)."""
    criterion = nn.functional.cross_entropy if loss == "cross_entropy" else loss
    assert callable(criterion)
    more: dict[str, Any] = {"reduction": "none"} if loss == "cross_entropy" else {}
    losses = torch.stack(
        [criterion(outputs[:, m], targets, **more) for m in range(outputs.shape[1])]
    )
    averaged: Tensor = -(-losses).logsumexp(0) + torch.tensor(float(len(losses))).log()
    return averaged


def mean_operator(operators: Sequence[Operator]) -> Operator:
    """The mean of operators of one size."""
    first = operators[0]

    def multiply(v: Tensor) -> Tensor:
        return torch.stack([operator @ v for operator in operators]).mean(0)

    return FunctionOperator(multiply, first.size, first.dtype, first.device)


def lemma(posterior: Posterior, data: Data, loss: Loss, samples: int, seed: int = 0) -> Lemma:
    """Measure both sides of Lemma 1 at the first samples of a posterior.

    Args:
        posterior: Posterior with at least two samples.
        data: Training data, on which the loss is measured.
        loss: The loss.
        samples: Number of samples M.
        seed: Seed of the samples.
    """
    weights = posterior.sample(posterior.num_available(samples), seed)
    mean_loss = PosteriorLoss(posterior, data, loss)
    hessians: list[Operator] = [mean_loss.at(w).hessian(w) for w in weights]
    centre = weights.mean(0)
    average = mean_loss.at(centre)
    together = averaged_prediction(posterior, data, loss, weights)
    matrices: dict[str, Operator] = {
        "mean Hessian": mean_operator(hessians),
        "averaged weights": average.hessian(centre),
        "averaged prediction": together.hessian(),
    }
    largest = [_largest(hessian, seed) for hessian in hessians]
    return Lemma(
        largest=largest,
        smallest=[
            _smallest(hessian, top, seed) for hessian, top in zip(hessians, largest, strict=True)
        ],
        middle={name: _largest(matrix, seed) for name, matrix in matrices.items()},
        losses=[mean_loss.evaluate(w).loss for w in weights],
        loss_of_average=_value(average, centre),
        loss_of_prediction=_value(together, None),
        variance=float(weights.double().var(0).sum()),
    )


def bound(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """Both sides of Lemma 1, and Theorem 1's term, for the posteriors of all candidates."""
    choices = tune(runner, candidates)
    trained = runner.train_all("training", tuned_trainings(runner, candidates, choices))
    several = [
        entry for entry in trained if int(entry.run.attributes_of("predictions")["samples"]) > 1
    ]
    ledger, report = Ledger(runner.folder / "bound-ledger.json"), runner.progress("Lemma 1")
    lemmas: dict[str, dict[int, Lemma]] = {}
    for index, entry in enumerate(several):
        training = entry.training
        stored = ledger.get(
            _request(entry, runner.budget.measured), partial(_measured, runner, entry)
        )
        lemmas.setdefault(training.name, {})[training.seed] = Lemma(**stored)
        report(index + 1, len(several))
    nll = collect(several, test_metric("nll"))
    return [*lemma_tables(lemmas), _theorem_table(lemmas, nll)]


def _request(entry: Finished, samples: int) -> dict[str, Any]:
    weights = str(entry.run.attributes["posterior_fingerprint"])
    return {"posterior": weights, "seed": entry.training.seed, "samples": samples}


def _measured(runner: Runner, entry: Finished) -> dict[str, Any]:
    trained = workflow.load(entry.run.path, device=runner.device)
    task, seed = trained.task, entry.training.seed
    return asdict(lemma(trained.posterior, task.train, task.loss, runner.budget.measured, seed))


def lemma_tables(lemmas: Mapping[str, Mapping[int, Lemma]]) -> list[Table]:
    """Tables of Lemma 1: how often each side holds, and the numbers.

    Args:
        lemmas: Results by method and seed.
    """
    runs = [result for by_seed in lemmas.values() for result in by_seed.values()]
    rows = []
    for matrix in MATRICES:
        sides = zip(*(result.holds(matrix) for result in runs), strict=True)
        cells = (
            f"{sum(side)} of {len(side)}: {share([float(holds) for holds in side])}"
            for side in sides
        )
        rows.append((matrix, *cells, "always, both"))
    ratios = {matrix: _by_seed(lemmas, partial(Lemma.ratio, matrix=matrix)) for matrix in MATRICES}
    columns = {
        "left side": _by_seed(lemmas, lambda result: result.low),
        **{matrix: _by_seed(lemmas, partial(Lemma.value, matrix=matrix)) for matrix in MATRICES},
        "right side": _by_seed(lemmas, lambda result: result.high),
        "lambda_min, mean of the samples": _by_seed(
            lemmas, lambda result: sum(result.smallest) / len(result.smallest)
        ),
    }
    return [
        Table(
            "Lemma 1: how often it holds, over methods and seeds",
            ("lambda_max of", "left side holds", "right side holds", "paper"),
            tuple(rows),
            "Shares have Wilson's 95 % interval in brackets. An excess of 1 % of the right side "
            "counts as an error of the eigenvalues. For the mean Hessian it is Weyl's theorem.",
            figure=Figure("Lemma 1: lambda_max over the right side", (_ratios(ratios),), columns=1),
        ),
        means("Lemma 1: both sides, and lambda_max of the three matrices (nats)", columns),
    ]


def _ratios(ratios: Mapping[str, Results]) -> Panel:
    names = tuple(next(iter(ratios.values())))
    series = [over_seeds(matrix, names, results) for matrix, results in ratios.items()]
    series.append(Series("the lemma's right side", names, (1.0,) * len(names), line=True))
    return Panel("", "", "lambda_max / mean of the samples' lambda_max", tuple(series))


def _theorem_table(lemmas: Mapping[str, Mapping[int, Lemma]], nll: Results) -> Table:
    terms = {
        f"term, {matrix}": _by_seed(lemmas, partial(Lemma.term, matrix=matrix))
        for matrix in MATRICES
    }
    columns = {
        "loss at the averaged weights": _by_seed(lemmas, lambda result: result.loss_of_average),
        "mean loss of the samples": _by_seed(
            lemmas, lambda result: result.loss_of_average + result.rise()
        ),
        "loss of the averaged prediction": _by_seed(
            lemmas, lambda result: result.loss_of_prediction
        ),
        **terms,
        "test NLL": nll,
    }
    return means(
        "Theorem 1: training losses, the term (P sigma^2 / 2) lambda_max, and the test NLL (nats)",
        columns,
        note="P sigma^2 is the trace of the samples' covariance. The theorem's bound is a training "
        "loss plus the term plus a complexity that does not depend on the curvature. The term is "
        "at least the second-order rise from the averaged weights to the samples.",
    )


def _by_seed(
    lemmas: Mapping[str, Mapping[int, Lemma]], number_of: Callable[[Lemma], float]
) -> Results:
    return {
        name: {seed: number_of(result) for seed, result in by_seed.items()}
        for name, by_seed in lemmas.items()
    }


def _largest(operator: Operator, seed: int) -> float:
    return float(lanczos(operator, k=1, seed=seed).values[0])


def _smallest(operator: Operator, largest: float, seed: int) -> float:
    """lambda_min, as largest - lambda_max(largest I - A).

    Its error is then small beside ``largest``. A residual that is small beside a lambda_min close
    to zero would take most of the time, for digits that do not count in the lemma.
    """

    def multiply(v: Tensor) -> Tensor:
        return largest * v - operator @ v

    mirrored = FunctionOperator(multiply, operator.size, operator.dtype, operator.device)
    return largest - _largest(mirrored, seed)


def _value(objective: MeanLoss, w: Tensor | None) -> float:
    return float(objective.loss(w))
