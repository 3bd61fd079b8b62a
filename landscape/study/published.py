"""A source network that begins at published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from landscape import models
from landscape.models.weights import load_weights, read_weights
from landscape.runtime.files import check_regular, fingerprint
from landscape.tasks import Task

_NAMES = {"downsample.": "shortcut.", "fc.": "linear."}
"""Pieces of names in torchvision's residual networks, and in ours."""


def published(network: str, task: Task, weights: Path, *, normalisation: str) -> nn.Module:
    """The network with the weights of a file, and with the shortcuts that they are of.

    Args:
        network: See ``models.build``.
        task: What it was trained on.
        weights: See ``models.load_weights``; the names may be torchvision's.
        normalisation: Of the network, where the file has no running statistics.

    Raises:
        InputError: the file cannot be read, or is of another network.
    """
    names = list(read_weights(weights))
    settings: dict[str, Any] = {"normalisation": normalisation}
    if any("running_mean" in name for name in names):
        settings["normalisation"] = "batch"
    if any("downsample." in name or "shortcut." in name for name in names):
        settings["shortcut"] = "convolution"
    return load_weights(models.build(network, task, **settings), weights, rename=_NAMES)


def named(weights: Path) -> str:
    """The file's name and the beginning of its SHA-256, to know it again.

    Raises:
        InputError: the file cannot be read.
    """
    check_regular(weights)
    return f"{weights.name} ({fingerprint(weights)[:8]})"
