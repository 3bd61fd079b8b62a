"""Real targets: the likelihood against scipy, tables, and the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cases import dense_hessian, generator
from scipy import stats
from torch import nn

from landscape import tasks
from landscape.cli import main
from landscape.errors import InputError
from landscape.objective.likelihood import GaussianLikelihood
from landscape.objective.objective import Objective
from landscape.posteriors import Posterior, isotropic
from landscape.prediction import RealPrediction, predict_real
from landscape.store import Run


def table(rows: int = 50, seed: int = 0) -> np.ndarray:
    """Columns a, b and y = 100 + 30 a - 20 b + noise."""
    draw = np.random.default_rng(seed).normal(size=(rows, 3))
    draw[:, 2] = 100 + 30 * draw[:, 0] - 20 * draw[:, 1] + draw[:, 2]
    return draw


def write_csv(folder: Path, names: str = "a,b,y") -> str:
    path = folder / "table.csv"
    np.savetxt(path, table(), delimiter=",", header=names, comments="", fmt="%.17g")
    return str(path)


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_the_likelihood_is_that_of_scipy(noise: float) -> None:
    f = torch.randn(7, 2, generator=generator(), dtype=torch.float64)
    y = torch.randn(7, 2, generator=generator(1), dtype=torch.float64)
    truth = -stats.norm(f.numpy(), noise).logpdf(y.numpy())
    np.testing.assert_allclose(GaussianLikelihood(noise)(f, y), truth.sum(1))
    np.testing.assert_allclose(GaussianLikelihood(noise)(f[:, :1], y[:, 0]), truth[:, 0])


def test_by_name_it_has_unit_noise_and_its_hessian_is_the_formula() -> None:
    x = torch.randn(9, 3, generator=generator(), dtype=torch.float64)
    y = torch.randn(9, generator=generator(1), dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()
    objective = Objective(model, [(x[:5], y[:5]), (x[5:], y[5:])], "gaussian")
    w = objective.space.vector()
    truth = x.T @ x / 9
    torch.testing.assert_close(dense_hessian(objective, w), truth)
    v = torch.ones_like(w)
    torch.testing.assert_close(objective.hessian_product(w, v), truth @ v)
    assert float(objective.loss(w)) > 0.5 * np.log(2 * np.pi)


def test_shapes_that_would_broadcast_are_refused() -> None:
    loss = GaussianLikelihood()
    for outputs, targets in (((4, 1), (4, 2)), ((4, 2), (4,)), ((4,), (4,)), ((3, 1), (4, 1))):
        with pytest.raises(InputError, match="one output for each target"):
            loss(torch.zeros(outputs), torch.zeros(targets))
    for noise in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="noise must be positive and finite"):
            GaussianLikelihood(noise)


def test_the_mixture_of_samples_is_scored_as_scipy_does() -> None:
    f = torch.randn(6, 40, 1, generator=generator(), dtype=torch.float64)
    y = torch.randn(40, generator=generator(1), dtype=torch.float64)
    prediction = RealPrediction(f, y, 0.7)
    density = stats.norm(f[..., 0].numpy(), 0.7).pdf(y.numpy()).mean(0)
    found = prediction.metrics()
    assert found["nll"] == pytest.approx(-np.log(density).mean())
    error = f[..., 0].numpy().mean(0) - y.numpy()
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    alone = prediction.sample_metrics()
    assert len(alone) == 6
    assert found["nll"] <= np.mean([each["nll"] for each in alone])  # Jensen
    spread = f[..., 0].numpy().std(0)
    np.testing.assert_allclose(prediction.deviation[:, 0], np.sqrt(spread**2 + 0.7**2))


def test_predictions_of_a_linear_model_have_the_moments_of_its_posterior() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    posterior: Posterior = isotropic(model, 0.5)
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    data = [(x, torch.zeros(1, dtype=torch.float64))]
    prediction = predict_real(posterior, data, noise=1.0, samples=4000)
    # f(x) ~ N(0, 0.25 |x|^2 = 6.25); standard error of the variance: 6.25 sqrt(2 / 4000).
    assert float(prediction.outputs.var()) == pytest.approx(6.25, abs=4 * 6.25 * (2 / 4000) ** 0.5)
    assert float(prediction.mean) == pytest.approx(0, abs=4 * 2.5 / 4000**0.5)
    with pytest.raises(InputError, match="one output for each target"):
        predict_real(posterior, [(x, torch.zeros(1, 2))], noise=1.0)


def test_a_table_is_standardised_by_its_training_rows(tmp_path: Path) -> None:
    task = tasks.load("regression", path=write_csv(tmp_path), test_share=0.2)
    assert task.sizes == {"train": 36, "validation": 4, "test": 10}
    assert task.loss == GaussianLikelihood(0.5)
    assert task.outputs == 1
    assert float(task.train.inputs.mean()) == pytest.approx(0, abs=1e-6)
    assert float(task.train.targets.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert task.scaling is not None
    assert task.target_scaling is not None
    splits = (task.train, task.validation, task.test)
    inputs = torch.cat([task.scaling.invert(data.inputs) for data in splits])
    targets = torch.cat([task.target_scaling.invert(data.targets) for data in splits])
    found = torch.cat([inputs, targets[:, None]], 1)
    order = found[:, 0].argsort()
    np.testing.assert_allclose(found[order], table()[table()[:, 0].argsort()], atol=1e-5)
    assert tasks.load("regression", **task.settings).fingerprint() == task.fingerprint()


def test_the_test_rows_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    one, two = (tasks.regression(path, seed=seed, validation_share=0.5) for seed in (0, 1))
    assert one.scaling is not None
    assert two.scaling is not None
    rows = [task.scaling.invert(task.test.inputs) for task in (one, two)]  # type: ignore[union-attr]
    torch.testing.assert_close(*rows)
    assert one.fingerprint() != two.fingerprint()


def test_another_column_may_be_the_target(tmp_path: Path) -> None:
    task = tasks.regression(write_csv(tmp_path, "y,b,a"), target="y", validation_share=0.0)
    assert task.target_scaling is not None
    known = set(np.round(table()[:, 0], 6).tolist())
    targets = task.target_scaling.invert(task.train.targets)
    assert {round(value, 6) for value in targets.tolist()} <= known


@pytest.mark.parametrize("whole", [True, False])
def test_arrays_in_a_file(whole: bool, tmp_path: Path) -> None:
    x, y = table()[:, :2], table()[:, 2:]
    split = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}
    split |= {"x_validation": x[:5], "y_validation": y[:5]}
    np.savez(tmp_path / "t.npz", **({"x": x, "y": np.hstack([y, y])} if whole else split))
    task = tasks.regression(str(tmp_path / "t.npz"))
    assert tuple(task.sizes.values()) == ((41, 4, 5) if whole else (30, 5, 20))
    assert task.outputs == (2 if whole else 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,y\n1,2\n3,x\n", "line 3: could not convert string to float: 'x'"),
        ("a,y\n1,2\n3\n", "line 3: 1 values for 2 columns"),
        ("a,b\n1,2\n", "no column 'y'; it has a, b"),
        ("y\n1\n", "needs a column to predict and one"),
        ("a,y\n", "no line of numbers"),
        ("a,y\n" + "nan,2\n" * 20, "NaN or infinity"),
    ],
)
def test_bad_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        tasks.regression(str(tmp_path / "t.csv"), target="y")


def test_the_command_line_fits_a_line(tmp_path: Path) -> None:
    train = ["train", "regression", "map", "--path", write_csv(tmp_path), "--model", "mlp"]
    more = ["--epochs", "40", "--test-share", "0.3", "--noise", "0.2", "--out", str(tmp_path)]
    assert main([*train, *more]) == 0
    run = Run.open(tmp_path / "regression-map-seed0.h5")
    found = run["predictions"].attributes
    assert float(found["rmse"]) < 0.5  # of a target of deviation 1
    assert found["examples"] == 15
    assert run.attributes["loss"] == "gaussian with noise 0.2"
    measure = ["--trace-matvecs", "2", "--eigenvalues", "1", "--grid", "2"]
    assert main(["measure", str(run.path), *measure]) == 0
