"""Metrics of the average over the first n posterior samples, in different orders of samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.prediction.calibration_bins import BINS, calibration_gaps
from landscape.prediction.metrics import check_predictions

METRICS = ("accuracy", "nll", "ece")
_SMALL = -600.0
"""Smallest logarithm whose probability has full float64 precision."""
_CHUNK = 1 << 22
"""Number of probabilities that are summed at a time: 32 MiB."""


def metrics_in_order(
    log_probabilities: Tensor,
    labels: Tensor,
    key: Tensor | Sequence[float],
    *,
    descending: bool = False,
) -> dict[str, Tensor]:
    """Accuracy, NLL and ECE of the average over the first n samples, for n = 1, ..., S.

    Args:
        log_probabilities: Log-probabilities predicted by each sample, shape (S, N, C).
        labels: Class numbers in [0, C), shape (N,).
        key: Number for each sample, for example lambda_1. The sample with the smallest key comes
            first. Samples with equal keys keep their order, and NaN comes last.
        descending: Whether the sample with the largest key comes first.

    Returns:
        ``"accuracy"``, ``"nll"`` (nats) and ``"ece"`` (15 bins), each of shape (S,), float64. The
        last entry is the average over all samples, which is the same in every order.

    Raises:
        InputError: The shapes do not fit each other, or the predictions cannot be scored.

    Examples:
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
    order = keys.argsort(stable=True)  # argsort puts NaN last
    metrics = metrics_in_orders(log_probabilities, labels, order[None])
    return {name: values[0] for name, values in metrics.items()}


def metrics_in_random_orders(
    log_probabilities: Tensor, labels: Tensor, *, orders: int = 20, seed: int = 0
) -> dict[str, Tensor]:
    """The metrics of ``metrics_in_order`` for random orders of the samples.

    Args:
        log_probabilities: Log-probabilities predicted by each sample, shape (S, N, C).
        labels: Class numbers in [0, C), shape (N,).
        orders: Number of orders R.
        seed: Seed of the orders.

    Returns:
        The metrics of ``metrics_in_order``, each of shape (R, S).

    Raises:
        InputError: The predictions cannot be scored, or the number of orders is not positive.
    """
    if orders < 1:
        raise InputError(f"the number of orders must be at least 1, not {orders}")
    generator = torch.Generator().manual_seed(seed)
    samples = len(log_probabilities)
    random = torch.stack([torch.randperm(samples, generator=generator) for _ in range(orders)])
    return metrics_in_orders(log_probabilities, labels, random)


def metrics_in_orders(
    log_probabilities: Tensor, labels: Tensor, orders: Tensor
) -> dict[str, Tensor]:
    """The metrics of ``metrics_in_order`` for any orders of the samples, computed together.

    Args:
        log_probabilities: Log-probabilities predicted by each sample, shape (S, N, C).
        labels: Class numbers in [0, C), shape (N,).
        orders: R permutations of 0, ..., S - 1, shape (R, S).

    Returns:
        The metrics of ``metrics_in_order``, each of shape (R, S).

    Raises:
        InputError: The predictions cannot be scored, or an order is not a permutation.
    """
    samples = len(log_probabilities)
    if log_probabilities.ndim != 3 or not samples:
        raise InputError(
            "an order needs the log-probabilities of samples (S, N, C), not "
            f"{tuple(log_probabilities.shape)}"
        )
    if orders.ndim != 2 or not torch.equal(
        orders.sort(1).values.cpu(), torch.arange(samples).expand(len(orders), -1)
    ):
        raise InputError(f"an order of {samples} samples must contain each of them once")
    check_predictions(log_probabilities.flatten(0, 1), labels.repeat(samples))
    orders = orders.to(labels.device)
    right = torch.zeros(orders.shape, dtype=torch.float64, device=labels.device)
    log_sums, gaps = torch.zeros_like(right), right.new_zeros((*orders.shape, BINS))
    classes = log_probabilities.shape[2]
    rows = min(len(orders), max(1, _CHUNK // classes))
    block = max(1, _CHUNK // (classes * max(samples, rows)))
    for block_log_probabilities, block_labels in zip(
        torch.split(log_probabilities, block, 1), torch.split(labels, block), strict=True
    ):
        for start in range(0, len(orders), rows):
            at = slice(start, start + rows)
            _add(
                block_log_probabilities, block_labels, orders[at], right[at], log_sums[at], gaps[at]
            )
    count = len(labels)
    steps = torch.arange(1, samples + 1, device=labels.device, dtype=torch.float64)
    return {
        "accuracy": right / count,
        "nll": steps.log() - log_sums / count,
        "ece": gaps.abs().sum(-1) / count,
    }


def _add(
    log_probabilities: Tensor,
    labels: Tensor,
    orders: Tensor,
    right_counts: Tensor,
    log_sums: Tensor,
    gaps: Tensor,
) -> None:
    """Add the contribution of some examples to each metric.

    Args:
        log_probabilities: Log-probabilities predicted by each sample, shape (S, N, C).
        labels: Class numbers, shape (N,).
        orders: Orders of the samples, shape (R, S).
        right_counts: Number of correct predictions, shape (R, S).
        log_sums: Sum of the logarithms of the summed probabilities of the labels, shape (R, S).
        gaps: Sum of confidence - right in each bin, shape (R, S, bins).
    """
    # With classes before examples, the maximum over classes is computed for many examples at once.
    log_probabilities = log_probabilities.double().transpose(1, 2).contiguous()
    examples = torch.arange(len(labels), device=labels.device)
    of_label = log_probabilities[:, labels, examples]
    # Sums of probabilities are cheap. If a label's probability is too small for a float, the
    # probabilities of the labels are added as logarithms.
    small = bool((of_label < _SMALL).any())
    at_label, others = of_label.exp(), log_probabilities.exp()
    others[:, labels, examples] = -1.0  # excludes the label from the maximum over other classes
    right_sum, sums, log_sum = at_label[orders[:, 0]], others[orders[:, 0]], of_label[orders[:, 0]]
    rows, terms = sums.unbind(), others.unbind()
    for step in range(orders.shape[1]):
        if step:
            right_sum += at_label[orders[:, step]]
            # Row by row, without a copy: twice as fast as all rows at once.
            for row, sample in zip(rows, orders[:, step].tolist(), strict=True):
                row += terms[sample]
        largest = sums.amax(1)
        right = right_sum > largest
        if (right_sum == largest).any():  # of equal classes the first one is predicted
            index = labels.expand(len(orders), 1, -1)
            right = sums.scatter(1, index, right_sum[:, None]).argmax(1) == labels
        right = right.double()
        if not small:
            log_sum = right_sum.log()
        elif step:
            log_sum = torch.logaddexp(log_sum, of_label[orders[:, step]])
        right_counts[:, step] += right.sum(1)
        log_sums[:, step] += log_sum.sum(1)
        confidence = torch.maximum(right_sum, largest) / (step + 1)
        gaps[:, step] += calibration_gaps(confidence, right)
