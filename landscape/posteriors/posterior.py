"""A distribution over the inferred parameters of a network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.batches import Batch, as_pair
from landscape.objective.copies import copy_module
from landscape.objective.parameters import Choice, ParameterSpace
from landscape.posteriors import files
from landscape.posteriors.distribution import Distribution
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.kronecker import Kronecker
from landscape.posteriors.mixture import Mixture
from landscape.posteriors.point import Point
from landscape.posteriors.samples import Samples
from landscape.running_stats.normalisation import (
    Reestimated,
    check_statistics,
    normalisation_layers,
    reestimate,
)
from landscape.runtime.memory import check_room
from landscape.runtime.numbers import check_int

_CHECKED: WeakSet[ParameterSpace] = WeakSet()
"""Networks whose running statistics were checked to be torch's."""


@dataclass(frozen=True)
class Posterior:
    """A distribution over R^P together with the network whose inferred parameters R^P holds.

    Attributes:
        space: The parameter space; its private module holds the fixed parameters.
        distribution: ``Point``, ``Gaussian``, ``Samples``, ``Kronecker`` or ``Mixture``.
        method: Name of its training method, e.g. ``"swag"``.
        history: Per-epoch training record: lists of equal length by name.
        settings: Settings of the method, for the record.
        calibration: The training batches on which running statistics are re-estimated for every
            sample; ``None`` for networks that keep none.
    """

    space: ParameterSpace
    distribution: Distribution
    method: str = ""
    history: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    calibration: Iterable[Batch] | None = None

    def __post_init__(self) -> None:
        if self.distribution.size != self.space.size:
            raise InputError(
                f"a distribution over {self.distribution.size} numbers does not fit a network with "
                f"{self.space.size} inferred parameters"
            )

    @property
    def mean(self) -> Tensor:
        """The posterior mean, shape (P,)."""
        return self.distribution.mean

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.space.device

    def sample(self, count: int, generator: torch.Generator | int = 0) -> Tensor:
        """Draw weights.

        Args:
            count: Number of samples.
            generator: A seed, which gives the same samples on every device; or a generator.

        Returns:
            Shape (count, P).

        Raises:
            InputError: ``count`` is not positive, or larger than the set of samples or the memory.
        """
        count = check_int(count, "the number of samples")
        nbytes = count * self.space.size * self.space.dtype.itemsize
        check_room(nbytes, self.device, f"{count:,} samples of {self.space.size:,} weights")
        if not isinstance(generator, torch.Generator):
            generator = _seeded(generator)
        return self.space.hold(self.distribution.sample(count, generator))

    def places(self, count: int, seed: int = 0) -> np.ndarray | None:
        """Chain and place of the samples that ``sample`` draws with the same seed.

        Returns:
            Chain and place in the chain of each sample, shape (count, 2), for ``SampleMean``;
            ``None`` for independent draws.
        """
        if not isinstance(self.distribution, Samples):
            return None
        return self.distribution.places(count, _seeded(seed))

    def num_available(self, count: int) -> int:
        """``count``, or the number of different samples if that is less: 1 of a point, S of S."""
        if isinstance(self.distribution, Point):
            return min(count, 1)
        if isinstance(self.distribution, Samples):
            return min(count, len(self.distribution.vectors))
        return count

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density at w (..., P) in nats, shape (...).

        Raises:
            InputError: the distribution has no density.
        """
        if isinstance(self.distribution, Kronecker | Mixture):
            return self.distribution.log_prob(w)
        return self.gaussian.log_prob(w)

    def kl(self, prior: Posterior) -> Tensor:
        """KL(self || prior) in nats.

        Raises:
            InputError: one of the two is not Gaussian, or they are over different parameters.
        """
        prior.check_same_space(self.space)
        return self.gaussian.kl(prior.gaussian)

    @property
    def gaussian(self) -> Gaussian:
        """The distribution, if it is Gaussian.

        Raises:
            InputError: it is not.
        """
        if not isinstance(self.distribution, Gaussian):
            raise InputError(
                f"this needs a Gaussian posterior (SWAG, FP-BMA), not a {self.distribution.kind}"
            )
        return self.distribution

    def network(self) -> nn.Module:
        """A copy of the network with the posterior mean as its weights.

        Only the inferred parameters require a gradient.
        """
        module = copy_module(self.space.module)
        for name, value in self.space.unflatten(self.mean).items():
            module.get_parameter(name).requires_grad_(True).data.copy_(value)
        if self.calibration is not None:
            buffers = dict(module.named_buffers())
            for name, value in self.buffers(self.mean).items():
                buffers[name].copy_(value)
        return module

    def marginal(self, parameters: Choice) -> Posterior:
        """The distribution of some of the inferred parameters; the others stay at their mean.

        Raises:
            InputError: a chosen parameter is not inferred here.
        """
        space = ParameterSpace(self.network(), parameters)
        missing = sorted(set(space.names) - set(self.space.names))
        if missing:
            raise InputError(f"this posterior is not over '{missing[0]}'")
        theirs = dict(zip(self.space.names, self.space.slices, strict=True))
        index = torch.arange(self.space.size, device=self.device)
        chosen = torch.cat([index[theirs[name]] for name in space.names])
        return replace(self, space=space, distribution=self.distribution.marginal(chosen))

    def buffers(self, w: Tensor) -> dict[str, Tensor]:
        """The network's buffers for the weights w, with re-estimated running statistics.

        Raises:
            InputError: the network keeps running statistics and there is no ``calibration`` data.
        """
        return self.reestimate(w).buffers

    def reestimate(self, w: Tensor) -> Reestimated:
        """As ``buffers``, with the network's outputs on the calibration data where they are known.

        Raises:
            InputError: see ``buffers``.
        """
        if self.calibration is None and normalisation_layers(self.space.module):
            raise InputError(
                "this network keeps running statistics: give the posterior the training batches "
                "to re-estimate them on (calibration=...)"
            )
        if self.calibration is not None:
            self.check_statistics(self.calibration)
        return reestimate(self.space, w, self.calibration or ())

    def check_statistics(self, batches: Iterable[Batch]) -> None:
        """Check once that the network's running statistics can be re-estimated.

        Args:
            batches: Data; only the first batch is used.

        Raises:
            InputError: a layer of another package keeps running statistics.
        """
        if self.space in _CHECKED:
            return
        for batch in batches:
            check_statistics(self.space, as_pair(batch))
            _CHECKED.add(self.space)
            break

    def check_same_space(self, space: ParameterSpace) -> None:
        """Check that this posterior is over the parameters of ``space``.

        Raises:
            InputError: the inferred parameters differ in name, shape or order.
        """
        if self.space.signature != space.signature:
            raise InputError(
                f"the prior is over {self.space.size} inferred parameters "
                f"({', '.join(self.space.names[:3])}, ...) and the model has {space.size} "
                f"({', '.join(space.names[:3])}, ...): use the network that the prior was fitted on"
            )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write weights and description to a safetensors file; see ``files.write``."""
        description = {"method": self.method, "settings": self.settings, "history": self.history}
        return files.write(path, self.space, self.distribution, description)


