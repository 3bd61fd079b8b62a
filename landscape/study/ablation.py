"""FP-BMA with one setting changed at a time, to see what each part of it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landscape.methods import VI
from landscape.study import metrics
from landscape.study.candidates import CANDIDATES, REFERENCE, Candidate
from landscape.study.plan import Training
from landscape.study.runner import Runner
from landscape.study.tables import Table, differences, means
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
"""Variants of the perturbation, and the radii that each is tuned over. For ``identity`` and
``score`` a radius is a length in theta."""

_SWEEPS: dict[str, tuple[float, ...]] = {
    "radius": (0.0, 0.05, 0.2, 0.5, 1.0, 2.0),
    "beta": (1e-8, 1e-6, 1e-4, 1e-2),
    "learning_rate": (0.003, 0.006, 0.02),
    "noise_samples": (4,),
    "covariance": (True,),
}
_RADII_AROUND_ZERO = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LIKE_VI = {
    "prior_scale": VI().prior_scale,
    "beta": VI().beta,
    "learning_rate": VI().learning_rate,
    "covariance": True,
}
_INITIAL_SCALE_OF_VI = {"scale": VI().initial_scale}
_RANKS = (0, 2, 20)
_SCALES = (0.003, 0.01, 0.03)
_FACTORS = (100.0, 1e4)
_RESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rest-sampled": ("fresh-head", {"trained": "normalisation-and-head"}),
    "rest-fixed": ("fresh-head-fixed-rest", {}),
    "rest-trained": ("fresh-head", {}),
}
_SAMPLES = 3
"""Number of posterior samples with curvature: enough for a mean over seeds."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A variant of FP-BMA.

    Attributes:
        settings: Settings of the method.
        start: Kind of initialisation, one of ``initialisation.INITIALISATIONS``.
        source: Settings of the source posterior.
    """

    settings: Settings
    start: str = "source"
    source: Settings = field(default_factory=dict)


def ablation(runner: Runner) -> list[Table]:
    """Vary the Fisher information, then one setting after the other, around the tuned FP-BMA.

    Each kind of Fisher information has its own unit of the radius, so each is tuned over its own
    radii. The comparison of a sampled and a fixed rest of the network uses batch normalisation.
    """
    reference = CANDIDATES[REFERENCE]
    base = {**reference.fixed, **tune(runner, [reference])[REFERENCE].settings}
    settings_of_vi = tune(runner, [CANDIDATES["vi"]])["vi"].settings
    comparisons = {
        "Kinds of Fisher information": _steps(runner, base),
        **variant_groups(base, settings_of_vi),
        "Prior N(0, prior_scale^2), tuned separately": _around_zero(runner, base),
    }
    return [
        table
        for title, variants in comparisons.items()
        for table in _compare(runner, title, variants)
    ]


def variant_groups(base: Settings, settings_of_vi: Settings) -> dict[str, dict[str, Variant]]:
    """Groups of variants by title. The first variant of a group is its reference.

    Args:
        base: Tuned settings of FP-BMA.
        settings_of_vi: Tuned settings of mean-field variational inference with the prior
            N(0, prior_scale^2).
    """
    tuned = {REFERENCE: Variant(base)}
    groups = {
        f"Sweep of {setting}": tuned
        | {f"{setting}-{value}": Variant({**base, setting: value}) for value in values}
        for setting, values in _SWEEPS.items()
    }
    groups["Rank of the prior and the posterior"] = tuned | {
        f"rank-{rank}": Variant(base, source={"rank": rank}) for rank in _RANKS
    }
    groups["Prior N(source mean, scale^2) in place of SWAG's"] = tuned | {
        f"isotropic-{scale}": Variant(base, "isotropic", {"scale": scale}) for scale in _SCALES
    }
    # The same pull towards the source's mean, but a wider initial posterior.
    beta = base["beta"]
    groups["Prior covariance and beta times a factor"] = tuned | {
        f"scaled-{factor:g}": Variant({**base, "beta": beta * factor}, "scaled", {"scale": factor})
        for factor in _FACTORS
    }
    # The effect of the worst case when the prior is not the source posterior. Radius 0 takes
    # exactly the steps of VI.
    around_zero = {**_LIKE_VI, **settings_of_vi}
    groups["Prior N(0, prior_scale^2), VI's tuned settings"] = {
        f"around-zero-radius-{radius}": Variant(
            {**around_zero, "radius": radius}, "isotropic", _INITIAL_SCALE_OF_VI
        )
        for radius in _RADII_AROUND_ZERO
    }
    groups["From FP-BMA's settings to VI's, one after the other"] = tuned | _path_to_vi(
        base, around_zero
    )
    normalised = {"normalisation": "batch"}
    groups["Batch normalisation and head trained, fresh head"] = {
        name: Variant({**base, **settings}, start, normalised)
        for name, (start, settings) in _RESTS.items()
    }
    return groups


def _path_to_vi(base: Settings, end: Settings) -> dict[str, Variant]:
    """Variants between ``base`` and VI. Each one adds a change to those of the one before."""
    settings, variants = dict(base), {}
    for name in ("prior_scale", "beta", "learning_rate", "covariance"):
        settings[name] = end[name]
        variants[f"then-{name}"] = Variant(dict(settings))
    return variants


def _around_zero(runner: Runner, base: Settings) -> dict[str, Variant]:
    """FP-BMA with a prior around zero, tuned with as many trials as every other method."""
    space = CANDIDATES["vi"].space
    start: dict[str, Any] = {"start": "isotropic", "source": _INITIAL_SCALE_OF_VI}
    candidates = [
        Candidate("zero-tuned", REFERENCE, {**space, "radius": (0.05, 10.0)}, _LIKE_VI, **start),
        Candidate("zero-tuned-no-step", REFERENCE, space, {**_LIKE_VI, "radius": 0.0}, **start),
    ]
    return _tuned_variants(runner, candidates) | {REFERENCE: Variant(base)}


def _tuned_variants(runner: Runner, candidates: list[Candidate]) -> dict[str, Variant]:
    choices = tune(runner, candidates)
    return {
        candidate.name: Variant(
            {**candidate.fixed, **choices[candidate.name].settings},
            candidate.start,
            dict(candidate.source),
        )
        for candidate in candidates
    }


def _steps(runner: Runner, base: Settings) -> dict[str, Variant]:
    """FP-BMA's perturbation in several metrics, each with its own radius, and none at all."""
    candidates = [
        Candidate(
            name,
            REFERENCE,
            fixed={**base, **step},
            grid=tuple({"radius": radius} for radius in radii),
        )
        for name, (step, radii) in _STEPS.items()
    ]
    return _tuned_variants(runner, candidates) | {"no-step": Variant({**base, "radius": 0.0})}


def _compare(runner: Runner, title: str, variants: Mapping[str, Variant]) -> list[Table]:
    """Means over seeds for each variant, and the differences in NLL and lambda_1 from the first."""
    epochs = {"epochs": runner.budget.epochs}
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
        for seed in range(runner.budget.seeds)
    ]
    finished = runner.train_all(title, trainings, curvature=min(_SAMPLES, runner.budget.measured))
    columns = {
        **metrics.test_metrics(finished),
        "NLL at best T": metrics.collect(finished, metrics.tempered_metric("nll")),
        "training loss": metrics.collect(finished, metrics.train_loss),
        "lambda_1": metrics.collect(finished, metrics.lambda_1),
    }
    first = next(iter(variants))
    note = metrics.diverged(variants, runner.budget.seeds, finished)
    return [
        means(title, columns, within=metrics.RANGES, note=note),
        differences(
            f"{title}: NLL minus that of {first}", columns["NLL"], first, within=metrics.POSITIVE
        ),
        differences(
            f"{title}: NLL at the best temperature minus that of {first}",
            columns["NLL at best T"],
            first,
            within=metrics.POSITIVE,
        ),
        differences(f"{title}: lambda_1 minus that of {first}", columns["lambda_1"], first),
    ]
