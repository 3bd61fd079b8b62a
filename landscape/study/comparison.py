"""Five studies that share one set of tuned trainings: every method on the same seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from landscape.prediction import partial_spearman, spearman
from landscape.study import metrics
from landscape.study.averaging import averaging_tables
from landscape.study.candidates import REFERENCE, Candidate
from landscape.study.figures import Figure, Panel, Series, numbers
from landscape.study.plan import Training
from landscape.study.runner import Finished, Runner
from landscape.study.tables import Table, correlations, differences, means, number
from landscape.study.timing import cpu_rounds, cpu_seconds
from landscape.study.tuning import Choice, tune

_COMPATIBLE = ("laplace", "laplace-sam", "swag", "f-swag", "sgld", "entropy-mcmc", REFERENCE)
PAPER_SECONDS = {
    "map": 2.78,
    "sam": 4.58,
    "bsam": 4.62,
    "vi": 4.09,
    "sgld": 2.95,
    "entropy-mcmc": 5.13,
    "swag": 7.89,
    "f-swag": 11.48,
    REFERENCE: 6.21,
}
"""Seconds an epoch in the paper's Table 10, by our names."""
_PLAIN = "map"
"""Name of plain SGD."""
_LEAST_EPOCHS = 20
"""Smallest number of epochs at FP-BMA's time. SWAG needs a snapshot for each unit of its rank."""


