"""Extreme eigenvalues of a symmetric operator by thick-restart Lanczos (Wu & Simon 2000).

It differs from the textbook recurrence in three points, each against a known trap:

- every new vector is orthogonalised against the whole basis, twice: no ghost copies;
- it stops on residuals ||A v - lambda v||, not on eigenvalues that stand still;
- a Krylov space holds one copy of a repeated eigenvalue. After convergence a few steps from a
  fresh random vector, orthogonal to the whole space, bound the chance that something larger is
  missing. If they see a larger value there, they lead to its vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from landscape.curvature.estimators.krylov import krylov, length, orthogonalise
from landscape.curvature.estimators.memory_plan import MemoryPlan, plan_basis
from landscape.errors import InputError
from landscape.objective.operators.base import (
    FunctionOperator,
    Matvec,
    Operator,
    as_operator,
    check_finite,
)
from landscape.objective.parameters import ParameterSpace
from landscape.runtime.numbers import check_int

Which = Literal["largest", "smallest", "magnitude"]
_COLUMNS = 1 << 20
_CHANCE = 1e-4
"""Largest chance that a missing copy of an eigenvalue is overlooked."""
_WHICH = ("largest", "smallest", "magnitude")


@dataclass(frozen=True)
class Eigenvalues:
    """Eigenpairs of a symmetric operator, each with its error.

    Attributes:
        values: Eigenvalues, shape (k,), in the order asked for; float64.
        residuals: ||A v - lambda v|| of each pair, in the values' units: an eigenvalue of A lies
            within this distance of the value. It includes how unsymmetric A turned out to be.
        vectors: Orthonormal eigenvectors, shape (k, n), in the operator's type.
        converged: Whether each residual met the tolerance; and, beyond the first, whether the
            budget sufficed to see that no copy of a repeated eigenvalue is missing: but for a
            chance of 1e-4 over the random vectors, or as far as the largest eigenvalue left has
            converged.
        matvecs: Number of matvecs taken.
        space: All pairs of the search space, these first, with ``keep_space``. Most have not
            converged, but each value is its vector's Rayleigh quotient: a trace that is deflated
            by them has a much smaller error, without another matvec.
        error: Relative error of the matvecs, such as of finite differences, which the residuals do
            not contain: a value may be off by this share of the largest one.
    """

    values: Tensor
    residuals: Tensor
    vectors: Tensor
    converged: Tensor
    matvecs: int
    space: Eigenvalues | None = None
    error: float = 0.0


def lanczos(
    operator: Operator | Matvec,
    size: int | None = None,
    k: int = 5,
    *,
    which: Which = "largest",
    tolerance: float = 1e-3,
    max_matvecs: int | None = None,
    max_basis: int | None = None,
    keep_space: bool = False,
    start: Tensor | None = None,
    seed: int = 0,
) -> Eigenvalues:
    """The k extreme eigenvalues of a symmetric operator.

    The projected problem is solved in float64, whatever the operator's type is.

    Args:
        operator: A, an operator or a function v -> A v.
        size: n, beside a function.
        k: Number of eigenvalues.
        which: Algebraically ``"largest"`` or ``"smallest"``, or largest ``"magnitude"``.
        tolerance: A pair has converged when its residual is at most ``tolerance * |lambda|``, or
            at most ten roundings of the largest |lambda|: an eigenvalue of zero can give no more.
        max_matvecs: Largest number of matvecs; by default 10 n, at most 1,000. When it is spent,
            the best pairs so far are returned, with their ``converged`` false.
        max_basis: Largest number of vectors kept; by default 2 k + 30, or what fits into half of
            the free memory. Memory is ``max_basis * n``, and twice that with ``keep_space``.
        keep_space: Whether the result has its ``space``, of up to ``max_basis`` vectors.
        start: Vector (n,) to start from in place of a random one, such as the sum of the
            eigenvectors of a matrix that is close. What it lacks is found by the search from a
            random vector at the end.
        seed: Seed of the random starting vectors.

    Returns:
        Eigenpairs with their residuals.

    Raises:
        InputError: k is not between 1 and n, a setting is out of range, or the basis does not fit
            into memory.
        LandscapeError: a matvec is not finite.

    Examples:
        >>> diagonal = torch.tensor([3.0, 3.0, 1.0, -5.0])
        >>> top = lanczos(lambda v: diagonal * v, 4, k=2)
        >>> [round(value, 3) for value in top.values.tolist()]
        [3.0, 3.0]
    """
    operator = as_operator(operator, size)
    size = operator.size
    check_request(size, k, tolerance, which)
    budget = min(10 * size, 1000) if max_matvecs is None else max_matvecs
    if budget < k:
        raise InputError(f"max_matvecs must be at least k = {k}, not {max_matvecs}")
    if max_basis is not None and max_basis < min(size, k + 2):
        raise InputError(f"max_basis must be at least k + 2 = {k + 2}, not {max_basis}")
    width = plan_search(operator, k, max_basis=max_basis, keep_space=keep_space).vectors
    search = _Search(operator, which, tolerance, budget, width, seed)
    ritz = search.run(k, locked=operator.zeros(0), start=start)
    complete, toward = search.look_beyond(ritz, k, keep_space=keep_space)
    space = ritz.pairs(ritz.count if keep_space else k)
    del ritz
    pairs = _best(space, k, which)
    # Deflated searches: a value beyond the k-th is a hidden copy of one that is known.
    while not complete and bool(pairs.converged.all()) and search.left > 0:
        accuracy = float(pairs.values[-1].abs())
        hidden = search.run(1, locked=pairs.vectors, accuracy=accuracy, start=toward).pairs(1)
        toward = None
        gain = _key(hidden.values[0], which) - _key(pairs.values[-1], which)
        if gain <= pairs.residuals[-1] + hidden.residuals[0]:
            complete = bool(hidden.converged.all())
            break
        if search.left == 0:
            break
        # The rest of the space is given up: the copy is not orthogonal to it.
        pairs = space = _best(_concatenate(pairs, search.judge(hidden.vectors[0])), k, which)
    if not complete:
        pairs.converged[1:] = False
    space = replace(space, matvecs=search.matvecs)
    return replace(
        pairs,
        matvecs=search.matvecs,
        space=space if keep_space else None,
        error=operator.error or 0.0,
    )


def plan_search(
    operator: Operator | ParameterSpace,
    k: int,
    *,
    max_basis: int | None = None,
    keep_space: bool = False,
) -> MemoryPlan:
    """How many vectors a search for k eigenvalues keeps; see ``lanczos``.

    Raises:
        InputError: it does not fit into memory.
    """
    size = operator.size
    wanted = min(size, 2 * k + 30 if max_basis is None else max_basis)
    return plan_basis(
        size,
        operator.dtype,
        operator.device,
        wanted=wanted,
        least=min(size, k + 2) if max_basis is None else wanted,
        what=f"a search for {k} eigenvalues",
        copies=2 if keep_space else 1,
    )


def check_request(size: int, k: int, tolerance: float, which: str = "largest") -> None:
    """Refuse what no backend can answer.

    Raises:
        InputError: k is not between 1 and n, the tolerance is not positive and finite, or ``which``
            is no end of the spectrum.
    """
    if not 1 <= check_int(k, "k", least=None) <= size:
        raise InputError(f"k must be between 1 and the {size} dimensions, not {k}")
    if not 0 < tolerance < math.inf:
        raise InputError(f"tolerance must be positive and finite, not {tolerance}")
    if which not in _WHICH:
        raise InputError(f"which is one of {', '.join(_WHICH)}, not '{which}'")


@dataclass(frozen=True)
class _Ritz:
    """Ritz pairs of a search space: A z_i = values_i z_i + coupling_i ahead.

    Attributes:
        basis: Ritz vectors, in the order of the values; the rows after them are free.
        values: Ritz values, shape (m,).
        residuals: Residual of each pair.
        converged: Whether it is small enough.
        coupling: Shape (m,); the residuals but for what is not symmetric.
        ahead: Unit vector (n,) that would come next, or ``None`` if the space is invariant.
        matvecs: Number of matvecs so far.
    """

    basis: Tensor
    values: Tensor
    residuals: Tensor
    converged: Tensor
    coupling: Tensor
    ahead: Tensor | None
    matvecs: int

    @property
    def count(self) -> int:
        return len(self.values)

    def pairs(self, count: int) -> Eigenvalues:
        """The first pairs; a copy of them if there are more."""
        vectors = self.basis[:count] if count >= self.count else self.basis[:count].clone()
        return Eigenvalues(
            self.values[:count],
            self.residuals[:count],
            vectors,
            self.converged[:count],
            self.matvecs,
        )


class _Search:
    """Thick-restart Lanczos runs that share one budget of matvecs."""

    def __init__(
        self,
        operator: Operator,
        which: Which,
        tolerance: float,
        budget: int,
        width: int,
        seed: int,
    ) -> None:
        self.operator, self.size = operator, operator.size
        self.which, self.tolerance, self.width = which, tolerance, width
        self.left = budget
        self.generator = operator.generator(seed)
        for _ in range(2):  # not used: a seed gives the numbers that it has always given
            operator.normal(self.generator)
        self.eps = torch.finfo(operator.dtype).eps
        self.norm = 0.0  # largest |Ritz value| so far: the scale of rounding errors
        self.matvecs = 0

    def run(
        self,
        k: int,
        *,
        locked: Tensor,
        accuracy: float = 0.0,
        start: Tensor | None = None,
    ) -> _Ritz:
        """A search space, orthogonal to the rows of ``locked``, whose first k pairs have converged.

        Residuals up to ``tolerance * accuracy`` are enough, if the usual limit is smaller.
        """
        room = min(self.width, self.size - len(locked))
        k = min(k, room)
        basis = locked.new_empty(room + 1, self.size)
        # projected[i, j] = v_i . A v_j as measured; symmetric up to the operator's own noise.
        projected = torch.zeros(room + 1, room + 1, dtype=torch.float64)
        basis[0] = self._fresh(locked, start)
        filled = 0
        while True:
            image, coefficients = orthogonalise(self._apply(basis[filled]), basis[: filled + 1])
            image, _ = orthogonalise(image, locked)
            # The only transfer from the device in a step.
            numbers = torch.cat([coefficients, length(image)[None]]).cpu()
            check_finite(numbers)
            projected[: filled + 1, filled] = numbers[:-1]
            filled += 1
            beta = float(numbers[-1])
            if beta <= 10 * torch.finfo(image.dtype).eps * float(projected.abs().max()):
                beta = 0.0  # an invariant subspace: the rest of the image is rounding
            projected[filled, filled - 1] = beta
            full, exhausted = filled == room, self.left == 0 or filled + len(locked) == self.size
            if filled >= k or full or exhausted:
                values, mixing, residuals = self._ritz(projected[:filled, :filled], beta)
                converged = residuals <= self._limit(values, accuracy)
                if exhausted or bool(converged[:k].all()):
                    _mix(basis, mixing)
                    ahead = image / beta if beta > 0 else None
                    coupling = beta * mixing[-1]
                    return _Ritz(basis, values, residuals, converged, coupling, ahead, self.matvecs)
            if full:
                # Keep the wanted end of the spectrum and half of the rest.
                keep = k + (room - 1 - k) // 2
                _mix(basis, mixing[:, :keep])
                projected.zero_()
                projected[:keep, :keep] = torch.diag(values[:keep])
                projected[keep, :keep] = beta * mixing[-1, :keep]
                filled = keep
            if beta > 0:
                basis[filled] = image / beta
            else:
                basis[filled] = self._fresh(torch.cat([locked, basis[:filled]]))

    def look_beyond(self, ritz: _Ritz, k: int, *, keep_space: bool) -> tuple[bool, Tensor | None]:
        """Whether no eigenvalue beyond the k-th is missing in a space whose pairs have converged.

        Returns:
            Whether none is missing, but for a chance of ``_CHANCE``, or as far as the largest one
            left has converged; and if that is not so, a vector (n,) to search from.
        """
        if ritz.count == self.size:
            return True, None
        if self.left == 0 or not bool(ritz.converged[:k].all()):
            return False, None
        signs = {"largest": (1,), "smallest": (-1,), "magnitude": (1, -1)}[self.which]
        for sign in signs:
            is_absent, toward = self._beyond(ritz, k, sign, keep_space=keep_space)
            if not is_absent:
                return False, toward
        return True, None

    def _beyond(
        self, ritz: _Ritz, k: int, sign: int, *, keep_space: bool
    ) -> tuple[bool, Tensor | None]:
        """``look_beyond`` at one end of the spectrum, the lower one if the sign is -1.

        Let A Z = Z diag(values) + v coupling^T, with v the vector ahead. Beyond a limit above the
        values, A has as many eigenvalues outside the space as P A P + g v v^T has, where P
        projects on the complement, and g is the sum of coupling^2 / (limit - values) (Haynsworth's
        inertia of the Schur complement). If the latter has a unit eigenvector u beyond the limit,
        and Lanczos from a unit vector f has the values t and the off-diagonal beta, then
        |f . u| is at most the product of beta / (limit - t): the residual polynomial has no larger
        part along u than its length. A random f rarely has such a small one.
        """
        # The first k pairs count as exact. A search that has filled its basis gives up others.
        known, rows = ritz.count, len(ritz.basis)
        if not keep_space and 2 * known > rows + k:
            known = k + (rows - k) // 6
        allowance = float(self._limit(ritz.values, 0.0)[k - 1])
        limit = float(_key(ritz.values[k - 1], self.which)) + allowance
        weight = (ritz.coupling[k:known] ** 2 / (limit - sign * ritz.values[k:known])).sum()

        def matvec(v: Tensor) -> Tensor:
            image = sign * self._apply(v)
            if ritz.ahead is None or known <= k:
                return image
            return image + (weight.to(v) * (ritz.ahead @ v)) * ritz.ahead

        basis = ritz.basis
        if keep_space and 2 * known > rows:
            basis = basis.new_empty(known + self.width, self.size)
            basis[:known] = ritz.basis[:known]
        room = min(len(basis), self.size)
        operator = FunctionOperator(matvec, self.size, self.operator.dtype, self.operator.device)
        start = self.operator.normal(self.generator)
        unchecked = torch.full((known,), math.inf, dtype=torch.float64)
        alphas, betas = list[float](), list[float]()
        toward = None
        bound = math.log(2 * (self.size - known) / math.pi) / 2
        for alpha, beta in krylov(operator, start, basis[:room], unchecked):
            alphas.append(alpha)
            off = torch.tensor(betas, dtype=torch.float64)
            tridiagonal = torch.tensor(alphas, dtype=torch.float64).diag()
            tridiagonal += off.diag(1) + off.diag(-1)
            values, mixing = torch.linalg.eigh(tridiagonal)
            betas.append(beta)
            has_converged = beta * float(mixing[-1, -1].abs()) <= allowance
            is_seen = float(values[-1]) > limit
            if not is_seen:
                if beta == 0 or has_converged:
                    return True, None
                chance = bound + sum(map(math.log, betas)) - float((limit - values).log().sum())
                if chance < math.log(_CHANCE):
                    return True, None
            is_last = self.left == 0 or known + len(alphas) == room
            if is_seen or is_last:
                seen = basis[known : known + len(alphas)]
                toward = mixing[:, -1].to(seen) @ seen
                break
        return False, toward

    def judge(self, vector: Tensor) -> Eigenvalues:
        """A unit vector's Rayleigh quotient, with its residual under the operator itself."""
        image = self._apply(vector)
        check_finite(image)
        value = (vector @ image).double().cpu()[None]
        self.norm = max(self.norm, float(value.abs()))
        residual = length(image - value.to(image) * vector).cpu()[None]
        converged = residual <= self._limit(value, 0.0)
        return Eigenvalues(value, residual, vector[None], converged, self.matvecs)

    def _apply(self, v: Tensor) -> Tensor:
        self.left -= 1
        self.matvecs += 1
        return self.operator @ v

    def _fresh(self, against: Tensor, start: Tensor | None = None) -> Tensor:
        """A unit vector orthogonal to some rows, random or along a given one."""
        if start is None:
            start = self.operator.normal(self.generator)
        vector, _ = orthogonalise(start, against)
        unit: Tensor = vector / length(vector)
        return unit

    def _ritz(self, projected: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
        symmetric = (projected + projected.T) / 2
        values, mixing = torch.linalg.eigh(symmetric)
        order = _key(values, self.which).argsort(descending=True)
        values, mixing = values[order], mixing[:, order]
        self.norm = max(self.norm, float(values.abs().max()))
        noise = ((projected - projected.T) / 2) @ mixing
        residuals = torch.sqrt((beta * mixing[-1]) ** 2 + (noise**2).sum(0))
        return values, mixing, residuals

    def _limit(self, values: Tensor, accuracy: float) -> Tensor:
        rounding = 10 * self.eps * self.norm
        return (self.tolerance * values.abs().clamp_min(accuracy)).clamp_min(rounding)


def _mix(basis: Tensor, mixing: Tensor) -> None:
    """Replace the first rows of a basis by combinations of rows, a part of the columns at a time.

    Args:
        basis: Shape (m, n).
        mixing: Coefficients, shape (number of rows that are combined, number of new rows).
    """
    before, after = mixing.shape
    coefficients = mixing.T.to(basis)
    for part in torch.split(basis, _COLUMNS, 1):
        part[:after] = coefficients @ part[:before]


def _key(values: Tensor, which: Which) -> Tensor:
    if which == "magnitude":
        return values.abs()
    return values if which == "largest" else -values


def _concatenate(first: Eigenvalues, second: Eigenvalues) -> Eigenvalues:
    return Eigenvalues(
        torch.cat([first.values, second.values]),
        torch.cat([first.residuals, second.residuals]),
        torch.cat([first.vectors, second.vectors]),
        torch.cat([first.converged, second.converged]),
        second.matvecs,
    )


def _best(pairs: Eigenvalues, k: int, which: Which) -> Eigenvalues:
    order = _key(pairs.values, which).argsort(descending=True)[:k]
    rows = order.to(pairs.vectors.device)
    return Eigenvalues(
        pairs.values[order],
        pairs.residuals[order],
        pairs.vectors[rows],
        pairs.converged[order],
        pairs.matvecs,
    )
