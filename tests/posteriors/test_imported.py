"""Posteriors from weights that were trained elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import landscape as ls
from landscape.errors import InputError
from landscape.posteriors import PosteriorLoss, from_gaussian, from_sampler, from_weights
from landscape.posteriors.fingerprints import fingerprints

State = dict[str, Tensor]


def network(seed: int = 0, *, normalised: bool = False) -> nn.Sequential:
    torch.manual_seed(seed)
    middle = nn.BatchNorm1d(4) if normalised else nn.Tanh()
    return nn.Sequential(nn.Linear(2, 4), middle, nn.Linear(4, 3))


def states(count: int = 3) -> list[State]:
    return [network(seed).state_dict() for seed in range(1, 1 + count)]


def flat(state: State) -> Tensor:
    return torch.cat([value.reshape(-1) for value in state.values()])


def test_each_state_dict_is_one_sample() -> None:
    model, before = network(), flat(network().state_dict())
    posterior = from_weights(model, states())
    expected = torch.stack([flat(state) for state in states()])
    drawn = posterior.sample(3, 0)
    assert {tuple(row.tolist()) for row in drawn} == {tuple(row.tolist()) for row in expected}
    assert torch.equal(flat(model.state_dict()), before)
    inputs = torch.randn(5, 2)
    first = network(1)
    assert torch.allclose(posterior.space.call(flat(first.state_dict()), inputs), first(inputs))


def prefixed(prefix: str) -> Callable[[State], Any]:
    return lambda state: {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        prefixed(""),
        prefixed("module."),
        prefixed("model."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        lambda state: {"state_dict": prefixed("model.")(state), "epoch": 3},
        lambda state: {"model_state_dict": state},
    ],
)
def test_prefixes_and_nesting_of_other_tools_are_understood(
    wrap: Callable[[State], Any], tmp_path: Path
) -> None:
    for number, state in enumerate(states()):
        torch.save(wrap(state), tmp_path / f"step-{number + 8}.pt")
    posterior = from_weights(network(), tmp_path)
    expected = torch.stack([flat(state) for state in states()])  # 8, 9, 10: no order of letters
    assert torch.equal(posterior.distribution.tensors()["vectors"], expected)


def test_safetensors_are_found_by_a_pattern(tmp_path: Path) -> None:
    for number, state in enumerate(states()):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        save_file(state, folder / "model.safetensors")
        (folder / "trainer.txt").write_text("no weights")
    posterior = from_weights(network(), str(tmp_path / "*" / "*"))
    assert posterior.num_available(30) == 3


def test_a_compiled_or_parallel_network_gives_its_own_names() -> None:
    state = nn.DataParallel(network(1)).state_dict()
    posterior = from_weights(network(), [state])
    assert torch.equal(posterior.mean, flat(states()[0]))


def test_it_predicts_is_measured_and_comes_back_from_a_file(tmp_path: Path) -> None:
    data = [(torch.randn(20, 2), torch.randint(3, (20,)))]
    posterior = from_weights(network(), states())
    flatness = ls.measure(posterior, data, samples=3, eigenvalues=1)
    alone = ls.Objective(network(2), data)
    top = ls.curvature.top_eigenvalues(alone, k=1).values[0]
    assert min(abs(flatness.eigenvalues[:, 0] - float(top))) < 1e-2 * float(top)
    path = posterior.save(tmp_path / "imported.safetensors")
    assert torch.equal(ls.posteriors.load(path, network()).sample(3, 0), posterior.sample(3, 0))


def test_running_statistics_are_those_of_each_sample_on_the_calibration_data() -> None:
    data = [(torch.randn(50, 2), torch.randint(3, (50,)))]
    first, second = network(1, normalised=True), network(2, normalised=True)
    posterior = from_weights(
        network(normalised=True), [first.state_dict(), second.state_dict()], calibration=data
    )
    for model in (first, second):
        hidden = model[0](data[0][0])
        weights = torch.cat([value.reshape(-1) for value in model.parameters()])
        assert torch.allclose(posterior.buffers(weights)["1.running_mean"], hidden.mean(0))


class Whitened(nn.Module):
    """A layer of another package that keeps statistics in training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(4))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.centre.lerp_(inputs.detach().mean(0), 0.5)
        return inputs - self.centre


