"""``from_object``: which adapter reads an object of another package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

from torch import nn

from landscape.errors import InputError
from landscape.objective.batches import Batch
from landscape.posteriors.posterior import Posterior

_ADAPTERS = {
    "blitz": "blitz_layers",
    "ivon": "ivon_optimizer",
    "laplace": "laplace_torch",
    "posteriors": "posteriors_states",
    "pyro": "pyro_guides",
    "torch_uncertainty": "torch_uncertainty_methods",
}
"""The file for each package, by the package's name in Python."""


def from_object(
    model: nn.Module,
    thing: Any,
    *,
    samples: int = 30,
    seed: int = 0,
    calibration: Iterable[Batch] | None = None,
) -> Posterior:
    """The posterior in an object of another package.

    - laplace-torch: a fitted Laplace approximation, full, Kronecker-factored or diagonal, of all
      weights or of the last layer: the same Gaussian. Of a subnetwork: draws from it.
    - ivon-opt: the optimiser: its Gaussian. ``model`` is the network that it trains.
    - BLiTZ: a network with Bayesian layers: its Gaussian. ``model`` has torch's layers in their
      place, with the same names.
    - posteriors: a state of ``vi``, ``laplace`` or ``ekf``: its Gaussian; or a list of states of
      ``sgmcmc``, as the samples of one chain. Parameters are by name.
    - Pyro: ``AutoDelta``, ``AutoDiagonalNormal``, ``AutoMultivariateNormal`` or
      ``AutoLowRankMultivariateNormal``. Its sites have the names of parameters; other sites are
      integrated out.
    - torch-uncertainty: deep ensembles and BatchEnsemble (a sample for each member), SWA, SWAG (its
      Gaussian), and MC dropout (draws of masks) where each dropout layer is followed by a linear
      one in an ``nn.Sequential``.

    Weights and buffers that ``thing`` does not infer are those of its own network if it has one,
    and of ``model`` if not. Running statistics are re-estimated.

    Args:
        model: A plain network of the architecture; it is not changed.
        thing: The object. Its package need not be installed for anything else.
        samples: Number of draws, where the posterior is no Gaussian and no fixed set.
        seed: Seed of the draws.
        calibration: Training batches; see ``Posterior``.

    Raises:
        InputError: the object is of no known kind, is not fitted, or does not fit ``model``.
    """
    name = _package(thing)
    if name is None:
        raise InputError(
            f"a {type(thing).__name__} is of no package that is known here "
            f"({', '.join(_ADAPTERS)}): use from_weights, from_gaussian or from_sampler"
        )
    adapter = import_module(f"landscape.posteriors.adapters.{_ADAPTERS[name]}")
    read: Callable[..., Posterior] = adapter.read
    posterior = read(model, thing, samples=samples, seed=seed)
    return replace(posterior, method="imported", calibration=calibration)


def _package(thing: Any) -> str | None:
    """The package of an object, of the first item of a list, or of a layer of a network."""
    candidates: list[Any] = [thing]
    if type(thing) in (list, tuple) and thing:
        candidates = [thing[0]]
    elif isinstance(thing, nn.Module):
        candidates += list(thing.modules())
    for candidate in candidates:
        for kind in type(candidate).__mro__:
            package = kind.__module__.partition(".")[0]
            if package in _ADAPTERS:
                return package
    return None
