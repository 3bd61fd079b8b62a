"""Two minima of equal likelihood and very different width: which one does a method choose?

The loss of one weight w is

    L(w) = -(1 / N) log[exp(-(w + 2)^2 / (2 a^2)) + exp(-(w - 2)^2 / (2 b^2))],   a = 1, b = 0.1,

so exp(-N L) is exactly a mixture of two Gaussians of equal height: a flat well around -2 and a
sharp well around 2. Both minima have L = 0 up to e^-8 / N. Their curvatures are 1 / (N a^2) and
1 / (N b^2). With a flat prior the posterior masses of the wells have the ratio a : b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape import methods
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, isotropic
from landscape.prediction.calibration_bins import wilson_interval
from landscape.study.ledger import Ledger
from landscape.study.tables import Table, number
from landscape.tasks import Data, Task

EXAMPLES = 10
FLAT, SHARP = -2.0, 2.0
WIDE, NARROW = 1.0, 0.1
BARRIERS = (
    (WIDE * SHARP + NARROW * FLAT) / (WIDE + NARROW),
    (WIDE * SHARP - NARROW * FLAT) / (WIDE - NARROW),
)
"""Borders of the sharp well, the solutions of (w + 2)^2 / a^2 = (w - 2)^2 / b^2."""
FLAT_MASS = WIDE / (WIDE + NARROW)
"""Posterior mass of the flat component under a flat prior."""

NOTE = (
    "Means over starts with Wilson's 95 % interval in brackets. The interval covers more than 95 "
    "% if masses lie between 0 and 1, or if starts are evenly spaced."
)
_SPREAD = 5.0
_CLOSE = 0.02
_SAMPLES = 50


class TwoWells(nn.Module):
    """A network whose output is L(w) for every input, shape (B, 1)."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """The loss L(w), shape (B, 1)."""
        wells = torch.cat([(self.w - FLAT) / WIDE, (self.w - SHARP) / NARROW])
        value = -torch.logsumexp(-0.5 * wells**2, 0) / EXAMPLES
        return value.expand(len(inputs), 1)


def task() -> Task:
    """A task of N equal examples, so only the method is random."""
    inputs, targets = torch.zeros(EXAMPLES, 1, dtype=torch.float64), torch.zeros(EXAMPLES)
    data, empty = Data(inputs, targets), Data(inputs[:0], targets[:0])
    return Task("two wells", data, empty, empty, classes=(), loss=lambda outputs, _: outputs[:, 0])


def in_flat_well(w: Tensor) -> Tensor:
    """Whether each weight is outside the sharp well."""
    return (w < BARRIERS[0]) | (w > BARRIERS[1])


@dataclass(frozen=True)
class ToyCandidate:
    """A method with its settings for the toy task.

    Attributes:
        name: Name in the table.
        method: Name in ``landscape.methods.METHODS``.
        settings: Settings of the method.
        scale: Scale of the prior N(start, scale^2 I) that ``fit`` gets; 0 for no prior.
    """

    name: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    scale: float = 0.0

    def fit(self, model: nn.Module, seed: int) -> Posterior:
        """Train for 300 steps from the weights of a network whose output is its loss."""
        settings = {"learning_rate": 0.05, **self.settings, "epochs": 60, "batch_size": 2}
        start = ParameterSpace(model).vector()
        prior = isotropic(model, self.scale, mean=start) if self.scale else None
        method = methods.create(self.method, **settings)
        return method.fit(model, task(), prior=prior, seed=seed, device="cpu", progress=False)

    def draw(self, model: nn.Module, seed: int) -> Tensor:
        """Samples of the posterior of ``fit``, shape (S, P): 50, or as many as there are."""
        posterior = self.fit(model, seed)
        return posterior.sample(posterior.num_available(_SAMPLES), seed)

    def record(self) -> dict[str, Any]:
        """The method with its settings, as plain JSON, for a ledger."""
        return {"method": self.method, "settings": self.settings, "scale": self.scale}


def _toy_candidates() -> list[ToyCandidate]:
    no_decay = {"weight_decay": 0.0}
    flat_prior = {"prior_scale": 10.0}
    untempered = {**flat_prior, "beta": 1.0}
    candidates = [ToyCandidate("map", "map", no_decay), ToyCandidate("swag", "swag", no_decay)]
    for radius in (0.05, 0.2, 0.5):
        candidates.append(ToyCandidate(f"sam, rho {radius}", "sam", {**no_decay, "radius": radius}))
    candidates += [
        ToyCandidate("fsam, rho 0.5", "fsam", {**no_decay, "radius": 0.5}),
        ToyCandidate("f-swag, rho 0.5", "f-swag", {**no_decay, "radius": 0.5}),
        ToyCandidate("bsam", "bsam", {"weight_decay": 1e-4, "radius": 0.05}),
        ToyCandidate("vi, initial sigma 0.02", "vi", untempered),
        ToyCandidate("vi, initial sigma 1", "vi", {**untempered, "initial_scale": 1.0}),
        ToyCandidate("sgld", "sgld", flat_prior),
        ToyCandidate("cyclical-sgld", "cyclical-sgld", {**flat_prior, "learning_rate": 0.5}),
        ToyCandidate("entropy-mcmc, eta 0.1", "entropy-mcmc", {**flat_prior, "eta": 0.1}),
        ToyCandidate("entropy-mcmc, eta 1", "entropy-mcmc", {**flat_prior, "eta": 1.0}),
    ]
    for scale in (0.1, 1.0):
        for radius in (0.0, 0.2, 1.0):
            name = f"fp-bma, prior sigma {scale:g}, rho {radius:g}"
            settings = {"radius": radius, "beta": 1.0, "prior_scale": 0.0}
            candidates.append(ToyCandidate(name, "fp-bma", settings, scale))
    narrow = {"radius": 0.2, "beta": 1e-6, "prior_scale": 0.0, "covariance": False}
    candidates.append(ToyCandidate("fp-bma, prior sigma 0.1, beta 1e-6", "fp-bma", narrow, 0.1))
    return candidates


TOY_CANDIDATES = _toy_candidates()


def two_wells(
    restarts: int,
    progress: Callable[[int, int], Any],
    candidates: list[ToyCandidate] | None = None,
    ledger: Ledger | None = None,
) -> list[Table]:
    """Train each method from starts on [-5, 5], and from starts at the bottom of the sharp well.

    Args:
        restarts: Number of starts of either kind.
        progress: Function that is called with (finished candidates, candidates).
        candidates: Candidates to train; ``TOY_CANDIDATES`` if ``None``.
        ledger: Results of earlier calls, and where this call's go.
    """
    rows = []
    candidates = TOY_CANDIDATES if candidates is None else candidates
    ledger = ledger or Ledger()
    spread = np.linspace(-_SPREAD, _SPREAD, restarts)
    near = SHARP + _CLOSE * np.random.default_rng(0).uniform(-1, 1, restarts)
    for index, candidate in enumerate(candidates):
        wide, narrow = (
            ledger.get(
                {"two wells": candidate.record(), "starts": starts.tolist()},
                partial(mass_in_flat_well, candidate, starts),
            )
            for starts in (spread, near)
        )
        left = sum(mass > 0.5 for mass in narrow)
        rows.append((candidate.name, share(wide), share(narrow), f"{left} of {restarts}"))
        progress(index + 1, len(candidates))
    # Gradient flow reaches the sharp well from every start to the right of its left border.
    flow = (BARRIERS[0] + _SPREAD) / (2 * _SPREAD)
    rows.append(("the posterior under a flat prior", f"{FLAT_MASS:.3f}", f"{FLAT_MASS:.3f}", "-"))
    rows.append(("gradient flow", f"{flow:.3f}", "0", f"0 of {restarts}"))
    columns = (
        "method",
        "mass in the flat well, starts all over",
        "the same, starts in the sharp well",
        "left the sharp well",
    )
    return [Table("Two wells of equal likelihood, widths 1 and 0.1", columns, tuple(rows), NOTE)]


def share(masses: Sequence[float]) -> str:
    """Mean and Wilson's 95 % interval. The variance of a mass is at most that of a proportion."""
    trials = torch.tensor(float(len(masses)))
    low, high = wilson_interval(torch.tensor(sum(masses)), trials)
    return f"{number(sum(masses) / len(masses))} [{number(float(low))}, {number(float(high))}]"


def mass_in_flat_well(candidate: ToyCandidate, starts: np.ndarray) -> list[float]:
    """The fraction of posterior samples outside the sharp well, for each start."""
    masses = []
    for seed, w in enumerate(starts):
        samples = candidate.draw(TwoWells(float(w)), seed)
        masses.append(float(in_flat_well(samples).double().mean()))
    return masses
