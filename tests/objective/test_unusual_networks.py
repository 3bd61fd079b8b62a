"""Networks that do in their passes what others do not, and that nothing of a caller's changes."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from landscape.curvature import EmpiricalFisher, GaussNewton, expected_sharpness
from landscape.errors import InputError, LandscapeError, LandscapeWarning
from landscape.methods import MAP, SGLD, VI
from landscape.objective.objective import Objective
from landscape.objective.parameters import ParameterSpace
from landscape.posteriors import isotropic
from landscape.surfaces import surface
from landscape.tasks import arrays


class Checkpointed(nn.Module):
    """Runs its first half again in the backward pass."""

    def __init__(self, first: nn.Module, last: nn.Module, *, reentrant: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = first, last, reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.first, x, use_reentrant=self.reentrant)
        outputs: Tensor = self.last(hidden)
        return outputs


def halves(kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    if kind == "linear":
        first = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.GELU())
        return first, nn.Linear(6, 3), torch.randn(9, 4)
    first = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
    return first, nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.randn(9, 2, 6, 6)


@pytest.mark.parametrize("kind", ["linear", "convolutional"])
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_network_that_runs_again_in_the_backward_pass_has_its_weights(
    kind: str, memory: int
) -> None:
    first, last, x = halves(kind)
    data = [(x, torch.arange(9) % 3)]
    plain, again = (
        Objective(model, data) for model in (nn.Sequential(first, last), Checkpointed(first, last))
    )
    w = torch.randn(plain.size)  # others than the module's own
    v = torch.randn(plain.size)
    torch.testing.assert_close(again.gradient(w), plain.gradient(w))
    for matrix in (
        lambda objective: objective.hessian(w, memory=memory),
        lambda objective: GaussNewton(objective, w, memory=memory),
        lambda objective: EmpiricalFisher(objective, w, memory=memory),
    ):
        found, truth = matrix(again), matrix(plain)
        for _ in range(2):
            torch.testing.assert_close(found(v), truth(v), rtol=1e-4, atol=1e-5)


def test_a_network_that_runs_again_is_trained_as_any() -> None:
    first, last, x = halves("linear")
    y = torch.arange(9) % 3
    task = arrays((x, y), (x, y), validation_share=0)
    plain, again = (
        MAP(epochs=3, batch_size=4).fit(model, task)
        for model in (nn.Sequential(first, last), Checkpointed(first, last))
    )
    torch.testing.assert_close(again.mean, plain.mean)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpoints_that_autograd_cannot_pass_are_one_line() -> None:
    first, last, x = halves("linear")
    y = torch.arange(9) % 3
    model = nn.Sequential(nn.Linear(4, 4), Checkpointed(first, last, reentrant=True))
    objective = Objective(model, [(x, y)])
    w = objective.space.vector()
    for take in (
        lambda: objective.gradient(w),
        lambda: objective.hessian_product(w, w),
        lambda: MAP(epochs=1).fit(model, arrays((x, y), (x, y))),
    ):
        with pytest.raises(InputError, match="use use_reentrant=False"):
            take()


class OneForward(torch.autograd.Function):
    """Runs a module again in its backward pass, as adjoint methods do."""

    @staticmethod
    def forward(ctx: Any, module: nn.Module, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.module = module
        ctx.save_for_backward(x, *weights)
        with torch.no_grad():
            outputs: Tensor = module(x)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, *weights = ctx.saved_tensors
        with torch.enable_grad():
            outputs = ctx.module(x)
        return None, None, *torch.autograd.grad(outputs, weights, grads[0])


class Adjoint(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = OneForward.apply(self.inner, x, *self.inner.parameters())
        return outputs


def test_adjoint_methods_have_their_gradient_and_no_curvature() -> None:
    first, last, x = halves("linear")
    inner = nn.Sequential(first, last)
    data = [(x, torch.arange(9) % 3)]
    plain, adjoint = Objective(inner, data), Objective(Adjoint(inner), data)
    w = torch.randn(plain.size)
    torch.testing.assert_close(adjoint.gradient(w), plain.gradient(w))
    with pytest.raises(LandscapeError, match="Hessian matvecs are wrong"):
        adjoint.hessian_product(w, w)


class Restless(nn.Module):
    """Changes its weights, its inputs and a buffer in place, in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4, max_norm=0.5)
        self.head = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, tokens: Tensor, shift: Tensor) -> Tensor:
        self.calls += 1
        shift.add_(1.0)
        self.head.weight.data.clamp_(-0.3, 0.3)
        outputs: Tensor = self.head(self.words(tokens).mean(1) + shift - 1)
        return outputs


