"""Corruptions against other implementations and against their expected moments."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from landscape import tasks
from landscape.errors import InputError
from landscape.tasks import CORRUPTIONS, Scaling, corrupt
from landscape.tasks.corruptions import blur, rotate


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 3, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.rand(count, 2, height, width, generator=generator(), dtype=torch.float64)


@pytest.mark.parametrize("deviation", [0.4, 0.7, 1.0, 2.3])
def test_blur_is_that_of_scipy(deviation: float) -> None:
    x = images(height=24, width=20)
    truth = ndimage.gaussian_filter(x.numpy(), (0, 0, deviation, deviation), mode="nearest")
    np.testing.assert_allclose(blur(x, deviation), truth, rtol=1e-10)


@pytest.mark.parametrize(("height", "width"), [(9, 9), (9, 7), (6, 11)])
@pytest.mark.parametrize("degrees", [10.0, -45.0, 60.0])
def test_rotation_is_that_of_scipy(height: int, width: int, degrees: float) -> None:
    x = images(1, height, width)
    truth = ndimage.rotate(
        x.numpy(), degrees, axes=(3, 2), reshape=False, order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(rotate(x, torch.tensor([degrees])), truth, atol=1e-10)


def test_a_quarter_turn_and_none() -> None:
    x = images(2, 5, 5)
    turned = rotate(x, torch.tensor([90.0, 0.0]))
    torch.testing.assert_close(turned[0], torch.rot90(x[0], 1, (1, 2)))
    torch.testing.assert_close(turned[1], x[1])


def test_noise_has_the_published_deviation_and_contrast_the_published_factor() -> None:
    x = torch.full((50, 1, 32, 32), 0.5)
    for severity, deviation in enumerate([0.04, 0.06, 0.08, 0.09, 0.10], start=1):
        noise = corrupt(x, "noise", severity, generator()) - x
        # The standard error of a deviation is deviation / sqrt(2 n).
        assert float(noise.std()) == pytest.approx(deviation, rel=4 / (2 * x.numel()) ** 0.5)
    y = 0.4 + 0.2 * images()
    for severity, factor in enumerate([0.75, 0.5, 0.4, 0.3, 0.15], start=1):
        flat = corrupt(y, "contrast", severity, generator())
        torch.testing.assert_close(flat.mean((2, 3)), y.mean((2, 3)))
        torch.testing.assert_close(flat.std((2, 3)), factor * y.std((2, 3)))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_severity_is_worse_than_the_one_before_and_the_seed_governs(kind: str) -> None:
    side = torch.linspace(-1, 1, 16, dtype=torch.float64)
    disc = torch.exp(-4 * (side[:, None] ** 2 + side**2))  # only its ramp changes in a turn
    x = ((0.5 + 0.4 * side) * disc).expand(20, 1, 16, 16)
    changed = [corrupt(x, kind, severity, generator()) for severity in (1, 2, 3, 4, 5)]
    distances = [float((each - x).norm()) for each in changed]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert all(float(each.min()) >= 0 and float(each.max()) <= 1 for each in changed)
    assert torch.equal(corrupt(x, kind, 3, generator()), changed[2])


def test_the_digits_keep_their_scaling() -> None:
    plain = tasks.load("digits", rotation=0.0, noise=0.0)
    assert plain.scaling is not None
    grey = plain.scaling.invert(plain.test.inputs) * 16
    torch.testing.assert_close(grey, grey.round(), atol=1e-5, rtol=0)
    assert len(tasks.shift(plain, severities=[1]).shifted) == 4


def test_a_task_gets_shifted_test_sets_of_its_own_images() -> None:
    x = 3 * images(12)
    task = tasks.arrays((x, torch.arange(12) % 2), (x[:5], torch.zeros(5).long()))
    shifted = tasks.shift(task, kinds=["contrast"], severities=[2, 5])
    assert list(shifted.shifted) == ["contrast-2", "contrast-5"]
    assert task.scaling is not None
    raw = task.scaling.invert(task.test.inputs)
    truth = task.scaling.apply(corrupt(raw, "contrast", 5, generator()))
    torch.testing.assert_close(shifted.shifted["contrast-5"].inputs, truth)
    assert torch.equal(shifted.shifted["contrast-5"].targets, task.test.targets)
    assert not task.shifted


def test_bad_requests_are_refused() -> None:
    bare = replace(tasks.load("digits"), scaling=None)
    with pytest.raises(InputError, match="task 'digits' has no scaling"):
        tasks.shift(bare)
    scaling = Scaling(torch.zeros(()), torch.ones(()))
    assert len(tasks.shift(bare, scaling=scaling).shifted) == 20
    for kind, severity, x, message in (
        ("fog", 1, images(), "unknown corruption 'fog'; known: noise, blur"),
        ("noise", 0, images(), "severities are 1 to 5, not 0"),
        ("noise", 1, torch.zeros(3, 4), "need real images"),
    ):
        with pytest.raises(InputError, match=message):
            corrupt(x, kind, severity, generator())
