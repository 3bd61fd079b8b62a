"""A symmetric matrix that is known by its matvecs v -> A v: what every estimator takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from landscape.errors import InputError, NotFiniteError
from landscape.runtime.numbers import check_int

Matvec = Callable[[Tensor], Tensor]


class Operator(ABC):
    """A symmetric matrix A on R^n. A subclass says how one vector is multiplied.

    Args:
        size: n.
        dtype: Type of the vectors.
        device: Device of the vectors.

    Attributes:
        size: n.
        dtype: Type of the vectors.
        device: Device of the vectors.
        matvecs: Number of matvecs taken so far.
        error: Relative error of the matvecs, where they are not exact but for rounding; ``None``
            if it is not known yet.
    """

    error: float | None = 0.0

    def __init__(
        self, size: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        self.size = check_int(size, "the size of an operator")
        self.dtype, self.device = dtype, torch.device(device)
        self.matvecs = 0

    @abstractmethod
    def _multiply(self, v: Tensor) -> Tensor:
        """A v, for v of shape (n,) in the operator's type and on its device."""

    def matvec(self, v: Tensor) -> Tensor:
        """A v, shape (n,).

        Raises:
            InputError: v has another shape.
        """
        if v.shape != (self.size,):
            raise InputError(f"a vector to multiply has shape ({self.size},), not {tuple(v.shape)}")
        self.matvecs += 1
        return self._multiply(v.to(self.device, self.dtype)).detach()

    def __call__(self, v: Tensor) -> Tensor:
        """A v; see ``matvec``."""
        return self.matvec(v)

    def __matmul__(self, v: Tensor) -> Tensor:
        """A v for a vector (n,), and A V for a matrix (n, k), column by column."""
        if v.ndim != 2:
            return self.matvec(v)
        images = self.zeros(v.shape[1])
        for image, column in zip(images, v.T, strict=True):
            image.copy_(self.matvec(column))
        return images.T

    def zeros(self, rows: int) -> Tensor:
        """Zeros of shape (rows, n) in the operator's type."""
        return torch.zeros(rows, self.size, dtype=self.dtype, device=self.device)

    def generator(self, seed: int) -> torch.Generator:
        """A random generator on the operator's device."""
        return torch.Generator(self.device).manual_seed(seed)

    def normal(self, generator: torch.Generator) -> Tensor:
        """A vector of standard normal numbers, shape (n,)."""
        return torch.randn(self.size, dtype=self.dtype, device=self.device, generator=generator)


class FunctionOperator(Operator):
    """A function v -> A v as an operator.

    Args:
        function: Takes and returns vectors of shape (n,).
        size: n.
        dtype: Type of the vectors.
        device: Device of the vectors.

    Raises:
        InputError: the function is none, or (when it multiplies) returns another shape.

    Examples:
        >>> diagonal = torch.tensor([3.0, 1.0])
        >>> operator = FunctionOperator(lambda v: diagonal * v, 2)
        >>> (operator @ torch.ones(2)).tolist(), (operator @ torch.eye(2)).tolist()
        ([3.0, 1.0], [[3.0, 0.0], [0.0, 1.0]])
        >>> operator.matvecs
        3
    """

    def __init__(
        self,
        function: Matvec,
        size: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(size, dtype, device)
        if not callable(function):
            raise InputError(
                f"a matrix is an Operator or a function v -> A v, not a {type(function).__name__}"
            )
        self._function = function

    def _multiply(self, v: Tensor) -> Tensor:
        image = self._function(v)
        if image.shape != v.shape:
            raise InputError(
                f"the function returns shape {tuple(image.shape)} for a vector of shape "
                f"{tuple(v.shape)}"
            )
        return image


def as_operator(operator: Operator | Matvec, size: int | None) -> Operator:
    """An operator as it is, or a function and a size as an operator in float32 on the CPU.

    Raises:
        InputError: a function comes without its size, or an operator with another size.
    """
    if isinstance(operator, Operator):
        if size not in (None, operator.size):
            raise InputError(
                f"the operator has {operator.size} dimensions, not {size}: leave the size out, and "
                "give other settings by name"
            )
        return operator
    if size is None:
        raise InputError("pass an Operator, or a function v -> A v and its size n")
    return FunctionOperator(operator, size)


def check_finite(values: Tensor) -> None:
    """Stop at a matvec that is not finite.

    Raises:
        NotFiniteError: an entry is infinite or NaN.
    """
    if not bool(values.isfinite().all()):
        raise NotFiniteError("a matvec is not finite")
