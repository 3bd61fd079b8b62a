"""Posteriors from the objects of other packages, which are the truth here.

They were tried with blitz-bayesian-pytorch 0.2.8, ivon-opt 0.1.3, laplace-torch 0.3, posteriors
0.1.3, pyro-ppl 1.9.2 and torch-uncertainty 0.13.0.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.posteriors import Gaussian, Kronecker, Point, Samples, from_object


def package(name: str) -> Any:
    """A package; the test is skipped where it is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other packages
        pytest.importorskip(name.partition(".")[0])
        return import_module(name)


def network(seed: int = 0, middle: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Linear(2, 3), nn.Tanh() if middle is None else middle, nn.Linear(3, 2)
    return nn.Sequential(*layers)


def data(count: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(count, 2, generator=generator)
    return inputs, torch.randint(2, (count,), generator=generator)


def covariance(q: Any) -> Tensor:
    """The covariance of a distribution, dense, from its log-density."""
    hessian = torch.func.hessian(lambda w: q.log_prob(w))(q.mean.double())
    return torch.linalg.inv(-hessian)


def doubled(q: Any) -> Any:
    """The distribution in float64."""
    return type(q)(*(tensor.double() for tensor in q.tensors().values()))


# laplace-torch


@pytest.fixture
def fitted() -> Callable[..., Any]:
    laplace = package("laplace")

    def fit(**settings: Any) -> Any:
        model = network(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if "subset" in settings:
                settings["subset_of_weights"] = settings.pop("subset")
            thing = laplace.Laplace(model, "classification", prior_precision=0.7, **settings)
            loader = torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(*data()), batch_size=10
            )
            thing.fit(loader)
        return thing

    return fit


@pytest.mark.parametrize("subset", ["all", "last_layer"])
@pytest.mark.parametrize("structure", ["full", "kron", "diag"])
def test_laplace_torch(fitted: Callable[..., Any], subset: str, structure: str) -> None:
    thing = fitted(subset=subset, hessian_structure=structure)
    posterior = from_object(network(5), thing)
    q = posterior.distribution
    assert isinstance(q, Kronecker if structure == "kron" else Gaussian)
    assert posterior.space.size == len(thing.mean) == (17 if subset == "all" else 8)
    assert torch.equal(posterior.mean, thing.mean)
    precision = thing.posterior_precision
    if structure == "kron":
        precision = precision.to_matrix()
    elif structure == "diag":
        precision = precision.diag()
    for w in posterior.sample(3, 0):
        step = (w - thing.mean).double()
        normal = torch.distributions.MultivariateNormal(
            torch.zeros_like(step), precision_matrix=precision.detach().double()
        )
        assert float(q.log_prob(w)) == pytest.approx(float(normal.log_prob(step)), rel=1e-3)
    inputs, _ = data()
    inner = thing.model if subset == "all" else thing.model.model
    assert torch.allclose(posterior.network()(inputs), inner(inputs), atol=1e-6)


def test_laplace_torch_of_a_subnetwork_is_its_draws(fitted: Callable[..., Any]) -> None:
    indices = torch.tensor([0, 3, 9, 16])
    thing = fitted(subset="subnetwork", hessian_structure="full", subnetwork_indices=indices)
    posterior = from_object(network(5), thing, samples=4000, seed=1)
    drawn = posterior.distribution.tensors()["vectors"]
    fixed = [index for index in range(17) if index not in indices]
    assert torch.equal(drawn[:, fixed], thing.mean[fixed].expand(4000, -1))
    exact = thing.posterior_covariance
    found = torch.cov(drawn[:, indices].T)
    assert torch.allclose(found, exact, atol=0.1 * float(exact.diagonal().max()))


def test_laplace_torch_that_is_not_fitted_or_no_gaussian_is_refused() -> None:
    laplace = package("laplace")
    thing = laplace.Laplace(
        network(1), "classification", subset_of_weights="all", hessian_structure="diag"
    )
    with pytest.raises(InputError, match="not fitted"):
        from_object(network(), thing)


# ivon-opt


def test_ivon_has_the_gaussian_that_it_draws_from() -> None:
    ivon = package("ivon")
    model = network(1)
    optimizer = ivon.IVON(model.parameters(), lr=0.1, ess=20, hess_init=0.5, weight_decay=1e-2)
    inputs, labels = data()
    for _ in range(5):
        with optimizer.sampled_params(train=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    q = from_object(model, optimizer).gaussian
    draws = []
    torch.manual_seed(3)
    for _ in range(1500):
        with optimizer.sampled_params():
            draws.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    drawn = torch.stack(draws)
    assert torch.allclose(q.mean, nn.utils.parameters_to_vector(model.parameters()))
    assert torch.allclose(drawn.std(0), q.scale, rtol=0.09)
    assert ((drawn.mean(0) - q.mean).abs() < 5 * q.scale / 1500**0.5).all()
    with pytest.raises(InputError, match="give the network that it trains"):
        from_object(network(), optimizer)


# BLiTZ


def test_blitz_has_the_gaussian_that_its_layers_draw_from() -> None:
    modules = package("blitz.modules")
    torch.manual_seed(2)
    thing = nn.Sequential(
        modules.BayesianConv2d(1, 2, (3, 3), posterior_rho_init=-1.0),
        nn.Flatten(),
        nn.Linear(8, 4),
        modules.BayesianLinear(4, 2, bias=False, posterior_rho_init=-1.0),
    )
    plain = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 2, bias=False)
    )
    posterior = from_object(plain, thing)
    assert posterior.space.names == ("0.weight", "0.bias", "3.weight")
    images = torch.randn(5, 1, 4, 4)
    ours = torch.stack([posterior.space.predict(w, images) for w in posterior.sample(600, 0)])
    with torch.no_grad():
        theirs = torch.stack([thing(images) for _ in range(600)])
    error = theirs.std(0) / 600**0.5
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
    assert torch.allclose(ours.std(0), theirs.std(0), rtol=0.2)
    assert torch.equal(posterior.network()[2].weight, thing[2].weight)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"BLiTZ infers '0.weight'.*same names"):
        from_object(nn.Linear(2, 2), thing)


