"""Curvature of a loss at given weights, and over a posterior's samples."""

from landscape.curvature.at_weights import (
    diagonal,
    spectral_density,
    squared_frobenius,
    top_eigenvalues,
    trace,
)
from landscape.curvature.blocks import Block, by_block, restrict
from landscape.curvature.estimators.density import (
    Density,
    Quadrature,
    lanczos_quadrature,
    smooth,
    smooth_together,
)
from landscape.curvature.estimators.diagonal import Diagonal, estimate_diagonal
from landscape.curvature.estimators.frobenius import estimate_squared_frobenius
from landscape.curvature.estimators.lanczos import Eigenvalues, lanczos, plan_search
from landscape.curvature.estimators.probes import Estimate
from landscape.curvature.estimators.trace import hutch_pp, hutchinson, krylov_aware
from landscape.curvature.matrices import MATRICES
from landscape.curvature.measurement import Flatness, measure
from landscape.curvature.sharpness.ball import WorstCase, ball_sharpness
from landscape.curvature.sharpness.expected import Sharpness, expected_sharpness, m_sharpness
from landscape.curvature.sharpness.invariant import fisher_rao_norm, relative_flatness
from landscape.curvature.sharpness.kl_ball import worst_case_sharpness
from landscape.curvature.sharpness.learning_coefficient import (
    LearningCoefficient,
    local_learning_coefficient,
)
from landscape.curvature.sharpness.measures import MEASURES
from landscape.curvature.sharpness.noise import NoiseLevel, average_sharpness, pac_bayes_sigma
from landscape.objective.operators.base import FunctionOperator, Operator
from landscape.objective.operators.fisher import EmpiricalFisher
from landscape.objective.operators.gauss_newton import GaussNewton
from landscape.objective.operators.hessian import Hessian

__all__ = [
    "Block",
    "Density",
    "Diagonal",
    "Eigenvalues",
    "EmpiricalFisher",
    "Estimate",
    "Flatness",
    "FunctionOperator",
    "GaussNewton",
    "Hessian",
    "LearningCoefficient",
    "MATRICES",
    "MEASURES",
    "NoiseLevel",
    "Operator",
    "Quadrature",
    "Sharpness",
    "WorstCase",
    "average_sharpness",
    "ball_sharpness",
    "by_block",
    "diagonal",
    "estimate_diagonal",
    "estimate_squared_frobenius",
    "expected_sharpness",
    "fisher_rao_norm",
    "hutch_pp",
    "hutchinson",
    "krylov_aware",
    "lanczos",
    "lanczos_quadrature",
    "plan_search",
    "local_learning_coefficient",
    "m_sharpness",
    "measure",
    "pac_bayes_sigma",
    "relative_flatness",
    "restrict",
    "smooth",
    "smooth_together",
    "spectral_density",
    "squared_frobenius",
    "top_eigenvalues",
    "trace",
    "worst_case_sharpness",
]
