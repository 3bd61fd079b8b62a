"""Distributions over a network's inferred parameters."""

from landscape.posteriors.adapters.dispatch import from_object
from landscape.posteriors.distribution import Distribution
from landscape.posteriors.files import describe
from landscape.posteriors.gaussian import Gaussian
from landscape.posteriors.imported import from_gaussian, from_sampler, from_weights
from landscape.posteriors.kronecker import Kronecker
from landscape.posteriors.loss import PosteriorLoss
from landscape.posteriors.mixture import Mixture
from landscape.posteriors.point import Point
from landscape.posteriors.posterior import Posterior, isotropic, load, save
from landscape.posteriors.pretrained import moped
from landscape.posteriors.samples import Samples
from landscape.posteriors.theta import GaussianGradient, GaussianTangent, Noise
from landscape.posteriors.trajectory import Trajectory, from_training

__all__ = [
    "Distribution",
    "Gaussian",
    "GaussianGradient",
    "GaussianTangent",
    "Kronecker",
    "Mixture",
    "Noise",
    "Point",
    "Posterior",
    "PosteriorLoss",
    "Samples",
    "Trajectory",
    "describe",
    "from_gaussian",
    "from_object",
    "from_sampler",
    "from_training",
    "from_weights",
    "isotropic",
    "load",
    "moped",
    "save",
]
