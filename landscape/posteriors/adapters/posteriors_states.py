"""posteriors: states of ``vi``, ``laplace``, ``ekf`` and ``sgmcmc``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors.adapters.common import check_names, permuted
from landscape.posteriors.imported import from_gaussian
from landscape.posteriors.posterior import Posterior
from landscape.posteriors.samples import Samples


def read(model: nn.Module, thing: Any, *, samples: int, seed: int) -> Posterior:
    """The Gaussian of a state, or the chain of a list of states; see ``dispatch.from_object``."""
    if isinstance(thing, list | tuple):
        return _chain(model, list(thing))
    mean = _by_name(model, thing.params)
    settings: dict[str, Any] = {"parameters": list(mean)}
    if hasattr(thing, "log_sd_diag"):
        scale = {name: v.exp() for name, v in _by_name(model, thing.log_sd_diag).items()}
        return from_gaussian(model, mean, scale=scale, **settings)
    if hasattr(thing, "sd_diag"):
        return from_gaussian(model, mean, scale=_by_name(model, thing.sd_diag), **settings)
    if hasattr(thing, "prec_diag"):
        scale = {name: v.rsqrt() for name, v in _by_name(model, thing.prec_diag).items()}
        return from_gaussian(model, mean, scale=scale, **settings)
    if hasattr(thing, "L_factor"):
        from posteriors.utils import L_from_flat

        factor = L_from_flat(thing.L_factor.detach())
        covariance = factor @ factor.T
    elif hasattr(thing, "cov"):
        covariance = thing.cov.detach()
    elif hasattr(thing, "prec"):
        precision = thing.prec.detach().double()
        covariance = torch.linalg.inv((precision + precision.T) / 2)
    else:
        raise InputError(
            f"a {type(thing).__name__} has no covariance: give a list of such states, as samples"
        )
    # The package's matrices are in the order in which its trees are ravelled.
    names, index = permuted(model, _ravelled_names(thing.params))
    covariance = covariance[index][:, index]
    return from_gaussian(model, mean, covariance=(covariance + covariance.T) / 2, parameters=names)


def _chain(model: nn.Module, states: list[Any]) -> Posterior:
    """The samples of one chain, in its order."""
    parts = [_by_name(model, state.params) for state in states]
    space = ParameterSpace(model, list(parts[0]))
    vectors = torch.stack([space.flatten(part) for part in parts])
    return Posterior(space, Samples(vectors, torch.zeros(len(parts), dtype=torch.long)))


def _by_name(model: nn.Module, tree: Any) -> dict[str, Tensor]:
    """The tensors of a tree that is a dict by the names of parameters.

    Raises:
        InputError: it is none.
    """
    if not hasattr(tree, "items"):
        raise InputError(
            "the state's params are no dict by name: use dict(model.named_parameters())"
        )
    named = {str(name): value.detach() for name, value in tree.items()}
    check_names(model, list(named), "the state has")
    return named


def _ravelled_names(params: Any) -> list[str]:
    """Names of parameters in the order of the package's flat vectors."""
    from optree.integrations.torch import tree_ravel

    names = list(params.keys())
    marked = {n: torch.full(params[n].shape, float(i)) for i, n in enumerate(names)}
    like = params.copy() if not isinstance(params, dict) else dict(params)
    for name, value in marked.items():
        like[name] = value
    flat, _ = tree_ravel(like)
    order = dict.fromkeys(flat.long().tolist())
    return [str(names[index]) for index in order]
