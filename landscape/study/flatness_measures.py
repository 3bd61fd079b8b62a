"""Which measure of flatness goes with prediction? Rank correlations over runs that are there.

Correlations between methods follow Jiang et al. (arXiv 1912.02178) and Dziugaite et al. (arXiv
2010.11924): over all runs, and over the pairs of runs that differ in one setting.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.curvature.sharpness.measures import MEASURES, measure_names
from landscape.results import SampleMean
from landscape.store import Run, ensure_writable
from landscape.study.concordance import (
    DRAWS,
    Draws,
    Estimates,
    kendall_matrices,
    mean_over,
    partial,
    spearman_matrices,
)
from landscape.study.figures import Figure, Panel, Series, numbers
from landscape.study.measured_runs import (
    LOSS,
    TARGETS,
    Measured,
    find_runs,
    measure_missing,
    read_run,
)
from landscape.study.plan import Budget
from landscape.study.statistics import holm
from landscape.study.tables import Table, number, write_page

_ALWAYS = ("lambda_1", "lambda_ratio", "trace")
"""Measures that every measurement of curvature has."""
_BALL = ("name", "ball", "radius", "relative_radius", "fisher_weight", "adaptive_floor", "trained")
"""Settings in which a method with FP-BMA's ball may differ from the same without."""

_SMALLEST = 4
"""Fewest runs of a seed for Spearman's rho."""

Progress = Callable[[str], Callable[[int, int], Any]]


def measures(
    folder: Path,
    budget: Budget,
    runs: Sequence[Path],
    *,
    sharpness: Sequence[str] | None = None,
    device: str = "cpu",
    only: Sequence[str] | None = None,
    progress: Progress,
) -> list[Table]:
    """Measure what runs lack, and write ``measures.md`` with the correlations to a folder.

    A run that has been measured is not measured again, so an interrupted study continues.

    Args:
        folder: Folder of the page.
        budget: Number of samples that are measured (``measured``).
        runs: Folders of run files, or of studies; those that are not classifiers are left out.
        sharpness: Names of measures; all of ``curvature.MEASURES`` if ``None``.
        device: Device for measuring.
        only: Names of methods; all if ``None``.
        progress: Function that takes a label and returns a progress callback.

    Returns:
        The tables.

    Raises:
        InputError: a folder holds no such runs, fewer than two of them can be compared, or a run
            has been measured with other settings.
    """
    names = list(MEASURES) if sharpness is None else measure_names(sharpness)
    ensure_writable(folder)
    opened = find_runs(runs, only)
    report = progress("measures")
    # Seed by seed, so that a study that was stopped has all methods of the first seeds.
    opened.sort(key=lambda run: (int(run.attributes["seed"]), str(run.path)))
    for index, run in enumerate(opened):
        measure_missing(run, names, budget.measured, device)
        report(index + 1, len(opened))
    finished = [read_run(Run.open(run.path), names, budget.measured) for run in opened]
    tables = tables_of(finished, names)
    seconds = sum(float(one.run.read("sharpness", "seconds")["seconds"].sum()) for one in finished)
    write_page(folder, "measures", page(finished, names, budget.measured, seconds), tables)
    return tables


def tables_of(finished: Sequence[Measured], names: Sequence[str]) -> list[Table]:
    """All tables of the page, the figure on the first."""
    rows = [LOSS, *_ALWAYS, *names]
    axes = varied(finished)
    plain, given, kendall = between(finished, rows, axes)
    within, within_given = within_posteriors(finished, rows)
    given_loss = "The same with the training loss held fixed (partial correlation)."
    panels = [
        _forest(f"{target}, {where}", rows, *estimates, TARGETS.index(target))
        for target in ("NLL", "error")
        for where, estimates in (
            ("between methods", (plain, given)),
            ("within a posterior", (within, within_given)),
        )
    ]
    title = "Rank correlation of each measure with prediction, 95 % intervals"
    first = _table(
        "Between methods",
        rows,
        plain,
        "Spearman's rho over the runs of one seed, mean over seeds with 4 runs or more.",
    )
    return [
        replace(first, figure=Figure(title, tuple(panels), columns=4)),
        _table("Between methods, given the training loss", rows, given, given_loss),
        _granulated(rows, kendall, axes),
        _table(
            "Within a posterior",
            rows,
            within,
            "Kendall's tau over the pairs of samples of one posterior, all pairs together.",
        ),
        _table("Within a posterior, given the training loss", rows, within_given, given_loss),
        *flatter(finished, rows),
        _counts(finished),
    ]


