"""Networks of torchvision and timm by name. Both packages are optional dependencies."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from landscape.errors import InputError
from landscape.models.layers import image_shape
from landscape.models.weights import load_weights
from landscape.runtime.weight_files import read_weights


def torchvision(
    network: str, input_shape: Sequence[int], classes: int, weights: str = "", **settings: Any
) -> nn.Module:
    """A network of ``torchvision.models``, for example ``"resnet18"``.

    Args:
        network: Name of the network.
        input_shape: Shape (channels, height, width) of an image. The network must accept this
            number of channels.
        classes: Number of outputs.
        weights: Local file of weights; random weights if empty. Nothing is downloaded. The head is
            random if the file is for another number of classes.
        **settings: Further arguments of the network.

    Raises:
        InputError: torchvision is missing or has no such network, or the weights do not fit.
    """
    image_shape(f"torchvision:{network}", input_shape)
    package = _package("torchvision")
    if network not in package.models.list_models():
        raise InputError(f"torchvision has no network '{network}'; see torchvision.models")
    model: nn.Module = package.models.get_model(
        network, weights=None, num_classes=classes, **settings
    )
    return _with_weights(model, weights)


def timm(
    network: str, input_shape: Sequence[int], classes: int, weights: str = "", **settings: Any
) -> nn.Module:
    """A network of timm, for example ``"vit_tiny_patch16_224"``.

    Args:
        network: Name of the network.
        input_shape: Shape (channels, height, width) of an image.
        classes: Number of outputs.
        weights: Local file of weights, as in ``torchvision``.
        **settings: Further arguments of the network, for example ``img_size``.

    Raises:
        InputError: timm is missing or has no such network, or the weights do not fit.
    """
    channels, _, _ = image_shape(f"timm:{network}", input_shape)
    package = _package("timm")
    # Other names ("hf-hub:...") would start a download, and the name may come from a run file.
    if network not in package.list_models():
        raise InputError(f"timm has no network '{network}'; see timm.list_models()")
    model: nn.Module = package.create_model(
        network, pretrained=False, num_classes=classes, in_chans=channels, **settings
    )
    return _with_weights(model, weights)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise InputError(f"this network needs {name}: pip install {name} ({error})") from error


def _with_weights(model: nn.Module, path: str) -> nn.Module:
    if not path:
        return model
    weights = read_weights(Path(path))
    head = _head(model)
    fits = all(
        value.shape == weights[name].shape
        for name, value in model.state_dict().items()
        if name.startswith(head) and name in weights
    )
    return load_weights(model, path, new=[] if fits else [head])


def _head(model: nn.Module) -> str:
    """The name of the last layer with parameters, followed by a dot."""
    names = [name for name, _ in model.named_parameters()]
    return names[-1].rpartition(".")[0] + "."
