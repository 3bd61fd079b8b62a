"""Weights kept along a training, on bounded disk: in ``fit``, Lightning, Hugging Face or a loop."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from landscape.errors import InputError
from landscape.posteriors.trajectory import Recorded, read_point, write_point
from landscape.runtime.numbers import check_int

UNITS = ("steps", "epochs")
_NAME = re.compile(r"(step|epoch)-(\d+)\.safetensors")


class Recorder:
    """Keeps the weights every ``every`` steps in a folder of at most ``most`` files.

    When the folder is full, every second file is removed and the interval doubles. So the files
    are spread evenly over the training at any time, however long it gets. The interval depends on
    the number of steps alone: a training that is continued keeps the same files. The last weights
    of a training are kept beside them.

    Read the folder by ``posteriors.from_training``. Each file has the network's ``state_dict``.

    In a loop of your own call it with the number of steps so far and the network. ``Method.fit``
    takes it as ``recorder=``. ``lightning()`` and ``hugging_face()`` give callbacks.

    Args:
        folder: The folder; it is created.
        every: Number of steps between two points, before the interval has doubled.
        unit: ``"steps"`` of the optimiser, or ``"epochs"``.
        most: Largest number of files, at least 2, beside the last weights.
        overwrite: Whether to remove the points of another training from the folder.

    Raises:
        InputError: a setting is out of range, or the folder cannot be made.

    Examples:
        >>> import tempfile
        >>> folder, network = tempfile.mkdtemp(), nn.Linear(2, 1)
        >>> recorder = Recorder(folder, every=10, most=4)
        >>> for step in range(101):
        ...     recorder(step, network)
        >>> [file.name for file in recorder.files()]
        ['step-0.safetensors', 'step-40.safetensors', 'step-80.safetensors']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int = 1,
        unit: Literal["steps", "epochs"] = "steps",
        most: int = 50,
        overwrite: bool = False,
    ) -> None:
        if unit not in UNITS:
            raise InputError(f"a recorder's unit is one of {', '.join(UNITS)}, not '{unit}'")
        self.folder, self.unit, self.overwrite = Path(folder), unit, overwrite
        self.every = check_int(every, "the interval of a recorder")
        self.most = check_int(most, "the number of files", least=2)
        self.training = ""
        self._before: int | None = None

    def __call__(
        self, count: int, weights: nn.Module | Mapping[str, Any], *, last: bool = False
    ) -> None:
        """Keep the weights if their turn has come.

        Args:
            count: Number of steps, or of epochs, so far.
            weights: The network, or its state dict.
            last: Whether they are the last ones, which are always kept.

        Raises:
            InputError: the folder holds another training, or weights are sharded.
            LandscapeError: a file could not be written.
        """
        if self._before is None:
            self.begin(count)
        if not last and not self.is_due(count):
            return
        interval = self.interval(count)
        for number, file in self._files():
            if number % interval and number != count:
                file.unlink(missing_ok=True)
        named = weights.state_dict() if isinstance(weights, nn.Module) else weights
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        path = self.folder / f"{self.unit[:-1]}-{count}.safetensors"
        write_point(path, tensors, Recorded(count, self.unit, self.training))
        self._before = count

    def is_due(self, count: int) -> bool:
        """Whether the weights after ``count`` steps are kept, and are not yet."""
        return count != self._before and count % self.interval(count) == 0

    def interval(self, count: int) -> int:
        """The interval after ``count`` steps: the least at which the points so far are enough."""
        interval = self.every
        while count // interval + 1 > self.most:
            interval *= 2
        return interval

    def files(self) -> list[Path]:
        """The files so far, in their order."""
        return [file for _, file in self._files()]

    def begin(self, count: int, training: str = "") -> None:
        """Begin a training, or continue one; ``fit`` and the callbacks call it.

        Args:
            count: Number of steps, or of epochs, before it. Later points are removed: they come
                again.
            training: Digest of all that the training depends on; empty where it is not known.

        Raises:
            InputError: the folder holds another training, and is not to be overwritten.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {self.folder}: {error.strerror or error}") from error
        self.training, self._before = training, -1
        files = self._files()
        points = [read_point(file) for _, file in files]
        is_new = not training and not count
        if any(is_new or (p.unit, p.training) != (self.unit, training) for p in points):
            if not self.overwrite:
                raise InputError(
                    f"{self.folder} holds the weights of another training: choose another folder, "
                    "or overwrite it"
                )
            for _, file in files:
                file.unlink()
        else:
            for number, file in files:
                if number > count:
                    file.unlink()

    def lightning(self) -> Any:
        """A callback for the ``Trainer`` of PyTorch Lightning.

        The weights are those of the ``LightningModule``: its own names come before the network's,
        and ``from_training`` finds such a prefix.

        Raises:
            InputError: Lightning is not installed.
        """
        return _lightning(self)

    def hugging_face(self) -> Any:
        """A callback for the ``Trainer`` of Hugging Face's Transformers.

        Raises:
            InputError: Transformers is not installed.
        """
        return _hugging_face(self)

    def _files(self) -> list[tuple[int, Path]]:
        names = [(_NAME.fullmatch(file.name), file) for file in self.folder.glob("*.safetensors")]
        return sorted((int(match[2]), file) for match, file in names if match)


def _lightning(recorder: Recorder) -> Any:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError as error:
            raise InputError("this callback needs 'pip install lightning'") from error

    class Recording(Callback):  # type: ignore[misc]
        """Calls the recorder with the module's weights."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                recorder.begin(self._count(trainer))
                recorder(self._count(trainer), pl_module)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any, **__: Any) -> None:
            if recorder.unit == "steps" and trainer.is_global_zero:
                recorder(trainer.global_step, pl_module)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if recorder.unit == "epochs" and trainer.is_global_zero:
                recorder(trainer.current_epoch + 1, pl_module)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                recorder(self._count(trainer), pl_module, last=True)

        def _count(self, trainer: Any) -> int:
            return int(trainer.global_step if recorder.unit == "steps" else trainer.current_epoch)

    return Recording()


def _hugging_face(recorder: Recorder) -> Any:
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise InputError("this callback needs 'pip install transformers'") from error

    class Recording(TrainerCallback):  # type: ignore[misc]
        """Calls the recorder with the model's weights."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.is_world_process_zero:
                recorder.begin(self._count(state))
                recorder(self._count(state), given["model"])

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if recorder.unit == "steps" and state.is_world_process_zero:
                recorder(state.global_step, given["model"])

        def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if recorder.unit == "epochs" and state.is_world_process_zero:
                recorder(self._count(state), given["model"])

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.is_world_process_zero:
                recorder(self._count(state), given["model"], last=True)

        def _count(self, state: Any) -> int:
            return int(state.global_step) if recorder.unit == "steps" else round(state.epoch or 0)

    return Recording()
