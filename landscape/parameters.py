"""A module's parameters as one flat vector: the only place that knows how one becomes the other."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.batches import map_tensors
from landscape.differentiation import as_trained, check_tensor, uncast
from landscape.errors import InputError

T = TypeVar("T")
Choice = Callable[[str, nn.Parameter], bool] | Sequence[str] | None


class ParameterSpace:
    """R^P: the random parameters of a module, laid end to end in the module's own order.

    The module is copied, so that the user's is never changed; the parameters that are not random,
    and the buffers, keep the values they had when the space was made. Tied weights are one
    parameter and appear once.

    Args:
        model: Any module.
        random: Which parameters are random: ``None`` for every one that requires a gradient, a
            name or a list of them, or a predicate of (name, parameter).
        device: Where the copy lives; the model's own device if ``None``.
        dtype: Floating-point type of the copy; the model's own if ``None``.

    Attributes:
        module: The private copy.
        names: Names of the random parameters.
        shapes: Their shapes.
        size: P, the number of random scalars.

    Raises:
        InputError: no parameter is random, a name is unknown, or a parameter is not real
            floating-point.

    Example:
        >>> space = ParameterSpace(nn.Linear(2, 3))
        >>> space.size, space.names
        (9, ('weight', 'bias'))
        >>> space.call(torch.zeros(9), torch.ones(1, 2)).tolist()
        [[0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        model: nn.Module,
        random: Choice = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        with torch.inference_mode(False):  # else no gradient could be taken of the copy
            self.module = _copy(model).to(device=device, dtype=dtype)
        named = dict(self.module.named_parameters())
        chosen = _choose(named, random)
        if not chosen:
            raise InputError(
                "no parameter is random: the model has none that requires a gradient, or the "
                "choice matches none"
            )
        for name in chosen:
            if not named[name].dtype.is_floating_point:
                raise InputError(f"parameter '{name}' has type {named[name].dtype}, not a real one")
        self.module.requires_grad_(False)
        self.names = tuple(chosen)
        self.shapes = tuple(named[name].shape for name in chosen)
        self.size = sum(shape.numel() for shape in self.shapes)
        self._lengths = [shape.numel() for shape in self.shapes]
        self._values = [named[name] for name in chosen]
        self._is_tied = _has_tied_tensors(self.module)  # looking for them takes time at every call
        self._has_attention = any(
            isinstance(layer, nn.MultiheadAttention | nn.TransformerEncoder)
            for layer in self.module.modules()
        )
        layers = list(self.module.modules())
        self._runs_channels_last = self.device.type == "cpu" and any(
            isinstance(layer, nn.Conv2d) for layer in layers
        )
        # None where it is not known yet. The derivatives of these are slower so, and grey images
        # have no channels to be laid out last.
        slower = any(
            isinstance(layer, nn.MaxPool2d | nn.GroupNorm)
            or (isinstance(layer, nn.Conv2d) and layer.in_channels == 1)
            for layer in layers
        )
        self._derives_channels_last = False if slower else None

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self._values[0].device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return self._values[0].dtype

    @property
    def signature(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes; two spaces with the same signature can exchange vectors."""
        return tuple(
            (name, tuple(shape)) for name, shape in zip(self.names, self.shapes, strict=True)
        )

    def vector(self) -> Tensor:
        """The random parameters' values when the space was made, shape (P,)."""
        return torch.cat([value.reshape(-1) for value in self._values])

    @property
    def slices(self) -> list[slice]:
        """Where each random parameter lies in a vector."""
        ends = list(itertools.accumulate(self._lengths))
        return [slice(end - length, end) for end, length in zip(ends, self._lengths, strict=True)]

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Views into ``vector`` (P,), by name and in the parameters' shapes."""
        if vector.shape != (self.size,):
            raise InputError(
                f"a vector of this space has shape ({self.size},), not {tuple(vector.shape)}"
            )
        parts = torch.split(vector, self._lengths)
        return {
            name: part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The inverse of ``unflatten``."""
        return torch.cat([tensors[name].reshape(-1) for name in self.names])

    def buffers(self) -> dict[str, Tensor]:
        """A fresh copy of the module's buffers, for one posterior sample or one training state."""
        return {name: buffer.clone() for name, buffer in self.module.named_buffers()}

    def call(
        self,
        vector: Tensor,
        inputs: Any,
        buffers: Mapping[str, Tensor] | None = None,
        *,
        training: bool = False,
    ) -> Any:
        """The module's output with ``vector`` for its random parameters.

        Args:
            vector: Shape (P,).
            inputs: A tensor, a tuple of positional arguments or a dict of keyword arguments;
                real tensors are moved to the space's device and type.
            buffers: Buffers by name; in training mode running statistics are updated in them.
                The module's own, on a copy, if ``None``.
            training: Whether dropout and batch statistics act as in training.

        Raises:
            InputError: the weights do not fit, or a batch in training is too small to normalise.
        """
        if self.module.training != training:
            self.module.train(training)
        if buffers is None:
            buffers = self.buffers() if training else {}
        elif not training:
            buffers = self.move(buffers)
        try:
            return self._run({**self._weights(vector), **buffers}, self.move(inputs))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "a batch of one example has no statistics to normalise by: choose a batch size "
                "that leaves no single example, or a network without batch normalisation"
            ) from error

    @torch.no_grad()
    @uncast()
    def predict(
        self, vector: Tensor, inputs: Any, buffers: Mapping[str, Tensor] | None = None
    ) -> Any:
        """As ``evaluate``, without gradients."""
        return self.evaluate(vector, inputs, buffers)

    def evaluate(
        self, vector: Tensor, inputs: Any, buffers: Mapping[str, Tensor] | None = None
    ) -> Any:
        """As ``call`` in evaluation mode, often in less time.

        On the CPU images and convolutions are laid out with their channels last, where torch's
        kernels are up to four times as fast; values change by rounding only. A module that cannot
        run so, as one with a ``view`` of feature maps, or that returns no tensor runs as it is.

        Args:
            vector: Shape (P,).
            inputs: See ``call``.
            buffers: See ``call``.
        """
        inputs = self.move(inputs)
        if torch._C._are_functorch_transforms_active() or (
            torch.is_grad_enabled() and self._runs_channels_last and not self._derives(inputs)
        ):
            return self.call(vector, inputs, buffers)

        def run(channels_last: bool) -> Any:
            if not channels_last:
                return self.call(vector, inputs, buffers)
            if self.module.training:
                self.module.eval()
            values = {**self._weights(vector), **self.move(buffers or {})}
            return _usual(self._run(_channels_last(values), _channels_last(inputs)))

        return self._laid_out(run)

    @torch.no_grad()
    @uncast()
    def predict_within(
        self,
        vector: Tensor,
        work: Callable[[Callable[[Any], Any]], T],
        buffers: Mapping[str, Tensor] | None = None,
    ) -> T:
        """What ``work`` makes of the network at one weight vector.

        Args:
            vector: Shape (P,).
            work: Gets the network, a function of inputs as ``predict`` is, which it may call as
                often as it likes and in several threads. Where a layout of images turns out not to
                do, ``work`` is called again, from the start.
            buffers: See ``call``.
        """
        if self.module.training:
            self.module.eval()

        def run(channels_last: bool) -> T:
            def network(inputs: Any) -> Any:
                if not channels_last:
                    return _forward(self.module, self.move(inputs))
                return _usual(_forward(self.module, _channels_last(self.move(inputs))))

            values = {**self._weights(vector), **self.move(buffers or {})}
            values = _channels_last(values) if channels_last else values
            inner = {f"module.{name}": value for name, value in values.items()}
            found: T = self._run(inner, partial(work, network), _Within(self.module))
            return found

        return self._laid_out(run)

    def _laid_out(self, run: Callable[[bool], T]) -> T:
        """``run(True)``, for channels last, where the module can, else ``run(False)``."""
        if self._runs_channels_last:
            try:
                return run(True)
            except RuntimeError:  # of the layout, or the run below raises it again
                self._runs_channels_last = False
        return run(False)

    def _derives(self, inputs: Any) -> bool:
        """Whether derivatives may be taken with channels last, seen at the first two examples.

        A function with a ``view`` in its backward pass cannot.
        """
        if self._derives_channels_last is None:
            self._derives_channels_last = False
            with suppress(RuntimeError, IndexError, AttributeError), torch.enable_grad():
                w = self.vector().requires_grad_()
                few = map_tensors(lambda tensor: tensor[:2], inputs)
                outputs = self._run(_channels_last(self.unflatten(w)), _channels_last(few))
                (gradient,) = torch.autograd.grad(outputs.square().sum(), w, create_graph=True)
                torch.autograd.grad(gradient.square().sum(), w)
                self._derives_channels_last = True
        return self._derives_channels_last

    def _weights(self, vector: Tensor) -> dict[str, Tensor]:
        check_tensor(vector)
        if vector.dtype != self.dtype:
            raise InputError(
                f"weights of {vector.dtype} for a network of {self.dtype}: convert one of them"
            )
        return self.unflatten(vector)

    def _run(self, values: dict[str, Tensor], inputs: Any, module: nn.Module | None = None) -> Any:
        arguments = ((), inputs) if isinstance(inputs, dict) else (inputs, None)
        with as_trained() if self._has_attention else nullcontext():
            return functional_call(
                module or self.module, values, *arguments, tie_weights=self._is_tied
            )

    def move(self, value: Any) -> Any:
        """``value`` with its tensors on the space's device, real ones in the space's type.

        Those made in inference mode, which no graph may keep, are copied outside it.
        """
        return map_tensors(self._moved, value)

    def _moved(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else None
        if tensor.is_inference() and not torch.is_inference_mode_enabled():
            tensor = tensor.clone()
        return tensor.to(device=self.device, dtype=dtype, non_blocking=True)


def _copy(model: nn.Module) -> nn.Module:
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("a scripted module has no gradients to copy: pass the one it was made of")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise InputError(f"unwrap the {type(model).__name__}: pass its .module")
    if any(isinstance(each, nn.UninitializedParameter) for each in model.parameters()):
        raise InputError("a lazy layer has no parameters yet: call the network on a batch first")
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the network cannot be copied ({reason}); of the older torch.nn.utils.weight_norm and "
            "spectral_norm, take those in torch.nn.utils.parametrizations"
        ) from error


class _Within(nn.Module):
    """A network during whose functional call other work is done with it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


def _forward(module: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return module(**inputs)
    return module(*inputs) if isinstance(inputs, tuple) else module(inputs)


def _usual(outputs: Any) -> Tensor:
    """``outputs`` in their usual layout.

    Raises:
        RuntimeError: they are no tensor.
    """
    if not isinstance(outputs, Tensor):
        raise RuntimeError("a module that returns no tensor runs in its usual layout")
    return outputs.contiguous()


def _channels_last(value: Any) -> Any:
    """``value`` with its images and convolutions laid out with their channels last."""

    def laid_out(tensor: Tensor) -> Tensor:
        if tensor.ndim != 4:
            return tensor
        return tensor.contiguous(memory_format=torch.channels_last)

    return map_tensors(laid_out, value)


def _has_tied_tensors(module: nn.Module) -> bool:
    """Whether a parameter or buffer has two names."""
    every = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    return len(every) > len({id(tensor) for _, tensor in every})


def _choose(named: Mapping[str, nn.Parameter], random: Choice) -> list[str]:
    if random is None:
        return [name for name, parameter in named.items() if parameter.requires_grad]
    if callable(random):
        return [name for name, parameter in named.items() if random(name, parameter)]
    random = [random] if isinstance(random, str) else random
    unknown = sorted(set(random) - set(named))
    if unknown:
        raise InputError(f"the model has no parameter '{unknown[0]}'; it has {', '.join(named)}")
    return [name for name in named if name in set(random)]
