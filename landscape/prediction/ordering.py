"""What averaging over the first n samples predicts, the samples taken in one order or another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction.calibration import calibration
from landscape.prediction.metrics import check_predictions

METRICS = ("accuracy", "nll", "ece")


def metrics_in_order(
    log_probabilities: Tensor,
    labels: Tensor,
    key: Tensor | Sequence[float],
    *,
    descending: bool = False,
) -> dict[str, Tensor]:
    """Accuracy, NLL and ECE of the average over the first n samples, for n = 1, ..., S.

    Args:
        log_probabilities: Of each sample, shape (S, N, C).
        labels: Shape (N,), in [0, C).
        key: A number for each sample, lambda_1 say; the smallest goes first. Equal ones keep
            their order, and NaN goes last.
        descending: The largest goes first.

    Returns:
        ``"accuracy"``, ``"nll"`` (nats) and ``"ece"`` (15 bins), each of shape (S,), float64. The
        last entry is the same in every order: the average over all samples.

    Raises:
        InputError: the shapes do not fit each other, or the predictions cannot be scored.

    Example:
        >>> sure_of_0, unsure = [0.0, -torch.inf], [-0.6931472, -0.6931472]
        >>> predictions = torch.tensor([[sure_of_0], [unsure]])
        >>> metrics_in_order(predictions, torch.tensor([0]), [2.0, 1.0])["nll"].exp()
        tensor([2.0000, 1.3333], dtype=torch.float64)
    """
    keys = torch.as_tensor(key, dtype=torch.float64)
    if keys.shape != log_probabilities.shape[:1]:
        raise InputError(
            f"each of {len(log_probabilities)} samples needs a key, not {tuple(keys.shape)}"
        )
    if descending:
        keys = -keys
    order = keys.argsort(stable=True)  # NaN is the greatest
    return {
        name: values[0] for name, values in _metrics(log_probabilities, labels, order[None]).items()
    }


def metrics_in_random_orders(
    log_probabilities: Tensor, labels: Tensor, *, orders: int = 20, seed: int = 0
) -> dict[str, Tensor]:
    """The same over the first n of the samples in random orders.

    Args:
        log_probabilities: Of each sample, shape (S, N, C).
        labels: Shape (N,).
        orders: R, how many.
        seed: Of the orders.

    Returns:
        As ``metrics_in_order``, each of shape (R, S).

    Raises:
        InputError: the predictions cannot be scored, or there is no order.
    """
    if orders < 1:
        raise InputError(f"the number of orders must be at least 1, not {orders}")
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(len(log_probabilities), generator=generator) for _ in range(orders)]
    return _metrics(log_probabilities, labels, torch.stack(drawn))


def _metrics(log_probabilities: Tensor, labels: Tensor, orders: Tensor) -> dict[str, Tensor]:
    if log_probabilities.ndim != 3 or not len(log_probabilities):
        raise InputError(
            "an order needs the log-probabilities of samples (S, N, C), not "
            f"{tuple(log_probabilities.shape)}"
        )
    check_predictions(log_probabilities.flatten(0, 1), labels.repeat(len(log_probabilities)))
    log_probabilities = log_probabilities.double()
    orders = orders.to(labels.device)
    counts = torch.arange(1, len(log_probabilities) + 1, device=labels.device)
    # Of the label alone, as logarithms: a probability too small for a float is still told apart.
    index = labels[None, :, None].expand(len(log_probabilities), -1, 1)
    of_label = log_probabilities.gather(2, index)[..., 0]
    summed = of_label[orders].logcumsumexp(1)
    nll = counts.log() - summed.mean(2)
    # Of all classes as probabilities: the largest is at least 1 / C, and sums are cheaper.
    probabilities = log_probabilities.exp()
    total = torch.zeros_like(probabilities[orders[:, 0]])
    accuracy, error = torch.empty_like(nll), torch.empty_like(nll)
    for step, count in enumerate(counts.tolist()):
        total += probabilities[orders[:, step]]
        largest, predicted = total.max(2)
        right = predicted == labels
        accuracy[:, step] = right.double().mean(1)
        error[:, step] = calibration(largest / count, right).ece
    return {"accuracy": accuracy, "nll": nll, "ece": error}
