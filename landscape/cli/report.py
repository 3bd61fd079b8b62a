"""Text that the commands print."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from landscape.errors import printable
from landscape.store import Run, SampleMean, summarise
from landscape.store.summary import unfinished


def print_run(path: Path, as_json: bool) -> None:
    """Print what a run file says."""
    run = Run.open(path)
    summary = summarise(run)
    missing = unfinished(run)
    if as_json:
        more = {"unfinished": missing, "attributes": run.attributes | {"config": run.config}}
        print_json({"file": str(path), **asdict(summary), **more})
        return
    rows = [
        (field.name, getattr(summary, field.name))
        for field in fields(summary)
        if field.name != "sharpness"
    ]
    usual = (("matrix", None), ("matrix", "hessian"), ("rmse", None))
    lines = {name: _shown(value) for name, value in rows if (name, value) not in usual}
    lines |= {name: _shown(mean) for name, mean in summary.sharpness.items()}
    if missing:
        lines["unfinished"] = ", ".join(missing)
    for name in ("parameter_count", "device", "dtype", "data_fingerprint", "git_commit"):
        lines[name] = str(run.attributes.get(name, "-"))
    for name, text in lines.items():
        print(f"{name:22} {printable(text)}")
    print(f"{'file':22} {path.resolve()}")


def print_json(value: Any) -> None:
    """Print strict JSON: NaN and infinity are null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        value = ", ".join(value)
    if isinstance(value, dict):
        value = ", ".join(f"{name} {barrier:.4g}" for name, barrier in value.items())
    if isinstance(value, SampleMean):
        value = f"{value}{value.interval()}, n = {value.counted()}"
    return "-" if value in (None, "") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