def trained_in_part(seed: int, layer: nn.Module) -> nn.Sequential:
    """A network whose statistics are half-way to those of its own data."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 4), layer, nn.Linear(4, 3)).train()
    model(3.0 + torch.randn(20, 2))
    return model.eval()


@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(4), Whitened])
def test_kept_buffers_are_those_of_each_checkpoint(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    networks = [trained_in_part(seed, make()) for seed in (1, 2, 3)]
    posterior = from_weights(
        trained_in_part(0, make()), [one.state_dict() for one in networks], buffers="keep"
    )
    data = [(torch.randn(20, 2), torch.randint(3, (20,)))]
    path = posterior.save(tmp_path / "kept.safetensors")
    for one in (posterior, ls.posteriors.load(path, trained_in_part(9, make()), calibration=data)):
        predicted = ls.predict(one, data, samples=3).log_probabilities
        with torch.no_grad():
            outputs = [n(data[0][0]) for n in networks]
        losses = sorted(nn.functional.cross_entropy(o, data[0][1]) for o in outputs)
        nll = -predicted[:, torch.arange(20), data[0][1]].mean(1)
        assert torch.allclose(nll.sort().values, torch.stack(losses), rtol=1e-5)
        flatness = ls.measure(one, data, samples=3, eigenvalues=1, trace_matvecs=4)
        assert sorted(flatness.loss) == pytest.approx([float(loss) for loss in losses], rel=1e-5)
        tops = [
            float(ls.curvature.top_eigenvalues(ls.Objective(n, data), k=1).values[0])
            for n in networks
        ]
        assert sorted(flatness.eigenvalues[:, 0]) == pytest.approx(sorted(tops), rel=5e-3)
        for refused in (ls.surface, ls.surfaces.line):
            with pytest.raises(InputError, match="each sample keeps the running statistics of its"):
                refused(one, data, samples=3)
        with pytest.raises(InputError, match="import the checkpoints with buffers='reestimate'"):
            one.network()


def test_statistics_of_another_checkpoint_are_never_taken() -> None:
    networks = [trained_in_part(seed, Whitened()).state_dict() for seed in (1, 2)]
    with pytest.raises(InputError, match=r"differs from the first in '1.centre'.*buffers='keep'"):
        from_weights(trained_in_part(0, Whitened()), networks)
    lacking = [trained_in_part(seed, nn.BatchNorm1d(4)).state_dict() for seed in (1, 2)]
    del lacking[1]["1.running_var"]
    with pytest.raises(InputError, match=r"weights 1 .* lacks '1.running_var'"):
        from_weights(trained_in_part(0, nn.BatchNorm1d(4)), lacking, buffers="keep")
    same = {**networks[0], "1.centre": networks[0]["1.centre"] + 1.0}
    with pytest.raises(InputError, match="the same and have different buffers"):
        from_weights(trained_in_part(0, Whitened()), [networks[0], same], buffers="keep")
    with pytest.raises(InputError, match="buffers is one of reestimate, keep, not 'both'"):
        from_weights(trained_in_part(0, Whitened()), networks, buffers="both")  # type: ignore[arg-type]


def test_kept_buffers_are_part_of_what_a_result_depends_on() -> None:
    states = [trained_in_part(seed, nn.BatchNorm1d(4)).state_dict() for seed in (1, 2)]
    data = [(torch.randn(20, 2), torch.randint(3, (20,)))]

    def mark(states: list[State], how: Any) -> str:
        posterior = from_weights(
            trained_in_part(0, nn.BatchNorm1d(4)), states, buffers=how, calibration=data
        )
        return fingerprints(PosteriorLoss(posterior, data))["posterior"]

    other = [states[0], {**states[1], "1.running_mean": torch.zeros(4)}]
    assert mark(states, "keep") == mark(states, "keep")
    assert len({mark(states, "keep"), mark(other, "keep"), mark(states, "reestimate")}) == 3
    assert mark(states, "reestimate") == mark(other, "reestimate")


def test_what_is_not_inferred_must_be_the_same() -> None:
    head = ["2.weight", "2.bias"]
    with pytest.raises(InputError, match=r"weights 1 differs from the first in '0\.weight'"):
        from_weights(network(), states(), parameters=head)
    alike = [{**states()[0], **{name: state[name] for name in head}} for state in states()]
    posterior = from_weights(network(), alike, parameters=head)
    assert posterior.space.size == 15
    assert torch.equal(posterior.network()[0].weight, states()[0]["0.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("2.bias"),
            "weights 0 does not fit the network: it lacks '2.bias'",
        ),
        (lambda state: state.update(more=torch.ones(1)), r"also holds 'more'; give prefix=''"),
        (
            lambda state: state.update({f"ema.{k}": v for k, v in states()[1].items()}),
            r"also holds 'ema.0.weight', 'ema.0.bias', 'ema.2.weight' and 1 more",
        ),
        (
            lambda state: state.update({"2.bias": torch.ones(4)}),
            r"has shape \(4,\) there and \(3,\)",
        ),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_listed(
    change: Callable[[State], object], message: str
) -> None:
    state = dict(states()[0])
    change(state)
    with pytest.raises(InputError, match=message):
        from_weights(network(), [state])


def test_a_checkpoint_with_two_networks_needs_the_prefix() -> None:
    both = prefixed("net.")(states()[0]) | prefixed("ema.")(states()[1])
    with pytest.raises(InputError, match=r"more than once: choose prefix= from 'net.', 'ema.'"):
        from_weights(network(), [both])
    for prefix, state in (("net.", states()[0]), ("ema.", states()[1])):
        assert torch.equal(from_weights(network(), [both], prefix=prefix).mean, flat(state))


@pytest.mark.parametrize(
    ("weights", "message"),
    [([], "empty"), ({}, "one state dict: put it into a list"), ("nowhere", "no files of weights")],
)
def test_nothing_to_read_is_refused(weights: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_weights(network(), weights)


def test_a_gaussian_has_the_given_moments() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 1, dtype=torch.float64)
    mean, root = torch.randn(3).double(), torch.randn(3, 5).double()
    covariance = root @ root.T
    dense = from_gaussian(model, mean, covariance=covariance).gaussian
    assert torch.allclose(dense.covariance_product(torch.eye(3).double()[0]), covariance[0])
    exact = torch.distributions.MultivariateNormal(mean, covariance)
    w = torch.randn(3).double()
    assert torch.allclose(dense.log_prob(w), exact.log_prob(w))
    by_name = from_gaussian(
        model, {"weight": mean[None, :2], "bias": mean[2:]}, scale=2.0, factor=root
    ).gaussian
    total = 4 * torch.eye(3).double() + covariance
    assert torch.allclose(by_name.covariance_product(torch.eye(3).double()[1]), total[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either scale"),
        ({"scale": 1.0, "covariance": torch.eye(3)}, "either scale"),
        ({"scale": torch.ones(2)}, r"scale has shape \(2,\), not \(3,\)"),
        ({"scale": -1.0}, "positive"),
        ({"scale": 1.0, "factor": torch.ones(2, 2)}, "factor"),
        ({"covariance": torch.eye(2)}, r"\(2, 2\), not \(3, 3\)"),
        ({"covariance": torch.ones(3, 3).triu()}, "not symmetric"),
        ({"covariance": torch.diag(torch.tensor([1.0, 1.0, -1.0]))}, "eigenvalue -1"),
    ],
)
def test_a_gaussian_that_is_none_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_gaussian(nn.Linear(2, 1), torch.zeros(3), **settings)


def test_draws_of_a_sampler_are_its_samples() -> None:
    model = nn.Linear(2, 1)

    def draw(generator: torch.Generator) -> State:
        w = torch.randn(3, generator=generator)
        return {"weight": w[None, :2], "bias": w[2:]}

    generator = torch.Generator().manual_seed(4)
    expected = torch.stack([torch.randn(3, generator=generator) for _ in range(6)])
    posterior = from_sampler(model, draw, samples=6, seed=4)
    assert torch.equal(posterior.distribution.tensors()["vectors"], expected)
    with pytest.raises(InputError, match=r"a draw has shape \(2,\), not \(3,\)"):
        from_sampler(model, lambda generator: torch.ones(2))
