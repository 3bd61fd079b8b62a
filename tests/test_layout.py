"""The layout of the package: imports go downwards, and names lead to one thing each."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

import landscape

ROOT = Path(landscape.__file__).parent
ORDER = (
    "errors",
    "runtime",
    "results",
    "autograd",
    "objective",
    "running_stats",
    "posteriors",
    "tasks",
    "models",
    "methods",
    "curvature",
    "surfaces",
    "prediction",
    "store",
    "workflow",
    "study",
    "cli",
)
"""Packages from the ground floor up: each imports from those before it."""
ENTRANCES = ("", "__main__")
"""The package itself and its command, which import from all."""


def modules() -> dict[str, Path]:
    """The file of each module, by its name without that of the package."""
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that a module imports anywhere, for type checking as well."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            is_module = {name for name in inner if name.removeprefix("landscape.") in known}
            names |= is_module if is_module == inner else is_module | {str(node.module)}
    return {name.removeprefix("landscape.") for name in names if name.startswith("landscape.")}


def graph() -> dict[str, set[str]]:
    files = modules()
    return {name: imports(path, set(files)) for name, path in files.items()}


def test_the_root_has_at_most_five_files() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 5


def test_imports_go_downwards() -> None:
    upward = []
    for name, targets in graph().items():
        if name in ENTRANCES:
            continue
        package = name.partition(".")[0]
        below = ORDER[: ORDER.index(package) + 1] if package in ORDER else ()
        above = [target for target in targets if target.partition(".")[0] not in below]
        upward += [f"{name} imports {target}" for target in above]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    remaining = graph()
    del remaining[""]
    before = 0
    while before != len(remaining):  # until each imports another one that remains, and is imported
        before = len(remaining)
        imported = set().union(*remaining.values())
        remaining = {
            name: targets & set(remaining)
            for name, targets in remaining.items()
            if targets & set(remaining) and name in imported
        }
    assert remaining == {}


def test_no_exported_name_hides_a_module() -> None:
    hidden = []
    for info in pkgutil.walk_packages(landscape.__path__, "landscape."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
    for name, module in list(sys.modules.items()):
        parent, _, leaf = name.rpartition(".")
        if name.startswith("landscape.") and getattr(sys.modules[parent], leaf) is not module:
            hidden.append(name)
    assert hidden == []
