"""Private copies of networks, so that a user's own is never changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landscape.errors import InputError


def copy_module(model: nn.Module) -> nn.Module:
    """A copy of a network that computes the same and has all derivatives.

    A compiled part is replaced by its original, because it has no second derivative. Tensors from a
    forward pass (activations, a pruned weight) are copied without their graphs. Embeddings get
    dense gradients.

    Raises:
        InputError: the network is scripted, wrapped for several devices or lazy, or a part of it
            cannot be copied.
    """
    model = _original(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("a scripted module has no gradients to copy: pass its original")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise InputError(f"unwrap the {type(model).__name__}: pass its .module")
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        raise InputError("a lazy layer has no parameters yet: call the network on a batch first")
    try:
        with torch.inference_mode(False), _WithoutGraphs():  # else the copy could have no gradient
            copied = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the network cannot be copied ({reason}): keep that part outside of it"
        ) from error
    for layer in list(copied.modules()):
        for name, child in layer.named_children():
            setattr(layer, name, _original(child))
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            layer.sparse = False  # the same numbers, with a second derivative
    return copied


def _original(module: nn.Module) -> nn.Module:
    # By name: the import of the class takes longer than that of torch.
    while type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod"):
        module = getattr(module, "_orig_mod")  # noqa: B009
    return module


class _WithoutGraphs(TorchFunctionMode):
    """Within it computed tensors are copied as numbers, which torch refuses."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))
