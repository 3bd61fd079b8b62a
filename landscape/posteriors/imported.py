"""Posteriors from weights that were trained elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.objective.copies import copy_module
from landscape.objective.parameters import Choice, ParameterSpace
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.posterior import Posterior
from landscape.posteriors.samples import Samples
from landscape.running_stats.normalisation import normalisation_layers
from landscape.runtime.memory import check_room
from landscape.runtime.numbers import check_int
from landscape.runtime.weight_files import read_weights

_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
_MOST_NAMED = 3
BUFFERS = ("reestimate", "keep")

Named = Mapping[str, Tensor]
Source = str | os.PathLike[str]


def from_weights(
    model: nn.Module,
    weights: Source | Sequence[Named | Source],
    *,
    parameters: Choice = None,
    prefix: str | None = None,
    buffers: Literal["reestimate", "keep"] = "reestimate",
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """The empirical distribution of weights that were trained elsewhere: a posterior of samples.

    Files are read without running code (``weights_only=True``); see
    ``runtime.weight_files.read_weights``. Names may have one common prefix, such as ``module.``,
    ``model.`` or ``_orig_mod.`` (from wrappers of torch, Lightning and ``torch.compile``).

    Running statistics of normalisation layers are re-estimated for each sample from
    ``calibration``, and those in the files are not used; or each sample keeps its own.

    Args:
        model: A network of the architecture; it is not changed, and its weights are not used.
        weights: State dicts or files; or one folder of files, in the natural order of their names;
            or a pattern such as ``"runs/*/model.safetensors"``.
        parameters: Choice of the inferred parameters; see ``ParameterSpace``. The others must be
            the same in all weights.
        prefix: Prefix of the names to use; other names are then left out. By default it is found,
            and names without it are refused.
        buffers: ``"reestimate"`` the running statistics of each sample, or ``"keep"`` those of its
            file, and any other buffer in which the files differ. Weights between samples then have
            none: surfaces and lines are refused.
        calibration: Training batches for ``"reestimate"``; see ``Posterior``.

    Returns:
        One sample for each state dict or file, in their order.

    Raises:
        InputError: there are no weights, a file cannot be read, names or shapes do not fit the
            network, weights differ outside the inferred parameters, or buffers do outside running
            statistics and are not kept.

    Examples:
        >>> networks = [nn.Linear(2, 3) for _ in range(4)]
        >>> from_weights(networks[0], [one.state_dict() for one in networks]).num_available(30)
        4
    """
    sources = sources_of(weights)
    if buffers not in BUFFERS:
        raise InputError(f"buffers is one of {', '.join(BUFFERS)}, not '{buffers}'")
    keeps = buffers == "keep"
    network = copy_module(model)
    statistics = _statistics(network)
    space, first, vectors = None, {}, []
    kept: list[dict[str, Tensor]] = []
    for number, source in enumerate(sources):
        name = f"weights {number}" if isinstance(source, Mapping) else str(source)
        tensors = source if isinstance(source, Mapping) else read_weights(Path(source))
        _load(network, tensors, name, prefix, set() if keeps else statistics)
        held = ParameterSpace(network, parameters)
        rest = _rest(held, statistics)
        if space is None:
            space, first = held, rest
            nbytes = len(sources) * space.size * space.dtype.itemsize
            check_room(nbytes, space.device, f"{len(sources):,} samples of {space.size:,} weights")
        own = held.buffers() if keeps else {}
        differing = [
            key
            for key, value in rest.items()
            if key not in own and not torch.equal(value, first[key])
        ]
        if differing:
            raise InputError(
                f"{name} differs from the first in '{differing[0]}', which is not inferred: choose "
                "parameters that hold all differences, or buffers='keep' for a buffer"
            )
        vectors.append(held.vector())
        kept.append(own)
    assert space is not None
    samples = Samples(torch.stack(vectors))
    return Posterior(
        space,
        samples,
        method="imported",
        calibration=calibration,
        sample_buffers=_sample_buffers(kept, samples, statistics) if keeps else None,
    )


def from_gaussian(
    model: nn.Module,
    mean: Tensor | Named,
    *,
    scale: Tensor | Named | float | None = None,
    factor: Tensor | None = None,
    covariance: Tensor | None = None,
    parameters: Choice = None,
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """N(mean, diag(scale^2) + factor factor^T), or N(mean, covariance), over a network's weights.

    Args:
        model: The network; it is not changed.
        mean: Shape (P,), in the order of ``ParameterSpace(model, parameters).names``; or tensors
            by name.
        scale: Standard deviations: one number, shape (P,), or tensors by name.
        factor: Shape (P, K).
        covariance: Shape (P, P), positive definite; in place of ``scale`` and ``factor``. It costs
            O(P^3) here, and O(P^2) for each sample.
        parameters: Choice of the inferred parameters; see ``ParameterSpace``.
        calibration: Training batches; see ``Posterior``.

    Raises:
        InputError: neither or both of ``scale`` and ``covariance`` are given, a shape or a name
            does not fit, or the covariance is not symmetric and positive definite.

    Examples:
        >>> posterior = from_gaussian(nn.Linear(1, 1), torch.zeros(2), scale=0.1)
        >>> posterior.gaussian.scale
        tensor([0.1000, 0.1000])
    """
    if (scale is None) == (covariance is None) or (covariance is not None and factor is not None):
        raise InputError("give either scale (with or without factor) or covariance")
    space = ParameterSpace(model, parameters)
    centre = _vector(space, mean, "mean")
    if covariance is not None:
        gaussian = _dense(centre, covariance.to(space.device))
    else:
        assert scale is not None
        scales = centre.new_tensor(scale) if isinstance(scale, int | float) else scale
        if isinstance(scales, Tensor) and not scales.ndim:
            scales = scales.expand(space.size)
        gaussian = Gaussian.diagonal(centre, _vector(space, scales, "scale"))
        if factor is not None:
            low_rank = factor.to(device=space.device, dtype=space.dtype)
            gaussian = Gaussian(gaussian.mean, gaussian.scale, low_rank)
    return Posterior(space, gaussian, method="imported", calibration=calibration)


def from_sampler(
    model: nn.Module,
    draw: Callable[[torch.Generator], Tensor | Named],
    *,
    samples: int = 30,
    seed: int = 0,
    parameters: Choice = None,
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """The empirical distribution of independent draws of weights.

    Args:
        model: The network; it is not changed.
        draw: Function of a generator that returns one sample: shape (P,), in the order of
            ``ParameterSpace(model, parameters).names``; or tensors by name.
        samples: Number of draws. They are all taken now.
        seed: Seed of the generator.
        parameters: Choice of the inferred parameters; see ``ParameterSpace``.
        calibration: Training batches; see ``Posterior``.

    Raises:
        InputError: a draw does not fit the network, or ``samples`` is not positive.

    Examples:
        >>> model = nn.Linear(2, 3)
        >>> posterior = from_sampler(model, lambda g: torch.randn(9, generator=g), samples=5)
        >>> posterior.sample(5).shape
        torch.Size([5, 9])
    """
    space = ParameterSpace(model, parameters)
    count = check_int(samples, "the number of samples")
    nbytes = count * space.size * space.dtype.itemsize
    check_room(nbytes, space.device, f"{count:,} samples of {space.size:,} weights")
    generator = torch.Generator().manual_seed(check_int(seed, "the seed", least=None))
    vectors = torch.stack([_vector(space, draw(generator), "a draw") for _ in range(count)])
    return Posterior(space, Samples(vectors), method="imported", calibration=calibration)


def sources_of(weights: Source | Sequence[Named | Source]) -> list[Named | Source]:
    """The state dicts and files that are meant, in order.

    Raises:
        InputError: there are none.
    """
    if isinstance(weights, Mapping):
        raise InputError("weights is one state dict: put it into a list")
    if not isinstance(weights, str | os.PathLike):
        sources = list(weights)
        if not sources:
            raise InputError("weights is empty: there is no sample")
        return sources
    path = Path(weights)
    pattern = path / "*" if path.is_dir() else path
    matching = Path(path.anchor).glob(str(pattern.relative_to(path.anchor)))
    files = [file for file in matching if file.suffix in _ENDINGS and file.is_file()]
    if not files:
        raise InputError(f"{weights} has no files of weights ({', '.join(_ENDINGS)})")
    files.sort(key=_natural)
    return [*files]


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key by which "step-9" comes before "step-10"."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _load(
    network: nn.Module, tensors: Named, name: str, prefix: str | None, statistics: set[str]
) -> None:
    """Put the tensors of one state dict into the network."""
    expected = network.state_dict()
    needed = [key for key in expected if key not in statistics]
    given = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    if prefix is None:
        prefix = _prefix(list(given), needed, name)
        unknown = [key for key in given if key.removeprefix(prefix) not in expected]
        unknown += [key for key in given if not key.startswith(prefix)]
        if unknown:
            raise InputError(
                f"{name} does not fit the network: it also holds {listed(unknown)}; give prefix="
                f"'{prefix}' to leave out names without it"
            )
    own = {key.removeprefix(prefix): v for key, v in given.items() if key.startswith(prefix)}
    own = {key: value for key, value in own.items() if key in expected}
    missing = [key for key in needed if key not in own]
    if missing:
        raise InputError(f"{name} does not fit the network: it lacks {listed(missing)}")
    for key in needed:
        if own[key].shape != expected[key].shape:
            raise InputError(
                f"{name} does not fit the network: '{key}' has shape {tuple(own[key].shape)} there "
                f"and {tuple(expected[key].shape)} in the network"
            )
    network.load_state_dict({key: own[key] for key in needed}, strict=False)


def _prefix(given: Sequence[str], needed: Sequence[str], name: str) -> str:
    """The prefix with which all needed names are given."""
    names = set(given)
    if all(key in names for key in needed):
        return ""
    ends = [key.removesuffix(needed[0]) for key in given if key.endswith(f".{needed[0]}")]
    fitting = [end for end in ends if all(end + key in names for key in needed)]
    if len(fitting) > 1:
        raise InputError(
            f"{name} holds the network more than once: choose prefix= from {listed(fitting)}"
        )
    if not fitting:
        missing = [key for key in needed if key not in names]
        raise InputError(f"{name} does not fit the network: it lacks {listed(missing)}")
    return fitting[0]


def listed(names: Sequence[str]) -> str:
    """The first few names, and the number of the others."""
    shown = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _statistics(network: nn.Module) -> set[str]:
    """Names of the buffers of layers whose running statistics are re-estimated."""
    layers = set(map(id, normalisation_layers(network)))
    return {
        f"{place}.{name}".removeprefix(".")
        for place, layer in network.named_modules(remove_duplicate=False)
        if id(layer) in layers
        for name, _ in layer.named_buffers(recurse=False)
    }


def _sample_buffers(
    kept: Sequence[Named], samples: Samples, statistics: set[str]
) -> dict[str, Tensor] | None:
    """Running statistics of each sample, and the other buffers in which samples differ.

    Raises:
        InputError: two samples have the same weights and different buffers.
    """
    buffers = {
        name: torch.stack([own[name] for own in kept])
        for name, first in kept[0].items()
        if name in statistics or not all(torch.equal(own[name], first) for own in kept)
    }
    _, which = torch.unique(samples.vectors, dim=0, return_inverse=True)
    for values in buffers.values():
        for group in which.unique():
            rows = values[which == group]
            if not torch.equal(rows, rows[:1].expand_as(rows)):
                raise InputError(
                    "two of the weights are the same and have different buffers: leave one out"
                )
    return buffers or None


def _rest(space: ParameterSpace, statistics: set[str]) -> dict[str, Tensor]:
    """Copies of what is not inferred, without running statistics."""
    inferred = set(space.names)
    named = {**dict(space.module.named_parameters()), **dict(space.module.named_buffers())}
    return {key: v.detach() for key, v in named.items() if key not in inferred | statistics}


def _vector(space: ParameterSpace, values: Tensor | Named, what: str) -> Tensor:
    """Values (P,) from a vector or from tensors by name."""
    if isinstance(values, Mapping):
        missing = [name for name in space.names if name not in values]
        if missing:
            raise InputError(f"{what} lacks {listed(missing)}")
        for name, shape in space.signature:
            if values[name].shape != shape:
                raise InputError(
                    f"{what}: '{name}' has shape {tuple(values[name].shape)}, not {shape}"
                )
        values = space.flatten(values)
    if values.shape != (space.size,):
        raise InputError(f"{what} has shape {tuple(values.shape)}, not ({space.size},)")
    return values.detach().to(device=space.device, dtype=space.dtype)


def _dense(mean: Tensor, covariance: Tensor) -> Gaussian:
    """N(mean, covariance): the smallest eigenvalue is the diagonal part, the rest a factor."""
    size = len(mean)
    if covariance.shape != (size, size):
        raise InputError(f"covariance has shape {tuple(covariance.shape)}, not ({size}, {size})")
    matrix = covariance.double()
    if not torch.allclose(matrix, matrix.T, rtol=1e-5, atol=0.0):
        raise InputError("covariance is not symmetric")
    values, vectors = torch.linalg.eigh(matrix)
    least = values[0]
    if not bool(least > 0):
        raise InputError(f"covariance is not positive definite: it has the eigenvalue {least:.3g}")
    factor = vectors[:, 1:] * (values[1:] - least).sqrt()
    scale = Gaussian.diagonal(mean, least.sqrt().to(mean.dtype)).scale
    return Gaussian(mean, scale, factor.to(mean.dtype))
