"""Who takes part in a study, and among which settings each is tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from landscape.errors import InputError

Interval = tuple[float, float]

_RATE: Interval = (0.003, 0.1)
_DECAY: Interval = (1e-4, 0.2)
_TEMPERATURE: Interval = (1e-3, 1.0)
_OWN_PRIOR: Interval = (0.3, 3.0)


@dataclass(frozen=True)
class Contestant:
    """A method with the settings that are tuned.

    Attributes:
        name: In tables and file names.
        method: Its name in ``landscape.methods.METHODS``.
        space: Settings to tune, each between two bounds on a logarithmic scale.
        fixed: Settings that are not tuned.
        start: ``"source"`` gives the source task's posterior to ``fit`` as the prior; ``"weights"``
            starts at its mean with the method's own prior.
        grid: Settings to try one after the other in place of ``space``.
        source: Settings of the source posterior, as of ``Training``.
    """

    name: str
    method: str
    space: Mapping[str, Interval] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    start: str = "source"
    grid: tuple[Mapping[str, Any], ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def trials(self, count: int) -> list[dict[str, Any]]:
        """What is tried: the method's defaults, then points of a Halton sequence in ``space``.

        Each trial is the same whatever ``count``. A ``grid`` is tried whole.

        Raises:
            InputError: ``count`` is not positive.
        """
        if count < 1:
            raise InputError(f"the number of trials must be at least 1, not {count}")
        if self.grid:
            return [dict(settings) for settings in self.grid]
        from scipy.stats import qmc

        halton = qmc.Halton(max(1, len(self.space)), scramble=False)
        points = halton.random(count)[1:]  # the first is the corner
        return [{}] + [self._at(point) for point in points]

    def _at(self, point: np.ndarray) -> dict[str, float]:
        found = {}
        for (name, (low, high)), share in zip(self.space.items(), point, strict=True):
            value = low * (high / low) ** float(share)
            found[name] = float(f"{value:.3g}")
        return found


def _all() -> list[Contestant]:
    descent = {"learning_rate": _RATE, "weight_decay": _DECAY}
    radius = {"radius": (0.02, 0.5)}
    chain = {"temperature": _TEMPERATURE, "prior_scale": _OWN_PRIOR}
    diagonal = {"structure": "diagonal"}
    laplace = {**descent, "prior_precision": (10.0, 1e5)}
    own: dict[str, Any] = {"start": "weights"}
    variational = {"learning_rate": _RATE, "beta": (1e-8, 1e-2)}
    found = [
        Contestant("map", "map", descent),
        Contestant("sam", "sam", {**descent, **radius}),
        Contestant("fsam", "fsam", {**descent, **radius, "fisher_weight": (0.1, 10.0)}),
        Contestant(
            "bsam",
            "bsam",
            {"s0": (10.0, 1e3), "learning_rate": (1.0, 100.0), "radius": (0.01, 1.0)},
        ),
        Contestant("swag", "swag", {**descent, "swag_rate": _RATE}),
        Contestant("f-swag", "f-swag", {**descent, "swag_rate": _RATE, **radius}),
        Contestant(
            "vi",
            "vi",
            {"learning_rate": _RATE, "beta": (1e-3, 1.0), "prior_scale": (0.05, 1.0)},
            **own,
        ),
        Contestant(
            "moped",
            "moped",
            {
                "learning_rate": _RATE,
                "beta": (1e-3, 1.0),
                "prior_scale": (0.01, 1.0),
                "delta": (0.02, 0.5),
            },
        ),
        Contestant("sgld", "sgld", {"learning_rate": (0.01, 0.2), **chain}, **own),
        Contestant(
            "cyclical-sgld", "cyclical-sgld", {"learning_rate": (0.03, 0.5), **chain}, **own
        ),
        Contestant(
            "entropy-mcmc",
            "entropy-mcmc",
            {"learning_rate": (0.01, 0.2), **chain, "eta": (3e-3, 0.1)},
            **own,
        ),
        Contestant(
            "ptl",
            "ptl",
            {"learning_rate": (0.03, 0.5), "temperature": _TEMPERATURE, "scale": (1e3, 1e7)},
        ),
        Contestant("ensemble", "ensemble", descent),
        Contestant("laplace", "laplace", laplace, diagonal),
        Contestant("laplace-sam", "laplace", laplace, {**diagonal, "ball": "euclidean"}),
        Contestant("fp-bma", "fp-bma", {**variational, "radius": (0.05, 2.0)}),
        Contestant("fp-bma-radius-0", "fp-bma", variational, {"radius": 0.0}),
    ]
    if find_spec("ivon"):  # an extra
        space = {"learning_rate": (0.02, 0.5), "weight_decay": _DECAY, "temperature": _TEMPERATURE}
        found.append(Contestant("ivon", "ivon", space))
    return found


CONTESTANTS: dict[str, Contestant] = {each.name: each for each in _all()}
"""Every method, by name; ``laplace-sam`` is Laplace around SAM, ``fp-bma-radius-0`` the control
that is variational inference with FP-BMA's family and prior."""

REFERENCE = "fp-bma"
"""Whom the others are compared with."""


def chosen(names: Sequence[str] | None) -> list[Contestant]:
    """The contestants of these names and the reference, or all of them.

    Raises:
        InputError: an unknown name.
    """
    for name in names or ():
        if name not in CONTESTANTS:
            raise InputError(f"unknown method '{name}'; known: {', '.join(CONTESTANTS)}")
    wanted = set(CONTESTANTS) if names is None else {*names, REFERENCE}
    return [each for each in CONTESTANTS.values() if each.name in wanted]
