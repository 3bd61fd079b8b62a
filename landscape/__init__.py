"""Bayesian neural networks with flat posteriors, and how flat a posterior is.

Example::

    import landscape as ls

    task = ls.tasks.load("digits", shots=10, seed=0)
    model = ls.models.build("convnet", task)
    pretrained = ls.methods.MAP().fit(model, task.source, seed=0).network()
    posterior = ls.methods.FPBMA().fit(pretrained, task, seed=0)
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
from landscape.objective import subsets
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
