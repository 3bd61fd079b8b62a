"""One thread a process: small problems are slower on two, and the tests run in parallel."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A test that fails, fails again."""
    torch.manual_seed(0)