def test_nothing_of_the_callers_is_changed() -> None:
    tokens, shift = torch.arange(30).view(10, 3) % 7, torch.randn(10, 4)
    y = torch.arange(10) % 3
    data = [((tokens, shift), y)]
    model = Restless()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = shift.clone()
    objective = Objective(model, data)
    posterior = isotropic(model, 0.1, mean=3 * torch.randn(objective.size))
    w = posterior.mean.clone()
    buffers = objective.space.buffers()
    at = objective.with_buffers(buffers)
    losses = {float(at.loss(w)) for _ in range(3)}
    at.evaluate(w)
    at.gradient(w)
    with pytest.warns(LandscapeWarning, match="weights that its layers change"):
        at.hessian_product(w, w)
    surface(posterior, data, plane="random", shape=(2, 2))
    expected_sharpness(posterior, data, samples=2)
    with objective.space.at(w.requires_grad_()) as network:
        network((tokens, shift)).sum().backward()
    assert len(losses) == 1
    assert torch.equal(w.detach(), posterior.mean)
    assert torch.equal(shift, kept)
    assert int(buffers["calls"]) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Derivative(nn.Module):
    """u_xx - u of a network's output u, differentiated inside: a physics-informed network."""

    def __init__(self, style: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        self.style = style

    def forward(self, x: Tensor) -> Tensor:
        if self.style == "torch.func":
            one = lambda x: self.inner(x[None])[0, 0]  # noqa: E731
            second = torch.func.vmap(torch.func.hessian(one))(x)
            return second.view(-1, 1) - self.inner(x)
        with torch.enable_grad() if self.style == "enable_grad" else nullcontext():
            x = x.requires_grad_()
            u = self.inner(x)
            (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
            return second - u


@pytest.mark.parametrize("style", ["plain", "enable_grad", "torch.func"])
def test_networks_may_differentiate_inside(style: str) -> None:
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    model, data = Derivative(style), [(x, torch.sin(3 * x))]
    objective = Objective(model, data, nn.MSELoss())
    w = objective.space.vector()
    truth = nn.functional.mse_loss(model(x.clone()), torch.sin(3 * x))
    (gradient,) = [torch.cat([g.flatten() for g in torch.autograd.grad(truth, model.parameters())])]
    torch.testing.assert_close(objective.loss(w), truth.detach())
    torch.testing.assert_close(objective.gradient(w), gradient)
    v = torch.randn_like(w)
    ahead, behind = (objective.gradient(w + sign * 1e-6 * v) for sign in (1, -1))
    operator = objective.hessian(w)
    for _ in range(2):
        torch.testing.assert_close(operator(v), (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        torch.testing.assert_close(objective.loss(w), truth.detach())
    posterior = isotropic(model, 0.01, mean=w)
    plane = surface(posterior, data, plane="random", shape=(3, 3), loss=nn.MSELoss())
    assert plane.loss[1, 1] == pytest.approx(float(truth.detach()))
    task = arrays((x, torch.sin(3 * x)), (x, torch.sin(3 * x)), loss=nn.MSELoss())
    fitted = MAP(epochs=3, learning_rate=1e-3).fit(model, task)
    assert fitted.history["train_loss"][-1] < fitted.history["train_loss"][0]
    assert not x.requires_grad


def test_compiled_networks_are_what_they_were_compiled_from() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    data = [(torch.randn(9, 4), torch.arange(9) % 3)]
    truth = Objective(inner, data)
    w, v = truth.space.vector(), torch.randn(truth.size)
    for model in (
        torch.compile(inner, backend="eager"),
        nn.Sequential(torch.compile(inner, backend="eager")),
    ):
        found = Objective(model, data)
        assert not [name for name in found.space.names if "_orig_mod" in name]
        torch.testing.assert_close(found.hessian_product(w, v), truth.hessian_product(w, v))


class Caching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x)
        self.kept = [hidden]
        return hidden.tanh()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_networks_that_keep_what_they_computed_are_copied_without_it() -> None:
    x, y = torch.randn(9, 4), torch.arange(9) % 3
    pruned = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    prune.random_unstructured(pruned[0], "weight", 0.5)
    older = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))
    for model in (Caching(), pruned, older):
        expected = model(x)
        space = ParameterSpace(model)
        torch.testing.assert_close(space.call(space.vector(), x), expected.detach())
        objective = Objective(space, [(x, y)])
        objective.gradient(space.vector())
        posterior = isotropic(model, 0.1, mean=space.vector())
        copies = pickle.loads(pickle.dumps(posterior)), copy.deepcopy(posterior)
        for one in copies:
            found = one.space.call(one.mean, x)
            torch.testing.assert_close(found, expected.detach())
        torch.testing.assert_close(posterior.network()(x), expected)


def test_padding_keeps_its_place_whatever_the_vector_says() -> None:
    model = nn.Sequential(nn.Embedding(5, 3, padding_idx=2), nn.Flatten(), nn.Linear(6, 2))
    tokens = torch.tensor([[0, 2], [1, 2], [3, 4]])
    posterior = isotropic(model, 0.5)
    space, row = posterior.space, slice(6, 9)
    w = posterior.sample(4)
    assert not bool(w[:, row].any())
    assert bool(w[:, :6].all())
    moved = w[0].clone()
    moved[row] = 7.0
    torch.testing.assert_close(space.call(moved, tokens), space.call(w[0], tokens))
    objective = Objective(space, [(tokens, torch.tensor([0, 1, 0]))])
    matrix = torch.stack([objective.hessian(w[0])(row_) for row_ in torch.eye(space.size)])
    assert not bool(matrix[row].any())
    assert not bool(matrix[:, row].any())
    data = (tokens, torch.tensor([0, 1, 0]))
    task = arrays(data, data, standardise=False)
    for method in (VI(epochs=2), SGLD(epochs=4), MAP(epochs=2)):
        found = method.fit(model, task)
        assert not bool(found.sample(1)[:, row].any())


def test_padding_of_a_tied_embedding_is_a_parameter() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 3, padding_idx=2)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.words.weight

        def forward(self, tokens: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.words(tokens).mean(1))
            return outputs

    space = ParameterSpace(Tied())
    tokens = torch.tensor([[0, 1], [1, 3]])
    w = torch.ones(space.size)
    moved = w.clone()
    moved[6:9] = 5.0
    assert not torch.equal(space.call(moved, tokens), space.call(w, tokens))


def test_sparse_embeddings_are_measured_as_dense_ones() -> None:
    torch.manual_seed(0)
    data = [(torch.randint(9, (12, 3)), torch.arange(12) % 3)]
    layers = [nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)]
    sparse = copy.deepcopy(layers)
    sparse[0].sparse = True
    one, other = (Objective(nn.Sequential(*each), data) for each in (layers, sparse))
    w = one.space.vector()
    torch.testing.assert_close(one.gradient(w), other.gradient(w))
    torch.testing.assert_close(one.hessian_product(w, w), other.hessian_product(w, w))


class ShiftedGroups(nn.Module):
    """Group normalisation with a shift and no scale, which torch cannot differentiate."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.shift = nn.Linear(4, 3), nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.group_norm(self.inner(inputs), 1, None, self.shift)


def test_a_layer_that_torch_cannot_differentiate_is_named_in_a_line() -> None:
    objective = Objective(ShiftedGroups(), [(torch.randn(6, 4), torch.arange(6) % 3)])
    with pytest.raises(InputError, match="torch has no derivative of one of the network's oper"):
        objective.gradient()
