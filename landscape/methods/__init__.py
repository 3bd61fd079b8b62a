"""Training methods, by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from landscape.errors import InputError
from landscape.methods.bsam import BSAM
from landscape.methods.cyclical_sgld import CyclicalSGLD
from landscape.methods.ensemble import Ensemble
from landscape.methods.entropy_mcmc import EntropyMCMC
from landscape.methods.f_swag import FSWAG
from landscape.methods.fp_bma import FPBMA
from landscape.methods.fsam import FSAM
from landscape.methods.ivon import IVON
from landscape.methods.laplace import Laplace
from landscape.methods.loop import Method, Problem, State
from landscape.methods.map import MAP
from landscape.methods.moped import MOPED
from landscape.methods.pretrain_your_loss import PretrainYourLoss
from landscape.methods.sam import SAM
from landscape.methods.sgld import SGLD
from landscape.methods.swag import SWAG
from landscape.methods.vi import VI

METHODS: dict[str, type[Method[Any]]] = {
    method.name: method
    for method in (
        MAP,
        SAM,
        FSAM,
        BSAM,
        SWAG,
        FSWAG,
        FPBMA,
        IVON,
        VI,
        MOPED,
        SGLD,
        CyclicalSGLD,
        EntropyMCMC,
        PretrainYourLoss,
        Ensemble,
        Laplace,
    )
}


def create(name: str, **settings: Any) -> Method[Any]:
    """The method called ``name`` with the given settings.

    Raises:
        InputError: unknown method or setting, or a value that the method refuses.
    """
    if name not in METHODS:
        raise InputError(f"unknown method '{name}'; known: {', '.join(METHODS)}")
    known = [field.name for field in fields(METHODS[name])]
    for setting in settings:
        if setting not in known:
            raise InputError(
                f"method '{name}' has no setting '{setting}'; it has {', '.join(known)}"
            )
    return METHODS[name](**settings)


__all__ = [
    "BSAM",
    "FPBMA",
    "FSAM",
    "FSWAG",
    "IVON",
    "MAP",
    "METHODS",
    "MOPED",
    "SAM",
    "SGLD",
    "SWAG",
    "VI",
    "CyclicalSGLD",
    "Ensemble",
    "EntropyMCMC",
    "Laplace",
    "Method",
    "PretrainYourLoss",
    "Problem",
    "State",
    "create",
]
