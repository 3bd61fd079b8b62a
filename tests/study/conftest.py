"""One tiny set of trainings that the tests of a module share."""

from pathlib import Path

import pytest

from landscape.study import Budget

TINY = Budget(
    seeds=2,
    trials=2,
    tuning_seeds=1,
    epochs=4,
    source_epochs=12,
    samples=3,
    measured=3,
    severities=(5,),
)
ONLY = ["map"]


def silent(label: str) -> object:
    return lambda done, total: None


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")
