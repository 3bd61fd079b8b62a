"""Projected ascent: the search for a worst case, shared by the sharpness measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from landscape.errors import InputError, LandscapeError

Point = TypeVar("Point")
Direction = TypeVar("Direction")


def ascend(
    starts: Sequence[Point],
    value: Callable[[Point], float],
    direction: Callable[[Point], Direction],
    move: Callable[[Point, Direction, float], Point],
    steps: int,
    length: float = 1.0,
) -> Point:
    """The highest point that ``steps`` evaluations of ``value`` reach from the highest start.

    The first step has the given length. After a step that leads up, the direction is computed anew.
    A step that does not lead up is tried again at half its length.

    Args:
        starts: Points to begin at, the centre first; each takes one more evaluation.
        value: The function to maximise.
        direction: An upward direction at a point.
        move: The feasible point nearest to a point plus length times direction.
        steps: Number of evaluations, at least 1.
        length: Length of the first step.

    Raises:
        LandscapeError: a value is not finite.
    """
    best, height = starts[0], value(starts[0])
    if not math.isfinite(height):
        raise LandscapeError(f"the loss is {height} where the search begins: no radius helps")
    for start in starts[1:]:
        reached = _finite(value(start))
        if reached > height:
            best, height = start, reached
    upwards = direction(best)
    for step in range(steps):
        candidate = move(best, upwards, length)
        reached = _finite(value(candidate))
        if reached > height:
            best, height = candidate, reached
            if step + 1 < steps:
                upwards = direction(best)
        else:
            length /= 2
    return best


def check_search(radius: float, steps: int) -> None:
    """Refuse a radius that is not positive, and a search without a step.

    Raises:
        InputError: the radius is not positive, or there is no step.
    """
    if not (radius > 0 and math.isfinite(radius)):
        raise InputError(f"radius must be positive, not {radius}")
    if steps < 1:
        raise InputError(f"the ascent needs at least 1 step, not {steps}")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise LandscapeError(
            f"the loss is {value} within the ball: it overflows there; take a smaller radius"
        )
    return value