def varied(finished: Sequence[Measured]) -> list[str]:
    """Settings of which runs of one method and task have several values."""
    by_method = defaultdict(list)
    for one in finished:
        by_method[(one.kind, one.method)].append(one.settings)
    axes: set[str] = set()
    for settings in by_method.values():
        for name in set().union(*settings):
            if len({json.dumps(part.get(name)) for part in settings}) > 1:
                axes.add(name)
    return sorted(axes - {"name"})


def pairs_by_axis(
    finished: Sequence[Measured], axes: Sequence[str]
) -> dict[str, list[tuple[int, int]]]:
    """Pairs of runs that differ in nothing but the method, one setting, or the seed.

    The key ``""`` has all pairs of runs that can be compared.
    """
    pairs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for (i, one), (j, other) in itertools.combinations(enumerate(finished), 2):
        differing = [axis for axis in axes if one.settings.get(axis) != other.settings.get(axis)]
        if one.group != other.group:
            if one.kind == other.kind and one.method == other.method and not differing:
                pairs["seed"].append((i, j))
            continue
        pairs[""].append((i, j))
        if one.method != other.method and not differing:
            pairs["method"].append((i, j))
        if one.method == other.method and len(differing) == 1:
            pairs[differing[0]].append((i, j))
    return pairs


def between(
    finished: Sequence[Measured], rows: Sequence[str], axes: Sequence[str]
) -> tuple[Estimates, Estimates, dict[str, Estimates]]:
    """Correlations over runs of the measures' means with the predictions of the average.

    Returns:
        Spearman's rho, the same with the training loss held fixed, and Kendall's tau by the pairs
        of ``pairs_by_axis``; arrays of shape (measures, targets).
    """
    methods, groups = (
        _numbered([one.method for one in finished]),
        _numbered([one.group for one in finished]),
    )
    draws = Draws.of(max(methods) + 1, max(groups) + 1)
    targets = np.array([[one.targets[name] for name in TARGETS] for one in finished])
    loss = np.array([one.mean(LOSS) for one in finished])
    pairs = pairs_by_axis(finished, axes)
    weighted = {
        axis: _pair_weights(chosen, methods, groups, draws) for axis, chosen in pairs.items()
    }
    rhos, partials = [], []
    taus: dict[str, list[np.ndarray]] = {axis: [] for axis in pairs}
    for name in rows:
        x = np.array([one.mean(name) for one in finished])
        values = np.column_stack([x, loss, targets])
        known = np.isfinite(values).all(1)
        of_groups = []
        for group in range(max(groups) + 1):
            members = np.flatnonzero(known & (np.array(groups) == group))
            weights = draws.methods[:, np.array(methods)[members]]
            if len(members) < _SMALLEST:
                weights = np.full_like(weights, np.nan)
            of_groups.append(spearman_matrices(values[members], weights))
        mean = mean_over(of_groups, draws.seeds)
        rhos.append(mean[:, 0, 2:])
        mean = mean_over([partial(part, 1) for part in of_groups], draws.seeds)
        partials.append(mean[:, 0, 2:])
        for axis, (chosen, keys, weights) in weighted.items():
            usable = known[chosen].all(1)
            tau = kendall_matrices(values, chosen[usable], keys[usable], weights)
            taus[axis].append(tau[:, 0, 2:])
    count = max(methods) + 1
    kendall = {axis: np.stack(parts, 1) for axis, parts in taus.items()}
    settings = [kendall[axis] for axis in kendall if axis not in ("", "seed")]
    if settings:  # Jiang et al.'s average over what is varied
        kendall["mean"] = np.mean(settings, 0)
    return (
        Estimates.of(np.stack(rhos, 1), count),
        Estimates.of(np.stack(partials, 1), count),
        {axis: Estimates.of(values, count) for axis, values in kendall.items()},
    )


