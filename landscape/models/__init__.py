"""Networks, by name; any ``torch.nn.Module`` works as well."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from landscape.errors import InputError
from landscape.models.convnet import ConvNet
from landscape.tasks import Task

MODELS: dict[str, type[nn.Module]] = {"convnet": ConvNet}


def build(name: str, task: Task | None = None, *, seed: int = 0, **settings: Any) -> nn.Module:
    """Make the network called ``name``, with the initial weights of ``seed``.

    The network remembers in its attribute ``architecture`` how it was built, so that a saved
    posterior can be loaded without its code.

    Args:
        name: One of ``MODELS``.
        task: Fills in ``input_shape`` and ``classes``.
        seed: Governs the initial weights; the global generator is left as it was.
        **settings: What that network takes.

    Raises:
        InputError: unknown network or setting.
    """
    if name not in MODELS:
        raise InputError(f"unknown model '{name}'; known: {', '.join(MODELS)}")
    if task is not None:
        shape = tuple(task.train.inputs.shape[1:])
        settings = {"input_shape": shape, "classes": len(task.classes)} | settings
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: torch.manual_seed would also reset every other device's.
        torch.default_generator.manual_seed(seed)
        try:
            model = MODELS[name](**settings)
        except TypeError as error:
            raise InputError(f"model '{name}': {error}") from error
    model.architecture = {"name": name, **settings}  # type: ignore[assignment]
    return model


def rebuild(architecture: dict[str, Any] | None) -> nn.Module:
    """The network that a saved posterior describes, with arbitrary weights.

    Raises:
        InputError: it was not made by ``build``; load the posterior into your own network.
    """
    if not architecture:
        raise InputError(
            "this posterior is over a network of your own: load it with "
            "landscape.posteriors.load(path, model)"
        )
    settings = dict(architecture)
    return build(settings.pop("name"), **settings)


__all__ = ["MODELS", "ConvNet", "build", "rebuild"]
