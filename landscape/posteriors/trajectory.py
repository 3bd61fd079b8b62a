"""Weights along a training, in its order, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.parameters import Choice
from landscape.posteriors.imported import Named, Source, from_weights, sources_of
from landscape.posteriors.posterior import Posterior
from landscape.runtime.files import atomic_write
from landscape.runtime.numbers import check_int
from landscape.runtime.tensor_files import header, open_tensors

FORMAT = "landscape-point-1"
_WHAT = "weights along a training"


@dataclass(frozen=True)
class Recorded:
    """What the file of a point says about it.

    Attributes:
        count: Number of steps, or of epochs, before it.
        unit: ``"steps"`` or ``"epochs"``.
        training: Digest of all that the training depends on, or empty.
    """

    count: int
    unit: str
    training: str = ""


@dataclass(frozen=True)
class Trajectory(Posterior):
    """Weights along a training, as a posterior whose samples are all of them, in their order.

    ``measure`` gives their curvature, each search started from the eigenvectors of the point
    before; ``surface`` with ``plane="pca"`` puts them on a plane, with their distances to it.

    Attributes:
        counts: Number of steps, or of epochs, before each point, shape (T,), rising.
        unit: ``"steps"`` or ``"epochs"``.
        training: Digest of all that the training depends on; empty where it is not known.
    """

    counts: tuple[int, ...] = ()
    unit: str = "steps"
    training: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        size = len(self.distribution.tensors().get("vectors", ()))
        if len(self.counts) != size or sorted(set(self.counts)) != list(self.counts):
            raise InputError(f"a trajectory of {size} points needs as many counts, which rise")

    def sample(self, count: int, generator: torch.Generator | int = 0) -> Tensor:
        """The first ``count`` points, shape (count, P); nothing is drawn."""
        if not 1 <= check_int(count, "the number of points") <= len(self.counts):
            raise InputError(f"this trajectory has {len(self.counts)} points, not {count}")
        return self.space.hold(self.distribution.tensors()["vectors"][:count])

    def num_available(self, count: int) -> int:
        """T, the number of points: all of them are asked for."""
        return len(self.counts)

    def places(self, count: int, seed: int = 0) -> np.ndarray | None:
        """``None``: the points are no samples of a Markov chain."""
        return None


def from_training(
    model: nn.Module,
    weights: Source | Sequence[Named | Source],
    *,
    counts: Sequence[int] | None = None,
    parameters: Choice = None,
    prefix: str | None = None,
    buffers: Literal["reestimate", "keep"] = "reestimate",
    calibration: Iterable[Batch] | None = None,
) -> Trajectory:
    """The weights along a training, from the folder of a ``methods.Recorder``.

    Args:
        model: A network of the architecture; it is not changed, and its weights are not used.
        weights: The folder; or state dicts or files, as for ``from_weights``, with ``counts``.
        counts: Number of steps before each of the weights, rising; by default the files say it.
        parameters: Choice of the inferred parameters; see ``from_weights``.
        prefix: Prefix of the names to use; see ``from_weights``.
        buffers: What is done about running statistics; see ``from_weights``.
        calibration: Training batches; see ``Posterior``.

    Raises:
        InputError: as ``from_weights``, the counts do not rise, or a file does not say its own.

    Examples:
        >>> networks = [nn.Linear(2, 3) for _ in range(4)]
        >>> states = [one.state_dict() for one in networks]
        >>> from_training(networks[0], states, counts=[0, 10, 20, 30]).counts
        (0, 10, 20, 30)
    """
    sources, about = sources_of(weights), Recorded(0, "steps")
    if counts is None:
        points = [_said_by(source) for source in sources]
        if len({(point.unit, point.training) for point in points}) > 1:
            raise InputError(f"{weights} holds weights of more than one training")
        counts, about = [point.count for point in points], points[0]
    posterior = from_weights(
        model,
        sources,
        parameters=parameters,
        prefix=prefix,
        buffers=buffers,
        calibration=calibration,
    )
    parts = {part.name: getattr(posterior, part.name) for part in fields(Posterior)}
    return Trajectory(**parts, counts=tuple(counts), unit=about.unit, training=about.training)


def write_point(path: Path, tensors: Mapping[str, Tensor], point: Recorded) -> None:
    """Write the weights of a point.

    Raises:
        InputError: a tensor is sharded or quantised.
        LandscapeError: the file could not be written.
    """
    plain = {}
    for name, tensor in tensors.items():
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_quantized:
            raise InputError(
                f"'{name}' is a {type(tensor).__name__}, of which this process may hold a part "
                "only: gather the weights, and call the recorder with them"
            )
        plain[name] = tensor.detach().cpu().contiguous().clone()
    about = {name: str(value) for name, value in vars(point).items()}
    contents = serialise(plain, metadata={"format": FORMAT, **about})
    with atomic_write(path) as temporary:
        temporary.write_bytes(contents)


def read_point(path: Path) -> Recorded:
    """What the file of a point says about it.

    Raises:
        InputError: it is no such file.
    """
    with open_tensors(path, _WHAT) as file:
        about = header(file, FORMAT, path, _WHAT)
        return Recorded(int(about["count"]), about["unit"], about["training"])


def _said_by(source: Named | Source) -> Recorded:
    if isinstance(source, Mapping):
        raise InputError("state dicts do not say their steps: give counts=")
    path = Path(source)
    if path.suffix != ".safetensors":
        raise InputError(f"{path} does not say its step: give counts=")
    return read_point(path)
