"""From settings to a run file, and from a run file back to its posterior: what commands do."""

from landscape.workflow.loading import TRAJECTORY, Trained, along_training, load
from landscape.workflow.measuring import (
    check_surface,
    in_progress,
    measure_curvature,
    measure_line,
    measure_shared_surface,
    measure_surface,
)
from landscape.workflow.resume import tidy
from landscape.workflow.training import record, train

__all__ = [
    "TRAJECTORY",
    "Trained",
    "along_training",
    "check_surface",
    "in_progress",
    "load",
    "measure_curvature",
    "measure_line",
    "measure_shared_surface",
    "measure_surface",
    "record",
    "tidy",
    "train",
]
