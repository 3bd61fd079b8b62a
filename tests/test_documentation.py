"""What the documentation says to type is typed, and what it links to is there."""

import re
from importlib.util import find_spec
from pathlib import Path
from warnings import catch_warnings, simplefilter

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.M | re.S)


def test_the_quickstart_is_there_to_be_executed() -> None:
    assert len(blocks(ROOT / "README.md")) >= 2


@each_page
def test_the_blocks_of_python_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks(page):
        needed = re.match(r"# needs (\w+)\n", code)
        if needed is None or find_spec(needed[1]) is not None:
            with catch_warnings():
                if needed is not None:
                    simplefilter("ignore")  # other packages warn of what is theirs
                exec(compile(code, page.name, "exec"), names)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