def within_posteriors(
    finished: Sequence[Measured], rows: Sequence[str]
) -> tuple[Estimates, Estimates]:
    """Kendall's tau over the pairs of samples of each posterior, all pairs together.

    Returns:
        Plain, and with the training loss held fixed; arrays of shape (measures, targets).
    """
    several = [one for one in finished if len(one.values[LOSS]) > 1]
    shape = (len(rows), len(TARGETS))
    if not several:
        none = Estimates.of(np.full((2, *shape), np.nan), 0)
        return none, none
    methods, groups = (
        _numbered([one.method for one in several]),
        _numbered([one.group for one in several]),
    )
    draws = Draws.of(max(methods) + 1, max(groups) + 1)
    weights = draws.methods[:, methods] * draws.seeds[:, groups]
    chosen, keys, start = [], [], 0
    for index, one in enumerate(several):
        count = len(one.values[LOSS])
        inside = list(itertools.combinations(range(start, start + count), 2))
        chosen += inside
        keys += [index] * len(inside)
        start += count
    pairs, of_pair = np.array(chosen), np.array(keys)

    loss = np.concatenate([one.values[LOSS] for one in several])
    targets = [np.concatenate([one.sample_targets[name] for one in several]) for name in TARGETS]
    plain, given = [], []
    for name in rows:
        x = np.concatenate([one.values[name] for one in several])
        values = np.column_stack([x, loss, *targets])
        usable = np.isfinite(values).all(1)[pairs].all(1)
        tau = kendall_matrices(values, pairs[usable], of_pair[usable], weights)
        plain.append(tau[:, 0, 2:])
        given.append(partial(tau, 1)[:, 0, 2:])
    count = max(methods) + 1
    return Estimates.of(np.stack(plain, 1), count), Estimates.of(np.stack(given, 1), count)


def _numbered(labels: Sequence[Any]) -> list[int]:
    """The labels as numbers from 0, in the order in which they come."""
    numbering = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return [numbering[label] for label in labels]