# posteriors


def log_posterior(model: nn.Module) -> Callable[..., Any]:
    def value(params: Any, batch: Any) -> Any:
        outputs = torch.func.functional_call(model, dict(params.items()), (batch[0],))
        prior = sum((p**2).sum() for p in params.values())
        return -nn.functional.cross_entropy(outputs, batch[1]) - 0.05 * prior, torch.empty(0)

    return value


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def in_order(model: nn.Module, tree: Any) -> Tensor:
    """Draws of the package's tree, shape (S, P), in the order of the model's parameters."""
    return torch.cat([tree[name].flatten(1) for name, _ in model.named_parameters()], 1)


class Scores(nn.Module):
    """Vectors only, of which dense Laplace draws sets; its trees have another order, a before z."""

    def __init__(self) -> None:
        super().__init__()
        self.z = nn.Parameter(torch.randn(2))
        self.a = nn.Parameter(torch.randn(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([inputs @ self.z, inputs @ self.a[:2] + self.a[2]], 1)


@pytest.mark.parametrize(
    "kind",
    ["vi.diag", "vi.dense", "laplace.diag_fisher", "laplace.dense_fisher", "ekf.diag_fisher"],
)
def test_posteriors_has_the_gaussian_that_it_draws_from(kind: str) -> None:
    package("posteriors")
    part = import_module(f"posteriors.{kind}")
    torch.manual_seed(3)
    model = Scores()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "vi.diag":
            torchopt = import_module("torchopt")
            build = part.build(log_posterior(model), torchopt.adam(lr=0.05), init_log_sds=-1.0)
        elif kind == "vi.dense":
            torchopt = import_module("torchopt")
            build = part.build(log_posterior(model), torchopt.adam(lr=0.05), init_L=0.5)
        elif kind.startswith("laplace"):
            build = part.build(log_posterior(model), per_sample=False)
        else:
            build = part.build(log_posterior(model), lr=0.1, init_sds=0.3)
        state = build.init(parameters_of(model))
        for _ in range(4):
            state, _aux = build.update(state, data())
        if kind.startswith("laplace"):  # the Fisher matrix of one batch has no full rank
            from dataclasses import replace

            ridge = "prec_diag" if "diag" in kind else "prec"
            value = getattr(state, ridge)
            if ridge == "prec":
                state = replace(state, prec=value + 2 * torch.eye(len(value)))
            else:
                state = replace(state, prec_diag={n: v + 2 for n, v in value.items()})
        q = from_object(model, state).gaussian
        draws = part.sample(state, torch.Size([6000]))
    drawn = in_order(model, draws).double()
    exact = covariance(doubled(q))
    found = torch.cov(drawn.T)
    scale = exact.diagonal().sqrt()
    assert torch.allclose(drawn.mean(0), q.mean.double(), atol=6 * float(scale.max()) / 6000**0.5)
    correlation = (found - exact) / torch.outer(scale, scale)
    assert correlation.abs().max() < 0.08


def test_states_of_posteriors_are_the_samples_of_a_chain() -> None:
    package("posteriors")
    sgld = import_module("posteriors.sgmcmc.sgld")
    model = network(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = sgld.build(log_posterior(model), lr=0.01)
        state, states = build.init(parameters_of(model)), []
        for _ in range(4):
            state, _aux = build.update(state, data())
            states.append(state)
        posterior = from_object(model, states)
        with pytest.raises(InputError, match="give a list of such states"):
            from_object(model, state)
    q = posterior.distribution
    assert isinstance(q, Samples)
    expected = [torch.cat([v.flatten() for v in dict(s.params.items()).values()]) for s in states]
    assert torch.equal(q.vectors, torch.stack(expected))
    assert posterior.places(4) is not None


# Pyro


@pytest.fixture
def guide() -> Any:
    pyro = package("pyro")
    distributions = import_module("pyro.distributions")
    guides = import_module("pyro.infer.autoguide")
    pyro.clear_param_store()
    plain = network(1)

    def model(inputs: Tensor, labels: Tensor) -> None:
        pyro.sample("temperature", distributions.Normal(0.0, 1.0))
        weights = {
            name: pyro.sample(
                name, distributions.Normal(torch.zeros(p.shape), 1.0).to_event(p.ndim)
            )
            for name, p in reversed(list(plain.named_parameters()))
        }
        logits = torch.func.functional_call(plain, weights, (inputs,))
        with pyro.plate("data", len(inputs)):
            pyro.sample("label", distributions.Categorical(logits=logits), obs=labels)

    def trained(kind: str) -> Any:
        pyro.set_rng_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guide = getattr(guides, kind)(model)
            optimizer = import_module("pyro.optim").Adam({"lr": 0.05})
            infer = import_module("pyro.infer")
            svi = infer.SVI(model, guide, optimizer, loss=infer.Trace_ELBO())
            for _ in range(5):
                svi.step(*data())
        return guide

    return trained


@pytest.mark.parametrize(
    "kind", ["AutoDiagonalNormal", "AutoMultivariateNormal", "AutoLowRankMultivariateNormal"]
)
def test_pyro_guides_have_the_gaussian_of_their_sites(guide: Any, kind: str) -> None:
    thing, model = guide(kind), network()
    q = from_object(model, thing).gaussian
    torch.manual_seed(4)
    with torch.no_grad():
        latent = thing.get_posterior().sample((4000,))
        values = {site["name"]: value for site, value in thing._unpack_latent(latent)}
    drawn = torch.cat([values[name].flatten(1) for name, _ in model.named_parameters()], 1)
    exact = covariance(doubled(q))
    scale = exact.diagonal().sqrt()
    assert ((drawn.mean(0) - q.mean).abs() < 6 * scale / 4000**0.5).all()
    found = torch.cov(drawn.T.double())
    assert ((found - exact) / torch.outer(scale, scale)).abs().max() < 0.1


def test_a_delta_guide_is_a_point_and_others_are_refused(guide: Any) -> None:
    thing, model = guide("AutoDelta"), network()
    q = from_object(model, thing).distribution
    assert isinstance(q, Point)
    median = thing.median(*data())
    expected = torch.cat([median[name].flatten() for name, _ in model.named_parameters()])
    assert torch.equal(q.mean, expected)
    with pytest.raises(InputError, match="the guide has the sites"):
        from_object(nn.Linear(1, 1), thing)
    with pytest.raises(InputError, match="no Gaussian that is known here"):
        from_object(model, guide("AutoLaplaceApproximation"))


# torch-uncertainty


def test_torch_uncertainty_ensembles_are_their_members() -> None:
    methods = package("torch_uncertainty.methods")
    members = [network(seed) for seed in (1, 2, 3)]
    thing = methods.deep_ensembles(members, task="classification")
    posterior = from_object(network(), thing)
    inputs, _ = data()
    rows = posterior.distribution.tensors()["vectors"]
    ours = torch.cat([posterior.space.predict(w, inputs) for w in rows])
    with torch.no_grad():
        assert torch.allclose(ours, thing.eval()(inputs), atol=1e-6)


def test_torch_uncertainty_batch_ensemble_is_its_members() -> None:
    methods = package("torch_uncertainty.methods")
    thing = methods.batch_ensemble(network(1), 3, convert_layers=True).eval()
    with torch.no_grad():
        for parameter in thing.parameters():
            parameter.normal_()
    posterior = from_object(network(), thing)
    inputs, _ = data()
    rows = posterior.distribution.tensors()["vectors"]
    ours = torch.cat([posterior.space.predict(w, inputs) for w in rows])
    with torch.no_grad():
        assert torch.allclose(ours, thing(inputs), atol=1e-5)


@pytest.mark.parametrize("diagonal", [True, False])
def test_torch_uncertainty_swag_has_the_gaussian_that_it_draws_from(diagonal: bool) -> None:
    methods = package("torch_uncertainty.methods")
    core = network(1)
    thing = methods.SWAG(
        core, cycle_start=0, cycle_length=1, scale=0.5, max_num_models=4, diag_covariance=diagonal
    )
    for epoch in range(1, 7):
        with torch.no_grad():
            for parameter in core.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        thing.update_wrapper(epoch)
    q = from_object(network(), thing).gaussian
    torch.manual_seed(5)
    drawn = torch.stack(
        [
            nn.utils.parameters_to_vector(thing.sample(thing.scale).parameters()).detach()
            for _ in range(1000)
        ]
    ).double()
    exact = covariance(doubled(q))
    scale = exact.diagonal().sqrt()
    assert ((drawn.mean(0) - q.mean).abs() < 6 * scale / 1000**0.5).all()
    assert ((torch.cov(drawn.T) - exact) / torch.outer(scale, scale)).abs().max() < 0.17


def test_torch_uncertainty_mc_dropout_has_the_moments_of_its_outputs() -> None:
    methods = package("torch_uncertainty.methods")
    torch.manual_seed(1)
    core = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(2, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2)
    )
    thing = methods.mc_dropout(core, 4000, on_batch=True).eval()
    posterior = from_object(core, thing, samples=4000)
    inputs = data()[0][:1]
    ours = torch.cat([posterior.space.predict(w, inputs) for w in posterior.sample(4000, 0)])
    with torch.no_grad():
        theirs = thing(inputs)
    error = theirs.std(0) / 4000**0.5
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
    assert torch.allclose(torch.cov(ours.T), torch.cov(theirs.T), rtol=0.15, atol=1e-3)
    other = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(InputError, match="no masks of weights"):
        from_object(other, methods.mc_dropout(other, 3))


def test_an_unknown_object_is_refused() -> None:
    with pytest.raises(InputError, match="a Linear is of no package that is known here"):
        from_object(network(), nn.Linear(1, 1))
    with pytest.raises(InputError, match="a dict is of no package"):
        from_object(network(), {})
