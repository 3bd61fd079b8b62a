"""One set of tuned trainings that six studies read: every method, on the same seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from landscape.prediction import partial_spearman, spearman
from landscape.study import metrics as read
from landscape.study.averaging import averaging_tables
from landscape.study.candidates import REFERENCE, Contestant
from landscape.study.plan import Training
from landscape.study.runner import Bench, Finished
from landscape.study.tables import Table, compared, correlations, means, number
from landscape.study.timing import cpu_seconds
from landscape.study.tuning import Choice, tune

_COMPATIBLE = ("laplace", "laplace-sam", "swag", "f-swag", "sgld", "entropy-mcmc", REFERENCE)
_LEAST_EPOCHS = 20
"""Of a training cut to FP-BMA's time: SWAG needs snapshots enough for its rank."""


def generalisation(bench: Bench, contestants: list[Contestant]) -> list[Table]:
    """Accuracy, NLL, ECE and Brier score on the test set and on corrupted ones."""
    choices = tune(bench, contestants)
    trainings = tuned(bench, contestants, choices)
    finished = bench.train_all("training", trainings, shifts=True)
    matched: list[Table] = []
    if bench.budget.equal_time:
        seconds = cpu_seconds(bench, [each.training for each in finished])
        long = bench.train_all("training as long as FP-BMA", as_long(trainings, seconds))
        matched = _matched_tables(long)
    return [
        *_generalisation_tables(finished, _diverged(bench, contestants, finished)),
        *matched,
        _settings_table(contestants, choices),
    ]


def flatness(bench: Bench, contestants: list[Contestant]) -> list[Table]:
    """Curvature at each method's posterior samples."""
    finished = measured(bench, contestants)
    columns = {
        "lambda_1": read.collect(finished, read.lambda_1),
        "lambda_1 / lambda_5": read.collect(finished, read.lambda_ratio),
        "mean lambda_1 / mean lambda_5": read.collect(finished, read.lambda_ratio_of_means),
        "trace": read.collect(finished, read.trace),
        "training loss": read.collect(finished, read.train_loss),
        "expected sharpness": read.collect(finished, read.expected_sharpness),
    }
    return [
        means(
            "Curvature of the training loss at posterior samples",
            columns,
            within=read.RANGES,
            note=_diverged(bench, contestants, finished),
        ),
        *(
            compared(f"{label} minus that of FP-BMA", columns[label], REFERENCE)
            for label in ("lambda_1", "trace", "expected sharpness")
        ),
        _over_methods(columns, read.test_metrics(finished)["NLL"]),
    ]


def averaging(bench: Bench, contestants: list[Contestant]) -> list[Table]:
    """Averages over n samples, flat first, sharp first and in random orders."""
    return averaging_tables(measured(bench, contestants))


def bound(bench: Bench, contestants: list[Contestant]) -> list[Table]:
    """lambda_1 at the averaged weights against the mean of the samples' lambda_1."""
    finished = [
        each for each in measured(bench, contestants) if read.samples_measured(each.run) > 1
    ]
    centre = read.collect(finished, read.lambda_at_centre)
    samples = read.collect(finished, read.lambda_1)
    ratio = {
        name: {seed: value / samples[name][seed] for seed, value in values.items()}
        for name, values in centre.items()
    }
    known = {
        name: [value for value in values.values() if not math.isnan(value)]
        for name, values in ratio.items()
    }
    held = {
        name: f"{sum(value <= 1 for value in values)} of {len(values)}"
        for name, values in known.items()
    }
    columns = {
        "at the averaged weights": centre,
        "mean of the samples'": samples,
        "ratio": ratio,
        "loss at the averaged weights": read.collect(finished, read.loss_at_centre),
        "mean loss of the samples": read.collect(finished, read.train_loss),
    }
    table = means(
        "lambda_1 at the averaged weights against the mean of the samples'",
        columns,
        within=read.RANGES,
    )
    rows = tuple((*row, held[row[0]]) for row in table.rows)
    return [replace(table, columns=(*table.columns, "at most the mean"), rows=rows)]


def compatibility(bench: Bench, contestants: list[Contestant]) -> list[Table]:
    """Posteriors put on or beside a flat point, against FP-BMA's own."""
    finished = [each for each in measured(bench, contestants) if each.training.name in _COMPATIBLE]
    columns = {
        **read.test_metrics(finished),
        "lambda_1": read.collect(finished, read.lambda_1),
    }
    return [
        means("Flat points and flat posteriors", columns, within=read.RANGES),
        _difference("NLL minus that of FP-BMA", columns["NLL"], "NLL"),
        compared("lambda_1 minus that of FP-BMA", columns["lambda_1"], REFERENCE),
    ]


def cost(bench: Bench, contestants: list[Contestant]) -> list[Table]:
    """Time and memory of training, and what they bring."""
    choices = tune(bench, contestants)
    finished = bench.train_all("training", tuned(bench, contestants, choices))
    columns = {
        "posterior, MB": read.collect(finished, read.posterior_megabytes),
        "accuracy": read.collect(finished, read.of_test("accuracy")),
        "NLL": read.collect(finished, read.of_test("nll")),
    }
    seconds = cpu_seconds(bench, [each.training for each in finished])
    table = means(
        "Time and memory against result",
        columns,
        within=read.RANGES,
        note="Processor time of one training, the least of three rounds in turn; the source "
        "posterior, which all share, is not in it.",
    )
    rows = tuple(
        (*row, number(seconds[row[0]]), number(seconds[row[0]] / seconds[REFERENCE], 2))
        for row in table.rows
    )
    heads = (*table.columns, "training, s", "time / FP-BMA's")
    return [replace(table, columns=heads, rows=rows)]