def _pair_weights(
    pairs: Sequence[tuple[int, int]], methods: Sequence[int], groups: Sequence[int], draws: Draws
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs as an array, the number of each pair's weight, and the weights of all draws.

    A pair of two methods counts as often as both are drawn together, and so for seeds.
    """
    keys = [
        (frozenset((methods[i], methods[j])), frozenset((groups[i], groups[j]))) for i, j in pairs
    ]
    weights = [
        draws.methods[:, list(of_methods)].prod(1) * draws.seeds[:, list(of_seeds)].prod(1)
        for of_methods, of_seeds in dict.fromkeys(keys)
    ]
    return np.array(pairs), np.array(_numbered(keys)), np.stack(weights, 1)


def flatter(finished: Sequence[Measured], rows: Sequence[str]) -> list[Table]:
    """Ratios of FP-BMA's measures to those of the same training without its ball, over seeds."""
    ratios: dict[str, dict[str, dict[tuple[str, ...], list[float]]]] = {}
    shown = [*rows, "NLL"]
    for one, other in itertools.permutations(finished, 2):
        if one.group == other.group and _is_pair(one, other):
            by_row = ratios.setdefault(f"{one.method} / {other.method}", {})
            for name in rows:
                x, y = one.mean(name), other.mean(name)
                log_ratio = math.log(x / y) if x > 0 and y > 0 else math.nan
                by_row.setdefault(name, {}).setdefault(one.group, []).append(log_ratio)
            log_ratio = math.log(one.targets["NLL"] / other.targets["NLL"])
            by_row.setdefault("NLL", {}).setdefault(one.group, []).append(log_ratio)
    if not ratios:
        return []
    spreads = {
        (name, pair): SampleMean.of(np.array([np.mean(part) for part in by_row[name].values()]))
        for pair, by_row in ratios.items()
        for name in shown
    }
    corrected = dict(zip(spreads, holm([_t_test(one) for one in spreads.values()]), strict=True))
    cells = [
        (name, *(_ratio(spreads[name, pair], corrected[name, pair] < 0.05) for pair in ratios))
        for name in shown
    ]
    counts = ", ".join(f"{pair}: n = {len(by_row[LOSS])}" for pair, by_row in ratios.items())
    return [
        Table(
            "Is FP-BMA flatter? Its measures over those of the same training without its ball",
            ("measure", *ratios),
            tuple(cells),
            f"Geometric mean over seeds with Student's 95 % interval of the logarithm ({counts}). "
            "Below 1 FP-BMA is flatter. A star: p < 0.05 by the paired t-test after Holm's "
            "correction for all numbers of this table. NLL: of the average, on the test set.",
        )
    ]


def _is_pair(one: Measured, other: Measured) -> bool:
    """Whether two trainings differ only in that the first has FP-BMA's ball and the other none."""
    balls = [str(part.settings.get("ball")) for part in (one, other)]
    if not (balls[0].startswith("posterior") and balls[1] == "none"):
        return False
    rest = [{k: v for k, v in part.settings.items() if k not in _BALL} for part in (one, other)]
    starts = [part.run.config.get("study", {}).get("start") for part in (one, other)]
    return rest[0] == rest[1] and starts[0] == starts[1]


def _t_test(spread: SampleMean) -> float:
    """p-value of Student's test that a mean is 0."""
    from scipy.special import stdtr  # a slow import

    if spread.count < 2 or not spread.deviation > 0:
        return math.nan
    t = abs(spread.mean) / (spread.deviation / math.sqrt(spread.count))
    return float(2 * stdtr(spread.count - 1, -t))


def _ratio(spread: SampleMean, holds: bool) -> str:
    if not spread.count:
        return "-"
    middle, low, high = (math.exp(part) for part in (spread.mean, spread.low, spread.high))
    interval = "" if math.isnan(low) else f" [{number(low)}, {number(high)}]"
    return f"{number(middle)}{interval}{'*' if holds else ''}"


def _table(title: str, rows: Sequence[str], estimates: Estimates, note: str) -> Table:
    cells = [(name, *_cells(estimates, row)) for row, name in enumerate(rows)]
    return Table(title, ("measure", *TARGETS), tuple(cells), note)


def _granulated(
    rows: Sequence[str], kendall: Mapping[str, Estimates], axes: Sequence[str]
) -> Table:
    heads = {"": "all", "method": "method", **{axis: axis for axis in axes}, "seed": "seed"}
    heads = {axis: head for axis, head in heads.items() if axis in kendall}
    columns: list[str] = [f"NLL: {head}" for head in heads.values()]
    if "mean" in kendall:
        columns += [f"{target}: mean" for target in TARGETS]
    cells = []
    for row, name in enumerate(rows):
        line = [_cells(kendall[axis], row)[0] for axis in heads]
        if "mean" in kendall:
            line += _cells(kendall["mean"], row)
        cells.append((name, *line))
    return Table(
        "Kendall's tau over pairs of runs that differ in one thing",
        ("measure", *columns),
        tuple(cells),
        "All: every pair of runs of one seed. Method, a setting, seed: pairs that differ in that "
        "alone. Mean: over method and settings, the granulated coefficient of Jiang et al.",
    )


def _cells(estimates: Estimates, row: int) -> list[str]:
    parts = zip(
        estimates.value[row],
        estimates.low[row],
        estimates.high[row],
        estimates.holds[row],
        strict=True,
    )
    return [_cell(*part) for part in parts]


def _cell(value: float, low: float, high: float, holds: bool) -> str:
    if math.isnan(value):
        return "-"
    interval = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{value:.2f}{interval}{'*' if holds else ''}"


def _forest(
    title: str, rows: Sequence[str], plain: Estimates, given: Estimates, target: int
) -> Panel:
    series = [
        Series(
            label,
            tuple(reversed(rows)),
            numbers(estimates.value[::-1, target]),
            numbers(estimates.low[::-1, target]),
            numbers(estimates.high[::-1, target]),
        )
        for label, estimates in (("plain", plain), ("given the training loss", given))
    ]
    return Panel(title, "", "correlation", tuple(series), sideways=True)


def _counts(finished: Sequence[Measured]) -> Table:
    by_method: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for one in finished:
        by_method[one.kind[0], one.method].append(one)
    rows = []
    for (task, method), runs in by_method.items():
        counts = len(runs), len({one.group for one in runs})
        samples = sum(len(one.values[LOSS]) for one in runs)
        means = np.mean(
            [
                [one.mean(LOSS), one.targets["NLL"], one.targets["error"], one.mean("lambda_1")]
                for one in runs
            ],
            0,
        )
        rows.append((task, method, *map(str, counts), str(samples), *map(number, means)))
    heads = ("task", "method", "runs", "seeds", "samples measured", LOSS, "NLL", "error")
    return Table("Runs", (*heads, "lambda_1"), tuple(rows), "Means over runs.")


def page(finished: Sequence[Measured], names: Sequence[str], samples: int, seconds: float) -> str:
    """The text above the tables."""
    methods = len({one.method for one in finished})
    groups = len({one.group for one in finished})
    count = sum(len(one.values[LOSS]) for one in finished)
    return (
        f"Budget: at most {samples} samples of each posterior; {len(names)} measures beside the "
        f"eigenvalues and the trace, {seconds:.0f} s for {count} samples of {len(finished)} runs, "
        f"of {methods} methods and {groups} draws of seed and data. The measures are in "
        "[flatness](../../flatness.md); all are turned so that a large value is sharp (1 / sigma "
        "in place of sigma). Positive: the flat predict better. NLL, error and ECE are on the test "
        "set, of the average over all samples between methods, of each sample within a posterior; "
        "the gap is test NLL less training loss of a sample. Brackets are 95 % intervals by "
        f"{DRAWS} draws of methods and seeds with all their runs, on Fisher's scale with "
        "Student's quantile; there are none for fewer than 6 methods. A star: the correlation "
        f"differs from 0 after correction for all {len(names) + 4} rows and {len(TARGETS)} columns "
        "of its kind."
    )
