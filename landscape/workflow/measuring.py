"""What is measured of a trained posterior, into its run file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from landscape.curvature import Flatness, measure
from landscape.errors import InputError
from landscape.posteriors import PosteriorLoss
from landscape.posteriors.fingerprints import fingerprints
from landscape.store import Run
from landscape.surfaces import Line, PlaneKind, Surface, grid, line, surface
from landscape.tasks import Data, Task
from landscape.workflow.loading import Trained, lock, weights_of
from landscape.workflow.resume import SplitStore, with_defaults


@contextmanager
def in_progress(run: Run, **config: object) -> Iterator[None]:
    """Mark a run ``running`` meanwhile, and then ``complete``, or ``failed`` if the work failed.

    The settings on record are those of what the file holds: where the work wrote nothing before it
    failed, they are what they were.

    Args:
        run: The run.
        **config: Settings of what is being done, for the record.

    Raises:
        InputError: another process is at work on it, or it was not made by ``train``.
    """
    with lock(run.path, weights_of(run)):
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

    With ``fresh``, samples that the run holds already are measured anew.

    Raises:
        InputError: a setting is out of range, or the run holds samples that were measured with
            other settings: only ``fresh`` replaces them.
    """
    asked = with_defaults(measure, settings)
    if not asked["density_probes"]:
        asked["density_steps"] = 0
    return measure(
        trained.posterior,
        trained.task.train,
        loss=trained.task.loss,
        store=_store(trained, asked, fresh=fresh),
        progress=progress,
        **settings,
    )


def check_surface(
    trained: Trained,
    *,
    plane: PlaneKind | None = None,
    split: str = "train",
    fresh: bool = False,
    **settings: Any,
) -> PlaneKind:
    """Whether ``measure_surface`` can do this: to ask before hours of other work.

    Returns:
        The plane.

    Raises:
        InputError: a setting is out of range, or the run holds a surface of other settings: only
            ``fresh`` replaces it.
    """
    _data(trained.task, split)
    asked = with_defaults(surface, settings)
    count = trained.posterior.num_available(asked["samples"])
    if plane is None:
        plane = "samples" if count >= 3 else "random"
    grid.check_surface(plane, asked["shape"], count, asked["margin"], asked["extent"])
    with suppress(KeyError):  # it holds none
        _store(trained, {**asked, "kind": plane}, split=split, fresh=fresh).read(
            f"surfaces/{plane}"
        )
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

    That of the test set is beside the other, as ``surfaces/<kind>-test``. The plane is through the
    first three samples by default; where there are fewer, as of a point, a random one. With
    ``fresh``, rows that the run holds already are evaluated anew.

    Raises:
        InputError: see ``check_surface``; or the samples span no plane.
    """
    plane = check_surface(trained, plane=plane, split=split, fresh=fresh, **settings)
    asked = {**with_defaults(surface, settings), "kind": plane}
    return surface(
        trained.posterior,
        _data(trained.task, split),
        plane=plane,
        loss=trained.task.loss,
        store=_store(trained, asked, split=split, fresh=fresh),
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

    With ``fresh``, points that the run holds already are evaluated anew.

    Raises:
        InputError: see ``line``; or the run holds such a line of other settings: only ``fresh``
            replaces it.
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
