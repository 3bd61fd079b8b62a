"""Networks, by name; any ``torch.nn.Module`` works as well."""

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
from landscape.models.resnet import ResNet, cifar_resnet, resnet18
from landscape.models.vit import ViT
from landscape.models.weights import load_weights
from landscape.tasks import Task

MODELS: dict[str, Callable[..., nn.Module]] = {
    "convnet": ConvNet,
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
    """Make the network called ``name``, with the initial weights of ``seed``.

    The network remembers in its attribute ``architecture`` how it was built, so that a saved
    posterior can be loaded without its code.

    Args:
        name: One of ``MODELS``, or ``"torchvision:NETWORK"`` or ``"timm:NETWORK"``.
        task: Fills in ``input_shape`` and ``classes``.
        seed: Governs the initial weights; the global generator is left as it was.
        **settings: What that network takes.

    Raises:
        InputError: unknown network or setting.
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
        # The CPU's generator alone: torch.manual_seed would also reset every other device's.
        torch.default_generator.manual_seed(seed)
        try:
            model = make(**settings)
        except TypeError as error:
            raise InputError(f"model '{name}': {reason(error)}") from error
    # Whoever rebuilds it has other weights to put in, and perhaps not that file.
    settings.pop("weights", None)
    model.architecture = {"name": name, **settings}  # type: ignore[assignment]
    return model


def rebuild(architecture: dict[str, Any] | None, most: int | None = None) -> nn.Module:
    """The network that a saved posterior describes, with arbitrary weights.

    Args:
        architecture: Description of the network; it may come from anybody.
        most: Number of weights above which the network is refused before it takes memory: no more
            than the bytes of the posterior's file.

    Raises:
        InputError: the network was not made by ``build``, cannot be made, or is too large. Load a
            posterior over a network of your own into that network.
    """
    if not architecture:
        raise InputError(
            "this posterior is over a network of your own: load it with "
            "landscape.posteriors.load(path, model)"
        )
    settings = dict(architecture)
    name = str(settings.pop("name", ""))
    settings.pop("weights", None)  # others are put in
    with refused("this posterior describes a network that cannot be built"):
        if most is not None and name in MODELS:
            with torch.device("meta"), _at_most(most):  # where weights take no memory
                build(name, **settings)
        with _at_most(most):
            return build(name, **settings)


@contextmanager
def _at_most(most: int | None) -> Iterator[None]:
    """Refuse to build a network of more weights."""
    count = 0

    def add(_: nn.Module, __: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += max(1, parameter.numel())  # an empty one takes time, too
        if most is not None and count > most:
            raise InputError(
                f"this posterior describes a network of more than {most:,} weights, which its file "
                "cannot hold"
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
]
