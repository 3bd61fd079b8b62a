"""Methods that begin with a network trained to one weight vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from landscape.methods.fsam import FSAM
from landscape.methods.loop import Method, State
from landscape.methods.map import MAP
from landscape.methods.sam import SAM

BASES: dict[str, Callable[..., Method[Any]]] = {"map": MAP, "sam": SAM, "fsam": FSAM}
"""Methods that end in one weight vector."""

S = TypeVar("S", bound=State)


@dataclass(frozen=True, kw_only=True)
class FromPointEstimate(Method[S]):
    """What is made of one or more point estimates.

    Attributes:
        base: The method that finds a point; one of ``BASES``.
        weight_decay: Coefficient of its penalty (weight_decay / 2) ||w||^2.
    """

    base: str = "map"
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.base in BASES, "base", f"one of {', '.join(BASES)}")
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0")

    @property
    def estimator(self) -> Method[Any]:
        """What finds a point."""
        shared = {setting.name: getattr(self, setting.name) for setting in fields(Method)}
        return BASES[self.base](**shared, weight_decay=self.weight_decay)
