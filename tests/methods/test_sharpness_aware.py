"""SAM, FSAM, bSAM and F-SWAG against steps worked out by hand."""

from typing import Any

import pytest
import torch
from problems import blobs, network
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.methods import ASAM, BSAM, FSAM, FSWAG, MAP, SAM, SWAG, Method, Problem
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import Gaussian, GaussianGradient
from landscape.posteriors.fisher.exact import steepest_step
from landscape.tasks import Task

PLAIN: dict[str, Any] = {"momentum": 0.0, "warmup": 0.0}


def start(method: Method[Any], dtype: torch.dtype = torch.float64, **model: Any) -> Any:
    task = blobs(dtype=dtype)
    space = ParameterSpace(network(**model).to(dtype))
    state = method.init(Problem(space, task.loss, len(task.train), 10), seed=3)
    return state, (task.train.inputs, task.train.targets)


def gradient(space: ParameterSpace, batch: Any, w: Tensor) -> Tensor:
    leaf = w.clone().requires_grad_()
    loss = nn.functional.cross_entropy(space.call(leaf, batch[0]), batch[1])
    return torch.autograd.grad(loss, leaf)[0]


def perturbation(method: MAP, g: Tensor) -> Tensor:
    """The step at weights that are all one."""
    return method.step_of_weights(torch.ones_like(g), g, torch.Generator())


def test_sam_descends_along_the_gradient_at_the_worst_place() -> None:
    method = SAM(radius=0.3, weight_decay=0.1, **PLAIN)
    state, batch = start(method)
    space, w = state.problem.space, state.weights.clone()
    g = gradient(space, batch, w)
    worst = gradient(space, batch, w + 0.3 * g / g.norm())
    method.step(state, batch)
    torch.testing.assert_close(state.weights, w - method.learning_rate * (worst + 0.1 * w))
    assert float(state.last["perturbation_norm"]) == pytest.approx(0.3)


def test_fsam_shortens_the_perturbation_where_the_gradient_is_large() -> None:
    method = FSAM(radius=0.3, fisher_weight=50.0, weight_decay=0.0, **PLAIN)
    state, batch = start(method)
    space, w = state.problem.space, state.weights.clone()
    g = gradient(space, batch, w)
    f = 1 / (1 + 50 * g**2)
    worst = gradient(space, batch, w + 0.3 * f * g / (f * g**2).sum().sqrt())
    method.step(state, batch)
    torch.testing.assert_close(state.weights, w - method.learning_rate * worst)


def test_asam_moves_large_weights_further() -> None:
    """eps = rho T^2 g / ||T g|| with T = |w| + eta: equation 6 of the paper."""
    method = ASAM(radius=0.3, adaptive_floor=0.2, weight_decay=0.0, **PLAIN)
    state, batch = start(method)
    space, w = state.problem.space, state.weights.clone()
    g = gradient(space, batch, w)
    t = w.abs() + 0.2
    worst = gradient(space, batch, w + 0.3 * t**2 * g / (t * g).norm())
    method.step(state, batch)
    torch.testing.assert_close(state.weights, w - method.learning_rate * worst)
    # It stays on the border of its ball, and follows a rescaling of the weights.
    step = method.step_of_weights(w, g, state.generator)
    assert float((step / t).norm()) == pytest.approx(0.3)
    bare = ASAM(radius=0.3, adaptive_floor=0.0)
    a = torch.linspace(0.1, 10.0, len(w), dtype=w.dtype)
    rescaled = bare.step_of_weights(a * w, g / a, state.generator)
    torch.testing.assert_close(rescaled, a * bare.step_of_weights(w, g, state.generator))


def test_fsam_is_the_steepest_step_with_the_datas_fisher_information() -> None:
    """FP-BMA's step for the mean is rho Sigma g / sqrt(g^T Sigma g): F^ = Sigma^-1 gives FSAM's."""
    g = torch.randn(9, generator=torch.Generator().manual_seed(0)).double()
    q = Gaussian.diagonal(torch.zeros_like(g), (1 + 2.0 * g**2).rsqrt())
    empty = g.new_zeros(1, 9), g.new_zeros(1, 0)
    step = steepest_step(q, GaussianGradient(g, torch.zeros_like(g), *empty), 0.3, covariance=False)
    found = perturbation(FSAM(radius=0.3, fisher_weight=2.0), g)
    torch.testing.assert_close(found, step.mean)


def test_without_their_own_term_they_are_what_they_extend() -> None:
    for extended, plain in (
        (SAM(radius=0.0), MAP()),
        (FSAM(radius=0.0), MAP()),
        (FSAM(fisher_weight=0.0, radius=0.2), SAM(radius=0.2)),
    ):
        ends = []
        for method in (extended, plain):
            state, batch = start(method)
            ends.append(method.step(state, batch).weights)
        torch.testing.assert_close(*ends)


