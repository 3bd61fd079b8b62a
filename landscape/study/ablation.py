"""FP-BMA with one thing changed at a time: which part of it does what?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landscape.methods import FPBMA, VI
from landscape.study import metrics as read
from landscape.study.candidates import CONTESTANTS, REFERENCE, Contestant
from landscape.study.plan import Training
from landscape.study.runner import Bench
from landscape.study.tables import Table, compared, means
from landscape.study.tuning import tune

_RADII = (0.05, 0.2, 0.5, 1.0)
_LENGTHS = (0.01, 0.05, 0.2, 0.5)
_STEPS: dict[str, tuple[dict[str, str], tuple[float, ...]]] = {
    "fisher-exact": ({}, _RADII),
    "fisher-diagonal": ({"ball": "posterior-diagonal"}, _RADII),
    "fisher-identity": ({"ball": "euclidean"}, _LENGTHS),
    "fisher-empirical": ({"ball": "posterior-empirical"}, _RADII),
    "fisher-score": ({"ball": "posterior-score"}, _LENGTHS),
    "direction-random": ({"ball": "random"}, _RADII),
}
"""Choices of the step, and the radii that each is tuned over: in the identity's and the score's
units they are lengths in theta."""

_SWEEPS: dict[str, tuple[float, ...]] = {
    "radius": (0.0, 0.05, 0.2, 0.5, 1.0, 2.0),
    "beta": (1e-8, 1e-6, 1e-4, 1e-2),
    "learning_rate": (0.003, 0.006, 0.02),
    "covariance_rate": (0.01, 1.0),
    "noise_samples": (4,),
    "covariance": (False,),
}
_RADII_AROUND_ZERO = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LIKE_VI = {
    "prior_scale": VI().prior_scale,
    "beta": VI().beta,
    "learning_rate": VI().learning_rate,
    "covariance_rate": 1.0,
}
_START_OF_VI = {"scale": VI().initial_scale}
_RANKS = (0, 2, 20)
_SCALES = (0.003, 0.01, 0.03)
_FACTORS = (100.0, 1e4)
_RESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rest-sampled": ("fresh-head", {"trained": "normalisation-and-head"}),
    "rest-fixed": ("fresh-head-fixed-rest", {}),
    "rest-trained": ("fresh-head", {}),
}
_SAMPLES = 3
"""Whose curvature is measured: enough for a mean over seeds."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """FP-BMA with these settings, from a start of ``initialisation.STARTS``."""

    settings: Settings
    start: str = "source"
    source: Settings = field(default_factory=dict)


def ablation(bench: Bench) -> list[Table]:
    """The Fisher information, then one setting after the other, around the tuned FP-BMA.

    Choices of the Fisher information have radii in units of their own, so each is tuned over as
    many. Whether the frozen rest is sampled is asked of a network with batch normalisation.
    """
    base = tune(bench, [CONTESTANTS[REFERENCE]])[REFERENCE].settings
    plain = tune(bench, [CONTESTANTS["vi"]])["vi"].settings
    compared = {
        "What stands for the Fisher information": _steps(bench, base),
        **groups(base, plain),
        "Prior N(0, prior_scale^2), tuned by itself": _around_zero(bench, base),
    }
    return [
        table for title, variants in compared.items() for table in _compare(bench, title, variants)
    ]


def groups(base: Settings, plain: Settings) -> dict[str, dict[str, Variant]]:
    """What is compared with what: by title, variants by name, the first of which is the reference.

    Args:
        base: The tuned settings of FP-BMA.
        plain: Those of mean-field variational inference under N(0, prior_scale^2).
    """
    tuned = {REFERENCE: Variant(base)}
    found = {
        f"Sweep of {setting}": tuned
        | {f"{setting}-{value}": Variant({**base, setting: value}) for value in values}
        for setting, values in _SWEEPS.items()
    }
    found["Rank of the prior and the posterior"] = tuned | {
        f"rank-{rank}": Variant(base, source={"rank": rank}) for rank in _RANKS
    }
    found["Prior N(source mean, scale^2) in place of SWAG's"] = tuned | {
        f"isotropic-{scale}": Variant(base, "isotropic", {"scale": scale}) for scale in _SCALES
    }
    # As strong a pull to the source's mean, by a posterior that is wider to begin with.
    beta = base.get("beta", FPBMA().beta)
    found["Prior covariance and beta times a factor"] = tuned | {
        f"scaled-{factor:g}": Variant({**base, "beta": beta * factor}, "scaled", {"scale": factor})
        for factor in _FACTORS
    }
    # What the worst case adds where the prior is not the source's: radius 0 without a low-rank
    # part is VI, step for step.
    around_zero = {**_LIKE_VI, **plain}
    found["Prior N(0, prior_scale^2), VI's tuned settings"] = {
        f"around-zero-radius-{radius}": Variant(
            {**around_zero, "radius": radius}, "isotropic", _START_OF_VI
        )
        for radius in _RADII_AROUND_ZERO
    } | {"around-zero-low-rank": Variant({**around_zero, "radius": 0.0})}
    found["From FP-BMA's settings to VI's, one after the other"] = tuned | _way(base, around_zero)
    normalised = {"normalisation": "batch"}
    found["Batch normalisation and head trained, fresh head"] = {
        name: Variant({**base, **settings}, start, normalised)
        for name, (start, settings) in _RESTS.items()
    }
    return found


def _way(base: Settings, end: Settings) -> dict[str, Variant]:
    """From ``base`` to ``end`` and the start of VI, each keeping what those before it changed."""
    settings, found = dict(base), {}
    for name in ("prior_scale", "beta", "learning_rate"):
        settings[name] = end[name]
        found[f"then-{name}"] = Variant(dict(settings))
    found["then-diagonal"] = Variant(dict(settings), "isotropic", _START_OF_VI)
    settings["covariance_rate"] = end["covariance_rate"]
    found["then-covariance_rate"] = Variant(settings, "isotropic", _START_OF_VI)
    return found


def _around_zero(bench: Bench, base: Settings) -> dict[str, Variant]:
    """With a prior that is not the source's, and as many trials as every method has."""
    vi = CONTESTANTS["vi"].space
    start: dict[str, Any] = {"start": "isotropic", "source": _START_OF_VI}
    contestants = [
        Contestant("zero-tuned", REFERENCE, {**vi, "radius": (0.05, 10.0)}, _LIKE_VI, **start),
        Contestant("zero-tuned-no-step", REFERENCE, vi, {**_LIKE_VI, "radius": 0.0}, **start),
    ]
    choices = tune(bench, contestants)
    return {
        each.name: Variant(
            {**each.fixed, **choices[each.name].settings}, each.start, dict(each.source)
        )
        for each in contestants
    } | {REFERENCE: Variant(base)}


