"""Rise of the expected loss by steps that must end in a KL ball, over that of the mean alone.

    python benchmarks/kl_ball.py --radius 0.2

The cases are random Gaussians of P weights and K columns. A part ("concentration") of the squared
length of each column lies on one weight. The losses are random and quadratic, so their expectation
is known. The gradient is the expected one, or that of a few draws.

A step is FP-BMA's step for some damping of the Fisher information, scaled into the ball. Its rise
is divided by the rise of a step of the mean alone with the same KL divergence. "Seen" is the rise
of the mean loss over the same draws, which is all that a step can know. "Expected" is the rise of
the expected loss.
"""

import argparse
import math
from statistics import geometric_mean, median

import torch
from record import Cell, Record, Table, add_argument
from torch import Tensor

from landscape.posteriors import Gaussian, GaussianGradient, GaussianTangent, Noise
from landscape.posteriors.fisher.exact import CovarianceFisher, steepest_step
from landscape.posteriors.fisher.kl_ball import Divergence, lengthened, within

LENGTHS = (0.03, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Lengths of the columns of U, divided by sigma."""
DAMPINGS = (1e-4, 1e-2, 0.1, 1.0)
"""The first is hardly one."""


class Case:
    """A Gaussian q and the loss g^T (w - mu) + (w - mu)^T H (w - mu) / 2."""

    def __init__(self, seed: int, size: int, rank: int, concentration: float, length: float):
        self.generator = torch.Generator().manual_seed(seed)
        scale = 0.1 * (0.5 * self.normal(size)).exp()
        factor = torch.zeros(size, rank, dtype=torch.float64)
        for column in factor.T:
            column.copy_(self.normal(size))
            heavy = int(torch.randint(size, (1,), generator=self.generator))
            column[heavy] = 0
            column *= math.sqrt(1 - concentration) / column.norm()
            column[heavy] = math.sqrt(concentration)
        self.q = Gaussian(torch.zeros(size).double(), scale, length * scale[:, None] * factor)
        root = self.normal(size, size) * torch.linspace(1, 0.05, size).double()
        self.hessian, self.slope = root @ root.T / size, 0.3 * self.normal(size)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def expected_gradient(self) -> GaussianGradient:
        factor = (self.hessian @ self.q.factor).T
        log_scale = self.q.scale**2 * self.hessian.diagonal()
        return GaussianGradient(self.slope, log_scale, factor, torch.eye(len(factor)).double())

    def expected(self, q: Gaussian) -> float:
        covariance = torch.diag(q.scale**2) + q.factor @ q.factor.T
        curved = q.mean @ self.hessian @ q.mean + (covariance * self.hessian).sum()
        return float(self.slope @ q.mean + curved / 2)

    def seen(self, q: Gaussian, noises: list[Noise]) -> float:
        samples = torch.stack([q.transform(noise) for noise in noises])
        curved = ((samples @ self.hessian) * samples).sum(1)
        return float((samples @ self.slope + curved / 2).mean())


def full_step(
    q: Gaussian, gradient: GaussianGradient, radius: float, damping: float
) -> GaussianTangent:
    """The second-order step."""
    solution = CovarianceFisher(q, damping).solve(gradient)
    step = GaussianTangent(q.covariance_product(gradient.mean), *solution)
    return lengthened(step, radius, gradient.dot(step))


def main() -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=30, help="P")
    parser.add_argument("--rank", type=int, default=5, help="K")
    parser.add_argument("--radius", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--concentrations", type=float, nargs="*", default=[0, 0.5, 0.9, 0.99, 1])
    add_argument(parser)
    options = parser.parse_args()
    record = Record(options)
    columns = ("2 KL / rho^2, undamped: median, most", "damped", "least rise, undamped", "damped")
    overview = Table("steps that must end in a KL ball", columns)
    for draws, kind in ((0, "expected gradient"), (15, "15 mirrored pairs"), (1, "one draw")):
        table = Table(kind, ("2 KL / rho^2: median, most", "seen", "least", "expected"))
        for concentration in options.concentrations:
            rows = {}
            for damping in DAMPINGS:
                rows[damping] = _row(options, draws, concentration, damping)
                table.add(f"c = {concentration:g}, damping {damping:g}", *rows[damping])
            both = (rows[DAMPINGS[0]], rows[0.1])
            name = f"{kind}, c = {concentration:g}"
            overview.add(name, *(row[0] for row in both), *(row[2] for row in both))
        record.add(table)
    record.add(overview)
    record.finish()


def _row(
    options: argparse.Namespace, draws: int, concentration: float, damping: float
) -> list[Cell]:
    ratios, rises, expected = [], [], []
    for length in LENGTHS:
        full = alone = 0.0
        for seed in range(options.seeds):
            case = Case(seed, options.size, options.rank, concentration, length)
            q, gradient, noises = case.q, case.expected_gradient(), list[Noise]()
            if draws:
                noises = [q.noise(case.generator) for _ in range(draws)]
                if draws > 1:
                    noises += [Noise(-noise.diagonal, -noise.factor) for noise in noises]
                samples = [q.transform(noise) for noise in noises]
                gradient = q.chain([case.slope + case.hessian @ w for w in samples], noises)
            step = full_step(q, gradient, options.radius, damping)
            ratios.append(2 * Divergence(q, step).at(1.0) / options.radius**2)
            ends = [
                q.moved(within(q, step, options.radius)),
                q.moved(steepest_step(q, gradient, options.radius, covariance=False)),
            ]
            seen = [case.seen(end, noises) - case.seen(q, noises) for end in ends] if draws else []
            true = [case.expected(end) - case.expected(q) for end in ends]
            rises.append(seen[0] / seen[1] if draws else true[0] / true[1])
            full, alone = full + true[0], alone + true[1]
        expected.append(full / alone)
    return [
        Cell(ratios, f"{median(ratios):.3g}, {max(ratios):.2g}"),
        Cell.of(rises),
        Cell.of([min(rises)], ".3f"),
        Cell.of([geometric_mean(expected)]),
    ]


if __name__ == "__main__":
    main()
