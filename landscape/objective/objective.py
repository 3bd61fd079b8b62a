"""The function whose landscape it is: w -> mean loss over a data set, with its derivatives."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.mean_loss import MeanLoss
from landscape.objective.operators.finite_difference import DifferenceHessian
from landscape.objective.operators.hessian import Hessian


class Objective(MeanLoss):
    """L(w), the mean loss over a data set in evaluation mode, with gradient and Hessian.

    L(w) = (1 / N) sum_n loss(f(x_n; w), y_n). The batches are read one after the other, and each
    counts by its number of examples. Where labels are ignored or classes have weights, L is torch's
    own value on all data at once; see ``losses.Criterion``. For a single batch it is the loss of
    that batch, whatever the loss is.

    Args:
        model: A module, or a ``ParameterSpace`` over one.
        batches: An iterable of batches that can be read again: a ``DataLoader``, a list. It must
            give the same examples every time. A batch is a pair (inputs, targets), a dict with its
            labels, or a batch of graphs; see ``batches.as_pair``.
        loss: A name or a function; see ``losses.Criterion``.
        parameters: The parameters that w holds, if ``model`` is a module; see ``ParameterSpace``.
        buffers: The module's buffers to evaluate with; its own if ``None``.
        batch_loss: Whether the loss is one of a whole batch, such as a contrastive one. L is then
            its mean over the batches as they are given.

    Attributes:
        space: The parameter space of w.
        size: P.
        batches: As given.
        buffers: As given.
        criterion: The loss as sums over batches.
        checked: Results of the checks, shared with copies that have other buffers.

    Raises:
        InputError: the batches can be read only once, a layer mixes the examples of a batch, or (on
            first use) there are no batches, or network, loss and data do not fit each other.

    Examples:
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> objective = Objective(torch.nn.Linear(2, 2), data)
        >>> round(float(objective.loss(torch.zeros(objective.size))), 4)
        0.6931
    """

    def hessian(
        self,
        w: Tensor | None = None,
        *,
        memory: int | None = None,
        autocast: torch.dtype | None = None,
        method: Literal["double-backward", "finite-difference"] = "double-backward",
    ) -> Hessian | DifferenceHessian:
        """The Hessian of L at w, as an operator v -> H v.

        Args:
            w: Weights, shape (P,); the model's own if ``None``.
            memory: Bytes of saved activations that may be kept from one matvec to the next; by
                default a quarter of what is free.
            autocast: Lower precision, such as ``torch.bfloat16``, for the network, but not for the
                loss. The operator's ``error`` then says how far off its matvecs are.
            method: ``"finite-difference"`` for a network with an operation that has no second
                derivative; see ``DifferenceHessian``. Its ``error``, too, says how far off it is.

        Raises:
            InputError: the method is unknown, or does not go with the other settings.
        """
        if method == "finite-difference":
            if memory is not None or autocast is not None:
                raise InputError("finite differences keep no graphs: leave memory and autocast out")
            return DifferenceHessian(self, w)
        if method != "double-backward":
            raise InputError(
                f"unknown method '{method}'; known: double-backward, finite-difference"
            )
        return Hessian(self, w, memory=memory, autocast=autocast)

    def hessian_product(self, w: Tensor, v: Tensor) -> Tensor:
        """H(w) v, shape (P,). For many matvecs at one w use ``hessian``."""
        return Hessian(self, w, memory=0).matvec(v)
