"""Names, notes and pins: beside the runs, never in them, and from a file that nobody trusts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from landscape_app.folders import NOTES, stamp
from landscape_app.pages import runs as runs_page
from landscape_app.remarks import Remark, keep, remarks
from landscape_app.url import View
from made import start_run
from playwright.sync_api import Page, expect

from landscape.errors import InputError
from landscape.store import Run


def test_remarks_are_kept_beside_the_runs(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        start_run(tmp_path, name)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.h5")}
    assert remarks(tmp_path) == {}
    first = stamp(tmp_path, View())
    keep(tmp_path, "b", Remark("Ours, ρ = 0.1", "two\nlines, <b>", True))
    keep(tmp_path, "c", Remark(note="diverged"))
    assert stamp(tmp_path, View()) != first  # the pages that show them are drawn again
    assert json.loads((tmp_path / NOTES).read_text("utf-8")) == {
        "b": {"name": "Ours, ρ = 0.1", "note": "two\nlines, <b>", "pinned": True},
        "c": {"name": "", "note": "diverged", "pinned": False},
    }
    rows, _, _ = runs_page.fill(tmp_path, View())
    assert rows[0]["name"] == "b"  # a pin comes first
    assert (rows[0]["label"], rows[0]["note"]) == ("Ours, ρ = 0.1", "two\nlines, <b>")
    assert {row["name"]: row["note"] for row in rows[1:]} == {"a": "", "c": "diverged"}
    keep(tmp_path, "b", Remark())
    assert set(remarks(tmp_path)) == {"c"}
    assert {path: path.read_bytes() for path in tmp_path.glob("*.h5")} == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"a": 1}', "holds no notes of 'a'"),
        ('{"a": {"note": 3}}', "the note of 'a' is no str"),
        ('{"a": {"pinned": "yes"}}', "the pinned of 'a' is no bool"),
    ],
)
def test_a_damaged_file_is_told_and_the_list_is_still_there(
    text: str, told: str, tmp_path: Path
) -> None:
    start_run(tmp_path, "a")
    (tmp_path / NOTES).write_text(text)
    with pytest.raises(InputError, match=told):
        remarks(tmp_path)
    with pytest.raises(InputError, match=told):
        keep(tmp_path, "a", Remark("new"))  # what somebody wrote is not replaced
    assert (tmp_path / NOTES).read_text() == text
    rows, _, below = runs_page.fill(tmp_path, View())
    assert [row["name"] for row in rows] == ["a"]
    assert told in str(below)


def test_remarks_are_about_runs_of_the_folder(tmp_path: Path) -> None:
    start_run(tmp_path, "a")
    for name in ("absent", "../a", ""):
        with pytest.raises(InputError):
            keep(tmp_path, name, Remark("x"))
    with pytest.raises(InputError, match="at most 2,000 characters"):
        keep(tmp_path, "a", Remark(note="x" * 2001))
    assert not (tmp_path / NOTES).exists()


@pytest.mark.browser
def test_a_note_is_written_on_the_page_of_a_run(
    show: Callable[..., Page], new_run: Callable[..., Run]
) -> None:
    folder = new_run("one").path.parent
    page = show(folder, "/run/one")
    page.get_by_label("Name", exact=True).fill("The flat one")
    page.get_by_label("Note", exact=True).fill("seed 0")
    page.get_by_label("Pin").check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved", exact=True).wait_for()
    assert remarks(folder) == {"one": Remark("The flat one", "seed 0", True)}
    page.get_by_role("link", name="← All runs").click()
    expect(page.locator(".ag-row [col-id=name]")).to_have_text("★ The flat one (one)")
    expect(page.locator(".ag-row [col-id=note]")).to_have_text("seed 0")
