"""Tasks from arrays: the splits of the examples, and requests that are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from landscape import models, tasks
from landscape.cli import main
from landscape.curvature import measure
from landscape.errors import InputError
from landscape.methods import MAP
from landscape.prediction import predict
from landscape.store import Run
from landscape.tasks import Data, Scaling, arrays

ROWS = np.random.default_rng(0).normal(3.0, 2.0, (60, 4)).astype(np.float32)
LABELS = np.arange(60) % 3
TRAIN, TEST = (ROWS[:40], LABELS[:40]), (ROWS[40:], LABELS[40:])


def write(folder: Path, **arrays: object) -> str:
    contents = {"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1]}
    np.savez(folder / "data.npz", **(contents | arrays))  # type: ignore[arg-type]
    return str(folder / "data.npz")


def rows(data: Data) -> set[tuple[float, ...]]:
    return {tuple(row) for row in data.inputs.tolist()}


@pytest.mark.parametrize("seed", [0, 1])
def test_validation_is_cut_off_training_by_seed_and_test_is_as_given(seed: int) -> None:
    task = tasks.arrays(TRAIN, TEST, validation_share=0.25, standardise=False, seed=seed)
    assert task.sizes == {"train": 30, "validation": 10, "test": 20}
    assert rows(task.train) | rows(task.validation) == {tuple(row) for row in TRAIN[0].tolist()}
    assert task.test.inputs.tolist() == TEST[0].tolist()
    assert task.test.targets.tolist() == TEST[1].tolist()
    other = tasks.arrays(TRAIN, TEST, validation_share=0.25, standardise=False, seed=seed + 1)
    assert rows(other.validation) != rows(task.validation)
    for row, label in zip(task.train.inputs.tolist(), task.train.targets.tolist(), strict=True):
        assert label == TRAIN[1][TRAIN[0].tolist().index(row)]


def test_a_validation_set_that_is_given_is_taken() -> None:
    task = tasks.arrays(TRAIN, TEST, validation=(ROWS[50:], LABELS[50:]), standardise=False)
    assert task.sizes == {"train": 40, "validation": 10, "test": 20}
    assert tasks.arrays(TRAIN, TEST, validation_share=0.0).sizes["validation"] == 0


def test_inputs_are_standardised_by_the_training_examples_alone() -> None:
    task = tasks.arrays(TRAIN, TEST, validation_share=0.0)
    mean, deviation = TRAIN[0].mean(0), TRAIN[0].std(0)
    np.testing.assert_allclose(task.test.inputs, (TEST[0] - mean) / deviation, rtol=1e-4, atol=1e-5)
    assert task.scaling is not None
    back = task.scaling.invert(task.test.inputs)
    np.testing.assert_allclose(back, TEST[0], rtol=1e-5, atol=1e-5)


def test_images_are_standardised_by_channel_and_a_constant_is_only_centred() -> None:
    images = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    images[:, 1] = 7.0
    scaled = Scaling.of(images).apply(images)
    assert float(scaled[:, 0].mean()) == pytest.approx(0, abs=1e-6)
    assert float(scaled[:, 0].std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert float(scaled[:, 1].abs().max()) == 0


def test_a_tensor_an_array_and_a_dataset_are_the_same_task() -> None:
    x, y = torch.from_numpy(TRAIN[0]), torch.from_numpy(TRAIN[1])
    prints = {
        tasks.arrays(train, TEST).fingerprint()
        for train in (TRAIN, (x, y), TensorDataset(x, y), Data(x, y), (x.numpy(), y[:, None]))
    }
    assert len(prints) == 1


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_eight_bit_images_become_channels_first_in_the_unit_interval(shape: tuple[int]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (8, *shape), dtype=np.uint8)
    task = tasks.arrays((images, LABELS[:8]), (images, LABELS[:8]), standardise=False)
    channels = np.moveaxis(images.reshape(8, 6, 5, -1), 3, 1)
    np.testing.assert_allclose(task.test.inputs, channels / 255.0, rtol=1e-6)
    assert models.build("convnet", task)(task.test.inputs).shape == (8, 3)


def test_a_file_makes_the_task_of_its_arrays(tmp_path: Path) -> None:
    path = write(tmp_path, classes=np.array(["ash", "oak", "elm"]))
    task = tasks.load("arrays", path=path, shots=4, seed=3)
    assert task.classes == ("ash", "oak", "elm")
    assert task.sizes == {"train": 12, "validation": 4, "test": 20}
    assert torch.bincount(task.train.targets).tolist() == [4, 4, 4]
    assert tasks.load("arrays", **task.settings).fingerprint() == task.fingerprint()
    for ending in ("val", "validation"):
        given = {f"x_{ending}": TEST[0][:5], f"y_{ending}": TEST[1][:5]}
        assert tasks.npz(write(tmp_path, **given)).sizes["validation"] == 5


def test_a_relative_path_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    train = ["train", "arrays", "map", "--path", "data.npz", "--model", "mlp", "--epochs", "1"]
    assert main([*train, "--out", "runs", "--name", "run"]) == 0
    monkeypatch.chdir(tmp_path / "runs")
    capsys.readouterr()
    assert main(["measure", "run.h5"]) == 2
    error = capsys.readouterr().err
    assert "data.npz" in error
    assert "relative to the folder in which run.h5 was trained: start there" in error


def test_the_command_line_trains_and_measures_on_a_file(tmp_path: Path) -> None:
    train = ["train", "arrays", "map", "--path", write(tmp_path), "--model", "mlp"]
    assert main([*train, "--epochs", "2", "--out", str(tmp_path)]) == 0
    path = tmp_path / "arrays-map-seed0.h5"
    assert Run.open(path).config["task"]["path"] == str(tmp_path / "data.npz")
    measure = ["measure", str(path), "--trace-matvecs", "2", "--eigenvalues", "1", "--grid", "0"]
    assert main(measure) == 0
    write(tmp_path, x_train=TRAIN[0] + 1)
    assert main(measure) == 2  # the curvature would be that of other data


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y_train": TRAIN[1][:5]}, "40 inputs and 5 targets"),
        ({"y_train": TRAIN[1] - 1}, r"labels must be in \[0, 3\), not in \[-1, 2\]"),
        ({"y_train": TRAIN[1] + 0.5}, "class numbers, .* task 'regression'"),
        ({"x_test": TEST[0][:, :2]}, "another shape"),
        ({"x_test": TEST[0] * np.nan}, "NaN or infinity"),
        ({"x_test": TEST[0][:0], "y_test": TEST[1][:0]}, "must be training and test examples"),
        ({"x_train": np.array([None] * 40)}, "cannot read arrays .*: Object arrays"),
        ({"x_train": np.array(["a"] * 40)}, "must hold numbers"),
        ({"classes": np.array(["a", "b"])}, r"labels must be in \[0, 2\)"),
        ({"x_val": TEST[0]}, "no array 'y_val'"),
    ],
)
def test_bad_files_are_refused(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        tasks.load("arrays", path=write(tmp_path, **arrays))


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    for settings, message in (
        ({}, "task 'arrays' needs the setting 'path'"),
        ({"path": path, "shots": 99}, "ask for at most"),
        ({"path": path, "validation_share": 1.0}, r"must be in \[0, 1\)"),
        ({"path": str(tmp_path / "gone.npz")}, r"cannot read .*gone\.npz: No such file"),
    ):
        with pytest.raises(InputError, match=message):
            tasks.load("arrays", **settings)
    for contents in (b"", b"text", Path(path).read_bytes()[:300]):
        (tmp_path / "bad.npz").write_bytes(contents)
        with pytest.raises(InputError, match="cannot read arrays"):
            tasks.npz(str(tmp_path / "bad.npz"))
    with pytest.raises(InputError, match="a Dataset of pairs"):
        tasks.arrays(TensorDataset(torch.zeros(3, 2)), TEST)
    assert main(["train", "arrays", "map"]) == 2


def test_targets_are_taken_as_they_are() -> None:
    x, column = np.eye(20, dtype=np.float32), np.linspace(0, 1, 20, dtype=np.float32)[:, None]
    task = arrays((x, column), (x, column), loss=nn.MSELoss())
    assert task.train.targets.shape == (18, 1)
    assert task.outputs == 1
    pixels = np.arange(80).reshape(20, 2, 2) % 3
    assert arrays((x, pixels), (x, pixels)).train.targets.shape == (18, 2, 2)
    labels = np.arange(20)[:, None] % 2  # a column of class numbers can mean nothing else
    assert arrays((x, labels), (x, labels)).train.targets.shape == (18,)
    soft = np.full((20, 3), 1 / 3, dtype=np.float32)
    assert arrays((x, soft), (x, soft)).classes == ("0", "1", "2")
    ignored = np.where(np.arange(20) % 4, np.arange(20) % 2, -100)
    assert arrays((x, ignored), (x, ignored)).classes == ("0", "1")
    with pytest.raises(InputError, match="every label is -100"):
        arrays((x, np.full(20, -100)), (x, np.full(20, -100)))


def test_a_regression_to_a_column_is_learnt_by_any_loss() -> None:
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 80)[:, None]
    y = 2 * x + 0.1 * torch.randn(80, 1)
    for loss in (nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), "gaussian"):
        task = arrays((x, y), (x, y), loss=loss, standardise=False)
        fitted = MAP(epochs=60, learning_rate=0.1, batch_size=16).fit(nn.Linear(1, 1), task)
        found = fitted.space.call(fitted.mean, x)
        assert float((found - y).square().mean().sqrt()) < 0.15


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(5, 3), nn.Linear(7, 3)

    def forward(self, real: Tensor, word: Tensor) -> Tensor:
        outputs: Tensor = self.head(torch.cat([real, self.words(word)], 1))
        return outputs


class Examples(torch.utils.data.Dataset):
    def __init__(self, named: bool) -> None:
        self.named = named

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> object:
        if index >= 30:
            raise IndexError
        real, word = torch.full((4,), float(index)), torch.tensor(index % 5)
        return ({"real": real, "word": word} if self.named else (real, word)), index % 3


@pytest.mark.parametrize("named", [True, False])
def test_a_network_may_have_several_inputs(named: bool) -> None:
    whole = Examples(named)
    keys = ("real", "word") if named else (0, 1)
    stacked = [torch.stack([whole[index][0][key] for index in range(30)]) for key in keys]
    given = dict(zip(("real", "word"), stacked, strict=True)) if named else tuple(stacked)
    labels = torch.arange(30) % 3
    for examples in (whole, (given, labels), Data(given, labels)):
        task = arrays(examples, examples)
        assert task.sizes == {"train": 27, "validation": 3, "test": 30}
        fitted = MAP(epochs=2, batch_size=5).fit(OfTwo(), task)
        assert predict(fitted, task.test).log_probabilities.shape == (1, 30, 3)
        found = measure(fitted, task.train, eigenvalues=1)
        assert found.loss[0] == pytest.approx(fitted.history["train_loss"][-1], rel=0.5)
    with pytest.raises(InputError, match="29, 30 inputs and 30 targets"):
        Data((stacked[0], stacked[1][1:]), labels)


def test_whole_numbers_stay_whole_where_nothing_is_standardised() -> None:
    tokens = np.arange(60).reshape(20, 3) % 7
    labels = np.arange(20) % 2
    task = arrays((tokens, labels), (tokens, labels), standardise=False)
    assert task.train.inputs.dtype == torch.long
    assert arrays((tokens, labels), (tokens, labels)).train.inputs.is_floating_point()
