"""Run files to look at, and a browser to look with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from browsing import browser, chromium, opened, show, site, visit
from made import start_run, write_run

from landscape.store import Run

__all__ = ["browser", "chromium", "show", "site", "visit"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure in the browser comes with what its pages say of themselves."""
    report = yield
    if report.when == "call":
        visits = opened()
        report.sections += [("page", str(visit)) for visit in visits if report.failed]
    return report


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run, to be read only."""
    return write_run(tmp_path_factory.mktemp("runs"), "digits-swag-0")


@pytest.fixture
def started(tmp_path: Path) -> Run:
    """A run with nothing measured."""
    return start_run(tmp_path, "digits-map-0", method="map")


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Run]:
    """Write a complete run into the test's own folder."""

    def write(name: str, **settings: object) -> Run:
        return write_run(tmp_path, name, **settings)  # type: ignore[arg-type]

    return write
