"""Figures of a run, each from the run alone; they need no server.

A quantity that the run file does not hold raises ``NotMeasured`` with the command that measures it.
"""

from landscape_app.figures.calibration import calibration_figure
from landscape_app.figures.flatness import eigenvalues_figure, trace_figure
from landscape_app.figures.frame import Frame
from landscape_app.figures.prediction import metrics_figure, metrics_table
from landscape_app.figures.surface import Kind, surface_figure
from landscape_app.figures.theme import CONFIG, darkened
from landscape_app.figures.training import training_figure

__all__ = [
    "CONFIG",
    "Frame",
    "Kind",
    "calibration_figure",
    "darkened",
    "eigenvalues_figure",
    "metrics_figure",
    "metrics_table",
    "surface_figure",
    "trace_figure",
    "training_figure",
]
