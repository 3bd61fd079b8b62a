"""Source networks with published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from landscape import models
from landscape.models.weights import load_weights
from landscape.runtime.files import check_regular, fingerprint
from landscape.runtime.weight_files import read_weights
from landscape.tasks import Task

_NAMES = {"downsample.": "shortcut.", "fc.": "linear."}
"""Parts of parameter names: in torchvision's residual networks, and in ours."""


def published(network: str, task: Task, weights: Path, *, normalisation: str) -> nn.Module:
    """A network with the weights of a file. The file also determines the kind of its shortcuts.

    Args:
        network: Name of the network, as in ``models.build``.
        task: Task that the network was trained on.
        weights: File of weights, as in ``models.load_weights``. Torchvision's names are understood.
        normalisation: Normalisation of the network. A file with running statistics overrides it.

    Raises:
        InputError: The file cannot be read, or it belongs to another network.
    """
    names = list(read_weights(weights))
    settings: dict[str, Any] = {"normalisation": normalisation}
    if any("running_mean" in name for name in names):
        settings["normalisation"] = "batch"
    if any("downsample." in name or "shortcut." in name for name in names):
        settings["shortcut"] = "convolution"
    return load_weights(models.build(network, task, **settings), weights, rename=_NAMES)


def file_label(weights: Path) -> str:
    """The file's name and the first 8 digits of its SHA-256, which identify it.

    Raises:
        InputError: The file cannot be read.
    """
    check_regular(weights)
    return f"{weights.name} ({fingerprint(weights)[:8]})"