def tuned(
    bench: Bench, contestants: list[Contestant], choices: dict[str, Choice]
) -> list[Training]:
    """The trainings of the chosen settings."""
    return [
        Training(
            each.name,
            each.method,
            {**each.fixed, **choices[each.name].settings, "epochs": bench.budget.epochs},
            seed,
            each.start,
            dict(each.source),
        )
        for each in contestants
        for seed in range(bench.budget.seeds)
    ]


def measured(bench: Bench, contestants: list[Contestant]) -> list[Finished]:
    """The tuned trainings with the curvature at their samples."""
    choices = tune(bench, contestants)
    trainings = tuned(bench, contestants, choices)
    return bench.train_all("curvature", trainings, curvature=bench.budget.measured)


def as_long(trainings: Sequence[Training], seconds: Mapping[str, float]) -> list[Training]:
    """The same trainings with as many epochs as take FP-BMA's time; multiples of 4, for cycles.

    Args:
        trainings: At the first comparison's epochs.
        seconds: What one training takes, by name; what has none diverged.
    """
    found = []
    for each in trainings:
        if each.name not in seconds:
            continue
        epochs = each.settings["epochs"]
        if each.name != REFERENCE:
            share = seconds[REFERENCE] / seconds[each.name]
            epochs = max(_LEAST_EPOCHS, 4 * round(epochs * share / 4))
        settings = {**each.settings, "epochs": epochs}
        found.append(replace(each, settings=settings, folder="matched"))
    return found


def _diverged(bench: Bench, contestants: Sequence[Contestant], finished: Sequence[Finished]) -> str:
    return read.diverged([each.name for each in contestants], bench.budget.seeds, finished)


def _over_methods(columns: Mapping[str, read.Results], nll: read.Results) -> Table:
    """Whether the flatter of two methods predicts better: a rank correlation for each seed."""
    seeds = sorted({seed for values in nll.values() for seed in values})
    plain: read.Results = {}
    partial: read.Results = {}
    fewest: dict[str, int] = {}
    for label, results in columns.items():
        for seed in seeds:
            names = [name for name, values in nll.items() if seed in values]
            x, y, loss = (
                np.array([each[name][seed] for name in names])
                for each in (results, nll, columns["training loss"])
            )
            found = spearman(x, y)
            plain.setdefault(label, {})[seed] = found.rho
            fewest[label] = min(found.count, fewest.get(label, found.count))
            if label != "training loss":
                partial.setdefault(label, {})[seed] = partial_spearman(x, y, loss)
    one_less = {label: count - 1 for label, count in fewest.items()}
    return correlations(
        "Rank correlation with test NLL over methods, a number a seed",
        {"Spearman's rho": (plain, fewest), "given the training loss": (partial, one_less)},
        first="of",
        note="Positive: the flatter method predicts better.",
    )


def _generalisation_tables(finished: Sequence[Finished], note: str) -> list[Table]:
    test = read.test_metrics(finished)
    tempered = {
        label: read.collect(finished, read.of_tempered(name))
        for name, label in {**read.LABELS, "temperature": "T"}.items()
        if name != "accuracy"  # the same at every temperature
    }
    shifted = {
        label: read.collect(finished, read.of_shifts(metric))
        for metric, label in read.LABELS.items()
    }
    kinds = {
        kind: read.collect(finished, read.of_shifts("nll", kind))
        for kind in read.kinds_of_shifts(finished[0].run)
    }
    return [
        means("Test set", test, within=read.RANGES, note=note),
        *(
            _difference(f"{label} on the test set minus that of FP-BMA", results, label)
            for label, results in test.items()
        ),
        means(
            "Test set, at the temperature T that is best on validation data tuning has not seen",
            tempered,
            within=read.RANGES,
            note="How well methods tell the classes apart, whatever they are sure of.",
        ),
        _difference("NLL at the best temperature minus that of FP-BMA", tempered["NLL"], "NLL"),
        means("Mean over the corrupted test sets", shifted, within=read.RANGES),
        _difference("NLL on the corrupted sets minus that of FP-BMA", shifted["NLL"], "NLL"),
        means(
            "NLL by kind of corruption, mean over severities",
            kinds,
            within=dict.fromkeys(kinds, read.POSITIVE),
        ),
    ]


def _difference(title: str, results: read.Results, label: str) -> Table:
    """``comparison`` with FP-BMA of numbers within the range of ``label``."""
    return compared(title, results, REFERENCE, within=read.RANGES[label])


def _matched_tables(matched: Sequence[Finished]) -> list[Table]:
    columns = read.test_metrics(matched)
    epochs = {each.training.name: str(each.training.settings["epochs"]) for each in matched}
    table = means("Test set, all trained as long as FP-BMA", columns, within=read.RANGES)
    rows = tuple((*row, epochs[row[0]]) for row in table.rows)
    return [
        replace(table, columns=(*table.columns, "epochs"), rows=rows),
        _difference("NLL at FP-BMA's time minus that of FP-BMA", columns["NLL"], "NLL"),
    ]


def _settings_table(contestants: Sequence[Contestant], choices: dict[str, Choice]) -> Table:
    rows = []
    for each in contestants:
        choice = choices[each.name]
        shown = ", ".join(f"{name} {value}" for name, value in choice.settings.items())
        nlls = number(choice.nll), number(choice.nlls[0])
        rows.append((each.name, str(len(choice.nlls)), *nlls, shown or "the defaults"))
    columns = ("method", "trials", "validation NLL", "at the defaults", "settings chosen")
    return Table("Settings chosen on half of the validation set", columns, tuple(rows))
