"""Planes in parameter space, and the projections of samples on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from landscape.curvature import top_eigenvalues
from landscape.errors import InputError
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Posterior, PosteriorLoss
from landscape.surfaces.directions import filter_normalised, orthonormal_pair

PlaneKind = Literal["samples", "random", "pca", "eigenvectors"]
"""Names of the ways to choose a plane."""
PLANES = ("samples", "random", "pca", "eigenvectors")
SharedKind = Literal["shared", "means"]
"""Names of the ways to choose a plane for several posteriors."""
SHARED_PLANES = ("shared", "means")


@dataclass(frozen=True)
class Projection:
    """Projection of S vectors on a plane.

    Attributes:
        coordinates: Coordinates in the plane, shape (S, 2).
        off_plane: Euclidean distance to the plane, shape (S,).
    """

    coordinates: Tensor
    off_plane: Tensor


@dataclass(frozen=True)
class Plane:
    """origin + x * basis[0] + y * basis[1], with an orthonormal basis.

    Attributes:
        origin: Origin, shape (P,).
        basis: Orthonormal basis, shape (2, P): coordinates are Euclidean lengths in R^P.
        kind: One of ``PLANES`` or ``SHARED_PLANES``, or ``"own"``; its name in a run file.
        axes: Meaning of the two axes, in words.
    """

    origin: Tensor
    basis: Tensor
    kind: PlaneKind | SharedKind | Literal["own"]
    axes: tuple[str, str]

    def __post_init__(self) -> None:
        if (
            self.origin.ndim != 1
            or self.basis.shape != (2, *self.origin.shape)
            or not bool(self.origin.isfinite().all())
            or not self._is_orthonormal()
        ):
            raise InputError(
                "a plane needs an origin (P,) and an orthonormal basis (2, P); see orthonormal_pair"
            )

    def _is_orthonormal(self) -> bool:
        gram = (self.basis.double() @ self.basis.double().T).cpu()
        off = (gram - torch.eye(2, dtype=torch.float64)).abs().max()
        return bool(off < torch.finfo(self.basis.dtype).eps ** 0.5)

    def at(self, x: float, y: float) -> Tensor:
        """The weights at (x, y), shape (P,)."""
        return self.row(np.array([x]), y)[0]

    def row(self, x: np.ndarray, y: float) -> Tensor:
        """The weights at (x[i], y), shape (X, P)."""
        along = torch.from_numpy(x).to(self.origin)[:, None]
        return self.origin + along * self.basis[0] + y * self.basis[1]

    def project(self, vectors: Tensor) -> Projection:
        """Project the rows of ``vectors`` (S, P)."""
        shifted = (vectors - self.origin).double()
        basis = self.basis.double()
        coordinates = shifted @ basis.T
        return Projection(coordinates, (shifted - coordinates @ basis).norm(dim=1))


def of_kind(kind: PlaneKind, loss: PosteriorLoss, weights: Tensor, seed: int) -> Plane:
    """The plane of a kind, for a posterior with the samples ``weights`` (S, P).

    Raises:
        InputError: the samples span no plane, or there is one parameter.
        LandscapeError: a Hessian product is not finite.
    """
    mean = loss.posterior.mean
    if len(mean) < 2:
        raise InputError("a plane needs at least two inferred parameters, and the posterior has 1")
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
    sides = samples[1] - samples[0], samples[2] - samples[0]
    basis = orthonormal_pair(*sides, noise=_rounding(samples[:3]))
    axes = ("from sample 0 towards sample 1", "towards sample 2, orthogonal to x")
    return Plane(samples[0], basis, "samples", axes)


def random(space: ParameterSpace, w: Tensor, seed: int) -> Plane:
    """The plane through w along two random filter-normalised directions, orthogonalised.

    Li et al. (arXiv 1712.09913) do not orthogonalise; in high dimension the two are nearly
    orthogonal already, and coordinates are Euclidean lengths here.
    """
    generator = torch.Generator().manual_seed(seed)
    first = filter_normalised(space, w, generator)
    basis = orthonormal_pair(first, filter_normalised(space, w, generator))
    axes = ("random filter-normalised direction", "another, orthogonal to x")
    return Plane(w, basis, "random", axes)


def principal(vectors: Tensor) -> Plane:
    """The plane through the mean of ``vectors`` along their two principal directions.

    No other plane through the mean holds more of their variance. The rows of ``vectors`` (S, P) may
    be a posterior's samples, or the weights along a training path (arXiv 1712.09913, section 7).

    Raises:
        InputError: the vectors lie on one line, are fewer than three, or are not finite.
    """
    if len(vectors) < 3:
        raise InputError(
            f"principal directions need three samples, not {len(vectors)}; use more, or 'random'"
        )
    check_finite(vectors, "vector")
    mean = vectors.double().mean(0)
    centred = vectors.double() - mean
    gram = (centred @ centred.T).cpu()  # the axes have the same signs on every device
    values, rotation = (part.to(vectors.device) for part in torch.linalg.eigh(gram))
    # The eigenvalues are squares of lengths, exact to a rounding of the largest.
    noise = max(_rounding(vectors), 1e-7 * float(values[-1].clamp_min(0).sqrt()))
    shares = values.flip(0)[:2] / values.sum()
    directions = rotation.T.flip(0)[:2] @ centred
    basis = orthonormal_pair(directions[0].to(vectors), directions[1].to(vectors), noise=noise)
    first, second = (f"{100 * float(share):.0f} % of the variance" for share in shares)
    axes = (f"first principal direction, {first}", f"second, {second}")
    return Plane(mean.to(vectors), basis, "pca", axes)


def through_means(posteriors: Sequence[Posterior], samples: Sequence[Tensor]) -> Plane:
    """The plane through the means of several posteriors.

    It goes through the first three. For two, the x axis runs from the first mean to the second, and
    the y axis is the principal direction of the samples about their own mean, orthogonal to x.

    Args:
        posteriors: Posteriors over the same parameters.
        samples: Samples of each, shape (S, P).

    Raises:
        InputError: there are fewer than two posteriors, or they span no plane.
    """
    means = [posterior.mean for posterior in posteriors]
    if len(means) < 2:
        raise InputError("a plane through means needs two posteriors or more")
    if len(means) > 2:
        sides = means[1] - means[0], means[2] - means[0]
        basis = orthonormal_pair(*sides, noise=_rounding(torch.stack(means[:3])))
        axes = ("from the mean of run 0 towards that of run 1", "towards that of run 2")
        return Plane(means[0], basis, "means", axes)
    along = (means[1] - means[0]).double()
    if not bool(along.norm() > 0):
        raise InputError("the two posteriors have the same mean: use the plane 'shared'")
    along = along / along.norm()
    rest = torch.cat([own.double() - own.double().mean(0) for own in samples])
    rest = rest - (rest @ along)[:, None] * along
    _, rotation = torch.linalg.eigh((rest @ rest.T).cpu())
    across = rotation[:, -1].to(rest) @ rest
    noise = _rounding(torch.cat(list(samples)))
    basis = orthonormal_pair(along.to(means[0]), across.to(means[0]), noise=noise)
    axes = (
        "from the mean of run 0 towards that of run 1",
        "principal direction of the samples about their means, orthogonal to x",
    )
    return Plane(means[0], basis, "means", axes)


def eigenvectors(objective: Objective, w: Tensor, seed: int) -> Plane:
    """The plane through w along the eigenvectors of the Hessian's two largest eigenvalues there.

    Raises:
        LandscapeError: a Hessian product is not finite.
    """
    with torch.enable_grad():  # a caller may have turned gradients off
        top = top_eigenvalues(objective, w, 2, seed=seed)
    basis = orthonormal_pair(*top.vectors.to(w))
    first, second = (
        f"Hessian eigenvector of λ{index} = {float(value):.3g}"
        for index, value in enumerate(top.values, start=1)
    )
    return Plane(w, basis, "eigenvectors", (first, second))


def variance_share(plane: Plane, samples: Tensor) -> float:
    """Share of the samples' variance about their mean within the plane; NaN for one sample."""
    centred = (samples - samples[0]).double()  # exactly zero where the samples are all the same
    centred -= centred.mean(0)
    total = float((centred**2).sum())
    if len(samples) < 2 or total == 0:
        return float("nan")
    return float(((centred @ plane.basis.double().T) ** 2).sum()) / total


def check_finite(vectors: Tensor, name: str = "posterior sample") -> None:
    """Check that the rows of ``vectors`` (S, P) are finite.

    Args:
        vectors: The vectors.
        name: Word for one of them, for the message.

    Raises:
        InputError: one is not finite; the message says which.
    """
    bad = (~vectors.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise InputError(
            f"{name} {int(bad[0])} is not finite: its weights hold NaN or infinity, as after "
            "training that diverged"
        )


def _rounding(vectors: Tensor) -> float:
    """An upper bound of the length of all roundings in the rows together."""
    return torch.finfo(vectors.dtype).eps * float(vectors.double().norm())
