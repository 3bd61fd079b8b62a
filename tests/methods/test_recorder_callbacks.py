"""The recorder as a callback of PyTorch Lightning and of Hugging Face's Trainer.

They were tried with pytorch-lightning 2.6.6 and transformers 5.24.0. Where these are missing, the
documented hooks are called in their order, by a trainer that is no more than that.
"""

import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import landscape as ls
from landscape.errors import InputError
from landscape.methods import Recorder
from landscape.posteriors import from_training

EXPECTED = {"steps": (0, 6, 12, 18, 20), "epochs": (0, 2, 4, 5)}
"""Of 5 epochs of 4 steps, recorded every 3 steps or every epoch, in 4 files and the last."""

units = pytest.mark.parametrize("unit", ["steps", "epochs"])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def recorder(folder: Path, unit: Any) -> Recorder:
    return Recorder(folder, every=3 if unit == "steps" else 1, unit=unit, most=4)


def check(model: nn.Module, folder: Path, unit: str) -> None:
    path = from_training(network(), folder)
    assert (path.counts, path.unit) == (EXPECTED[unit], unit)
    assert torch.equal(path.sample(1)[0], ls.ParameterSpace(network()).vector())
    last = path.sample(len(path.counts))[-1]
    assert torch.equal(last, ls.ParameterSpace(model).vector())


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(40, 3), torch.randint(2, (40,))


@units
def test_lightning(unit: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning = pytest.importorskip("pytorch_lightning")
        model = network()

        class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = model

            def training_step(self, batch: Any, index: int) -> torch.Tensor:
                return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), 0.1)

        data = torch.utils.data.TensorDataset(*examples())
        lightning.Trainer(
            max_epochs=5,
            callbacks=[recorder(tmp_path, unit).lightning()],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Module(), torch.utils.data.DataLoader(data, batch_size=10))
    check(model, tmp_path, unit)


@units
def test_transformers(unit: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        model = network()

        class Module(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = model

            def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
                logits = self.net(x)
                return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

        transformers.Trainer(
            model=Module(),
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path / "out"),
                num_train_epochs=5,
                per_device_train_batch_size=10,
                report_to=[],
                save_strategy="no",
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=[{"x": x, "labels": label} for x, label in zip(*examples(), strict=True)],
            callbacks=[recorder(tmp_path / "path", unit).hugging_face()],
        ).train()
    check(model, tmp_path / "path", unit)


def step(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)


@units
def test_the_documented_hooks_of_lightning(
    unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("pytorch_lightning")
    module.Callback = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", module)
    model = network()
    wrapped = nn.ModuleDict({"net": model})
    callback = recorder(tmp_path, unit).lightning()
    trainer = SimpleNamespace(global_step=0, current_epoch=0, is_global_zero=True)
    callback.on_train_start(trainer, wrapped)
    for _ in range(5):
        for index in range(8):  # the gradients of two batches make a step
            if index % 2:
                step(model)
                trainer.global_step += 1
            callback.on_train_batch_end(trainer, wrapped, None, None, index)
        callback.on_train_epoch_end(trainer, wrapped)
        trainer.current_epoch += 1
    callback.on_train_end(trainer, wrapped)
    check(model, tmp_path, unit)
    others = SimpleNamespace(global_step=0, current_epoch=0, is_global_zero=False)
    callback.on_train_start(others, wrapped)  # another process writes nothing, and refuses nothing


@units
def test_the_documented_hooks_of_transformers(
    unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("transformers")
    module.TrainerCallback = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)
    model = network()
    callback = recorder(tmp_path, unit).hugging_face()
    state = SimpleNamespace(global_step=0, epoch=0.0, is_world_process_zero=True)
    callback.on_train_begin(None, state, None, model=model)
    for _ in range(5):
        for _ in range(4):
            step(model)
            state.global_step, state.epoch = state.global_step + 1, state.epoch + 0.25
            callback.on_step_end(None, state, None, model=model)
        callback.on_epoch_end(None, state, None, model=model)
    callback.on_train_end(None, state, None, model=model)
    check(model, tmp_path, unit)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install lightning"):
        Recorder(tmp_path).lightning()
    with pytest.raises(InputError, match="pip install transformers"):
        Recorder(tmp_path).hugging_face()
