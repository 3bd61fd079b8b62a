"""The methods that a study compares, and the settings that each is tuned over."""

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
class Candidate:
    """A method and the settings that are tuned.

    Attributes:
        name: Name in tables and file names.
        method: Name in ``landscape.methods.METHODS``.
        space: Settings to tune, each with the two bounds of a logarithmic scale.
        fixed: Settings that are not tuned.
        start: Kind of initialisation. ``"source"`` gives the source task's posterior to ``fit`` as
            the prior; ``"weights"`` starts at its mean with the method's own prior.
        grid: Settings to try one after the other instead of ``space``.
        source: Settings of the source posterior, as in ``Training``.
    """

    name: str
    method: str
    space: Mapping[str, Interval] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    start: str = "source"
    grid: tuple[Mapping[str, Any], ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def trials(self, count: int) -> list[dict[str, Any]]:
        """Settings to try: the method's defaults, then points of a Halton sequence in ``space``.

        A larger ``count`` adds trials and changes none. A ``grid`` is always tried completely.

        Raises:
            InputError: ``count`` is not positive.
        """
        if count < 1:
            raise InputError(f"the number of trials must be at least 1, not {count}")
        if self.grid:
            return [dict(settings) for settings in self.grid]
        from scipy.stats import qmc

        halton = qmc.Halton(max(1, len(self.space)), scramble=False)
        points = halton.random(count)[1:]  # the first point is a corner of the space
        return [{}] + [self._at(point) for point in points]

    def _at(self, point: np.ndarray) -> dict[str, float]:
        settings = {}
        for (name, (low, high)), share in zip(self.space.items(), point, strict=True):
            value = low * (high / low) ** float(share)
            settings[name] = float(f"{value:.3g}")
        return settings


def _all_candidates() -> list[Candidate]:
    descent = {"learning_rate": _RATE, "weight_decay": _DECAY}
    radius = {"radius": (0.02, 0.5)}
    chain = {"temperature": _TEMPERATURE, "prior_scale": _OWN_PRIOR}
    diagonal = {"structure": "diagonal"}
    laplace = {**descent, "prior_precision": (10.0, 1e5)}
    own_prior: dict[str, Any] = {"start": "weights"}
    averaged = {**descent, "swag_rate": _RATE}
    mean_field = {"learning_rate": _RATE, "beta": (1e-3, 1.0), "prior_scale": (0.05, 1.0)}
    langevin = {"learning_rate": (0.01, 0.2), **chain}
    flat_ball = {"ball": "posterior-exact"}
    variational = {"learning_rate": _RATE, "beta": (1e-8, 1e-2)}
    # The source's SWAG posterior as prior and start. It is far narrower than belief, so its weight
    # is small; the gradient of the covariance is then noise alone.
    narrow: dict[str, Any] = {"prior_scale": 0.0, "beta": 1e-6, "covariance": False}
    narrow_ball = {**narrow, "radius": 0.2}
    candidates = [
        Candidate("map", "map", descent),
        Candidate("sam", "sam", {**descent, **radius}),
        Candidate("asam", "asam", {**descent, "radius": (0.1, 5.0)}),
        Candidate("fsam", "fsam", {**descent, **radius, "fisher_weight": (0.1, 10.0)}),
        Candidate(
            "bsam",
            "bsam",
            {"s0": (10.0, 1e3), "learning_rate": (1.0, 100.0), "radius": (0.01, 1.0)},
        ),
        Candidate("swag", "swag", averaged),
        Candidate("f-swag", "f-swag", {**averaged, **radius}),
        Candidate("vi", "vi", mean_field, **own_prior),
        Candidate(
            "moped",
            "moped",
            {
                "learning_rate": _RATE,
                "beta": (1e-3, 1.0),
                "prior_scale": (0.01, 1.0),
                "delta": (0.02, 0.5),
            },
        ),
        Candidate("sgld", "sgld", langevin, **own_prior),
        Candidate("sghmc", "sghmc", {"learning_rate": (1e-3, 0.02), **chain}, **own_prior),
        Candidate(
            "cyclical-sgld", "cyclical-sgld", {"learning_rate": (0.03, 0.5), **chain}, **own_prior
        ),
        Candidate(
            "entropy-mcmc",
            "entropy-mcmc",
            {"learning_rate": (0.01, 0.2), **chain, "eta": (3e-3, 0.1)},
            **own_prior,
        ),
        Candidate(
            "ptl",
            "ptl",
            {"learning_rate": (0.03, 0.5), "temperature": _TEMPERATURE, "scale": (1e3, 1e7)},
        ),
        Candidate("ensemble", "ensemble", descent),
        Candidate("laplace", "laplace", laplace, diagonal),
        Candidate("laplace-sam", "laplace", laplace, {**diagonal, "ball": "euclidean"}),
        Candidate("mola", "mola", laplace),
        Candidate("fp-bma", "fp-bma", {**variational, "radius": (0.05, 2.0)}, narrow_ball),
        Candidate("fp-bma-radius-0", "fp-bma", variational, {**narrow, "radius": 0.0}),
        Candidate("fp-bma-vi", "vi", {**mean_field, "radius": (0.5, 10.0)}, flat_ball, **own_prior),
        Candidate("fp-bma-swag", "swag", {**averaged, "radius": (0.1, 10.0)}, flat_ball),
        Candidate("fp-bma-sgld", "sgld", {**langevin, **radius}, flat_ball, **own_prior),
    ]
    if find_spec("ivon"):  # an optional dependency
        space = {"learning_rate": (0.02, 0.5), "weight_decay": _DECAY, "temperature": _TEMPERATURE}
        candidates.append(Candidate("ivon", "ivon", space))
    return candidates


CANDIDATES: dict[str, Candidate] = {candidate.name: candidate for candidate in _all_candidates()}
"""Every method by name. ``laplace-sam`` is Laplace around SAM. ``fp-bma-radius-0`` is the control:
variational inference with FP-BMA's family and prior. ``fp-bma-vi``, ``fp-bma-swag`` and
``fp-bma-sgld`` are ``vi``, ``swag`` and ``sgld`` with the gradient at the worst place of FP-BMA's
ball."""

REFERENCE = "fp-bma"
"""Name of the candidate that the others are compared with."""


def select_candidates(names: Sequence[str] | None) -> list[Candidate]:
    """The named candidates and the reference, or all candidates for ``None``.

    Raises:
        InputError: A name is unknown.
    """
    for name in names or ():
        if name not in CANDIDATES:
            raise InputError(f"unknown method '{name}'; known: {', '.join(CANDIDATES)}")
    selected = set(CANDIDATES) if names is None else {*names, REFERENCE}
    return [candidate for name, candidate in CANDIDATES.items() if name in selected]
