"""Figure 1 of arXiv 2406.15664: does flatness go with prediction?

- 1a: over the samples of one SWAG posterior, the correlation of lambda_1 with error, ECE and NLL;
  and the same with the training loss held fixed.
- 1b: lambda_1 and NLL of VI, SWAG and SGLD, each by SGD and with FP-BMA's ball, beside SGD and SAM.
- 1c: NLL of the average over n samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from landscape.prediction import metrics_in_random_orders, partial_spearman, spearman
from landscape.store import Run
from landscape.study import metrics
from landscape.study.candidates import CANDIDATES, Candidate
from landscape.study.comparison import measured_trainings
from landscape.study.figures import Figure, Panel, Series, numbers
from landscape.study.metrics import Results, collect
from landscape.study.plan import Training
from landscape.study.runner import Finished, Runner
from landscape.study.tables import Table, correlations, differences, means, over_seeds

SCHEDULES = {
    "constant": {"learning_rate": 0.02, "swag_rate": 0.02},
    "SWAG's": {"learning_rate": 0.05, "swag_rate": 0.02},
    "cosine": {"learning_rate": 0.05, "swag_rate": 0.0},
}
"""Settings of SWAG for three schedules of the learning rate. SWAG's falls to a constant one."""

PAIRS = {"vi": "fp-bma-vi", "swag": "fp-bma-swag", "sgld": "fp-bma-sgld"}
"""Names of each framework by SGD and with FP-BMA's ball."""

_PAPER = {"error": "0.93", "ECE": "0.88", "NLL": "0.91"}
_SIZES = (1, 2, 3, 5, 10, 20, 30)
_SMALLEST = 4
"""Fewest samples of a correlation."""