@pytest.mark.parametrize("method", [SAM(), FSAM()], ids=lambda method: method.name)
def test_the_perturbation_of_extreme_gradients(method: SAM) -> None:
    g = torch.tensor([3.0, -4.0])
    for size in (1e-12, 1e-18):
        found = perturbation(method, size * g)
        torch.testing.assert_close(found, 0.05 * g / 5)
    for nothing in (0.0, 1e-30):  # the norm of the second is 0 in single precision
        assert perturbation(method, nothing * g).tolist() == [0, 0]
    assert not perturbation(method, torch.tensor([torch.inf, 1.0])).isfinite().all()


def test_bsam_by_hand() -> None:
    """m moves with the new s, which differs from the old one by about a third here."""
    method = BSAM(
        radius=0.2, gamma=0.3, beta2=0.6, s0=2.0, weight_decay=0.1, momentum=0.5, warmup=0.0
    )
    state, batch = start(method)
    space, m = state.problem.space, state.weights.clone()
    noise = torch.Generator().manual_seed(3)
    s, v = torch.full_like(m, 2.0), torch.zeros_like(m)
    for step in range(2):
        z = torch.randn(len(m), generator=noise, dtype=m.dtype)
        g = gradient(space, batch, m + z / (state.problem.examples * s).sqrt())
        worst = gradient(space, batch, m + 0.2 * g / s)
        v = 0.5 * v + 0.5 * (worst + 0.1 * m)
        s = 0.6 * s + 0.4 * (s.sqrt() * g.abs() + 0.1 + 0.3)
        m = m - method.rate(step, 10) * v / s
        method.step(state, batch)
        # The draw's low-rank part is empty, so both generators are at the same place.
        torch.testing.assert_close(state.weights, m)
    q = method.posterior(state).gaussian
    torch.testing.assert_close(q.scale, (state.problem.examples * s).rsqrt())
    assert q.rank == 0


def test_bsams_variance_where_the_loss_is_flat() -> None:
    """Where the gradient vanishes s goes to d + gamma, the least that it can be."""
    task = Task("flat", *[blobs(dtype=torch.float64).train] * 3, ("a", "b"), loss=_flat)
    space = ParameterSpace(network().double())
    method = BSAM(beta2=0.5, gamma=0.3, weight_decay=0.1)
    state = method.init(Problem(space, task.loss, 10, 100))
    for _ in range(60):
        method.step(state, (task.train.inputs, task.train.targets))
    torch.testing.assert_close(state.precision, torch.full_like(state.precision, 0.4))


def _flat(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0 * outputs.sum(1) + 0 * targets


def test_f_swag_is_swag_along_sams_trajectory() -> None:
    settings: dict[str, Any] = {"epochs": 8, "rank": 2, "batch_size": 30}
    task, model = blobs(), network()
    flat = FSWAG(radius=0.1, **settings).fit(model, task, device="cpu", seed=1).gaussian
    same = FSWAG(radius=0.0, **settings).fit(model, task, device="cpu", seed=1).gaussian
    plain = SWAG(**settings).fit(model, task, device="cpu", seed=1).gaussian
    torch.testing.assert_close(same.mean, plain.mean)
    torch.testing.assert_close(same.factor, plain.factor)
    assert float((flat.mean - plain.mean).norm()) > 1e-3


@pytest.mark.parametrize("method", [SAM(), ASAM(), FSAM(), BSAM(), FSWAG()])
def test_running_statistics_follow_the_first_pass_alone(method: Method[Any]) -> None:
    state, batch = start(method, torch.float32, normalisation=True)
    method.step(state, batch)
    (counted,) = [b for name, b in state.buffers.items() if name.endswith("num_batches_tracked")]
    assert int(counted) == 1


def test_settings_that_make_no_sense_are_refused() -> None:
    for make, message in (
        (lambda: SAM(radius=-1.0), "radius must be at least 0"),
        (lambda: FSAM(fisher_weight=-1.0), "fisher_weight must be at least 0"),
        (lambda: ASAM(adaptive_floor=-1.0), "adaptive_floor must be at least 0"),
        (lambda: BSAM(s0=0.0), "s0 must be positive"),
        (lambda: BSAM(gamma=0.0, weight_decay=0.0), "gamma must be positive without weight decay"),
        (lambda: FSWAG(rank=5, epochs=4), "f-swag: 4 epochs"),
    ):
        with pytest.raises(InputError, match=message):
            make()