save = Posterior.save


def load(
    path: str | os.PathLike[str],
    model: nn.Module,
    *,
    device: torch.device | str = "cpu",
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """Read a posterior into its network.

    Args:
        path: A file from ``Posterior.save``.
        model: A network of the same architecture. It is not changed, and its weights are not used.
        device: The device of the posterior.
        calibration: Training batches to re-estimate running statistics on; see ``Posterior``.

    Raises:
        InputError: the file is missing, damaged, not a posterior, or does not fit ``model``.
    """
    space, distribution, about = files.read(path, model, device=device)
    return Posterior(
        space,
        distribution,
        method=about["method"],
        history=about["history"],
        settings=about["settings"],
        calibration=calibration,
    )


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(check_int(seed, "the seed", least=None))


def isotropic(
    model: nn.Module,
    scale: float,
    *,
    parameters: Choice = None,
    mean: Tensor | float = 0.0,
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """N(mean, scale^2 I) over a network's inferred parameters: the usual weight prior.

    Args:
        model: The network.
        scale: Standard deviation, positive.
        parameters: Choice of the inferred parameters; see ``ParameterSpace``.
        mean: One number, or a vector (P,).
        calibration: Training batches; see ``Posterior``. A network with running statistics needs
            them before any sample can be evaluated.
    """
    space = ParameterSpace(model, parameters)
    centre = torch.zeros_like(space.vector()) + mean
    gaussian = Gaussian.diagonal(centre, scale)
    return Posterior(space, gaussian, method="isotropic", calibration=calibration)
