"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import cyclopts
from cyclopts import CoercionError, Parameter, Token, validators

from landscape.errors import InputError, refused
from landscape.runtime.files import check_regular
from landscape.runtime.limits import MAX_SETTINGS
from landscape.tasks import TASKS

_SEED = validators.Number(gte=0, lt=1 << 63)  # a run file can store these

Seed = Annotated[int, Parameter(validator=_SEED, help="Seed of everything random.")]
RunSeed = Annotated[
    int | None,
    Parameter(validator=_SEED, help="Seed of everything random; by default that of the run."),
]
Device = Annotated[str, Parameter(help="cpu, cuda, or auto: CUDA if there is any.")]
Json = Annotated[bool, Parameter(name="--json", help="Print the results as JSON.")]
Workers = Annotated[
    int, Parameter(name="--workers", help="Number of worker processes on this machine.")
]
Dask = Annotated[str | None, Parameter(help="Address of the Dask scheduler that gives workers.")]
Fresh = Annotated[bool, Parameter(help="Replace what the run holds.")]


def convert(kind: Any, tokens: Sequence[Token]) -> Any:
    """Read a value as Cyclopts does, which would round 2.5 to an int and take 1 for true.

    Raises:
        CoercionError: The value is of another type.
    """
    value = tokens[0].value
    if (kind is int and "." in value) or (kind is bool and value not in ("True", "False")):
        raise CoercionError(token=tokens[0], target_type=kind)
    return cyclopts.convert(kind, tokens)


def read_toml(path: Path) -> dict[str, Any]:
    """Settings from a TOML file that may come from anybody.

    Raises:
        InputError: The file cannot be read, is too large or is not TOML.
    """
    check_regular(path)
    with refused(f"cannot read {path}"):
        if path.stat().st_size > MAX_SETTINGS:
            raise InputError(f"{path} is larger than {MAX_SETTINGS >> 20} MiB: no file of settings")
        contents = path.read_bytes()
    with refused(f"{path} is not TOML"):
        settings = tomllib.loads(contents.decode())
    return {name.replace("-", "_"): value for name, value in settings.items()}


def as_options(settings: type, name: str) -> Any:
    """The fields of a dataclass as options of a command, under a heading of their own."""
    options = Parameter(name="*", group=f"Settings of {name}", negative_bool="no-")
    return Annotated[settings | None, options]


def task_settings_of(task: str) -> type:
    """A dataclass of the parameters of a task's function, the seed excluded."""
    function = TASKS[task]
    types = get_type_hints(function)
    fields: list[tuple[str, type, Any]] = [
        (name, types[name], field(**({} if p.default is p.empty else {"default": p.default})))
        for name, p in inspect.signature(function).parameters.items()
        if name != "seed"
    ]
    namespace = {"__module__": __name__, "__doc__": function.__doc__}
    return make_dataclass(task, fields, kw_only=True, namespace=namespace)
