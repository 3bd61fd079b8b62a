"""Freed memory is kept, in a process that asks for it."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from landscape.memory import keep_freed_memory

def faults():
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

before, kept = faults(), keep_freed_memory()
faults()
print(before, kept, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_tensors_reuse_memory() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    before, kept, after = found.stdout.split()
    assert kept == "True"
    assert int(after) < int(before) / 20
