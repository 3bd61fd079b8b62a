"""Labelled JPEG files, end to end in the arrays of an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.tasks.images import decode
from landscape.tasks.own_data import read_npz, real_inputs
from landscape.tasks.task import Data


class Jpegs:
    """JPEG files of which only those in use are decoded.

    Args:
        files: Their bytes.
        labels: Class numbers, shape (N,).
        size: Height and width to bring them to.
        name: Of where they are from, for errors.
    """

    def __init__(self, files: Sequence[bytes], labels: Tensor, size: int, name: str) -> None:
        self.files, self.labels, self.size, self.name = files, labels, size, name

    @staticmethod
    def read(path: Path, size: int, ending: str = "") -> Jpegs:
        """The images of the arrays ``jpeg``, ``length`` (in bytes) and ``y``, one after the other.

        Args:
            path: The file.
            size: Height and width to bring them to.
            ending: Of the arrays' names.

        Raises:
            InputError: the file cannot be read, or its arrays do not fit each other.
        """
        found = read_npz(path)
        for name in ("jpeg", "length", "y"):
            if f"{name}{ending}" not in found:
                raise InputError(
                    f"{path} has no array '{name}{ending}'; it holds {', '.join(found)}"
                )
        stream, lengths, labels = (found[f"{name}{ending}"] for name in ("jpeg", "length", "y"))
        fits = (
            (stream.dtype == np.uint8 and stream.ndim == lengths.ndim == labels.ndim == 1)
            and (lengths.dtype.kind in "iu" and labels.dtype.kind in "iu")
            and (len(lengths) == len(labels) > 0 and bool((lengths > 0).all()))
            and bool((lengths <= len(stream)).all())  # so that no sum overflows
        )
        ends = np.cumsum(lengths, dtype=np.int64) if fits else np.zeros(1)
        if not fits or ends[-1] != len(stream):
            raise InputError(
                f"{path}: jpeg{ending} must be the bytes of all files, and length{ending} and "
                f"y{ending} the bytes and the class of each"
            )
        files = [part.tobytes() for part in np.split(stream, ends[:-1])]
        return Jpegs(files, torch.from_numpy(labels.astype(np.int64)), size, str(path))

    def __len__(self) -> int:
        return len(self.files)

    def followed_by(self, other: Jpegs) -> Jpegs:
        """The images of both."""
        files, labels = [*self.files, *other.files], torch.cat([self.labels, other.labels])
        return Jpegs(files, labels, self.size, f"{self.name} and {other.name}")

    def at(self, positions: Tensor) -> Data:
        """Positions (N, 1) and labels, for ``assemble`` to choose from before ``pixels``."""
        return Data(positions[:, None], self.labels[positions])

    def pixels(self, positions: Tensor) -> Tensor:
        """The images at ``positions`` (N, 1), shape (N, 3, size, size), in [0, 1].

        Raises:
            InputError: Pillow is missing, or a file is no image.
        """
        images = np.empty((len(positions), self.size, self.size, 3), dtype=np.uint8)
        for row, position in enumerate(positions[:, 0].tolist()):
            name = f"{position} of {self.name}"
            images[row] = decode(BytesIO(self.files[position]), name, self.size)
        return real_inputs(torch.from_numpy(images))
