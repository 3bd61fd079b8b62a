"""The questions of arXiv 2406.15664 as experiments, each with one command.

A study is a list of trainings, each of which becomes a run file, and a reading of those files into
tables. What is finished is not done again, so that a study that was stopped goes on; the studies of
``contest`` share one set of tuned trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from landscape.errors import InputError
from landscape.runtime.devices import choose_device
from landscape.runtime.files import replacing
from landscape.runtime.progress import Progress
from landscape.study import ablation, comparison, toy
from landscape.study.candidates import CONTESTANTS, Contestant, chosen
from landscape.study.plan import BUDGETS, Budget, budget
from landscape.study.runner import NETWORKS, PROBLEMS, Bench
from landscape.study.tables import Table, corrected

STUDIES: dict[str, Callable[[Bench, list[Contestant]], list[Table]]] = {
    "generalisation": comparison.generalisation,
    "flatness": comparison.flatness,
    "averaging": comparison.averaging,
    "ablation": lambda bench, contestants: ablation.ablation(bench),
    "toy": lambda bench, contestants: toy.two_wells(bench.budget.restarts, bench.progress("toy")),
    "bound": comparison.bound,
    "compatibility": comparison.compatibility,
    "cost": comparison.cost,
}
"""What each study does, by the name that the command line knows it by."""

NOTE = (
    "Means over n seeds with Student's 95 % interval in brackets, cut at the quantity's range; of "
    "rank correlations on Fisher's scale, and none of fewer than 6 pairs. A cell of fewer seeds "
    "than its row says so. Tests are paired over seeds and two-sided: Student's t, the same "
    "corrected by Holm for all tests of this page, and Wilcoxon's signed-rank test."
)


def study(
    name: str,
    folder: Path,
    budget: Budget,
    *,
    task: str = PROBLEMS[0],
    model: str = "convnet",
    weights: Path | None = None,
    device: str = "cpu",
    only: Sequence[str] | None = None,
    progress: Callable[[str], Callable[[int, int], Any]] = Progress,
) -> list[Table]:
    """Run a study, or go on with it, and write its summary to ``NAME.md`` in ``folder``.

    Args:
        name: One of ``STUDIES``.
        folder: Where run files and summary go. Studies in one folder share their trainings.
        budget: See ``Budget``.
        task: The target task, which has a source task: one of ``PROBLEMS``.
        model: One of ``NETWORKS``.
        weights: A file of weights at which the source network begins; fresh ones if ``None``.
        device: Where to train and measure: ``"cpu"``, ``"cuda"``, or ``"auto"``.
        only: Names of the contestants, besides FP-BMA; all of them if ``None``.
        progress: Makes the progress callback of a piece of work from its label.

    Returns:
        The tables.

    Raises:
        InputError: an unknown study, task, model, device or contestant, weights of another model,
            or a folder that cannot be written or is of another task, model or weights.
        LandscapeError: every trial of a method diverged.
    """
    if name not in STUDIES:
        raise InputError(f"unknown study '{name}'; known: {', '.join(STUDIES)}")
    contestants = chosen(only)
    bench = Bench(folder, budget, progress, task, model, weights, str(choose_device(device)))
    tables = corrected(STUDIES[name](bench, contestants))
    with replacing(folder / f"{name}.md") as temporary:
        temporary.write_text(summary(name, budget, tables))
    return tables


def summary(name: str, budget: Budget, tables: Sequence[Table]) -> str:
    """The Markdown page of a study."""
    spent = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in vars(budget).items())
    note = "" if name == "toy" else f" {NOTE}"  # whose means are not over seeds
    parts = [f"# {name}", f"Budget: {spent}.{note}", *(table.markdown() for table in tables)]
    return "\n\n".join(parts) + "\n"


__all__ = [
    "BUDGETS",
    "CONTESTANTS",
    "NETWORKS",
    "PROBLEMS",
    "STUDIES",
    "Budget",
    "Table",
    "budget",
    "study",
]
