"""A run file with every group."""

from pathlib import Path

import pytest
from groups import GROUPS

from landscape.store import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A complete run with every group."""
    return Run.create(
        tmp_path / "run.h5",
        method="swag",
        seed=3,
        config={"method": {"rank": 5}},
        groups={
            name: (variables, {"split": "train", "examples": 7})
            for name, variables in GROUPS.items()
        },
        status="complete",
    )
