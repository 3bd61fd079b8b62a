"""Labelled JPEG files, stored one after the other in an array of an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.tasks.images import decode
from landscape.tasks.own_data import read_npz, real_inputs, require
from landscape.tasks.task import Data


class Jpegs:
    """JPEG files that are decoded only when they are needed.

    Args:
        files: Contents of the files.
        labels: Class numbers, shape (N,).
        size: Height and width of the decoded images in pixels.
        name: Name of the source for error messages.
    """

    def __init__(self, files: Sequence[bytes], labels: Tensor, size: int, name: str) -> None:
        self.files, self.labels, self.size, self.name = files, labels, size, name

    @staticmethod
    def read(path: Path, size: int, ending: str = "") -> Jpegs:
        """Read the arrays ``jpeg``, ``length`` and ``y`` of a file.

        ``jpeg`` holds the bytes of all files, ``length`` the number of bytes of each file, and
        ``y`` the class of each file.

        Args:
            path: Path of the ``.npz`` file.
            size: Height and width of the decoded images in pixels.
            ending: Suffix of the arrays' names.

        Raises:
            InputError: The file cannot be read, or its arrays do not fit each other.
        """
        names = [f"{name}{ending}" for name in ("jpeg", "length", "y")]
        stream, lengths, labels = require(read_npz(path), names, path)
        fits = (
            (stream.dtype == np.uint8 and stream.ndim == lengths.ndim == labels.ndim == 1)
            and (lengths.dtype.kind in "iu" and labels.dtype.kind in "iu")
            and (len(lengths) == len(labels) > 0 and bool((lengths > 0).all()))
            and bool((lengths <= len(stream)).all())  # so the sum below cannot overflow
        )
        ends = np.cumsum(lengths, dtype=np.int64) if fits else np.zeros(1)
        if not fits or ends[-1] != len(stream):
            raise InputError(
                f"{path}: jpeg{ending} must hold the bytes of all files, length{ending} the number "
                f"of bytes of each file, and y{ending} its class"
            )
        files = [contents.tobytes() for contents in np.split(stream, ends[:-1])]
        return Jpegs(files, torch.from_numpy(labels.astype(np.int64)), size, str(path))

    def __len__(self) -> int:
        return len(self.files)

    def followed_by(self, other: Jpegs) -> Jpegs:
        """The images of both collections."""
        files, labels = [*self.files, *other.files], torch.cat([self.labels, other.labels])
        return Jpegs(files, labels, self.size, f"{self.name} and {other.name}")

    def at(self, positions: Tensor) -> Data:
        """Positions (N, 1) as inputs, with labels. ``assemble`` decodes only those it selects."""
        return Data(positions[:, None], self.labels[positions])

    def pixels(self, positions: Tensor) -> Tensor:
        """The images at ``positions`` (N, 1) in [0, 1], shape (N, 3, size, size).

        Raises:
            InputError: Pillow is missing, or a file is not an image.
        """
        images = np.empty((len(positions), self.size, self.size, 3), dtype=np.uint8)
        for row, position in enumerate(positions[:, 0].tolist()):
            name = f"{position} of {self.name}"
            images[row] = decode(BytesIO(self.files[position]), name, self.size)
        return real_inputs(torch.from_numpy(images))
