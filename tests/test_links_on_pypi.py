"""The page and the addresses that PyPI gets from a release."""

import re
import runpy
import tomllib
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from readme_renderer import markdown

ROOT = Path(__file__).parent.parent
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / ".github" / "absolute_links.py"))
absolute: Callable[..., str] = SCRIPT["absolute"]
PREFIXES = {
    "src": "https://raw.githubusercontent.com/owner/name/v9.9/",
    "href": "https://github.com/owner/name/blob/v9.9/",
}


def test_every_link_and_image_of_the_rendered_page_is_absolute_and_leads_to_a_file() -> None:
    page = (ROOT / "README.md").read_text()
    rendered = markdown.render(absolute(page, "owner/name", "v9.9", ROOT))
    assert rendered is not None  # which is what 'twine check --strict' asks
    links = re.findall(r'(src|href)="([^"]+)"', rendered)
    own = [(kind, unescape(url)) for kind, url in links if "owner/name" in url]
    assert {kind for kind, _ in own} == {"src", "href"}
    for kind, url in own:
        assert url.startswith(PREFIXES[kind])
        assert (ROOT / url.removeprefix(PREFIXES[kind]).partition("#")[0]).exists()
    assert all(re.match(r"https?://|#", url) for _, url in links)
    number = len(re.findall(r"\]\((?!https?:|#)", re.sub(r"```.*?```", "", page, flags=re.S)))
    assert len(own) == number


def test_code_anchors_and_addresses_stay(tmp_path: Path) -> None:
    (tmp_path / "a.md").touch()
    text = "[x](a.md#part) [![i](a.md)](a.md) [y](#z) [w](https://v.u)\n```\n[x](a.md)\n```\n"
    assert absolute(text, "o/n", "t", tmp_path) == (
        "[x](https://github.com/o/n/blob/t/a.md#part) "
        "[![i](https://raw.githubusercontent.com/o/n/t/a.md)](https://github.com/o/n/blob/t/a.md) "
        "[y](#z) [w](https://v.u)\n```\n[x](a.md)\n```\n"
    )


def test_a_link_to_nothing_stops_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    monkeypatch.setenv("GITHUB_REF_NAME", "v9.9")
    (tmp_path / "README.md").write_text("[x](gone.md)")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(SystemExit, match=r"README.md links to gone.md"):
        SCRIPT["main"](tmp_path)
    assert (tmp_path / "pyproject.toml").read_text() == "[project]\n"


def test_the_project_has_its_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    monkeypatch.setenv("GITHUB_REF_NAME", "v9.9")
    (tmp_path / "README.md").write_text("text")
    before = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(before)
    SCRIPT["main"](tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    urls = project["project"].pop("urls")
    assert urls["Homepage"] == "https://github.com/owner/name"
    assert project == tomllib.loads(before)
    with pytest.raises(SystemExit, match="has addresses"):
        SCRIPT["main"](tmp_path)


def test_the_release_makes_them_absolute_before_it_builds() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert workflow.index("absolute_links.py") < workflow.index("python -m build")
