"""Training methods, by name.

A framework says what is inferred (``MAP``, ``SWAG``, ``VI``, ``SGLD``, ...). Its setting ``ball``
says where the gradient is taken. ``SAM``, ``ASAM``, ``FSAM`` and ``FSWAG`` name such pairs;
see ``balls.framework``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from landscape.errors import InputError
from landscape.methods.balls.framework import BALLS, Framework
from landscape.methods.ensemble import Ensemble
from landscape.methods.laplace.laplace import Laplace
from landscape.methods.laplace.mola import MoLA
from landscape.methods.loop import Method
from landscape.methods.point.map import MAP
from landscape.methods.point.sam import ASAM, FSAM, SAM
from landscape.methods.recorder import Recorder
from landscape.methods.sgmcmc.cyclical_sgld import CyclicalSGLD
from landscape.methods.sgmcmc.entropy_mcmc import EntropyMCMC
from landscape.methods.sgmcmc.pretrain_your_loss import PretrainYourLoss
from landscape.methods.sgmcmc.sghmc import SGHMC
from landscape.methods.sgmcmc.sgld import SGLD
from landscape.methods.state import Problem, State
from landscape.methods.swag import FSWAG, SWAG
from landscape.methods.variational.bsam import BSAM
from landscape.methods.variational.fp_bma import FPBMA
from landscape.methods.variational.ivon import IVON
from landscape.methods.variational.moped import MOPED
from landscape.methods.variational.vi import VI

METHODS: dict[str, type[Method[Any]]] = {
    method.name: method
    for method in (
        MAP,
        SAM,
        ASAM,
        FSAM,
        BSAM,
        SWAG,
        FSWAG,
        FPBMA,
        IVON,
        VI,
        MOPED,
        SGLD,
        SGHMC,
        CyclicalSGLD,
        EntropyMCMC,
        PretrainYourLoss,
        Ensemble,
        Laplace,
        MoLA,
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
    "ASAM",
    "BALLS",
    "BSAM",
    "FPBMA",
    "FSAM",
    "FSWAG",
    "IVON",
    "MAP",
    "METHODS",
    "MOPED",
    "SAM",
    "SGHMC",
    "SGLD",
    "SWAG",
    "VI",
    "CyclicalSGLD",
    "Ensemble",
    "EntropyMCMC",
    "Framework",
    "Laplace",
    "Method",
    "MoLA",
    "PretrainYourLoss",
    "Problem",
    "Recorder",
    "State",
    "create",
]
