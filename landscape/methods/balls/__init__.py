"""Balls: where a framework takes its gradient."""

from landscape.methods.balls.framework import (
    BALLS,
    POSTERIOR_BALLS,
    SCORE_BALLS,
    Framework,
    all_but,
)

__all__ = ["BALLS", "POSTERIOR_BALLS", "SCORE_BALLS", "Framework", "all_but"]
