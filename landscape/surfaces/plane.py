"""A plane in parameter space, and where samples fall relative to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from landscape.curvature import top_eigenvalues
from landscape.errors import InputError
from landscape.objective import Objective
from landscape.parameters import ParameterSpace
from landscape.posteriors.loss import PosteriorLoss
from landscape.surfaces.directions import filter_normalised, orthonormal_pair

PlaneKind = Literal["samples", "random", "pca", "eigenvectors"]
PLANES = ("samples", "random", "pca", "eigenvectors")


@dataclass(frozen=True)
class Projection:
    """Where S vectors fall: coordinates (S, 2) and distance to the plane (S,), Euclidean."""

    coordinates: Tensor
    off_plane: Tensor


@dataclass(frozen=True)
class Plane:
    """origin + x * basis[0] + y * basis[1], with an orthonormal basis.

    Attributes:
        origin: Shape (P,).
        basis: Shape (2, P), orthonormal, so that coordinates are Euclidean lengths in R^P.
        kind: One of ``PLANES``; the name that a run file has for it.
        axes: What each axis is, in words.
    """

    origin: Tensor
    basis: Tensor
    kind: PlaneKind
    axes: tuple[str, str]

    def __post_init__(self) -> None:
        gram = (self.basis.double() @ self.basis.double().T).cpu()
        off = (gram - torch.eye(len(gram), dtype=torch.float64)).abs().max()
        rounding = torch.finfo(self.basis.dtype).eps ** 0.5
        if self.basis.shape != (2, *self.origin.shape) or not bool(off < rounding):
            raise InputError(
                "a plane needs an origin (P,) and an orthonormal basis (2, P); see orthonormal_pair"
            )

    def at(self, x: float, y: float) -> Tensor:
        """The weights at (x, y), shape (P,)."""
        return self.origin + x * self.basis[0] + y * self.basis[1]

    def project(self, vectors: Tensor) -> Projection:
        """Where the rows of ``vectors`` (S, P) fall, and how far off the plane they are."""
        shifted = (vectors - self.origin).double()
        basis = self.basis.double()
        coordinates = shifted @ basis.T
        return Projection(coordinates, (shifted - coordinates @ basis).norm(dim=1))


def of_kind(kind: PlaneKind, loss: PosteriorLoss, weights: Tensor, seed: int) -> Plane:
    """The plane that a name stands for, of a posterior with the samples ``weights`` (S, P).

    Raises:
        InputError: the samples span no plane.
        LandscapeError: a Hessian product is not finite.
    """
    mean = loss.posterior.mean
    if kind == "samples":
        return through_samples(weights)
    if kind == "pca":
        return principal(weights)
    if kind == "random":
        return random(loss.posterior.space, mean, seed)
    return eigenvectors(loss.at(mean), mean, seed)


def through_samples(samples: Tensor) -> Plane:
    """The plane through the first three rows of ``samples`` (S, P), exactly.

    The origin is the first sample and the x axis runs to the second, as in Garipov et al.
    (arXiv 1802.10026).

    Raises:
        InputError: fewer than three samples, or three on a line.
    """
    if len(samples) < 3:
        raise InputError(
            f"a plane through samples needs three, not {len(samples)}; use plane='random'"
        )
    basis = orthonormal_pair(samples[1] - samples[0], samples[2] - samples[0])
    axes = ("from sample 0 towards sample 1", "towards sample 2, orthogonal to x")
    return Plane(samples[0], basis, "samples", axes)


def random(space: ParameterSpace, w: Tensor, seed: int) -> Plane:
    """The plane through w along two random filter-normalised directions, orthogonalised.

    Li et al. (arXiv 1712.09913) do not orthogonalise; in high dimension the two are nearly
    orthogonal already, and coordinates are Euclidean lengths here.
    """
    generator = torch.Generator(w.device).manual_seed(seed)
    first = filter_normalised(space, w, generator)
    basis = orthonormal_pair(first, filter_normalised(space, w, generator))
    axes = ("random filter-normalised direction", "another, orthogonal to x")
    return Plane(w, basis, "random", axes)


def principal(vectors: Tensor) -> Plane:
    """The plane through the mean of ``vectors`` along their two principal directions.

    Of the planes through the mean it holds most of their variance. The rows of ``vectors`` (S, P)
    may be a posterior's samples, or the weights along a training path (arXiv 1712.09913, section
    7).

    Raises:
        InputError: the vectors lie on one line, or are fewer than three.
    """
    if len(vectors) < 3:
        raise InputError(
            f"principal directions need three samples, not {len(vectors)}; use plane='random'"
        )
    mean = vectors.double().mean(0)
    centred = vectors.double() - mean
    values, rotation = torch.linalg.eigh(centred @ centred.T)
    shares = values.flip(0)[:2] / values.sum()
    directions = rotation.T.flip(0)[:2] @ centred
    basis = orthonormal_pair(directions[0].to(vectors), directions[1].to(vectors))
    first, second = (f"{100 * float(share):.0f} % of the variance" for share in shares)
    axes = (f"first principal direction, {first}", f"second, {second}")
    return Plane(mean.to(vectors), basis, "pca", axes)


def eigenvectors(objective: Objective, w: Tensor, seed: int) -> Plane:
    """The plane through w along the eigenvectors of the Hessian's two largest eigenvalues there.

    Raises:
        LandscapeError: a Hessian product is not finite.
    """
    found = top_eigenvalues(objective, w, 2, seed=seed)
    basis = orthonormal_pair(*found.vectors.to(w))
    first, second = (f"eigenvector of {float(value):.3g}" for value in found.values)
    return Plane(w, basis, "eigenvectors", (f"Hessian {first}", f"Hessian {second}"))


def variance_share(plane: Plane, samples: Tensor) -> float:
    """Share of the samples' variance (about their mean) that lies within the plane; NaN for one."""
    centred = (samples - samples.mean(0)).double()
    total = float((centred**2).sum())
    if len(samples) < 2 or total == 0:
        return float("nan")
    return float(((centred @ plane.basis.double().T) ** 2).sum()) / total
