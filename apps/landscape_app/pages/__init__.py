"""The pages: the list of runs, the details of one run, and pages of figures that compare runs."""

from landscape_app.pages import averaging, calibration, compare, flatness, surface, training

FIGURE_PAGES = (
    surface.PAGE,
    flatness.PAGE,
    averaging.PAGE,
    calibration.PAGE,
    training.PAGE,
    compare.PAGE,
)

__all__ = ["FIGURE_PAGES"]