def generalisation(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """Accuracy, NLL, ECE and Brier score on the test set and on the corrupted test sets."""
    choices = tune(runner, candidates)
    trainings = tuned_trainings(runner, candidates, choices)
    finished = runner.train_all("training", trainings, shifts=True)
    matched: list[Table] = []
    if runner.budget.equal_time:
        seconds = cpu_seconds(runner, [entry.training for entry in finished])
        time_matched = match_time(trainings, seconds)
        matched = _matched_tables(runner.train_all("training as long as FP-BMA", time_matched))
    return [
        *_generalisation_tables(finished, _diverged(runner, candidates, finished)),
        *matched,
        _settings_table(candidates, choices),
    ]


def flatness(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """Curvature at each method's posterior samples."""
    finished = measured_trainings(runner, candidates)
    columns = {
        "lambda_1": metrics.collect(finished, metrics.lambda_1),
        "lambda_1 / lambda_5": metrics.collect(finished, metrics.lambda_ratio),
        "mean lambda_1 / mean lambda_5": metrics.collect(finished, metrics.lambda_ratio_of_means),
        "trace": metrics.collect(finished, metrics.trace),
        "training loss": metrics.collect(finished, metrics.train_loss),
        "expected sharpness": metrics.collect(finished, metrics.expected_sharpness),
    }
    return [
        means(
            "Curvature of the training loss at posterior samples",
            columns,
            within=metrics.RANGES,
            note=_diverged(runner, candidates, finished),
        ),
        *(
            differences(f"{label} minus that of FP-BMA", columns[label], REFERENCE)
            for label in ("lambda_1", "trace", "expected sharpness")
        ),
        _over_methods(columns, metrics.test_metrics(finished)["NLL"]),
    ]


def averaging(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """Averages over n samples: flat first, sharp first and in random order."""
    return averaging_tables(measured_trainings(runner, candidates))


def compatibility(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """Compare FP-BMA with posteriors that are built on or around a flat point."""
    finished = [
        entry
        for entry in measured_trainings(runner, candidates)
        if entry.training.name in _COMPATIBLE
    ]
    columns = {
        **metrics.test_metrics(finished),
        "lambda_1": metrics.collect(finished, metrics.lambda_1),
    }
    return [
        means("Flat points and flat posteriors", columns, within=metrics.RANGES),
        _difference("NLL minus that of FP-BMA", columns["NLL"], "NLL"),
        differences("lambda_1 minus that of FP-BMA", columns["lambda_1"], REFERENCE),
    ]


def cost(runner: Runner, candidates: list[Candidate]) -> list[Table]:
    """Time and memory of training, next to accuracy and NLL; and Table 10 of the paper."""
    choices = tune(runner, candidates)
    finished = runner.train_all("training", tuned_trainings(runner, candidates, choices))
    columns = {
        "posterior, MB": metrics.collect(finished, metrics.posterior_megabytes),
        "accuracy": metrics.collect(finished, metrics.test_metric("accuracy")),
        "NLL": metrics.collect(finished, metrics.test_metric("nll")),
    }
    rounds = cpu_rounds(runner, [entry.training for entry in finished])
    seconds = {name: min(values) for name, values in rounds.items()}
    table = means(
        "Time and memory against result",
        columns,
        within=metrics.RANGES,
        note="Processor time of one training, the minimum of three rounds. It does not include the "
        "source posterior, which all methods share.",
    )
    rows = tuple(
        (*row, number(seconds[row[0]]), number(seconds[row[0]] / seconds[REFERENCE], 2))
        for row in table.rows
    )
    heads = (*table.columns, "training, s", "time / FP-BMA's")
    epochs = {entry.training.name: entry.training.settings["epochs"] for entry in finished}
    by_epoch = {name: np.array(rounds[name]) / count for name, count in epochs.items()}
    return [epoch_table(by_epoch), replace(table, columns=heads, rows=rows)]


def epoch_table(seconds: Mapping[str, np.ndarray]) -> Table:
    """The paper's Table 10 beside our times of an epoch.

    Args:
        seconds: Times of an epoch by method, one for each round.
    """
    paper_base = PAPER_SECONDS[_PLAIN]
    base = seconds[_PLAIN].min() if _PLAIN in seconds else math.nan
    rows, ours, theirs = [], [], []
    for name, times in seconds.items():
        paper, ratio = PAPER_SECONDS.get(name), float(times.min() / base)
        rows.append(
            (
                name,
                str(len(times)),
                f"{number(1e3 * times.min())} to {number(1e3 * times.max())}",
                number(ratio),
                "-" if paper is None else number(paper),
                "-" if paper is None else number(paper / paper_base),
            )
        )
        ours.append(ratio)
        theirs.append(math.nan if paper is None else paper / paper_base)
    names = tuple(seconds)
    series = (Series("here", names, numbers(ours)), Series("paper", names, numbers(theirs)))
    panel = Panel("", "", "time of an epoch / SGD's", series)
    return Table(
        "Table 10 of the paper: time of an epoch",
        ("method", "n", "ms an epoch", "/ SGD's", "paper, s", "paper / SGD's"),
        tuple(rows),
        "Processor time of an epoch, smallest to largest of n rounds on the data of one seed; the "
        "ratio is of the smallest. The paper's: ResNet-18, CIFAR-10 with 10 images a class.",
        figure=Figure("Time of an epoch, ratio to SGD's", (panel,), columns=1),
    )


def tuned_trainings(
    runner: Runner, candidates: list[Candidate], choices: dict[str, Choice]
) -> list[Training]:
    """Trainings of every candidate with its chosen settings, one for each seed."""
    epochs = {"epochs": runner.budget.epochs}
    return [
        Training(
            candidate.name,
            candidate.method,
            {**candidate.fixed, **choices[candidate.name].settings, **epochs},
            seed,
            candidate.start,
            dict(candidate.source),
        )
        for candidate in candidates
        for seed in range(runner.budget.seeds)
    ]


def measured_trainings(runner: Runner, candidates: list[Candidate]) -> list[Finished]:
    """Finished tuned trainings with the curvature at their samples."""
    choices = tune(runner, candidates)
    trainings = tuned_trainings(runner, candidates, choices)
    return runner.train_all("curvature", trainings, curvature=runner.budget.measured)


def match_time(trainings: Sequence[Training], seconds: Mapping[str, float]) -> list[Training]:
    """The same trainings with enough epochs to take as long as FP-BMA.

    The number of epochs is a multiple of 4, so that cyclical methods finish their cycles.

    Args:
        trainings: Trainings with the epochs of the first comparison.
        seconds: Time of one training, by name. Diverged trainings have no time and are left out.
    """
    matched = []
    for training in trainings:
        if training.name not in seconds:
            continue
        epochs = training.settings["epochs"]
        if training.name != REFERENCE:
            share = seconds[REFERENCE] / seconds[training.name]
            epochs = max(_LEAST_EPOCHS, 4 * round(epochs * share / 4))
        settings = {**training.settings, "epochs": epochs}
        matched.append(replace(training, settings=settings, folder="matched"))
    return matched


def _diverged(runner: Runner, candidates: Sequence[Candidate], finished: Sequence[Finished]) -> str:
    names = [candidate.name for candidate in candidates]
    return metrics.diverged(names, runner.budget.seeds, finished)


def _over_methods(columns: Mapping[str, metrics.Results], nll: metrics.Results) -> Table:
    """Rank correlations of flatness and test NLL over methods, one for each seed."""
    seeds = sorted({seed for values in nll.values() for seed in values})
    plain: metrics.Results = {}
    partial: metrics.Results = {}
    fewest: dict[str, int] = {}
    for label, results in columns.items():
        for seed in seeds:
            names = [name for name, values in nll.items() if seed in values]
            x, y, loss = (
                np.array([values[name][seed] for name in names])
                for values in (results, nll, columns["training loss"])
            )
            correlation = spearman(x, y)
            plain.setdefault(label, {})[seed] = correlation.rho
            fewest[label] = min(correlation.count, fewest.get(label, correlation.count))
            if label != "training loss":
                partial.setdefault(label, {})[seed] = partial_spearman(x, y, loss)
    one_less = {label: count - 1 for label, count in fewest.items()}
    return correlations(
        "Rank correlation with test NLL over methods, one number per seed",
        {"Spearman's rho": (plain, fewest), "given the training loss": (partial, one_less)},
        first="of",
        note="Positive: the flatter method predicts better.",
    )


def _generalisation_tables(finished: Sequence[Finished], note: str) -> list[Table]:
    test = metrics.test_metrics(finished)
    tempered = {
        label: metrics.collect(finished, metrics.tempered_metric(name))
        for name, label in {**metrics.LABELS, "temperature": "T"}.items()
        if name != "accuracy"  # accuracy does not depend on the temperature
    }
    shifted = {
        label: metrics.collect(finished, metrics.shifted_metric(metric))
        for metric, label in metrics.LABELS.items()
    }
    kinds = {
        kind: metrics.collect(finished, metrics.shifted_metric("nll", kind))
        for kind in metrics.kinds_of_shifts(finished[0].run)
    }
    return [
        means("Test set", test, within=metrics.RANGES, note=note),
        *(
            _difference(f"{label} on the test set minus that of FP-BMA", results, label)
            for label, results in test.items()
        ),
        means(
            "Test set, at the temperature T that is best on validation data tuning has not seen",
            tempered,
            within=metrics.RANGES,
            note="How well methods separate the classes, apart from their confidence.",
        ),
        _difference("NLL at the best temperature minus that of FP-BMA", tempered["NLL"], "NLL"),
        means("Mean over the corrupted test sets", shifted, within=metrics.RANGES),
        _difference("NLL on the corrupted sets minus that of FP-BMA", shifted["NLL"], "NLL"),
        means(
            "NLL by kind of corruption, mean over severities",
            kinds,
            within=dict.fromkeys(kinds, metrics.POSITIVE),
        ),
    ]


def _difference(title: str, results: metrics.Results, label: str) -> Table:
    """Differences from FP-BMA, for numbers with the range of the column ``label``."""
    return differences(title, results, REFERENCE, within=metrics.RANGES[label])


def _matched_tables(matched: Sequence[Finished]) -> list[Table]:
    columns = metrics.test_metrics(matched)
    epochs = {entry.training.name: str(entry.training.settings["epochs"]) for entry in matched}
    table = means("Test set, all trained as long as FP-BMA", columns, within=metrics.RANGES)
    rows = tuple((*row, epochs[row[0]]) for row in table.rows)
    return [
        replace(table, columns=(*table.columns, "epochs"), rows=rows),
        _difference("NLL at FP-BMA's time minus that of FP-BMA", columns["NLL"], "NLL"),
    ]


def _settings_table(candidates: Sequence[Candidate], choices: dict[str, Choice]) -> Table:
    rows = []
    for candidate in candidates:
        choice = choices[candidate.name]
        settings = ", ".join(f"{name} {value}" for name, value in choice.settings.items())
        nlls = number(choice.nll), number(choice.nlls[0])
        rows.append((candidate.name, str(len(choice.nlls)), *nlls, settings or "the defaults"))
    columns = ("method", "trials", "validation NLL", "at the defaults", "settings chosen")
    return Table("Settings chosen on half of the validation set", columns, tuple(rows))
