"""A module's parameters as one flat vector, and back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from landscape.autograd.double_backward import BilinearLayers
from landscape.autograd.pytrees import map_tensors, tensors_of
from landscape.autograd.settings import as_trained, check_tensor, differentiable, no_autocast
from landscape.errors import InputError
from landscape.objective.copies import copy_module

Choice = Callable[[str, nn.Parameter], bool] | Sequence[str] | None
Network = Callable[[Any], Any]
Slots = list[tuple[dict[str, Any], str]]


class ParameterSpace:
    """R^P: the inferred parameters of a module, one after the other in the module's own order.

    The module is copied, so the user's is never changed. The buffers and the parameters that are
    not inferred keep the values of the moment when the space was made. Tied weights are one
    parameter and appear once. An embedding's row for padding is no parameter. It has a place in a
    vector, but keeps its own value whatever the vector says.

    Args:
        model: Any module.
        parameters: The parameters to infer: ``None`` for all that require a gradient, a name or a
            list of names, or a predicate of (name, parameter).
        device: Device of the copy; the model's own if ``None``.
        dtype: Floating-point type of the copy; the model's own if ``None``.

    Attributes:
        module: The private copy.
        names: Names of the inferred parameters.
        shapes: Shapes of the inferred parameters.
        size: P, the number of inferred scalars.

    Raises:
        InputError: no parameter is chosen, a name is unknown, or a parameter is not real
            floating-point.

    Examples:
        >>> space = ParameterSpace(nn.Linear(2, 3))
        >>> space.size, space.names
        (9, ('weight', 'bias'))
        >>> space.call(torch.zeros(9), torch.ones(1, 2)).tolist()
        [[0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Choice = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        with torch.inference_mode(False):  # otherwise the copy would have no gradient
            self.module = copy_module(model).to(device=device, dtype=dtype)
        named = dict(self.module.named_parameters())
        chosen = _choose(named, parameters)
        if not chosen:
            raise InputError(
                "no parameter is chosen: the model has none that requires a gradient, or the "
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
        layers = list(self.module.modules())
        self._has_attention = any(
            isinstance(layer, nn.MultiheadAttention | nn.TransformerEncoder) for layer in layers
        )
        self._has_shift_alone = any(
            isinstance(layer, nn.GroupNorm) and layer.weight is None for layer in layers
        )
        # torch 2 crashes in the gradient of a group normalisation whose input has its channels last
        # and needs no gradient, as behind frozen convolutions.
        has_groups = any(isinstance(layer, nn.GroupNorm) for layer in layers)
        self._memory_format = torch.contiguous_format if has_groups else torch.preserve_format
        convolves = any(isinstance(layer, nn.Conv2d) for layer in layers)
        # Derivatives of these are slower with channels last, and grey images have one channel.
        slower = any(
            isinstance(layer, nn.MaxPool2d | nn.GroupNorm)
            or (isinstance(layer, nn.Conv2d) and layer.in_channels == 1)
            for layer in layers
        )
        # Whether images may have their channels last, without and with derivatives; None if that is
        # not known yet.
        can = None if convolves and self.device.type == "cpu" else False
        self._channels_last = {False: can, True: False if slower else can}
        self._differentiates = False  # in its forward pass; a failed pass sets it to True
        self._is_settled = False

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
        """The inferred parameters' values when the space was made, shape (P,)."""
        return torch.cat([value.reshape(-1) for value in self._values])

    @property
    def slices(self) -> list[slice]:
        """The part of a vector that belongs to each inferred parameter."""
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

    @contextmanager
    def at(
        self,
        vector: Tensor,
        buffers: Mapping[str, Tensor] | None = None,
        *,
        training: bool = False,
    ) -> Iterator[Network]:
        """Within it the module has the inferred parameters of ``vector``.

        Take backward passes within it, too: a network with activation checkpoints runs forward
        again in them. The network works on copies, whatever it changes in place; but in training
        it updates the running statistics in ``buffers``.

        On the CPU images and convolutions are laid out with their channels last where that is
        faster; values change by rounding only.

        Args:
            vector: Inferred parameters, shape (P,).
            buffers: Buffers by name; the module's own if ``None``, in training a copy of them.
            training: Whether dropout and batch statistics act as in training.

        Yields:
            The network as a function of its inputs: a tensor, a tuple of positional arguments or a
            dict of keyword arguments. Inputs are moved to the space's device, and real ones
            converted to its type.

        Raises:
            InputError: the weights do not fit, or a batch in training is too small for batch
                normalisation.
        """
        check_tensor(vector)
        if vector.dtype != self.dtype:
            raise InputError(
                f"weights of {vector.dtype} for a network of {self.dtype}: convert one of them"
            )
        if self.module.training != training:
            self.module.train(training)
        if buffers is None:
            buffers = self.buffers() if training else {}
        elif not training:
            with torch.inference_mode(False):
                buffers = self.move(buffers)
        with torch.inference_mode(False):  # otherwise they would have no derivatives
            values = {**self._parts(vector), **buffers}
        with (
            self._holding(values),
            as_trained() if self._has_attention else nullcontext(),
            BilinearLayers() if self._has_shift_alone else nullcontext(),
        ):
            try:
                yield partial(_forward, self) if training else _Evaluated(self, values)
                if training:
                    self._update(buffers)
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise InputError(
                    "a batch of one example has no statistics to normalise by: choose a batch size "
                    "that leaves no single example, or a network without batch normalisation"
                ) from error

    def call(
        self,
        vector: Tensor,
        inputs: Any,
        buffers: Mapping[str, Tensor] | None = None,
        *,
        training: bool = False,
    ) -> Any:
        """The module's output with the inferred parameters of ``vector``; see ``at``.

        Call a network that runs forward again in the backward pass within ``at`` instead.
        """
        with self.at(vector, buffers, training=training) as network:
            return network(inputs)

    @torch.no_grad()
    @no_autocast()
    def predict(
        self, vector: Tensor, inputs: Any, buffers: Mapping[str, Tensor] | None = None
    ) -> Any:
        """The same as ``call`` in evaluation mode, without gradients."""
        return self.call(vector, inputs, buffers)

    def move(self, value: Any) -> Any:
        """A copy of ``value`` with its tensors on the space's device, real ones in its type."""
        return map_tensors(self._moved, value)

    def _moved(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        # Always a copy: a network or a loss may change its inputs in place.
        return tensor.to(
            device=self.device,
            dtype=dtype,
            non_blocking=True,
            copy=True,
            memory_format=self._memory_format,
        )

    def _parts(self, vector: Tensor) -> dict[str, Tensor]:
        """Copies of a vector's parts, by name and in the parameters' shapes."""
        if torch.is_grad_enabled() and vector.requires_grad:
            # One by one: autograd forbids changes of a view in place.
            parts = {name: part.clone() for name, part in self.unflatten(vector).items()}
        else:
            parts = self.unflatten(vector.clone())
        for name, (own, row) in self._padded.items():
            parts[name] = torch.where(row, own, parts[name])
        return parts

    @cached_property
    def _padded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Parameters with a row for padding: their values, and a mask of the row."""
        owners = list(self.module.named_modules(remove_duplicate=False))
        padded = {}
        for name, own in zip(self.names, self._values, strict=True):
            users = [
                (layer, key)
                for _, layer in owners
                for key, parameter in layer._parameters.items()
                if parameter is own
            ]
            (layer, key), *others = users
            is_padded = isinstance(layer, nn.Embedding | nn.EmbeddingBag) and key == "weight"
            if is_padded and not others and layer.padding_idx is not None:
                row = torch.zeros(len(own), 1, dtype=torch.bool, device=own.device)
                row[layer.padding_idx] = True
                padded[name] = own.detach(), row
        return padded

    def hold(self, vectors: Tensor) -> Tensor:
        """Vectors (..., P) with the module's own values for padding, which is no parameter."""
        if not self._padded:
            return vectors
        vectors = vectors.clone()
        for name, part in zip(self.names, self.slices, strict=True):
            if name in self._padded:
                own, row = self._padded[name]
                entries = row.expand_as(own).reshape(-1)
                vectors[..., part] = torch.where(entries, own.reshape(-1), vectors[..., part])
        return vectors

    @cached_property
    def _slots(self) -> dict[str, Slots]:
        """Places of each parameter and buffer in the module. A tied one has several places."""
        places: dict[int, Slots] = {}
        for layer in self.module.modules():
            for slots in (layer._parameters, layer._buffers):
                for key, tensor in slots.items():
                    places.setdefault(id(tensor), []).append((slots, key))
        named = (*self.module.named_parameters(), *self.module.named_buffers())
        return {name: places[id(tensor)] for name, tensor in named}

    @contextmanager
    def _holding(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Within it the module has these parameters and buffers."""
        unknown = sorted(set(values) - set(self._slots))
        if unknown:
            raise InputError(f"the network has no parameter or buffer '{unknown[0]}'")
        before = [(slots, key, slots[key]) for name in values for slots, key in self._slots[name]]
        try:
            self._place(values)
            yield
        finally:
            for slots, key, value in before:
                slots[key] = value

    def _place(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            for slots, key in self._slots[name]:
                slots[key] = value

    def _update(self, buffers: Mapping[str, Tensor]) -> None:
        """Copy buffers that layers have replaced; most layers change them in place."""
        for name, buffer in buffers.items():
            slots, key = self._slots[name][0]
            if slots[key] is not buffer:
                buffer.copy_(slots[key])

    def settle(self, inputs: Iterator[Any]) -> None:
        """Choose the layout of the module now, by runs on two of the first examples.

        Only callers that count the module's runs need this first.
        """
        if not self._is_settled:
            self._is_settled = True
            with suppress(Exception), torch.no_grad():  # the run that matters raises it again
                self.call(self.vector(), map_tensors(lambda tensor: tensor[:2], next(inputs)))

    def _may_lay_out(self, inputs: Any) -> bool:
        """Whether images may have their channels last, by one try on the first two examples.

        A module with a ``view`` of feature maps cannot run so. A function with a ``view`` in its
        backward pass can, but has no derivatives.
        """
        derives = torch.is_grad_enabled()
        if self._channels_last[derives] is None:
            self._channels_last[derives] = False
            with suppress(Exception):  # the run in the usual layout raises it again
                few = self.move(map_tensors(lambda tensor: tensor[:2], inputs))
                self._try_channels_last(few, derives)
                self._channels_last[derives] = True
        return bool(self._channels_last[derives])

    def _try_channels_last(self, inputs: Any, derives: bool) -> None:
        w = self.vector().requires_grad_(derives)
        with self._holding(_channels_last(self.unflatten(w))):
            outputs = _usual(_call(self.module, _channels_last(inputs)))
            if derives:
                (gradient,) = torch.autograd.grad(outputs.square().sum(), w, create_graph=True)
                torch.autograd.grad(gradient.square().sum(), w)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_slots"}
        # Tensors from an earlier pass may have graphs, which cannot be pickled.
        module = copy_module(self.module)
        named = dict(module.named_parameters())
        return {**state, "module": module, "_values": [named[name] for name in self.names]}


class _Evaluated:
    """A space's module in evaluation mode as a function of inputs, in the fastest layout."""

    def __init__(self, space: ParameterSpace, values: dict[str, Tensor]) -> None:
        self._space, self._values = space, values
        self._is_laid_out = False

    def __call__(self, inputs: Any) -> Any:
        space = self._space
        if torch._C._are_functorch_transforms_active():
            return _forward(space, inputs)
        if space._may_lay_out(inputs):
            if not self._is_laid_out:
                space._place(_channels_last(self._values))
                self._is_laid_out = True
            return _usual(_call(space.module, _channels_last(space.move(inputs))))
        return _forward(space, inputs) if torch.is_grad_enabled() else self._ungraded(inputs)

    def _ungraded(self, inputs: Any) -> Any:
        """Without gradients, except for those that the module itself takes."""
        space = self._space
        if not space._differentiates:
            try:
                return _detached(_forward(space, inputs))
            except RuntimeError as error:
                if "require" not in str(error) or "grad" not in str(error):
                    raise
                space._differentiates = True
        with differentiable():
            return _detached(_forward(space, inputs))


def _forward(space: ParameterSpace, inputs: Any) -> Any:
    return _call(space.module, space.move(inputs))


def _call(module: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return module(**inputs)
    return module(*inputs) if isinstance(inputs, list | tuple) else module(inputs)


def _detached(outputs: Any) -> Any:
    if any(tensor.requires_grad for tensor in tensors_of(outputs)):
        return map_tensors(Tensor.detach, outputs)
    return outputs


def _usual(outputs: Any) -> Tensor:
    """``outputs`` in their usual layout.

    Raises:
        RuntimeError: the outputs are no tensor.
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


def _choose(named: Mapping[str, nn.Parameter], parameters: Choice) -> list[str]:
    if parameters is None:
        return [name for name, parameter in named.items() if parameter.requires_grad]
    if callable(parameters):
        return [name for name, parameter in named.items() if parameters(name, parameter)]
    parameters = [parameters] if isinstance(parameters, str) else parameters
    unknown = sorted(set(parameters) - set(named))
    if unknown:
        raise InputError(f"the model has no parameter '{unknown[0]}'; it has {', '.join(named)}")
    return [name for name in named if name in set(parameters)]
