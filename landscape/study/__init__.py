"""The questions of arXiv 2406.15664 as experiments, each with one command.

A study trains posteriors, writes a run file for each, and summarises the files in tables. A study
that was stopped continues: it does not repeat finished trainings. The studies of ``comparison``
share one set of tuned trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from landscape.errors import InputError
from landscape.runtime.devices import choose_device
from landscape.runtime.progress import Progress
from landscape.study import (
    ablation,
    bound,
    comparison,
    correlation,
    flatness_measures,
    scratch,
    surfaces,
    toy,
    transfer,
    two_modes,
)
from landscape.study.candidates import CANDIDATES, Candidate, select_candidates
from landscape.study.ledger import Ledger
from landscape.study.plan import BUDGETS, Budget, budget
from landscape.study.runner import NETWORKS, PROBLEMS, Runner
from landscape.study.tables import Table, corrected, write_page

STUDIES: dict[str, Callable[[Runner, list[Candidate]], list[Table]]] = {
    "generalisation": comparison.generalisation,
    "flatness": comparison.flatness,
    "averaging": comparison.averaging,
    "ablation": lambda runner, candidates: ablation.ablation(runner),
    "toy": lambda runner, candidates: _toy(runner),
    "bound": bound.bound,
    "compatibility": comparison.compatibility,
    "cost": comparison.cost,
    "correlation": correlation.correlation,
    "surfaces": surfaces.surfaces,
}
"""Function of each study, by its name on the command line."""


def _toy(runner: Runner) -> list[Table]:
    """The paper's surface, and two wells of equal likelihood on a line."""
    restarts, ledger = runner.budget.restarts, Ledger(runner.folder / "toy-ledger.json")
    return [
        two_modes.two_modes(restarts, runner.progress("two modes"), ledger=ledger),
        *toy.two_wells(restarts, runner.progress("two wells"), ledger=ledger),
    ]


NOTE = (
    "Means over n seeds with Student's 95 % interval in brackets, cut at the range of the "
    "quantity. Rank correlations have intervals on Fisher's scale, for 6 pairs or more. A cell "
    "with fewer seeds than its row shows its n. Tests are paired over seeds and two-sided: "
    "Student's t-test, the same with Holm's correction for all tests of this page, and "
    "Wilcoxon's signed-rank test."
)


def study(
    name: str,
    folder: Path,
    budget: Budget,
    *,
    task: str | None = None,
    model: str | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    only: Sequence[str] | None = None,
    runs: Sequence[Path] = (),
    sharpness: Sequence[str] | None = None,
    progress: Callable[[str], Callable[[int, int], Any]] = Progress,
) -> list[Table]:
    """Run a study, or continue it, and write its summary to ``NAME.md`` in ``folder``.

    The numbers of its figures, if it has some, are written to ``NAME.json``.

    Args:
        name: Name of the study, one of ``STUDIES``, ``"transfer"``, ``"scratch"`` or
            ``"measures"``.
        folder: Folder for run files and the summary. Studies in one folder share their trainings.
        budget: Number of seeds, trials, epochs and samples.
        task: Target task, by default the first of ``PROBLEMS``, each of which has a source task;
            for ``"transfer"`` and ``"scratch"`` one of their ``PROBLEMS``.
        model: Name of the network, one of ``NETWORKS``, by default the first; for ``"scratch"`` one
            of ``scratch.NETWORKS``. ``"transfer"`` has its own.
        weights: File with the initial weights of the source network; ``None`` for random weights.
        device: Device for training and measuring: ``"cpu"``, ``"cuda"``, or ``"auto"``.
        only: Names of the candidates to compare with FP-BMA; all of them if ``None``.
        runs: Folders of the runs that ``"measures"`` compares; it trains none.
        sharpness: Names of the measures of ``"measures"``; all of ``curvature.MEASURES`` if
            ``None``.
        progress: Function that takes a label and returns a progress callback.

    Returns:
        The tables.

    Raises:
        InputError: The study, task, model, device or candidate is unknown, the weights belong to
            another model, or the folder cannot be written or holds another task, model or weights.
        LandscapeError: Every trial of a method diverged.
    """
    where = str(choose_device(device))
    if name == "measures":
        if not runs or any(part is not None for part in (task, model, weights)):
            raise InputError(
                "measures compares the runs of --runs: no --task, --model or --weights"
            )
        return flatness_measures.measures(
            folder,
            budget,
            runs,
            sharpness=sharpness,
            device=where,
            only=only,
            progress=progress,
        )
    if runs or sharpness is not None:
        raise InputError("--runs and --sharpness belong to the study 'measures'")
    if name in ("transfer", "scratch") and weights is not None:
        raise InputError(f"{name} has initial weights of its own: leave out --weights")
    if name == "transfer":
        if model is not None:
            raise InputError("transfer has a network of its own: leave out --model")
        return transfer.study(folder, budget, task, where).run(only, progress)
    if name == "scratch":
        return scratch.study(folder, budget, task, model, where).run(only, progress)
    if name not in STUDIES:
        known = ", ".join([*STUDIES, "transfer", "scratch", "measures"])
        raise InputError(f"unknown study '{name}'; known: {known}")
    candidates = select_candidates(only)
    task, model = task or PROBLEMS[0], model or "convnet"
    runner = Runner(folder, budget, progress, task, model, weights, where)
    tables = corrected(STUDIES[name](runner, candidates))
    spent = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in vars(budget).items())
    note = "" if name == "toy" else f" {NOTE}"  # the toy's means are not over seeds
    write_page(folder, name, f"Budget: {spent}.{note}", tables)
    return tables


__all__ = [
    "BUDGETS",
    "CANDIDATES",
    "NETWORKS",
    "PROBLEMS",
    "STUDIES",
    "Budget",
    "Table",
    "budget",
    "study",
]
