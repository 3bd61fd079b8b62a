"""A distribution over the inferred parameters of a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
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
        sample_buffers: Buffers that each sample keeps, by name, shape (S, ...): they are then not
            re-estimated. ``None`` to re-estimate. See ``from_weights``.
    """

    space: ParameterSpace
    distribution: Distribution
    method: str = ""
    history: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    calibration: Iterable[Batch] | None = None
    sample_buffers: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.distribution.size != self.space.size:
            raise InputError(
                f"a distribution over {self.distribution.size} numbers does not fit a network with "
                f"{self.space.size} inferred parameters"
            )
        if self.sample_buffers is not None:
            check_buffers(self.space, self.distribution, self.sample_buffers)

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
        if self.calibration is not None or self.sample_buffers is not None:
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
        """The network's buffers for the weights w, with running statistics that belong to w.

        These are re-estimated, or those that the sample w keeps.

        Raises:
            InputError: the network keeps running statistics and there is no ``calibration`` data;
                or samples keep theirs and w is none of them.
        """
        if self.sample_buffers is None:
            return self.reestimate(w).buffers
        bits = w.contiguous().view(torch.uint8)
        for number, vector in enumerate(self.space.hold(self.distribution.tensors()["vectors"])):
            if torch.equal(vector.view(torch.uint8), bits):
                own = {name: values[number] for name, values in self.sample_buffers.items()}
                return self.space.buffers() | own
        raise _belongs_to_samples()

    def check_any_weights(self) -> None:
        """Check that weights which are no samples have running statistics, as those of a plane.

        Raises:
            InputError: each sample keeps its own.
        """
        if self.sample_buffers is not None:
            raise _belongs_to_samples()

    def reestimate(self, w: Tensor) -> Reestimated:
        """Running statistics of w, with the network's outputs on the calibration data if known.

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
        if self.space in _CHECKED or self.sample_buffers is not None:
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
        return files.write(path, self.space, self.distribution, description, self.sample_buffers)


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
    space, distribution, about, sample_buffers = files.read(path, model, device=device)
    return Posterior(
        space,
        distribution,
        method=about["method"],
        history=about["history"],
        settings=about["settings"],
        calibration=calibration,
        sample_buffers=sample_buffers,
    )


def check_buffers(
    space: ParameterSpace, distribution: Distribution, buffers: Mapping[str, Tensor]
) -> None:
    """Check the buffers that samples keep.

    Raises:
        InputError: they do not fit the network, or there is not one for each sample.
    """
    if not isinstance(distribution, Samples):
        raise InputError(f"only samples keep buffers of their own, not a {distribution.kind}")
    own = dict(space.module.named_buffers())
    for name, values in buffers.items():
        if name not in own or values.shape != (len(distribution.vectors), *own[name].shape):
            raise InputError(f"the buffers '{name}' do not fit the network and its samples")


def _belongs_to_samples() -> InputError:
    return InputError(
        "each sample keeps the running statistics of its checkpoint, and other weights (a mean, a "
        "plane, a line) have none: import the checkpoints with buffers='reestimate'"
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
