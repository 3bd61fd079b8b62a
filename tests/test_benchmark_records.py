"""What a benchmark writes, and what the documentation and ``make benchmark`` make of it."""

import argparse
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECORD: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parent.parent / "benchmarks" / "record.py")
)


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    """A file with one table: one row of the values 1, 2 and 6."""
    monkeypatch.setattr(sys, "argv", ["benchmarks/some.py", *arguments, "--record", "some"])
    record = RECORD["Record"](argparse.Namespace(record="some", record_folder=str(folder)))
    table = RECORD["Table"]("times", ("seconds", "none"))
    table.add("ours", RECORD["Cell"].of([6.0, 1.0, 2.0], ends=True), RECORD["Cell"].of([]))
    record.add(table)
    record.finish()
    return folder / "some.json"


def test_a_table_is_written_and_read_with_its_values_and_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "weights.pt"
    own.touch()
    path = recorded(tmp_path, monkeypatch, "--weights", str(own), "--rounds", "3")
    about, tables = RECORD["read"](path)
    command = "python benchmarks/some.py --weights weights.pt --rounds 3"
    assert (" ".join(about["command"]), about["files"]) == (command, ["weights.pt"])
    assert str(tmp_path) not in path.read_text()
    assert tables["times"].rows["ours"][0].values == [6.0, 1.0, 2.0]
    page = "before\n<!-- benchmark: some / times -->\nold\n<!-- end -->\nafter"
    written = RECORD["written"](page, tmp_path)
    assert "| ours | 2.00 (1.00 to 6.00) |  |\n" in written
    assert f"torch {about['versions']['torch']}" in written
    assert "old" not in written
    assert RECORD["written"](written, tmp_path) == written


def test_what_cannot_be_repeated_here_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, monkeypatch)
    about = json.loads(path.read_text())
    (tmp_path / "elsewhere.json").write_text(json.dumps({**about, "note": "On another machine."}))
    large = {**about, "command": ["python", "large.py"], "needs": "a day"}
    (tmp_path / "large.json").write_text(json.dumps(large))
    path.write_text(json.dumps({**about, "files": ["images.npz"]}))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was run"))
    capsys.readouterr()
    RECORD["repeat"](tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "elsewhere: not repeated. On another machine.",
        "large: not repeated, needs a day: python large.py",
        "some: not repeated, without images.npz here",
    ]


def test_a_repetition_is_compared_with_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, monkeypatch)

    def run(command: list[str], **_: object) -> None:
        twice = json.loads(path.read_text())
        twice["tables"][0]["rows"]["ours"][0]["values"] = [4.0]
        (Path(command[-1]) / "some.json").write_text(json.dumps(twice))

    monkeypatch.setattr(subprocess, "run", run)
    capsys.readouterr()
    RECORD["repeat"](tmp_path)
    assert "times / ours: seconds 2.00\n" in capsys.readouterr().out
