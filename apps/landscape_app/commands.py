"""Commands that measure what a run file lacks. Each of them works as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from landscape.errors import InputError
from landscape.store import Run
from landscape.store.summary import count
from landscape.surfaces import CURVES, PLANES, SHARED_PLANES

_OPTIONS = {
    "samples": ("--samples", 30),
    "eigenvalues": ("--eigenvalues", 5),
    "matrix": ("--matrix", "hessian"),
    "method": ("--method", "double-backward"),
    "tolerance": ("--tolerance", 1e-3),
    "max_matvecs": ("--max-matvecs", None),
    "trace_matvecs": ("--trace-matvecs", None),
    "trace_tolerance": ("--trace-tolerance", None),
    "density_probes": ("--density", 0),
    "sharpness": ("--sharpness", []),
    "backend": ("--backend", "lanczos"),
}
"""Options of ``landscape measure``, with their defaults, by their names in a run's record."""

_TRAJECTORY = ".trajectory"
"""Ending of the folder of the weights along a training, beside the run."""


def measure_command(run: Run, *, fresh: bool = True, **changes: object) -> str:
    """The ``landscape measure`` that repeats a run's measurement with some settings changed.

    Args:
        run: The run.
        fresh: Whether what is there is replaced; further measures leave it as it is.
        **changes: Settings by their names in the record; ``seed`` is one of them.
    """
    parts = ["landscape measure", shlex.quote(str(run.path))]
    recorded = _recorded(run)
    seed = changes.pop("seed", recorded.get("seed"))
    for name, (option, default) in _OPTIONS.items():
        value = changes.get(name, recorded.get(name, default))
        if value == default or not isinstance(value, int | float | str | list):
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        parts += [option, shlex.quote(text)]
    groups = run.groups
    if not fresh or any(name.startswith("surfaces/") for name in groups):
        parts.append("--grid 0")  # the surface that is there may have other settings
    if fresh and "samples" in groups:
        parts.append("--fresh")
    if isinstance(seed, int) and seed != run.attributes.get("seed"):
        parts.append(f"--seed {seed}")
    return " ".join(parts)


def plane_remedy(run: Run, name: str) -> str:
    """The words that tell how to get the surface ``name`` of a run, with the command."""
    if name == "trajectory":
        return along_remedy(run, f"landscape surface {shlex.quote(str(run.path))} --plane {name}")
    file = shlex.quote(str(run.path))
    plane, _, split = name.partition("-")
    more = f" --split {split}" if split == "test" else ""
    if plane in SHARED_PLANES:
        return (
            f"run `landscape surface {file} OTHER.h5 --plane {plane}{more}`, with another run of "
            "the same network in place of OTHER.h5"
        )
    if plane not in PLANES or split not in ("", "test"):
        return (
            "no command makes a plane of that name; in Python, "
            f"`landscape.surface(..., plane=plane, store=run, name={name!r})`"
        )
    samples = _num_samples(run)
    if plane in ("samples", "pca") and samples is not None and samples < 3:
        return (
            f"it needs three samples, and this posterior has {samples}; another plane: run "
            f"`landscape surface {file} --plane random{more}`"
        )
    return f"run `landscape surface {file} --plane {plane}{more}`"


def line_remedy(run: Run) -> str:
    """The words that tell how to get a line of a run, with the command."""
    samples = _num_samples(run)
    kind = CURVES[0] if samples is None or samples > 1 else "random"
    return f"run `landscape surface {shlex.quote(str(run.path))} --line {kind}`"


def along_remedy(run: Run, command: str = "") -> str:
    """The words that tell how to measure the weights along a run's training.

    Args:
        run: The run.
        command: A command that needs those weights; by default the one that measures them.
    """
    folder = Path(str(run.config.get("imported") or run.path.with_suffix(_TRAJECTORY)))
    if folder.is_dir():
        return f"run `{command or f'landscape measure {shlex.quote(str(run.path))} --along'}`"
    return (
        "no weights were kept along its training; a training keeps them if `landscape train` has "
        "the option `--record 10`"
    )


def _recorded(run: Run) -> Mapping[str, object]:
    """The settings of the run's last measurement; empty if there was none."""
    try:
        recorded = run.config.get("measurement")
    except InputError:  # damaged: the page of the run reports it
        return {}
    return recorded if isinstance(recorded, dict) else {}


def _num_samples(run: Run) -> int | None:
    """The number of samples that the posterior has, as far as the file tells."""
    try:
        return count(run.attributes_of("predictions"), "samples")
    except (KeyError, InputError):
        return None
