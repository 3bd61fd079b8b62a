"""From settings to a run file, and from a run file back to its posterior: what commands do."""

from landscape.workflow.runs import (
    Trained,
    check_surface,
    in_progress,
    load,
    measure_curvature,
    measure_line,
    measure_surface,
    tidy,
    train,
)

__all__ = [
    "Trained",
    "check_surface",
    "in_progress",
    "load",
    "measure_curvature",
    "measure_line",
    "measure_surface",
    "tidy",
    "train",
]
