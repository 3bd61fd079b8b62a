"""The measures of flatness at one posterior sample, by the names that ``measure`` takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from landscape.curvature.estimators.lanczos import Eigenvalues, lanczos
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.estimators.trace import hutchinson
from landscape.curvature.sharpness.ball import ball_sharpness
from landscape.curvature.sharpness.invariant import fisher_rao_norm, relative_flatness
from landscape.curvature.sharpness.learning_coefficient import local_learning_coefficient
from landscape.curvature.sharpness.noise import average_sharpness, pac_bayes_sigma
from landscape.errors import InputError, LandscapeError
from landscape.objective.losses import NormalisedLogits, TemperedLogits
from landscape.objective.objective import Objective
from landscape.posteriors import PosteriorLoss

_AGREE = 0.1
"""Largest relative spread of searches that have found the same maximum."""


@dataclass(frozen=True)
class Measured:
    """One number of one sample.

    Attributes:
        value: The number.
        error: Its error; see ``docs/flatness.md`` for what it is.
        converged: Whether the search or the chains behind it have converged.
    """

    value: float
    error: float
    converged: bool = True


@dataclass(frozen=True)
class _Sample:
    """An objective at the weights of one sample, with what several measures share."""

    objective: Objective
    w: Tensor
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        return {"objective": self.objective, "w": self.w, "seed": self.seed}

    @cached_property
    def spectrum(self) -> tuple[Eigenvalues, Estimate]:
        """The largest eigenvalues and the trace of the Hessian."""
        hessian = self.objective.hessian(self.w)
        top = lanczos(
            hessian, k=min(5, hessian.size), tolerance=0.01, keep_space=True, seed=self.seed
        )
        return top, hutchinson(hessian, matvecs=15, deflate=top, seed=self.seed)


def _worst(sample: _Sample, **settings: Any) -> Measured:
    worst = ball_sharpness(**sample.settings, steps=8, restarts=2, **settings)
    return Measured(worst.value, worst.spread, worst.spread <= _AGREE * abs(worst.value))


def _average(sample: _Sample, **settings: Any) -> Measured:
    average = average_sharpness(**sample.settings, pairs=10, **settings)
    return Measured(average.value, average.standard_error)


def _lambda_1(sample: _Sample) -> Measured:
    top, _ = sample.spectrum
    return Measured(float(top.values[0]), float(top.residuals[0]), bool(top.converged[0]))


def _lambda_ratio(sample: _Sample) -> Measured:
    top, _ = sample.spectrum
    if len(top.values) < 5:
        return Measured(math.nan, math.nan, False)
    first, fifth = float(top.values[0]), float(top.values[4])
    ratio = first / fifth if fifth else math.nan
    parts = [float(top.residuals[i] / top.values[i]) for i in (0, 4)]
    return Measured(ratio, abs(ratio) * math.hypot(*parts), bool(top.converged.all()))


def _trace(sample: _Sample) -> Measured:
    _, total = sample.spectrum
    return Measured(total.value, total.standard_error)


def _relative_flatness(sample: _Sample) -> Measured:
    estimate = relative_flatness(**sample.settings)
    return Measured(estimate.value, estimate.standard_error)


def _fisher_rao(sample: _Sample) -> Measured:
    return Measured(fisher_rao_norm(sample.objective, sample.w), 0.0)


def _pac_bayes_sigma(sample: _Sample, **settings: Any) -> Measured:
    level = pac_bayes_sigma(**sample.settings, draws=10, tolerance=0.1, **settings)
    return Measured(level.value, level.standard_error)


def _learning_coefficient(sample: _Sample) -> Measured:
    estimate = local_learning_coefficient(**sample.settings, chains=3, steps=60)
    return Measured(estimate.value, estimate.standard_error, estimate.is_settled)


Measure = Callable[[_Sample], Measured]
_RISES: Mapping[str, Measure] = {
    "worst_l2": partial(_worst, radius=0.05),
    "worst_l2_adaptive": partial(_worst, radius=0.5, adaptive=True),
    "worst_linf": partial(_worst, radius=0.001, norm="linf"),
    "worst_linf_adaptive": partial(_worst, radius=0.02, norm="linf", adaptive=True),
    "average": partial(_average, deviation=0.01),
    "average_adaptive": partial(_average, deviation=0.1, adaptive=True),
}
_SPECTRUM: Mapping[str, Measure] = {
    "lambda_1": _lambda_1,
    "lambda_ratio": _lambda_ratio,
    "trace": _trace,
}
_NORMALISED, _TEMPERED = "_normalised", "_tempered"
MEASURES: Mapping[str, Measure] = {
    **_RISES,
    **{
        f"{name}{logits}": measure
        for logits in (_NORMALISED, _TEMPERED)
        for name, measure in {**_RISES, **_SPECTRUM}.items()
    },
    "relative_flatness": _relative_flatness,
    "fisher_rao": _fisher_rao,
    "pac_bayes_sigma": _pac_bayes_sigma,
    "pac_bayes_sigma_magnitude": partial(_pac_bayes_sigma, magnitude_aware=True),
    "learning_coefficient": _learning_coefficient,
}
"""The measures by name. Those that end in ``_normalised`` or ``_tempered`` are of the loss of
``NormalisedLogits`` or ``TemperedLogits``; the eigenvalues and the trace of the plain loss are in
every measurement."""

FLAT_IF_LARGE = ("pac_bayes_sigma", "pac_bayes_sigma_magnitude")
"""Measures of which a large value is flat; of all others a small one is."""


def measure_names(names: Sequence[str]) -> list[str]:
    """The names without repetition, in the order of ``MEASURES``.

    Raises:
        InputError: a name is unknown.
    """
    if isinstance(names, str):
        raise InputError(f"sharpness is a list of names, such as ['{names}']")
    for name in names:
        if name not in MEASURES:
            raise InputError(f"unknown sharpness '{name}'; known: {', '.join(MEASURES)}")
    return [name for name in MEASURES if name in names]


def needs_temperature(names: Sequence[str]) -> bool:
    """Whether a measure is of logits at a temperature."""
    return any(name.endswith(_TEMPERED) for name in names)


@dataclass(frozen=True)
class SharpnessWork:
    """Settings that all samples of a measurement share. Each worker gets them once.

    Attributes:
        loss: The mean loss.
        names: Names of the measures.
        temperatures: Temperature of the logits of each sample; empty if it is not needed.
        seed: Seed of the measurement.
    """

    loss: PosteriorLoss
    names: Sequence[str]
    temperatures: Sequence[float]
    seed: int

    def at(self, index: int, w: Tensor) -> dict[str, _Sample]:
        """The sample with each of the losses that are needed, by the ending of the names."""
        objective, seed = self.loss.at(w), self.seed + index
        samples = {"": _Sample(objective, w, seed)}
        changes: dict[str, TemperedLogits] = {}
        if any(name.endswith(_NORMALISED) for name in self.names):
            changes[_NORMALISED] = NormalisedLogits(loss=self.loss.loss)
        if needs_temperature(self.names):
            changes[_TEMPERED] = TemperedLogits(self.temperatures[index], self.loss.loss)
        for ending, loss in changes.items():
            changed = objective.with_loss(loss)
            # The network's derivatives have been compared with differences for the plain loss.
            changed.checked.is_trusted = True
            samples[ending] = _Sample(changed, w, seed)
        return samples

    def check(self, w: Tensor) -> None:
        """Try the losses at one sample.

        Raises:
            InputError: a measure has no meaning for the loss or the data.
        """
        for sample in self.at(0, w).values():
            sample.objective.loss(w)
        accuracy = self.loss.at(w).evaluate(w).accuracy
        if math.isnan(accuracy) and any(name.startswith("pac_bayes") for name in self.names):
            raise InputError("pac_bayes_sigma is a noise that costs accuracy: it needs classes")


def measure_sharpness_at(work: SharpnessWork, sample: tuple[int, Tensor]) -> dict[str, Any]:
    """Measure one sample.

    Args:
        work: Settings that all samples share.
        sample: Number and weights (P,) of the sample.

    Returns:
        Values, errors and whether they converged, each a list in the order of the names. A value
        that is not finite or does not exist is NaN.
    """
    begun = time.perf_counter()
    index, w = sample
    samples = work.at(index, w)
    measured = [_measured(name, samples) for name in work.names]
    if w.is_cuda:
        torch.cuda.synchronize(w.device)
    row: dict[str, Any] = {
        "value": [result.value for result in measured],
        "error": [result.error for result in measured],
        "converged": [result.converged for result in measured],
        "seconds": time.perf_counter() - begun,
    }
    if work.temperatures:
        row["temperature"] = work.temperatures[index]
    return row


def _measured(name: str, samples: Mapping[str, _Sample]) -> Measured:
    ending = next((end for end in (_NORMALISED, _TEMPERED) if name.endswith(end)), "")
    try:
        return MEASURES[name](samples[ending])
    except InputError:
        raise
    except LandscapeError:  # not finite, or no such noise
        return Measured(math.nan, math.nan, False)
