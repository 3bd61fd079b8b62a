"""Random selection of a few examples of every class."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.errors import InputError


def choose_shots(targets: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """Indices of ``shots`` random examples of every class, ordered by class.

    Args:
        targets: Class numbers, shape (N,).
        shots: Number of examples of every class.
        generator: Random generator.

    Raises:
        InputError: ``shots`` is not positive, or a class has fewer examples.
    """
    if shots < 1:
        raise InputError(f"shots must be at least 1, not {shots}")
    indices = []
    for label in sorted(set(targets.tolist())):
        members = (targets == label).nonzero().squeeze(1)
        if len(members) < shots:
            raise InputError(
                f"class {label} has {len(members)} training examples: ask for at most "
                f"{len(members)} shots, not {shots}"
            )
        indices.append(members[torch.randperm(len(members), generator=generator)[:shots]])
    return torch.cat(indices)
