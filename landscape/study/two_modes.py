"""The surface of the paper's Figure 2: two modes in the plane, one of them flat.

The paper's density is p(w) = 1/2 N(w; (-2, -1), 0.5 I) + 1/2 N(w; (2, 1), I), and every method
starts at (-0.4, -0.4), in the basin of the sharp mode. The loss here is

    L(w) = -(1 / N) log p(w),

so exp(-N L) is p itself: with a flat prior p is the posterior, with half of its mass in each mode.
The sharp mode is the lower minimum of the loss, by log(2) / N.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.study.figures import Contours, Figure, Panel, Series, contours, numbers
from landscape.study.ledger import Ledger
from landscape.study.tables import Table
from landscape.study.toy import EXAMPLES, ToyCandidate, share

SHARP, FLAT = (-2.0, -1.0), (2.0, 1.0)
VARIANCES = (0.5, 1.0)
START = (-0.4, -0.4)

_JITTER = 0.1
_REACH = 4.0
_GRID = 61
_MODES = torch.tensor([SHARP, FLAT], dtype=torch.float64)

NOTE = (
    "A run ends in the flat mode if most of its posterior samples lie where that mode's part of "
    "the density is the larger one. Shares have Wilson's 95 % interval in brackets. Starts near "
    f"the published one are that one and others at N(0, {_JITTER}^2) around it; starts in the "
    f"square are uniform in [-{_REACH:g}, {_REACH:g}]^2. The paper shows one run of a method and "
    "no settings. Each method takes 300 steps; the prior of VI, SGLD and FP-BMA is N(0, 10^2). "
    "sigma is the initial deviation of q. FP-BMA's radius is in deviations of q; those of SAM and "
    "of the published code's rule are lengths."
)


class TwoModes(nn.Module):
    """A network whose output is L(w) for every input, shape (B, 1)."""

    def __init__(self, w: tuple[float, float]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        """The loss L(w), shape (B, 1)."""
        return (-log_parts(self.w).logsumexp(-1) / EXAMPLES).expand(len(inputs), 1)


def log_parts(w: Tensor) -> Tensor:
    """Logarithms of the two parts of the density at w (..., 2), shape (..., 2): sharp, flat."""
    variances = torch.tensor(VARIANCES, dtype=w.dtype)
    squares = ((w[..., None, :] - _MODES.to(w)) ** 2).sum(-1)
    return -squares / (2 * variances) - torch.log(4 * math.pi * variances)


def in_flat_mode(w: Tensor) -> Tensor:
    """Whether the flat mode's part of the density is the larger one at each w (..., 2)."""
    sharp, flat = log_parts(w).unbind(-1)
    return flat > sharp


