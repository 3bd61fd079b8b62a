"""How the free memory is divided, before the first matvec, between a basis and kept graphs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from landscape.errors import InputError
from landscape.runtime import memory

_SHARE = 0.5
"""Share of the free memory for bases. Kept graphs may take a quarter; the rest is for a matvec."""


@dataclass(frozen=True)
class MemoryPlan:
    """What a search for eigenvalues may keep in memory.

    Attributes:
        size: n, the length of a vector.
        vectors: Number of vectors that the basis may have.
        wanted: Number of vectors that it would have with more memory. With fewer the search
            restarts more often and takes more matvecs; its result is no less accurate.
        nbytes: Bytes of a vector.
        free: Bytes that are free.
    """

    size: int
    vectors: int
    wanted: int
    nbytes: int
    free: int

    def __str__(self) -> str:
        return (
            f"memory: {_gb(self.free)} free, up to {self.vectors} of {self.wanted} vectors of "
            f"{self.size:,} numbers ({_gb(self.vectors * self.nbytes)}), kept graphs up to "
            f"{_gb(self.free // 4)}"
        )


def plan_basis(
    size: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    wanted: int,
    least: int,
    what: str,
    copies: int = 1,
) -> MemoryPlan:
    """The number of vectors of a basis that fit into half of the free memory.

    Args:
        size: n.
        dtype: Type of the vectors.
        device: Their device.
        wanted: Number of vectors to have, if they fit.
        least: Smallest number that is of use.
        what: Name of the work for the error.
        copies: Number of such bases that are alive at the same time.

    Raises:
        InputError: the smallest number does not fit.
    """
    nbytes, free = size * dtype.itemsize, memory.available(device)
    fit = int(_SHARE * free) // (copies * nbytes)
    if fit >= min(wanted, least) or least * copies * nbytes < memory.CHECKED:
        return MemoryPlan(size, max(least, min(wanted, fit)), wanted, nbytes, free)
    needed = least * copies * nbytes / _SHARE
    raise InputError(
        f"{what} keeps at least {least * copies} vectors of {size:,} numbers, {_gb(nbytes)} each: "
        f"that needs {_gb(needed)} free, and {_gb(free)} are. {fit} vectors would fit: ask for "
        f"fewer, or for at most {int(_SHARE * free) // (least * copies * dtype.itemsize):,} of the "
        "parameters (parameters=...)"
    )


def _gb(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:,.1f} MB"
