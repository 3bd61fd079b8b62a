"""A run file with every group."""

from pathlib import Path

import pytest
from groups import GROUPS

from landscape.store import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A complete run with every group."""
    made = Run.create(tmp_path / "run.h5", method="swag", seed=3, config={"method": {"rank": 5}})
    for name, variables in GROUPS.items():
        made.write(name, variables, {"split": "train", "examples": 7})
    made.set_attributes(status="complete")
    return made
