"""Curvature, surfaces and lines of a trained posterior, written to its run file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from landscape.curvature import Flatness, measure
from landscape.curvature.matrices import matrix_name
from landscape.curvature.sharpness.measures import measure_names, needs_temperature
from landscape.errors import InputError
from landscape.objective.losses import Criterion, TemperedLogits
from landscape.posteriors import PosteriorLoss, Trajectory
from landscape.posteriors.fingerprints import fingerprints
from landscape.prediction import best_temperature, predict
from landscape.runtime import distributed
from landscape.store import Run
from landscape.store.heartbeat import heartbeat
from landscape.surfaces import (
    Line,
    PlaneKind,
    SharedKind,
    Surface,
    grid,
    line,
    shared_surface,
    surface,
)
from landscape.surfaces.shared import together
from landscape.tasks import Data, Task
from landscape.workflow.loading import Trained, lock, weights_of
from landscape.workflow.resume import SplitStore, with_defaults


@contextmanager
def in_progress(run: Run, **config: object) -> Iterator[None]:
    """Mark a run ``running`` during the work, and ``complete`` or ``failed`` after it.

    The settings on record are those of the numbers in the file. If the work fails before it writes
    any, the record is as before. A process that is killed leaves the run ``running``, and its
    heartbeat ends.

    Args:
        run: The run.
        **config: Settings of the work, for the record.

    Raises:
        InputError: another process works on the run, or ``train`` did not make it.
    """
    if distributed.rank() != 0:  # the first process keeps the record
        yield
        return
    with lock(run.path, weights_of(run)), heartbeat(run.path):
        run.attributes = Run.open(run.path).attributes  # which may have changed since
        status, config_before = run.attributes.get("status", "failed"), json.dumps(run.config)
        run.set_attributes(status="running", config=json.dumps({**run.config, **config}))
        before_work = _state(run.path)
        try:
            yield
        except BaseException as error:
            if _state(run.path) != before_work:
                run.set_attributes(status="failed")
            else:
                refused = isinstance(error, InputError)  # nothing was started
                run.set_attributes(status=status if refused else "failed", config=config_before)
            raise
        run.set_attributes(status="complete")


def _state(path: Path) -> tuple[int, int] | None:
    """Identity of the file at a path: each write puts another file in its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def measure_curvature(
    trained: Trained,
    *,
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> Flatness:
    """``landscape.measure`` on the training set, each sample written as soon as it is finished.

    Samples that the run already holds are measured anew only with ``fresh``. A run from
    ``along_training`` is measured at each point along its training. Tempered measures take
    each sample's logits at the temperature that fits the validation set best, unless temperatures
    are given.

    Raises:
        InputError: a setting is out of range, or the run holds samples of another request and
            ``fresh`` is not given.
    """
    settings["sharpness"] = measure_names(settings.get("sharpness", ()))
    asked = with_defaults(measure, settings)
    if needs_temperature(asked["sharpness"]) and asked["temperatures"] is None:
        settings["temperatures"] = _temperatures(trained, asked["samples"], asked["seed"])
    if not asked["density_probes"]:
        asked["density_steps"] = 0
    asked["matrix"] = matrix_name(asked["matrix"], asked["method"])
    return measure(
        trained.posterior,
        trained.task.train,
        loss=trained.task.loss,
        store=_store(trained, asked, fresh=fresh),
        progress=progress,
        **settings,
    )


def _temperatures(trained: Trained, samples: int, seed: int) -> list[float]:
    """The temperature of each sample that fits the validation set best.

    Raises:
        InputError: the task's loss takes no logits of classes.
    """
    Criterion(TemperedLogits(1.0, trained.task.loss))
    validation = predict(trained.posterior, trained.task.validation, samples=samples, seed=seed)
    return [
        best_temperature(log_probabilities, validation.labels)
        for log_probabilities in validation.log_probabilities
    ]


def check_surface(
    trained: Trained,
    *,
    plane: PlaneKind | None = None,
    split: str = "train",
    fresh: bool = False,
    **settings: Any,
) -> PlaneKind:
    """Check a request to ``measure_surface`` before hours of other work.

    Returns:
        The kind of plane.

    Raises:
        InputError: a setting is out of range, or the run holds a surface of another request and
            ``fresh`` is not given.
    """
    _data(trained.task, split)
    trained.posterior.check_any_weights()
    asked = with_defaults(surface, settings)
    count = trained.posterior.num_available(asked["samples"])
    if plane is None and isinstance(trained.posterior, Trajectory):
        plane = "pca"
    elif plane is None:
        plane = "samples" if count >= 3 else "random"
    grid.check_surface(plane, asked["shape"], count, asked["margin"], asked["extent"])
    with suppress(KeyError):  # the run holds no such surface
        store = _store(trained, {**asked, "kind": plane}, split=split, fresh=fresh)
        store.read(f"surfaces/{_surface_name(trained, plane)}")
    return plane


def measure_surface(
    trained: Trained,
    *,
    plane: PlaneKind | None = None,
    split: str = "train",
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> Surface:
    """``landscape.surface`` on the training set or the test set, written to the run.

    A surface on the test set is called ``surfaces/<kind>-test``. The plane goes through the first
    three samples by default; it is a random one if there are fewer, and that of the principal
    directions, called ``surfaces/trajectory``, for a run from ``along_training``. Rows that the run
    already holds are evaluated anew only with ``fresh``.

    Raises:
        InputError: as ``check_surface``, or the samples span no plane.
    """
    plane = check_surface(trained, plane=plane, split=split, fresh=fresh, **settings)
    asked = {**with_defaults(surface, settings), "kind": plane}
    return surface(
        trained.posterior,
        _data(trained.task, split),
        plane=plane,
        loss=trained.task.loss,
        store=_store(trained, asked, split=split, fresh=fresh),
        name=_surface_name(trained, plane),
        progress=progress,
        **settings,
    )


def _surface_name(trained: Trained, plane: PlaneKind) -> str:
    if not isinstance(trained.posterior, Trajectory):
        return plane
    return "trajectory" if plane == "pca" else f"trajectory-{plane}"


def measure_shared_surface(
    runs: Sequence[Trained],
    *,
    plane: SharedKind = "shared",
    split: str = "train",
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> list[Surface]:
    """``landscape.shared_surface`` on the training set or the test set, written to each run.

    Raises:
        InputError: as ``shared_surface``, the runs are of different data, or a run holds a surface
            of that name and of another request, and ``fresh`` is not given.
    """
    if len({trained.task.fingerprint() for trained in runs}) > 1:
        raise InputError("the runs are of different data: their losses are not on one surface")
    asked = {**with_defaults(shared_surface, settings), "kind": plane}
    asked["together"] = together([trained.posterior for trained in runs])
    return shared_surface(
        [trained.posterior for trained in runs],
        _data(runs[0].task, split),
        plane=plane,
        loss=runs[0].task.loss,
        stores=[_store(trained, asked, split=split, fresh=fresh) for trained in runs],
        progress=progress,
        **settings,
    )


def measure_line(
    trained: Trained,
    *,
    split: str = "train",
    fresh: bool = False,
    progress: bool | Callable[..., None] | None = None,
    **settings: Any,
) -> Line:
    """``landscape.surfaces.line`` on the training set or the test set, written to the run.

    Points that the run already holds are evaluated anew only with ``fresh``.

    Raises:
        InputError: as ``line``, or the run holds a line of that name and of another request, and
            ``fresh`` is not given.
    """
    return line(
        trained.posterior,
        _data(trained.task, split),
        loss=trained.task.loss,
        store=_store(trained, with_defaults(line, settings), split=split, fresh=fresh),
        progress=progress,
        **settings,
    )


def _store(
    trained: Trained, settings: Mapping[str, Any], *, split: str = "train", fresh: bool
) -> SplitStore:
    posterior, task = trained.posterior, trained.task
    derived = {
        "samples": posterior.num_available(settings["samples"]),
        "parameters": posterior.space.names,
    }
    mean_loss = PosteriorLoss(posterior, _data(task, split), task.loss)
    recorded = trained.run.attributes
    return SplitStore(
        trained.run,
        {**settings, **derived},
        split,
        task.sizes[split],
        fresh,
        cache(lambda: fingerprints(mean_loss)),
        # ``load`` has compared the weights with their fingerprint, if the run has one.
        lambda: (
            bool(recorded.get("posterior_fingerprint"))
            and recorded.get("data_fingerprint") == task.fingerprint()
        ),
    )


def _data(task: Task, split: str) -> Data:
    if split not in ("train", "test"):
        raise InputError(f"a surface is on the split 'train' or 'test', not '{split}'")
    return task.train if split == "train" else task.test
