"""Random crops and flips: each result is a possible one, and only training uses them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.methods import MAP
from landscape.tasks import CropAndFlip, Data, Task


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_image_is_a_crop_of_the_padded_one_flipped_or_not() -> None:
    images = torch.arange(1.0, 1 + 64 * 2 * 3 * 4).reshape(64, 2, 3, 4)
    changed = CropAndFlip(padding=1)(images, generator())
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    crops = [padded[:, :, i : i + 3, j : j + 4] for i in range(3) for j in range(3)]
    possible = torch.stack([option for crop in crops for option in (crop, crop.flip(3))])
    found = (possible == changed).all((2, 3, 4))
    assert found.sum(0).tolist() == [1] * 64
    # 64 draws of 18 equally likely ones miss a given one with probability 0.026.
    assert len(set(found.int().argmax(0).tolist())) >= 12


def test_half_are_flipped() -> None:
    image = torch.tensor([[[[0.0, 1.0]]]]).expand(4000, 1, 1, 2)
    changed = CropAndFlip(padding=0)(image, generator())
    assert float(changed[:, 0, 0, 0].mean()) == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)
    assert torch.equal(CropAndFlip(padding=0, flip=False)(image, generator()), image)


def test_the_generator_governs_it_and_the_type_stays() -> None:
    images = torch.randn(8, 1, 5, 5, generator=generator(), dtype=torch.float64)
    one, same, other = (CropAndFlip()(images, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.dtype == torch.float64


def test_training_sees_changed_inputs_and_evaluation_does_not() -> None:
    data = Data(torch.ones(6, 1, 2, 2), torch.tensor([0, 1] * 3))

    def negative(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return -inputs

    class Count(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            seen[self.training].append(float(inputs.mean()))
            return super().forward(inputs.flatten(1))

    seen: dict[bool, list[float]] = {True: [], False: []}
    task = Task("signs", data, data, data, ("a", "b"), augment=negative)
    MAP(epochs=2, batch_size=4).fit(Count(4, 2), task)
    assert seen[True] == [-1.0] * 4
    assert set(seen[False]) == {1.0}


def test_a_training_with_it_has_one_result_for_a_seed() -> None:
    images = torch.randn(20, 1, 4, 4, generator=generator())
    data = Data(images, torch.arange(20) % 2)
    task = Task("noise", data, data, data, ("a", "b"), augment=CropAndFlip(padding=1))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    one, same, other = (MAP(epochs=2).fit(model, task, seed=s).mean for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_checkpoint_belongs_to_one_augmentation(tmp_path: Path) -> None:
    data = Data(torch.randn(6, 1, 4, 4, generator=generator()), torch.arange(6) % 2)
    task = Task("noise", data, data, data, ("a", "b"), augment=CropAndFlip(padding=1))
    model, method = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), MAP(epochs=1)
    first = method.fit(model, task, checkpoint=tmp_path / "c.safetensors")
    again = method.fit(model, task, checkpoint=tmp_path / "c.safetensors")
    assert torch.equal(first.mean, again.mean)
    other = replace(task, augment=CropAndFlip(padding=2))
    with pytest.raises(InputError, match=r"augmentation was CropAndFlip\(padding=1, flip=True\)"):
        method.fit(model, other, checkpoint=tmp_path / "c.safetensors")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="padding must be at least 0, not -1"):
        CropAndFlip(padding=-1)
    with pytest.raises(InputError, match="takes images"):
        CropAndFlip()(torch.zeros(3, 2), generator())
