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

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from landscape.errors import InputError, LandscapeError, LandscapeWarning, TrainingError

if TYPE_CHECKING:
    from landscape_app import show

    from landscape import (
        curvature,
        methods,
        models,
        posteriors,
        prediction,
        store,
        surfaces,
        tasks,
    )
    from landscape.curvature import measure
    from landscape.objective import losses, subsets
    from landscape.objective.objective import Objective
    from landscape.objective.parameters import ParameterSpace
    from landscape.posteriors import Posterior, transfer
    from landscape.prediction import predict
    from landscape.store import Run
    from landscape.surfaces import shared_surface, surface

__version__ = "0.2.0"

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
    "shared_surface",
    "show",
    "store",
    "surface",
    "surfaces",
    "tasks",
    "transfer",
]

# All but the errors are imported where they are first used: run files are read without torch.
_HOMES = {
    "Objective": "landscape.objective.objective:Objective",
    "ParameterSpace": "landscape.objective.parameters:ParameterSpace",
    "Posterior": "landscape.posteriors:Posterior",
    "Run": "landscape.store:Run",
    "losses": "landscape.objective.losses:",
    "measure": "landscape.curvature:measure",
    "predict": "landscape.prediction:predict",
    "shared_surface": "landscape.surfaces:shared_surface",
    "show": "landscape_app:show",
    "subsets": "landscape.objective.subsets:",
    "surface": "landscape.surfaces:surface",
    "transfer": "landscape.posteriors.transfer:",
}

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'landscape' has no attribute '{name}'")
        value = resolve_name(_HOMES.get(name, f"landscape.{name}:"))
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
