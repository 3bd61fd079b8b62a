"""The examples in the docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import landscape

# Importing __main__ runs the command line.
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(landscape.__path__, "landscape.")
    if not name.endswith(".__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    tests = [test for name in MODULES for test in finder.find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in tests) >= 8
