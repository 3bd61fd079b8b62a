"""The studies of Figure 1, Figure 4 and Table 10, on numbers that are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, Samples
from landscape.prediction import partial_spearman
from landscape.store import Run
from landscape.study.comparison import epoch_table
from landscape.study.correlation import SCHEDULES, swag_table
from landscape.study.plan import Training
from landscape.study.runner import Finished
from landscape.study.surfaces import shared_plane
from landscape.tasks import Data, Task


def swag_run(path: Path, seed: int) -> Finished:
    """A run of 30 samples whose lambda_1 and NLL depend on the training loss and on noise."""
    generator = np.random.default_rng(seed)
    loss = generator.uniform(0.1, 0.2, 30)
    lambdas = 100 * loss + generator.normal(0, 1, 30)
    nll = 10 * loss + generator.normal(0, 0.1, 30)
    run = Run.create(path / f"{seed}.h5", method="swag", seed=seed)
    run.write("samples", {"eigenvalues": lambdas[:, None], "trace": lambdas, "loss": loss})
    run.write(
        "predictions",
        {"accuracy": 1 - loss, "ece": loss**2, "nll": nll, "brier": loss},
        {"nll": float(nll.mean())},
    )
    return Finished(Training("cosine", "swag", {}, seed), run)


def test_correlations_over_samples_with_and_without_the_loss(tmp_path: Path) -> None:
    finished = [swag_run(tmp_path, seed) for seed in range(3)]
    table = swag_table(finished)
    assert [row[0] for row in table.rows] == ["cosine: error", "cosine: ECE", "cosine: NLL"]
    assert [row[-1] for row in table.rows] == ["0.93", "0.88", "0.91"]
    pearson, rank, partial = [], [], []
    for entry in finished:
        lambdas = entry.run.read("samples", "eigenvalues")["eigenvalues"][:, 0]
        loss = entry.run.read("samples", "loss")["loss"]
        nll = entry.run.read("predictions", "nll")["nll"]
        pearson.append(stats.pearsonr(lambdas, nll).statistic)
        rank.append(stats.spearmanr(lambdas, nll).statistic)
        partial.append(partial_spearman(lambdas, nll, loss))
    for cell, values in zip(table.rows[2][2:5], (pearson, rank, partial), strict=True):
        assert float(cell.split()[0]) == pytest.approx(np.mean(values), abs=6e-3)
    # Error is the training loss itself here, so nothing is left of it.
    assert table.rows[0][4] == "-"
    assert float(table.rows[2][2].split()[0]) > 0.8 > 0.4 > abs(np.mean(partial))
    assert {settings["swag_rate"] for settings in SCHEDULES.values()} == {0.0, 0.02}


class Bowl(nn.Module):
    """A network whose output is w_1^2 + 2 w_2^2 + 3 w_3^2 for every input, shape (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return height(self.w).expand(len(inputs), 1)


def height(w: Tensor) -> Tensor:
    return (w**2 * torch.tensor([1.0, 2.0, 3.0], dtype=w.dtype)).sum(-1)


def test_two_posteriors_on_one_plane() -> None:
    # The samples spread in the plane w_3 = 0.25, except for +-0.01 along w_3.
    first = torch.tensor([[1.0, 0, 0.26], [-1, 0, 0.24]], dtype=torch.float64)
    second = torch.tensor([[0.0, 0.5, 0.26], [0, -0.5, 0.24]], dtype=torch.float64)
    space = ParameterSpace(Bowl())
    posteriors = [
        Posterior(space, Samples(weights, torch.zeros(2, dtype=torch.long)))
        for weights in (first, second)
    ]
    data = Data(torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1))
    task = Task("bowl", data, data, data, classes=(), loss=lambda outputs, _: outputs[:, 0])
    plane = shared_plane(posteriors, task, samples=2, shape=(3, 5))
    together = torch.cat([posterior.sample(2, 0) for posterior in posteriors])
    centred = (together - together.mean(0)).numpy()
    _, singular, axes = np.linalg.svd(centred)
    off = np.abs(centred @ axes[2])
    assert np.concatenate(plane.off_plane) == pytest.approx(off, abs=1e-9)
    assert plane.share == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum())
    assert np.concatenate(plane.sample_loss) == pytest.approx(height(together).numpy())
    below = together.numpy() - (centred @ axes[2])[:, None] * axes[2]
    expected = height(torch.from_numpy(below)).numpy()
    assert np.concatenate(plane.loss_below) == pytest.approx(expected)
    # Both are on one grid, which reaches beyond all samples.
    assert (len(plane.y), len(plane.x)) == (3, 5)
    assert plane.x[-1] == pytest.approx(1.3 * max(np.abs(np.concatenate(plane.sample_x))))
    assert plane.loss[1][2] == pytest.approx(float(height(together.mean(0))))


def test_the_ratios_of_table_10() -> None:
    table = epoch_table(
        {"map": np.array([0.2, 0.3]), "swag": np.array([0.22, 0.21]), "ptl": np.array([0.4])}
    )
    assert table.rows[0] == ("map", "2", "200 to 300", "1.00", "2.78", "1.00")
    assert table.rows[1] == ("swag", "2", "210 to 220", "1.05", "7.89", "2.84")
    assert table.rows[2] == ("ptl", "1", "400 to 400", "2.00", "-", "-")
