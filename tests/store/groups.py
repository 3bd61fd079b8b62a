"""Every group of a run file, small, with what is not finite."""

import numpy as np

SURFACE = {
    "x": np.linspace(-1, 1, 5),
    "y": np.linspace(0, 2, 4),
    "loss": np.where(np.eye(4, 5) > 0, np.nan, np.arange(20.0).reshape(4, 5)),
    "accuracy": np.full((4, 5), 0.5),
    "sample_x": np.arange(3.0),
    "sample_y": np.arange(3.0),
    "sample_off_plane": np.zeros(3),
    "sample_loss": np.array([0.1, np.inf, 0.3]),
}
GROUPS = {
    "training": {"epoch": np.arange(1, 4), "train_loss": np.array([3.0, 2.0, 1.0])},
    "samples": {
        "eigenvalues": np.arange(6.0).reshape(3, 2),
        "residuals": np.full((3, 2), 1e-4),
        "converged": np.array([[True, True], [True, False], [True, True]]),
        "trace": np.array([5.0, 6.0, 7.0]),
        "trace_standard_error": np.array([0.1, 0.2, 0.3]),
    },
    "density": {
        "grid": np.linspace(-1, 1, 5),
        "density": np.full((3, 5), 0.5),
        "standard_error": np.full((3, 5), 0.1),
        "nodes": np.zeros((3, 2, 4)),
        "weights": np.full((3, 2, 4), 0.25),
    },
    "predictions": {
        "log_probabilities": np.log(np.full((3, 7, 4), 0.25, dtype="f4")),
        "labels": np.arange(7) % 4,
    },
    "surfaces/samples": SURFACE,
}
