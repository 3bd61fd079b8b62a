"""What the documentation says to type is typed, and what it links to is there."""

import re
import runpy
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest

from landscape import models
from landscape.methods import Method
from landscape.posteriors import Posterior

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(SITE.glob("*.md")), *sorted(SITE.glob("[cs]*/*.md"))]
FIT, EPOCHS = Method.fit, 15
"""Number of epochs that every method can do with: SWAG takes six snapshots in the second half."""
SMALLER = {
    r"for _ in range\(4\)\]": "for _ in range(2)]",  # batches
    r"\bsamples=\d\d\b": "samples=4",
    r"\bshape=\(\d\d, \d\d\)": "shape=(4, 5)",
    r"\bsteps=80\b": "steps=40",
}
"""Numbers in the examples, and what tests put in their place."""
GENERATED = (SITE / "gallery.md",)  # made with the site, whose build checks these links
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.M | re.S)


def test_the_quickstart_is_there_to_be_executed() -> None:
    assert len(blocks(ROOT / "README.md")) >= 2


def briefly(method: Method[Any], *arguments: Any, **settings: Any) -> Posterior:
    """``fit`` with fewer epochs."""
    return FIT(replace(method, epochs=min(method.epochs, EPOCHS)), *arguments, **settings)


@each_page
def test_the_blocks_of_python_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    narrow = partial(models.ConvNet, width=4)  # a quarter of its channels
    monkeypatch.setitem(models.MODELS, "convnet", narrow)
    monkeypatch.setattr(Method, "fit", briefly)
    names: dict[str, object] = {}
    for code in blocks(page):
        for pattern, smaller in SMALLER.items():
            code = re.sub(pattern, smaller, code)
        needed = re.match(r"# needs (\w+)\n", code)
        if needed is None or find_spec(needed[1]) is not None:
            with catch_warnings():
                if needed is not None:
                    simplefilter("ignore")  # other packages warn of what is theirs
                exec(compile(code, page.name, "exec"), names)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http") and (page.parent / target) not in GENERATED:
            assert (page.parent / target).exists(), target


def test_tables_of_benchmarks_are_those_that_were_recorded() -> None:
    record = runpy.run_path(str(ROOT / "benchmarks" / "record.py"))
    recorded = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    shown = set()
    for page in sorted(SITE.glob("*.md")):
        text = page.read_text()
        assert record["written"](text) == text, f"python benchmarks/record.py changes {page.name}"
        shown |= set(re.findall(r"<!-- benchmark: (\S+) / ", text))
    assert shown == recorded
