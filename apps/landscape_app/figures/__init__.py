"""Figures of runs. They need only run files, and no server.

If the run file does not hold a quantity, its figure raises ``NotMeasured`` with the command that
measures the quantity.
"""

from landscape_app.figures.along import along_figure
from landscape_app.figures.averaging import averaging_figure
from landscape_app.figures.calibration import calibration_figure
from landscape_app.figures.density import density_figure
from landscape_app.figures.flatness import eigenvalues_figure, trace_figure
from landscape_app.figures.frame import Frame, Shared
from landscape_app.figures.lines import lines_figure
from landscape_app.figures.measures import measures_figure
from landscape_app.figures.prediction import metrics_figure, metrics_table
from landscape_app.figures.relation import relation_figure
from landscape_app.figures.sized import colour_bars, sized
from landscape_app.figures.slices import slices_figure
from landscape_app.figures.spread import spread_figure
from landscape_app.figures.surface import Kind, shared_surface_figure, surface_figure
from landscape_app.figures.theme import CONFIG, darkened
from landscape_app.figures.training import training_figure

__all__ = [
    "CONFIG",
    "Frame",
    "Kind",
    "Shared",
    "along_figure",
    "averaging_figure",
    "calibration_figure",
    "colour_bars",
    "darkened",
    "density_figure",
    "eigenvalues_figure",
    "lines_figure",
    "measures_figure",
    "metrics_figure",
    "metrics_table",
    "relation_figure",
    "shared_surface_figure",
    "sized",
    "slices_figure",
    "spread_figure",
    "surface_figure",
    "trace_figure",
    "training_figure",
]
