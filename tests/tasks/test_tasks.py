"""Tasks by name and their splits."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from landscape import tasks
from landscape.errors import InputError
from landscape.tasks import Data, choose_shots, sklearn_digits


def images(data: Data) -> set[bytes]:
    return {image.numpy().tobytes() for image in data.inputs}


@pytest.mark.parametrize("find", [find_spec, lambda name: None], ids=["from the file", "imported"])
def test_the_images_are_those_of_scikit_learn(
    find: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.datasets import load_digits  # which few tests need

    monkeypatch.setattr(sklearn_digits, "find_spec", find)
    images, labels = sklearn_digits._images_and_labels()
    bunch = load_digits()
    np.testing.assert_array_equal(images, bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)
    assert labels.dtype == np.int64


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


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_the_fingerprint_sees_one_number_in_any_array(split: str, name: str) -> None:
    task, same = tasks.load("digits", shots=1), tasks.load("digits", shots=1)
    for place in (task, task.source):
        assert place is not None
        before = task.fingerprint()
        getattr(getattr(place, split), name)[-1] += 1
        assert task.fingerprint() != before
    assert same.fingerprint() == tasks.load("digits", shots=1).fingerprint()


def test_target_images_are_rotated_and_noisy_source_images_are_not() -> None:
    plain = tasks.load("digits", rotation=0.0, noise=0.0).test
    for settings in ({"rotation": 60.0, "noise": 0.0}, {"rotation": 0.0, "noise": 0.2}):
        changed = tasks.load("digits", **settings).test
        assert torch.equal(changed.targets, plain.targets)
        assert not images(changed) & images(plain)
    noise = tasks.load("digits", rotation=0.0, noise=0.2).test.inputs - plain.inputs
    scale = float(plain.inputs.max() - plain.inputs.min())  # of grey values in [0, 1]
    assert float(noise.std()) == pytest.approx(0.2 * scale, rel=0.02)


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
    with pytest.raises(InputError, match="unknown task 'imagenet'"):
        tasks.load("imagenet")
    with pytest.raises(InputError, match="must be equal"):
        Data(torch.zeros(3, 1), torch.zeros(2))
    with pytest.raises(InputError, match="class 1 has 1 training examples"):
        choose_shots(torch.tensor([0, 0, 1]), 2, torch.Generator())


def test_shuffled_batches_hold_every_example_once() -> None:
    data = Data(torch.arange(10.0)[:, None], torch.arange(10))
    seen = [targets for _, targets in data.shuffled(4, torch.Generator().manual_seed(0))]
    assert [len(part) for part in seen] == [4, 4, 2]
    assert sorted(torch.cat(seen).tolist()) == list(range(10))
    assert torch.cat(seen).tolist() != list(range(10))
