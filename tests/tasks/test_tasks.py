"""Tasks and networks by name: what is in a split, and what is not."""

import pytest
import torch

from landscape import models, tasks
from landscape.errors import InputError
from landscape.tasks import Data, choose_shots


def images(data: Data) -> set[bytes]:
    return {image.numpy().tobytes() for image in data.inputs}


def test_no_image_is_in_two_splits() -> None:
    task = tasks.load("digits", shots=20, rotation=0.0, noise=0.0)
    assert task.source is not None
    splits = [task.train, task.validation, task.test]
    splits += [task.source.train, task.source.validation, task.source.test]
    found = [images(split) for split in splits]
    # Without rotation and noise an image looks the same wherever it is.
    assert sum(map(len, found)) == len(set().union(*found)) == 200 + 200 + 397 + 900


def test_every_class_has_its_shots_and_a_seed_changes_the_training_set_alone() -> None:
    one, two = tasks.load("digits", shots=7, seed=0), tasks.load("digits", shots=7, seed=1)
    assert torch.bincount(one.train.targets).tolist() == [7] * 10
    assert images(one.train) != images(two.train)
    for split in ("validation", "test"):
        assert torch.equal(getattr(one, split).inputs, getattr(two, split).inputs)
    assert one.source is not None
    assert one.source.fingerprint() == tasks.load("digits-upright").fingerprint()


def test_the_fingerprint_follows_the_data() -> None:
    prints = [
        tasks.load("digits", **settings).fingerprint()
        for settings in ({}, {}, {"seed": 1}, {"noise": 0.3}, {"shots": 9})
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_inputs_are_standardised_by_the_source_training_set() -> None:
    source = tasks.load("digits-upright").train.inputs
    assert float(source.mean()) == pytest.approx(0, abs=1e-5)
    assert float(source.std()) == pytest.approx(1, abs=1e-3)
    assert source.shape == (700, 1, 8, 8)


def test_bad_requests_are_refused() -> None:
    for settings, message in (
        ({"shots": 0}, "at least 1"),
        ({"shots": 200}, "ask for at most"),
        ({"noise": -1.0}, "must not be negative"),
        ({"angle": 3}, "no setting 'angle'; it has shots, seed, rotation, noise"),
    ):
        with pytest.raises(InputError, match=message):
            tasks.load("digits", **settings)
    with pytest.raises(InputError, match="unknown task 'mnist'"):
        tasks.load("mnist")
    with pytest.raises(InputError, match="as many"):
        Data(torch.zeros(3, 1), torch.zeros(2))
    with pytest.raises(InputError, match="class 1 has 1 training examples"):
        choose_shots(torch.tensor([0, 0, 1]), 2, torch.Generator())


def test_shuffled_batches_hold_every_example_once() -> None:
    data = Data(torch.arange(10.0)[:, None], torch.arange(10))
    seen = [targets for _, targets in data.shuffled(4, torch.Generator().manual_seed(0))]
    assert [len(part) for part in seen] == [4, 4, 2]
    assert sorted(torch.cat(seen).tolist()) == list(range(10))
    assert torch.cat(seen).tolist() != list(range(10))


@pytest.mark.parametrize("normalisation", ["none", "batch", "group"])
def test_a_network_is_made_by_name_from_a_seed(normalisation: str) -> None:
    task = tasks.load("digits")
    state = torch.get_rng_state()
    one, same, other = (
        models.build("convnet", task, seed=seed, width=4, normalisation=normalisation)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert one(task.train.inputs[:3]).shape == (3, 10)
    weight = "features.0.weight"
    assert torch.equal(one.get_parameter(weight), same.get_parameter(weight))
    assert not torch.equal(one.get_parameter(weight), other.get_parameter(weight))
    again = models.rebuild(one.architecture)  # type: ignore[arg-type]
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in one.named_parameters()
    }


def test_networks_that_are_not_known_are_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'vgg'; known: convnet"):
        models.build("vgg")
    with pytest.raises(InputError, match="unexpected keyword argument 'depth'"):
        models.build("convnet", input_shape=(1, 8, 8), classes=2, depth=3)
    with pytest.raises(InputError, match="normalisation is one of"):
        models.build("convnet", input_shape=(1, 8, 8), classes=2, normalisation="layer")
    with pytest.raises(InputError, match="network of your own"):
        models.rebuild(None)