def exact_mass() -> float:
    """Mass of the density where its flat part is the larger one, by the midpoint rule."""
    steps = torch.arange(-12, 12, 0.05, dtype=torch.float64) + 0.025
    points = torch.cartesian_prod(steps, steps)
    density = log_parts(points).exp().sum(-1)
    return float(density[in_flat_mode(points)].sum() / density.sum())


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        candidate: Method with its settings.
        paper: Mode in which the paper's run ends; empty if the paper has none.
        title: Title of the panel that shows it; empty if there is none.
    """

    candidate: ToyCandidate
    paper: str = ""
    title: str = ""


def _entries() -> list[Entry]:
    no_decay, prior = {"weight_decay": 0.0}, {"prior_scale": 10.0}
    sharp = "sharp"
    entries = [Entry(ToyCandidate("sgd", "map", no_decay), sharp, "SGD")]
    for radius in (0.05, 0.5, 1.0, 2.0):
        shown = ("", "SAM, radius 0.5") if radius == 0.5 else ("", "")
        candidate = ToyCandidate(f"sam, radius {radius:g}", "sam", {**no_decay, "radius": radius})
        entries.append(Entry(candidate, *shown))
    entries += [
        Entry(ToyCandidate("sgld", "sgld", prior), sharp, "SGLD"),
        Entry(ToyCandidate("swag", "swag", no_decay), sharp, "SWAG"),
    ]
    for sigma in (0.1, 1.0):
        shown = (sharp, "VI, sigma 0.1") if sigma == 0.1 else ("", "")
        settings = {**prior, "beta": 1.0, "initial_scale": sigma}
        entries.append(Entry(ToyCandidate(f"vi, sigma {sigma:g}", "vi", settings), *shown))
    for sigma in (0.1, 1.0):
        for radius in (0.5, 1.0, 2.0):
            is_shown = (sigma, radius) == (1.0, 2.0)
            shown = ("flat", "FP-BMA, sigma 1, radius 2") if is_shown else ("", "")
            name = f"fp-bma, sigma {sigma:g}, radius {radius:g}"
            entries.append(Entry(_fp_bma(name, sigma, radius=radius), *shown))
    for ball, words in (
        ("posterior-empirical", "Algorithm 1"),
        ("posterior-score", "the published code's rule"),
        ("random", "a random direction"),
    ):
        name = f"fp-bma, sigma 1, radius 2, {words}"
        entries.append(Entry(_fp_bma(name, 1.0, radius=2.0, ball=ball)))
    return entries


def _fp_bma(name: str, sigma: float, **settings: Any) -> ToyCandidate:
    shared = {"prior_scale": 10.0, "beta": 1.0, "initial_scale": sigma}
    return ToyCandidate(name, "fp-bma", {**shared, **settings})


ENTRIES = _entries()


def two_modes(
    restarts: int,
    progress: Callable[[int, int], Any],
    entries: list[Entry] | None = None,
    ledger: Ledger | None = None,
) -> Table:
    """Train each method from starts near the published one, and from starts in a square.

    Args:
        restarts: Number of starts of either kind.
        progress: Function that is called with (finished methods, methods).
        entries: Methods to train; ``ENTRIES`` if ``None``.
        ledger: Results of earlier calls, and where this call's go.
    """
    ledger = ledger or Ledger()
    entries = ENTRIES if entries is None else entries
    generator = np.random.default_rng(0)
    near = np.array(START) + _JITTER * generator.standard_normal((restarts, 2))
    near[0] = START
    square = generator.uniform(-_REACH, _REACH, (restarts, 2))
    rows, panels = [], []
    for index, entry in enumerate(entries):
        samples, others = (
            [
                torch.tensor(
                    ledger.get(
                        {"two modes": entry.candidate.record(), "start": w.tolist(), "seed": seed},
                        partial(_samples, entry.candidate, w, seed),
                    ),
                    dtype=torch.float64,
                )
                for seed, w in enumerate(starts)
            ]
            for starts in (near, square)
        )
        masses, masses_in_square = _masses(samples), _masses(others)
        rows.append(
            (
                entry.candidate.name,
                str(restarts),
                share([float(mass > 0.5) for mass in masses]),
                share(masses),
                share([float(mass > 0.5) for mass in masses_in_square]),
                entry.paper or "-",
            )
        )
        if entry.title:
            panels.append(_panel(entry.title, samples))
        progress(index + 1, len(entries))
    mass = f"{exact_mass():.3f}"
    rows.append(("the density itself", "-", "-", mass, "-", "-"))
    columns = (
        "method",
        "n",
        "runs that end in the flat mode, starts near the published one",
        "mass in the flat mode, the same starts",
        "runs that end in the flat mode, starts in the square",
        "paper's run ends in",
    )
    title = "The published surface: where the runs end"
    picture = Figure(f"{title} (starts near the published one)", tuple(panels)) if panels else None
    return Table(title, columns, tuple(rows), NOTE, figure=picture)


def _samples(candidate: ToyCandidate, w: np.ndarray, seed: int) -> list[list[float]]:
    """Posterior samples of a run from w, as plain numbers."""
    samples = candidate.draw(TwoModes((float(w[0]), float(w[1]))), seed)
    return [[float(f"{value:.5g}") for value in sample] for sample in samples.tolist()]


def _masses(runs: list[Tensor]) -> list[float]:
    """Share of each run's samples in the flat mode."""
    return [float(in_flat_mode(samples).double().mean()) for samples in runs]


def _panel(title: str, runs: list[Tensor]) -> Panel:
    """The surface with a few samples of every run, each run's mean, and the start."""
    samples = torch.cat([samples[:: max(1, len(samples) // 10)] for samples in runs])
    means = torch.stack([samples.mean(0) for samples in runs])
    series = [
        Series(label, numbers(points[:, 0]), numbers(points[:, 1]))
        for label, points in (
            ("posterior samples", samples),
            ("mean of a run", means),
            ("published start", torch.tensor([START])),
        )
    ]
    return Panel(title, "w_1", "w_2", tuple(series), _surface())


def _surface() -> Contours:
    axis = torch.linspace(-5, 5, _GRID, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    loss = -log_parts(points).logsumexp(-1)
    return contours(axis.numpy(), axis.numpy(), loss.numpy(), (2.0, 10.0, 0.5))
