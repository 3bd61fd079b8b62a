"""Networks by name. Any other ``torch.nn.Module`` works as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from landscape.errors import InputError, reason, refused
from landscape.models import pretrained
from landscape.models.convnet import ConvNet
from landscape.models.mlp import MLP
from landscape.models.pretrained import transform_of
from landscape.models.resnet import ResNet, cifar_resnet, resnet18
from landscape.models.vit import ViT
from landscape.models.weights import load_weights
from landscape.tasks import Task

MODELS: dict[str, Callable[..., nn.Module]] = {
    "convnet": ConvNet,
    "efficientnet-lite0": pretrained.efficientnet_lite0,
    "mlp": MLP,
    **{f"resnet{depth}": partial(cifar_resnet, depth=depth) for depth in (20, 32, 44, 56, 110)},
    "resnet18": resnet18,
    "vit": ViT,
}
_PACKAGES: dict[str, Callable[..., nn.Module]] = {
    "torchvision": pretrained.torchvision,
    "timm": pretrained.timm,
}


def build(name: str, task: Task | None = None, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Make the network called ``name``, with random initial weights.

    The attribute ``architecture`` of the network records how it was built. With it a saved
    posterior can be loaded without a network. A network with trained weights also has the
    attribute ``transform``: give the network the images of ``task.transformed(model.transform)``.

    Args:
        name: Name of the network: one of ``MODELS``, ``"torchvision:NETWORK"`` or
            ``"timm:NETWORK"``.
        task: Task that determines ``input_shape`` and ``classes``.
        seed: Seed of the initial weights. The global random generator is not changed.
        **settings: Arguments of the network.

    Raises:
        InputError: The network or a setting is unknown.
    """
    package, _, network = name.partition(":")
    if package in _PACKAGES and network:
        make: Callable[..., nn.Module] = partial(_PACKAGES[package], network)
    elif name in MODELS:
        make = MODELS[name]
    else:
        raise InputError(
            f"unknown model '{name}'; known: {', '.join(MODELS)}, torchvision:NETWORK, timm:NETWORK"
        )
    if task is not None:
        shape = tuple(task.train.inputs.shape[1:])
        settings = {"input_shape": shape, "classes": task.outputs} | settings
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reset the generators of all other devices.
        torch.default_generator.manual_seed(seed)
        try:
            model = make(**settings)
        except TypeError as error:
            raise InputError(f"model '{name}': {reason(error)}") from error
    # A rebuilt network gets other weights, and this file may not exist any more.
    settings.pop("weights", None)
    model.architecture = {"name": name, **settings}  # type: ignore[assignment]
    return model


def rebuild(architecture: dict[str, Any] | None, most: int | None = None) -> nn.Module:
    """The network that a saved posterior describes, with arbitrary weights.

    Args:
        architecture: Description of the network. It may come from an untrusted file.
        most: Largest allowed number of weights, for example the size of the posterior's file in
            bytes. Larger networks are refused before they take memory.

    Raises:
        InputError: The network was not made by ``build``, cannot be made, or is too large. A
            posterior over your own network must be loaded into that network.
    """
    if not architecture:
        raise InputError(
            "this posterior belongs to a network of your own: load it with "
            "landscape.posteriors.load(path, model)"
        )
    settings = dict(architecture)
    name = str(settings.pop("name", ""))
    settings.pop("weights", None)  # the posterior has its own weights
    with refused("this posterior describes a network that cannot be built"):
        if most is not None and name in MODELS:
            with torch.device("meta"), _limited_weights(most):  # takes no memory
                build(name, **settings)
        with _limited_weights(most):
            return build(name, **settings)


@contextmanager
def _limited_weights(most: int | None) -> Iterator[None]:
    """Refuse to build networks with more than ``most`` weights inside the block."""
    count = 0

    def add(_: nn.Module, __: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += max(1, parameter.numel())  # an empty parameter also takes time
        if most is not None and count > most:
            raise InputError(
                f"this posterior describes a network of more than {most:,} weights, but its file "
                "is too small for them"
            )

    hook = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()


__all__ = [
    "MLP",
    "MODELS",
    "ConvNet",
    "ResNet",
    "ViT",
    "build",
    "cifar_resnet",
    "load_weights",
    "rebuild",
    "resnet18",
    "transform_of",
]
