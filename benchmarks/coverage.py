"""How often the error of a measure of flatness covers the truth, over seeds.

    python benchmarks/coverage.py --seeds 800

A small tanh network (8, 10, 3 units) is trained on 60 random examples of 3 noisy classes. Each
measure is computed with the settings that its name stands for in ``measure``, with one seed after
the other. The truth is exact (the trace of the dense Hessian, summed block by block for the
relative flatness) or the mean of very many draws. An interval is value +- t standard errors, with
Student's t for the number of independent draws of the measure.

A fresh sample of batches belongs to each seed of m-sharpness, since its error is over batches. The
learning coefficient is also estimated for a quadratic loss, a regular model of d = 10 weights, of
which d / 2 = 5 is the limit; its truth at this gamma is known exactly.
"""

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np
import torch
from record import Cell, Record, Table, add_argument
from scipy.special import stdtrit
from torch import Tensor, nn

import landscape as ls
from landscape.curvature import (
    average_sharpness,
    expected_sharpness,
    local_learning_coefficient,
    m_sharpness,
    pac_bayes_sigma,
    relative_flatness,
)
from landscape.curvature.sharpness.measures import MEASURES, SharpnessWork
from landscape.objective.objective import Objective
from landscape.posteriors import PosteriorLoss, isotropic

Draw = Callable[[int], tuple[float, float]]
"""Value and standard error for a seed."""

GAMMA = 10.0


def network() -> tuple[nn.Module, Tensor, Tensor]:
    """The trained network and its data, in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 3)).double()
    inputs = torch.randn(60, 8, dtype=torch.float64)
    labels = (inputs[:, :3] + 0.7 * torch.randn(60, 3, dtype=torch.float64)).argmax(1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    return model, inputs, labels


class Bowl(nn.Module):
    """L(w) = sum_i h_i w_i^2 / 2, whatever the inputs."""

    def __init__(self, spectrum: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(spectrum), dtype=torch.float64))
        self.spectrum = spectrum

    def forward(self, inputs: Tensor) -> Tensor:
        """The loss L(w), shape (B, 1)."""
        value: Tensor = 0.5 * (self.spectrum * self.w**2).sum()
        return value.expand(len(inputs), 1)


def dense_hessian(objective: Objective) -> Tensor:
    """The Hessian at the model's own weights, shape (P, P)."""
    hessian = objective.hessian(objective.space.vector())
    return torch.stack([hessian @ unit for unit in torch.eye(hessian.size, dtype=torch.float64)])


def true_relative_flatness(objective: Objective, weight: Tensor) -> float:
    """Sum over units s, s' of <w_s, w_s'> tr(H_ss') for the last weight matrix."""
    units, features = weight.shape
    start = objective.size - units - weight.numel()
    inside = slice(start, start + weight.numel())
    blocks = dense_hessian(objective)[inside, inside].view(units, features, units, features)
    return float(((weight @ weight.T) * torch.einsum("sftf->st", blocks)).sum())


def main() -> None:
    """A table: truth, mean of the values over the truth, and the coverage."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=800)
    add_argument(parser)
    options = parser.parse_args()
    seeds, record = options.seeds, Record(options)
    torch.set_num_threads(1)
    model, inputs, labels = network()
    data = [(inputs, labels)]
    objective = ls.Objective(model, data)
    weights = objective.space.vector()
    posterior = isotropic(model, 0.1, mean=weights)

    def named(name: str) -> Draw:
        def draw(seed: int) -> tuple[float, float]:
            work = SharpnessWork(
                PosteriorLoss(posterior, data, "cross_entropy"), [name], [2.0], seed
            )
            samples = work.at(0, weights)
            ending = next((end for end in samples if end and name.endswith(end)), "")
            measured = MEASURES[name](samples[ending])
            return measured.value, measured.error

        return draw

    def true_rise(changed: Objective, **settings: object) -> float:
        return average_sharpness(changed, pairs=3_000, seed=10**6, **settings).value

    normalised = objective.with_loss(ls.losses.NormalisedLogits())
    tempered = objective.with_loss(ls.losses.TemperedLogits(2.0))
    rows: dict[str, tuple[Draw, int, float]] = {}
    for ending, changed in (("", objective), ("_normalised", normalised), ("_tempered", tempered)):
        rows[f"`average{ending}`"] = (
            named(f"average{ending}"),
            9,
            true_rise(changed, deviation=0.01),
        )
        rows[f"`average_adaptive{ending}`"] = (
            named(f"average_adaptive{ending}"),
            9,
            true_rise(changed, deviation=0.1, adaptive=True),
        )
        if ending:
            trace = float(dense_hessian(changed).trace())
            rows[f"`trace{ending}`"] = (named(f"trace{ending}"), 14, trace)
    weight = model[2].weight.detach()  # type: ignore[index]
    exact = true_relative_flatness(objective, weight)
    rows["`relative_flatness` (16 matvecs)"] = (
        # fewer matvecs than the default, at which so small a layer is multiplied out
        lambda seed: _pair(relative_flatness(objective, matvecs=16, seed=seed)),
        7,
        exact,
    )
    for name, aware in (("pac_bayes_sigma", False), ("pac_bayes_sigma_magnitude", True)):
        settings = {"magnitude_aware": aware, "draws": 600, "tolerance": 0.02, "seed": 10**6}
        rows[f"`{name}`"] = (named(name), 9, pac_bayes_sigma(objective, **settings).value)
    chains = {"chains": 10, "steps": 1_000, "seed": 10**6}
    rows["`learning_coefficient`"] = (
        named("learning_coefficient"),
        2,
        local_learning_coefficient(objective, **chains).value,
    )
    spectrum = torch.linspace(1, 5, 10, dtype=torch.float64)
    bowl = ls.Objective(Bowl(spectrum), [(torch.zeros(500, 1), torch.zeros(500))], loss=_first)
    held = 500 / math.log(500) * spectrum
    rows["the same for a quadratic of 10 weights (d / 2 = 5)"] = (
        lambda seed: _pair(
            local_learning_coefficient(bowl, chains=3, steps=60, localisation=GAMMA, seed=seed)
        ),
        2,
        float((0.5 * held / (held + GAMMA)).sum()),
    )
    rows["expected sharpness, 30 samples"] = (
        lambda seed: _pair(expected_sharpness(posterior, data, samples=30, seed=seed)),
        29,
        expected_sharpness(posterior, data, samples=3_000, seed=10**6).value,
    )

    def fresh_batches(seed: int) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(60, (20, 8), generator=generator)
        batches = [(inputs[chosen], labels[chosen]) for chosen in drawn]
        return _pair(m_sharpness(ls.Objective(model, batches), radius=0.05, seed=seed))

    rows["m-sharpness, 20 batches"] = (fresh_batches, 19, math.nan)
    table = Table("coverage of 95 % intervals", ("truth", "mean / truth", "coverage, %"))
    for name, (draw, freedom, truth) in rows.items():
        values, errors = np.array([draw(seed) for seed in range(seeds)]).T
        is_known = not math.isnan(truth)
        truth = truth if is_known else float(values.mean())
        covered = np.abs(values - truth) <= stdtrit(freedom, 0.975) * errors
        table.add(
            name,
            Cell.of([truth] if is_known else [], ".3g"),
            Cell.of([float(values.mean()) / truth] if is_known else []),
            Cell.of([100 * float(covered.mean())], ".0f"),
        )
        print(name, table.rows[name], file=sys.stderr, flush=True)
    record.add(table)
    record.finish()


def _first(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs[:, 0]


def _pair(result: object) -> tuple[float, float]:
    return result.value, result.standard_error  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
