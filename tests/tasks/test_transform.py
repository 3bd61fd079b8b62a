"""Images as a pretrained network expects them."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from landscape import tasks
from landscape.errors import InputError
from landscape.tasks import CropAndFlip, Transform

PLAIN = Transform(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (24, 6, 6, 3), dtype=np.uint8)


def task(**settings: Any) -> tasks.Task:
    labels = np.arange(24) % 2
    return tasks.arrays((PIXELS[:16], labels[:16]), (PIXELS[16:], labels[16:]), **settings)


@pytest.mark.parametrize(("before", "after"), [(32, 96), (96, 32), (7, 10)])
def test_images_are_resized_as_by_pillow(before: int, after: int) -> None:
    pixels = np.random.default_rng(1).integers(80, 176, (before, before, 3), dtype=np.uint8)
    resized = Image.fromarray(pixels).resize((after, after), Image.Resampling.BICUBIC)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    transform = Transform(after)
    mean, deviation = (
        torch.tensor(values).view(3, 1, 1) for values in (transform.mean, transform.deviation)
    )
    ours = transform.apply(images)[0] * deviation + mean
    theirs = torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255
    assert (
        float((ours - theirs).abs().max()) < 1.6 / 255
    )  # Pillow rounds, and clips, after each axis


def test_a_task_is_transformed_once_from_its_pixels() -> None:
    original = task(augment=CropAndFlip(padding=3))
    changed = original.transformed(Transform(6))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (PIXELS[16:] / 255 - mean) / deviation
    assert np.allclose(changed.test.inputs.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert changed.scaling is not None
    pixels = changed.scaling.invert(changed.test.inputs)
    assert np.allclose(pixels.numpy().transpose(0, 2, 3, 1), PIXELS[16:] / 255, atol=1e-6)
    larger = original.transformed(Transform(12))
    assert larger.sizes == original.sizes
    for data in (larger.train, larger.validation, larger.test):
        assert data.inputs.shape[1:] == (3, 12, 12)
        assert data.batch_size == 128  # 512 images of a quarter of the pixels
    assert larger.augment == CropAndFlip(padding=6)
    with pytest.raises(InputError, match="already transformed"):
        larger.transformed(Transform(12))


def test_the_record_of_a_task_makes_it_again() -> None:
    transform = Transform(5, (0.2,), (0.7,))
    changed = tasks.load("digits", noise=0.0, transform=transform)
    again = tasks.load(changed.name, **changed.settings)
    assert again.fingerprint() == changed.fingerprint()
    assert changed.fingerprint() != tasks.load("digits", noise=0.0).fingerprint()
    assert changed.source is not None
    assert changed.source.train.inputs.shape[1:] == (1, 5, 5)


def test_gray_images_get_equal_channels() -> None:
    inputs = PLAIN.apply(torch.rand(2, 1, 8, 8))
    assert inputs.shape == (2, 3, 8, 8)
    assert torch.equal(inputs[:, 0], inputs[:, 2])
    assert PLAIN.apply(torch.rand(0, 1, 4, 4)).shape == (0, 3, 8, 8)


def test_the_fast_layout_survives_a_crop() -> None:
    inputs = PLAIN.apply(torch.rand(4, 3, 8, 8))
    changed = CropAndFlip()(inputs, torch.Generator().manual_seed(0))
    usual = CropAndFlip()(inputs.contiguous(), torch.Generator().manual_seed(0))
    assert torch.equal(changed, usual)
    for images in (inputs, inputs[torch.tensor([2, 0])], changed):
        assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"size": 8}, "a transform has size, mean, deviation"),
        ("large", "a transform has size, mean, deviation"),
        ({**PLAIN.record, "size": 2.5}, "whole number, not 2.5"),
        ({**PLAIN.record, "size": 0}, "from 1 to 4096 pixels, not 0"),
        ({**PLAIN.record, "deviation": [1.0, 1.0, 0.0]}, "deviation is a tuple of numbers"),
        ({**PLAIN.record, "mean": [float("nan")] * 3}, "mean is a tuple of numbers"),
        ({**PLAIN.record, "mean": [0.0]}, "a mean and a deviation for each channel"),
    ],
)
def test_a_record_that_is_no_transform_is_one_line(record: object, message: str) -> None:
    assert Transform.read(PLAIN.record) == PLAIN
    with pytest.raises(InputError, match=message):
        tasks.load("digits", transform=record)


def test_inputs_that_are_no_images_are_refused() -> None:
    low = torch.zeros(2, 3, 4, 4)
    low[1, 0] = -1.0
    with pytest.raises(InputError, match=r"images in \[0, 1\], not in \[-1, 0\]"):
        PLAIN.apply(low)
    with pytest.raises(InputError, match=r"with 3 channels.* not inputs of shape \(5, 4\)"):
        PLAIN.apply(torch.rand(5, 4))
    rows = tasks.arrays((np.eye(20), [0, 1] * 10), (np.eye(20), [0, 1] * 10))
    with pytest.raises(InputError, match="not inputs of shape"):
        rows.transformed(PLAIN)