def _steps(bench: Bench, base: Settings) -> dict[str, Variant]:
    """FP-BMA's step in several metrics, each with a radius of its own, and none."""
    contestants = [
        Contestant(
            name,
            REFERENCE,
            fixed={**base, **step},
            grid=tuple({"radius": radius} for radius in radii),
        )
        for name, (step, radii) in _STEPS.items()
    ]
    choices = tune(bench, contestants)
    found = {
        each.name: Variant({**each.fixed, **choices[each.name].settings}) for each in contestants
    }
    return found | {"no-step": Variant({**base, "radius": 0.0})}


def _compare(bench: Bench, title: str, variants: Mapping[str, Variant]) -> list[Table]:
    """Means of the variants, and their NLL and lambda_1 against the first."""
    epochs = {"epochs": bench.budget.epochs}
    trainings = [
        Training(
            name,
            REFERENCE,
            {**variant.settings, **epochs},
            seed,
            variant.start,
            variant.source,
            folder="runs" if name == REFERENCE else "ablation",
        )
        for name, variant in variants.items()
        for seed in range(bench.budget.seeds)
    ]
    finished = bench.train_all(title, trainings, curvature=min(_SAMPLES, bench.budget.measured))
    columns = {
        **read.test_metrics(finished),
        "NLL at best T": read.collect(finished, read.of_tempered("nll")),
        "training loss": read.collect(finished, read.train_loss),
        "lambda_1": read.collect(finished, read.lambda_1),
    }
    first = next(iter(variants))
    note = read.diverged(variants, bench.budget.seeds, finished)
    return [
        means(title, columns, within=read.RANGES, note=note),
        compared(
            f"{title}: NLL minus that of {first}", columns["NLL"], first, within=read.POSITIVE
        ),
        compared(
            f"{title}: NLL at the best temperature minus that of {first}",
            columns["NLL at best T"],
            first,
            within=read.POSITIVE,
        ),
        compared(f"{title}: lambda_1 minus that of {first}", columns["lambda_1"], first),
    ]
