"""Weights from local files, and networks of optional packages."""

import pickle
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landscape import models
from landscape.errors import InputError
from landscape.models import load_weights


def network(classes: int = 3, seed: int = 0) -> nn.Module:
    return models.build(
        "resnet20", input_shape=(1, 4, 4), classes=classes, width=2, depth=8, seed=seed
    )


def same(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", ["plain", "nested", "parallel", "safetensors"])
def test_a_file_of_weights_is_read(kind: str, tmp_path: Path) -> None:
    state = network(seed=1).state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if kind == "nested" else state, path)
    assert same(load_weights(network(seed=0), path), network(seed=1))


def test_names_may_differ_and_batches_not_be_counted(tmp_path: Path) -> None:
    state = {
        name.replace("linear.", "fc."): value
        for name, value in network(seed=1).state_dict().items()
        if "num_batches" not in name
    }
    torch.save(state, tmp_path / "w.pt")
    model = load_weights(network(), tmp_path / "w.pt", rename={"fc.": "linear."})
    assert same(model, network(seed=1))


def test_a_new_head_keeps_its_values(tmp_path: Path) -> None:
    trained = network(classes=5, seed=1)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    model = load_weights(network(), tmp_path / "w.pt", new=["linear."])
    assert torch.equal(model.linear.weight, network().linear.weight)
    assert torch.equal(model.conv1.weight, trained.conv1.weight)


def test_what_does_not_fit_or_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(network(classes=5).state_dict(), path)
    before = network()
    for settings, message in (
        ({}, r"'linear.weight' has shape \(5, 8\) in the file and \(3, 8\) in the model"),
        ({"rename": {"linear.": "fc."}}, r"no 'linear.weight' \(2 missing\) and 'fc.weight' \(2"),
    ):
        with pytest.raises(InputError, match=message):
            load_weights(before, path, **settings)  # type: ignore[arg-type]
    assert same(before, network())
    for contents in (b"", b"no weights", pickle.dumps(print, protocol=2), path.read_bytes()[:500]):
        (tmp_path / "bad.pt").write_bytes(contents)
        with pytest.raises(InputError, match=r"cannot read .* as weights") as found:
            load_weights(network(), tmp_path / "bad.pt")
        assert "\n" not in str(found.value)
    with pytest.raises(InputError, match=r"cannot read .*gone\.safetensors"):
        load_weights(network(), tmp_path / "gone.safetensors")
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="does not hold named weights"):
        load_weights(network(), path)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the packages, with one network ``small`` and the functions of the real ones."""

    def make(name: str, num_classes: int, in_chans: int = 3, **_: object) -> nn.Module:
        return nn.Sequential(nn.Conv2d(in_chans, 2, 1), nn.Flatten(), nn.Linear(8, num_classes))

    names = lambda: ["small"]  # noqa: E731
    fakes = {
        "torchvision": SimpleNamespace(models=SimpleNamespace(list_models=names, get_model=make)),
        "timm": SimpleNamespace(list_models=names, create_model=make),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)  # type: ignore[arg-type]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_networks_of_other_packages(package: str, tmp_path: Path) -> None:
    name, shape = f"{package}:small", {"input_shape": (3, 2, 2)}
    trained = models.build(name, classes=4, seed=1, **shape)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    model = models.build(name, classes=2, weights=str(tmp_path / "w.pt"), **shape)
    assert torch.equal(model[0].weight, trained[0].weight)
    assert model[2].weight.shape == (2, 8)
    whole = models.build(name, classes=4, weights=str(tmp_path / "w.pt"), **shape)
    assert same(whole, trained)
    assert same(models.rebuild(model.architecture), models.build(name, classes=2, **shape))
    with pytest.raises(InputError, match=f"{package} has no network 'hf-hub:x/y'"):
        models.build(f"{package}:hf-hub:x/y", classes=2, **shape)


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_missing_package_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(InputError, match=f"{package}: pip install {package}"):
        models.build(f"{package}:resnet18", input_shape=(3, 8, 8), classes=2)


DEEP = b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s."
"""A dictionary whose key is a tuple in a tuple in a tuple ..."""


def test_a_deep_pickle_of_weights_is_refused_before_torch_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(DEEP)
    with pytest.raises(InputError, match="nested more than 500 levels deep"):
        load_weights(network(), path)
    torch.save(network().state_dict(), tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(path, "w") as spoiled:
        for member in whole.namelist():
            pickled = member.endswith("data.pkl")
            spoiled.writestr(member, DEEP if pickled else whole.read(member))
    with pytest.raises(InputError, match="nested more than 500 levels deep"):
        load_weights(network(), path)


def test_weights_that_unpack_to_many_times_their_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(1 << 26))
    with pytest.raises(InputError, match="would unpack to 64 MiB, many times its size"):
        load_weights(network(), path)


def test_weights_of_old_files_and_of_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    weights = network(seed=1)
    for wrapped in ({"state_dict": weights.state_dict()}, weights.state_dict()):
        torch.save(wrapped, path, _use_new_zipfile_serialization=False)
        assert same(load_weights(network(), path), weights)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "mlp", "input_shape": [10**6], "classes": 10**6},
        {"name": "mlp", "input_shape": [1], "classes": 1, "widths": [1] * 10_000},
        {"name": "resnet20", "input_shape": [3, 8, 8], "classes": 2, "depth": 6 * 10**9 + 2},
        {"name": "resnet20", "input_shape": [3, 8, 8], "classes": 2, "width": 0, "depth": 60_002},
        {"name": "vit", "input_shape": [3, 10**6, 10**6], "classes": 2, "patch": 1},
        {"name": "vit", "input_shape": [3, 8, 8], "classes": 2, "depth": 10**9},
        {"name": "convnet", "input_shape": "images", "classes": None},
        {"name": "mlp", "input_shape": [float("nan")], "classes": 2},
        {"name": ["mlp"]},
        {"name": "mlp", "task": 5},
        {},
    ],
)
def test_a_network_that_no_file_of_its_size_holds_is_not_built(settings: dict[str, object]) -> None:
    begun = time.process_time()
    with pytest.raises(InputError):
        models.rebuild(settings, most=1000)
    assert time.process_time() - begun < 2
