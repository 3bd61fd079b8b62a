"""Names, notes and pins of runs, in a small file beside the runs: the runs stay as they are."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass

from landscape.errors import InputError, refused
from landscape.runtime.files import atomic_write, check_regular
from landscape.runtime.json_text import parse_object
from landscape_app.folders import NOTES, Where, root_of, run_path

LONGEST_NAME, LONGEST_NOTE = 100, 2000
"""Largest numbers of characters of a name and of a note."""
_MOST_BYTES = 4 << 20
_writing = threading.Lock()


@dataclass(frozen=True)
class Remark:
    """What somebody has noted about a run.

    Attributes:
        name: Name to show beside that of the file.
        note: Any text.
        pinned: Whether the run comes first in the list.
    """

    name: str = ""
    note: str = ""
    pinned: bool = False


def remarks(folder: Where) -> dict[str, Remark]:
    """The remarks on the runs of a folder, by the names of the runs. The file is not trusted.

    Raises:
        InputError: the file is damaged or too large.
    """
    path = root_of(folder) / NOTES
    if not path.exists():
        return {}
    check_regular(path)
    with refused(f"cannot read {path}"):
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} is larger than {_MOST_BYTES >> 20} MiB: refused")
        text = path.read_text(encoding="utf-8")
    kinds: dict[str, type] = {"name": str, "note": str, "pinned": bool}
    result = {}
    for run, parts in parse_object(text, str(path)).items():
        if not isinstance(parts, dict):
            raise InputError(f"{path} holds no notes of '{run}'")
        for name, kind in kinds.items():
            if not isinstance(parts.get(name, kind()), kind):
                raise InputError(f"{path}: the {name} of '{run}' is no {kind.__name__}")
        result[run] = Remark(**{name: parts[name] for name in kinds if name in parts})
    return result


def keep(folder: Where, run: str, remark: Remark) -> None:
    """Keep a remark on a run of a folder; an empty one is removed.

    Raises:
        InputError: there is no such run, a text is too long, or the file cannot be read or written.
    """
    run_path(folder, run)
    for what, text, most in (
        ("name", remark.name, LONGEST_NAME),
        ("note", remark.note, LONGEST_NOTE),
    ):
        if len(text) > most:
            raise InputError(f"a {what} has at most {most:,} characters, not {len(text):,}")
    with _writing:
        every = remarks(folder) | {run: remark}
        parts = {name: asdict(one) for name, one in sorted(every.items()) if one != Remark()}
        text = json.dumps(parts, indent=2, ensure_ascii=False) + "\n"
        path = root_of(folder) / NOTES
        with refused(f"cannot write {path}"), atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
