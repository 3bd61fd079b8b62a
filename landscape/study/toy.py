"""Two minima of equal likelihood and very different width: which does a method choose?

The loss over one weight is

    L(w) = -(1 / N) log[exp(-(w + 2)^2 / (2 a^2)) + exp(-(w - 2)^2 / (2 b^2))],   a = 1, b = 0.1,

so that exp(-N L) is, exactly, a mixture of two Gaussians of equal height: a flat well around -2 and
a sharp one around 2. The minima are equal, L = 0 up to e^-8 / N, with curvatures 1 / (N a^2) and
1 / (N b^2). Under a flat prior the posterior has its mass in the ratio of the widths, a : b.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape import methods
from landscape.posteriors import Posterior, isotropic
from landscape.prediction.calibration_bins import wilson_interval
from landscape.study.tables import Table, number
from landscape.tasks import Data, Task

EXAMPLES = 10
FLAT, SHARP = -2.0, 2.0
WIDE, NARROW = 1.0, 0.1
BARRIERS = (
    (WIDE * SHARP + NARROW * FLAT) / (WIDE + NARROW),
    (WIDE * SHARP - NARROW * FLAT) / (WIDE - NARROW),
)
"""The sharp well is between these: there (w + 2)^2 / a^2 = (w - 2)^2 / b^2."""
FLAT_MASS = WIDE / (WIDE + NARROW)
"""The posterior's mass in the flat component under a flat prior."""

NOTE = (
    "Means over starts with Wilson's 95 % interval in brackets. It is wider than 95 % where masses "
    "lie between 0 and 1, and where starts lie evenly on a line."
)
_SPREAD = 5.0
_CLOSE = 0.02
_SAMPLES = 50


class TwoWells(nn.Module):
    """L(w) above, for every input, as an output (B, 1)."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w], dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (B, 1)."""
        wells = torch.cat([(self.w - FLAT) / WIDE, (self.w - SHARP) / NARROW])
        value = -torch.logsumexp(-0.5 * wells**2, 0) / EXAMPLES
        return value.expand(len(inputs), 1)


def task() -> Task:
    """N examples that are all alike, so that nothing but the method is random."""
    inputs, targets = torch.zeros(EXAMPLES, 1, dtype=torch.float64), torch.zeros(EXAMPLES)
    data, none = Data(inputs, targets), Data(inputs[:0], targets[:0])
    return Task("two wells", data, none, none, classes=(), loss=lambda outputs, _: outputs[:, 0])


def in_flat_well(w: Tensor) -> Tensor:
    """Whether weights are outside the sharp well."""
    return (w < BARRIERS[0]) | (w > BARRIERS[1])


@dataclass(frozen=True)
class Entrant:
    """A method with its settings on the toy.

    Attributes:
        name: In the table.
        method: Of ``landscape.methods``.
        settings: Its settings.
        scale: Of the prior N(start, scale^2) that ``fit`` is given; 0 for none.
    """

    name: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    scale: float = 0.0

    def fit(self, w: float, seed: int) -> Posterior:
        """Train from the weight ``w``: 300 steps."""
        shared = {"epochs": 60, "batch_size": 2}
        chosen = {"learning_rate": 0.05, **self.settings, **shared}
        model = TwoWells(w)
        prior = isotropic(model, self.scale, mean=w) if self.scale else None
        method = methods.create(self.method, **chosen)
        return method.fit(model, task(), prior=prior, seed=seed, device="cpu")


def _entrants() -> list[Entrant]:
    still = {"weight_decay": 0.0}
    flat_prior = {"prior_scale": 10.0}
    found = [Entrant("map", "map", still), Entrant("swag", "swag", still)]
    for radius in (0.05, 0.2, 0.5):
        found.append(Entrant(f"sam, rho {radius}", "sam", {**still, "radius": radius}))
    found += [
        Entrant("fsam, rho 0.5", "fsam", {**still, "radius": 0.5}),
        Entrant("f-swag, rho 0.5", "f-swag", {**still, "radius": 0.5}),
        Entrant("bsam", "bsam", {"weight_decay": 1e-4, "radius": 0.05}),
        Entrant("vi, initial sigma 0.02", "vi", flat_prior),
        Entrant("vi, initial sigma 1", "vi", {**flat_prior, "initial_scale": 1.0}),
        Entrant("sgld", "sgld", flat_prior),
        Entrant("cyclical-sgld", "cyclical-sgld", {**flat_prior, "learning_rate": 0.5}),
        Entrant("entropy-mcmc, eta 0.1", "entropy-mcmc", {**flat_prior, "eta": 0.1}),
        Entrant("entropy-mcmc, eta 1", "entropy-mcmc", {**flat_prior, "eta": 1.0}),
    ]
    for scale in (0.1, 1.0):
        for radius in (0.0, 0.2, 1.0):
            name = f"fp-bma, prior sigma {scale:g}, rho {radius:g}"
            settings = {"radius": radius, "beta": 1.0, "covariance_rate": 1.0}
            found.append(Entrant(name, "fp-bma", settings, scale))
    found.append(Entrant("fp-bma, prior sigma 0.1, beta 1e-6", "fp-bma", {}, 0.1))
    return found


ENTRANTS = _entrants()


def two_wells(
    restarts: int, progress: Callable[[int, int], Any], entrants: list[Entrant] | None = None
) -> list[Table]:
    """Each method from starts all over [-5, 5], and from starts at the bottom of the sharp well.

    Args:
        restarts: Starts of either kind.
        progress: Called with (entrants done, entrants).
        entrants: ``ENTRANTS`` if ``None``.
    """
    rows = []
    everyone = ENTRANTS if entrants is None else entrants
    spread = np.linspace(-_SPREAD, _SPREAD, restarts)
    near = SHARP + _CLOSE * np.random.default_rng(0).uniform(-1, 1, restarts)
    for index, entrant in enumerate(everyone):
        wide, narrow = mass_in_flat_well(entrant, spread), mass_in_flat_well(entrant, near)
        left = sum(mass > 0.5 for mass in narrow)
        rows.append((entrant.name, _mean(wide), _mean(narrow), f"{left} of {restarts}"))
        progress(index + 1, len(everyone))
    # From beyond the sharp well it is all the way down into it.
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


def _mean(masses: list[float]) -> str:
    """Mean and Wilson's 95 % interval: a mass varies at most as much as a share of successes."""
    trials = torch.tensor(float(len(masses)))
    low, high = wilson_interval(torch.tensor(sum(masses)), trials)
    return f"{number(sum(masses) / len(masses))} [{number(float(low))}, {number(float(high))}]"


def mass_in_flat_well(entrant: Entrant, starts: np.ndarray) -> list[float]:
    """The share of posterior samples outside the sharp well, for each start."""
    masses = []
    for seed, w in enumerate(starts):
        posterior = entrant.fit(float(w), seed)
        drawn = posterior.sample(posterior.num_available(_SAMPLES), seed)
        masses.append(float(in_flat_well(drawn).double().mean()))
    return masses