def correlation(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """The three parts of Figure 1, on the study's task and network.

    The networks of 1a have random initial weights and no normalisation layers. Those of 1b and 1c
    are tuned and start at the source's posterior, as in all other studies.
    """
    epochs, seeds = {"epochs": runner.budget.epochs}, range(runner.budget.seeds)
    trainings = [
        Training(
            schedule,
            "swag",
            {**settings, **epochs},
            seed,
            start="fresh",
            source={"normalisation": "none"},
            folder="correlation",
        )
        for schedule, settings in SCHEDULES.items()
        for seed in seeds
    ]
    samples = runner.budget.samples
    swag = runner.train_all("SWAG by three schedules", trainings, curvature=samples)
    names = ("map", "sam", *PAIRS, *PAIRS.values())
    chosen = [candidate for candidate in candidates if candidate.name in names]
    finished = measured_trainings(runner, chosen or [CANDIDATES[name] for name in names])
    frameworks, averages = _frameworks(finished), _averages(finished)
    first = swag_table(swag)
    panels = (
        *_scatter(swag),
        _framework_panel(finished),
        _average_panel(finished),
    )
    picture = Figure("Figure 1 here: 1a for the first seed, 1b and 1c over seeds", panels)
    return [replace(first, figure=picture), _fits(swag), *frameworks, averages]


def swag_table(finished: Sequence[Finished]) -> Table:
    """Correlations of lambda_1 over the samples of each SWAG posterior."""
    pearson: Results = {}
    ranks: Results = {}
    given_loss: Results = {}
    pairs: dict[str, int] = {}
    for entry in finished:
        values = of_samples(entry.run)
        for quantity in _PAPER:
            name, seed = f"{entry.training.name}: {quantity}", entry.training.seed
            x, y, loss = values["lambda_1"], values[quantity], values["training loss"]
            pearson.setdefault(name, {})[seed] = _pearson(x, y)
            ranks.setdefault(name, {})[seed] = spearman(x, y).rho
            given_loss.setdefault(name, {})[seed] = partial_spearman(x, y, loss)
            pairs[name] = min(len(x), pairs.get(name, len(x)))
    one_less = {name: count - 1 for name, count in pairs.items()}
    table = correlations(
        "1a: correlation of lambda_1 over the samples of one SWAG posterior",
        {
            "Pearson's r": (pearson, pairs),
            "Spearman's rho": (ranks, pairs),
            "rho, given the training loss": (given_loss, one_less),
        },
        first="schedule",
        note="Mean over seeds with its 95 % interval. Positive: the flat samples predict better. "
        "The paper's numbers: ResNet-18 without batch normalisation, CIFAR-10, 30 samples of one "
        "posterior.",
    )
    rows = []
    for row in table.rows:
        schedule, _, quantity = row[0].partition(": ")
        rows.append((*row, _PAPER[quantity] if schedule == "cosine" else "-"))
    return replace(table, columns=(*table.columns, "paper's r"), rows=tuple(rows))


def of_samples(run: Run) -> dict[str, np.ndarray]:
    """Values at each measured sample of a run, by the name of the quantity, shape (S,) each."""
    samples = run.read("samples", "eigenvalues", "loss")
    predictions = run.read("predictions", "accuracy", "ece", "nll")
    count = len(samples["loss"])
    return {
        "lambda_1": samples["eigenvalues"][:, 0],
        "training loss": samples["loss"],
        "error": 1 - predictions["accuracy"][:count],
        "ECE": predictions["ece"][:count],
        "NLL": predictions["nll"][:count],
    }


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; NaN for few values or a constant quantity."""
    if len(x) < _SMALLEST or x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _fits(finished: Sequence[Finished]) -> Table:
    """How far lambda_1 and the training loss vary over samples, and how they go together."""

    def spread(name: str) -> Callable[[Run], float]:
        def ratio(run: Run) -> float:
            values = of_samples(run)[name]
            return float(values.std(ddof=1) / values.mean())

        return ratio

    def with_loss(run: Run) -> float:
        values = of_samples(run)
        return spearman(values["lambda_1"], values["training loss"]).rho

    columns = {
        "training loss": collect(finished, metrics.train_loss),
        "lambda_1": collect(finished, metrics.lambda_1),
        "deviation / mean of lambda_1": collect(finished, spread("lambda_1")),
        "deviation / mean of the training loss": collect(finished, spread("training loss")),
        "rho of lambda_1 and training loss": collect(finished, with_loss),
        "NLL of the average": collect(finished, metrics.test_metric("nll")),
    }
    within = {"training loss": metrics.POSITIVE, "NLL of the average": metrics.POSITIVE}
    return means("1a: the posteriors", columns, within=within, first="schedule")


def _frameworks(finished: Sequence[Finished]) -> list[Table]:
    """Figure 1b: each method's numbers, and what FP-BMA's ball changes in each framework."""
    columns = {
        "lambda_1": collect(finished, metrics.lambda_1),
        "lambda_1 / lambda_5": collect(finished, metrics.lambda_ratio),
        "trace": collect(finished, metrics.trace),
        "training loss": collect(finished, metrics.train_loss),
        "NLL": collect(finished, metrics.test_metric("nll")),
        "accuracy": collect(finished, metrics.test_metric("accuracy")),
    }
    tables = [means("1b: flatness and prediction", columns, within=metrics.RANGES)]
    for label in ("lambda_1", "training loss", "NLL"):
        results = columns[label]
        by_pair = [
            differences("", {flat: results[flat], plain: results[plain]}, plain)
            for plain, flat in PAIRS.items()
            if plain in results and flat in results
        ]
        if by_pair:
            tables.append(
                Table(
                    f"1b: {label}, with FP-BMA's ball minus without",
                    by_pair[0].columns,
                    tuple(row for table in by_pair for row in table.rows),
                    "The paper shows a lower lambda_1 and a lower NLL for all three.",
                    tuple(p for table in by_pair for p in table.p_values),
                )
            )
    return tables


def _averages(finished: Sequence[Finished]) -> Table:
    """Figure 1c as a table."""
    curves = _curves(finished)
    most = max(len(curve) for by_seed in curves.values() for curve in by_seed.values())
    columns = {
        f"n = {size}": {
            name: {
                seed: float(curve[size - 1])
                for seed, curve in by_seed.items()
                if size <= len(curve)
            }
            for name, by_seed in curves.items()
            if any(size <= len(curve) for curve in by_seed.values())
        }
        for size in _SIZES
        if size <= most
    }
    return means(
        "1c: NLL of the average over n samples, mean of 20 random orders",
        columns,
        within=dict.fromkeys(columns, metrics.POSITIVE),
        note="The paper: FP-BMA with few samples is below the others with all of theirs.",
    )


def _curves(finished: Sequence[Finished]) -> dict[str, dict[int, np.ndarray]]:
    """NLL of averages over n = 1, ..., S samples, by method and seed."""
    curves: dict[str, dict[int, np.ndarray]] = {}
    for entry in finished:
        predictions = entry.run.read("predictions", "log_probabilities", "labels")
        nll = metrics_in_random_orders(
            torch.from_numpy(predictions["log_probabilities"]),
            torch.from_numpy(predictions["labels"]),
            orders=20,
        )["nll"]
        by_seed = curves.setdefault(entry.training.name, {})
        by_seed[entry.training.seed] = nll.mean(0).numpy()
    return curves


def _scatter(finished: Sequence[Finished]) -> list[Panel]:
    panels = []
    for entry in finished:
        if entry.training.seed == 0:
            values = of_samples(entry.run)
            title = f"1a: {entry.training.name} schedule"
            points = numbers(values["lambda_1"]), numbers(values["NLL"])
            panels.append(Panel(title, "lambda_1", "test NLL", (Series("samples", *points),)))
    return panels


def _framework_panel(finished: Sequence[Finished]) -> Panel:
    lambdas = collect(finished, metrics.lambda_1)
    nll = collect(finished, metrics.test_metric("nll"))
    series = [
        over_seeds(name, numbers([float(np.mean(list(values.values())))]), {name: nll[name]})
        for name, values in lambdas.items()
    ]
    return Panel("1b", "lambda_1", "test NLL", tuple(series))


def _average_panel(finished: Sequence[Finished]) -> Panel:
    series = []
    for name, by_seed in _curves(finished).items():
        shortest = min(len(curve) for curve in by_seed.values())
        mean = np.mean([curve[:shortest] for curve in by_seed.values()], 0)
        if shortest > 1:
            sizes = tuple(map(float, range(1, shortest + 1)))
            series.append(Series(name, sizes, numbers(mean), line=True))
    return Panel("1c", "samples n", "test NLL", tuple(series))
