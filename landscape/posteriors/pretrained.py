"""A Gaussian around pretrained weights by MOPED's rule (doi 10.1609/aaai.v34i04.5875)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.parameters import Choice, ParameterSpace
from landscape.objective.subsets import head
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.posterior import Posterior


def moped(
    model: nn.Module,
    *,
    delta: float = 0.05,
    alpha: float | None = None,
    fresh: Sequence[str] | None = None,
    min_scale: float = 1e-3,
    parameters: Choice = None,
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """N(w0, (delta |w0|)^2) around a network's weights w0, and N(0, alpha I) on a fresh head.

    FP-BMA (VI) takes it as prior and start in transfer (arXiv 2406.15664, section 4.3).

    Args:
        model: The pretrained network; it is not changed.
        delta: Standard deviation over |w0|.
        alpha: Variance of the fresh parameters; ``None`` if the head is pretrained, too.
        fresh: Names of the fresh parameters; those of the last linear layer if ``None``.
        min_scale: Least standard deviation around w0. A weight of 0 would have none by the rule.
        parameters: Choice of the inferred parameters; see ``ParameterSpace``.
        calibration: Training batches; see ``Posterior``.

    Returns:
        A Gaussian without a low-rank part. Give it to ``fit`` as ``prior``, with the same
        ``parameters``.

    Raises:
        InputError: a setting is not positive, ``fresh`` is given without ``alpha``, or a fresh
            parameter is not inferred.

    Examples:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        >>> prior = moped(model, delta=0.05, alpha=0.25)
        >>> float(prior.mean[-1]), float(prior.gaussian.scale[-1])
        (0.0, 0.5)
    """
    for name, value in (("delta", delta), ("alpha", alpha), ("min_scale", min_scale)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} must be positive and finite, not {value}")
    if alpha is None and fresh is not None:
        raise InputError("fresh parameters need their variance: alpha is missing")
    space = ParameterSpace(model, parameters)
    mean = space.vector()
    scale = moped_scale(mean, delta, min_scale)
    if alpha is not None:
        slices = dict(zip(space.names, space.slices, strict=True))
        for name in head(model) if fresh is None else fresh:
            if name not in slices:
                raise InputError(f"the fresh parameter '{name}' is not an inferred parameter")
            mean[slices[name]] = 0.0
            scale[slices[name]] = math.sqrt(alpha)
    return Posterior(space, Gaussian.diagonal(mean, scale), method="moped", calibration=calibration)


def moped_scale(weights: Tensor, delta: float, min_scale: float) -> Tensor:
    """Standard deviations delta |w|, at least ``min_scale``, for weights of shape (P,)."""
    return (delta * weights.abs()).clamp_min(min_scale)
