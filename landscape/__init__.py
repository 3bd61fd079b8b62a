"""Bayesian neural networks with flat posteriors, and how flat a posterior is.

Example::

    import landscape as ls

    task = ls.tasks.load("digits", shots=10, seed=0)
    model = ls.models.build("convnet", task)
    source = ls.methods.SWAG(rank=5).fit(model, task.source, seed=0)
    posterior = ls.methods.FPBMA().fit(model, task, prior=source, seed=0)
    print(ls.predict(posterior, task.test, samples=30).metrics())
    print(ls.measure(posterior, task.train, samples=10).summary())
"""

from landscape import (
    curvature,
    methods,
    models,
    posteriors,
    prediction,
    surfaces,
    tasks,
)
from landscape.curvature import measure
from landscape.errors import InputError, LandscapeError, LandscapeWarning, TrainingError
from landscape.objective import losses, subsets
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, transfer
from landscape.prediction import predict
from landscape.store import Run
from landscape.surfaces import surface

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "LandscapeError",
    "LandscapeWarning",
    "Objective",
    "ParameterSpace",
    "Posterior",
    "Run",
    "TrainingError",
    "subsets",
    "curvature",
    "losses",
    "measure",
    "methods",
    "models",
    "posteriors",
    "predict",
    "prediction",
    "surface",
    "surfaces",
    "tasks",
    "transfer",
]
