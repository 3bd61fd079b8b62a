"""Networks against published parameter counts and dense derivatives."""

import pytest
import torch
from cases import generator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import models
from landscape.errors import InputError
from landscape.objective.objective import Objective

CIFAR = {"input_shape": (3, 32, 32), "classes": 10}
# From the README of github.com/akamaster/pytorch_resnet_cifar10 (0.27 M, 0.46 M, ...), which counts
# 269,722 for ResNet-20; and for github.com/kuangliu/pytorch-cifar 11,173,962. With convolutions for
# shortcuts there are 16 x 32 + 32 x 64 weights and 2 x (32 + 64) of their normalisation more.
COUNTS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18": 11_173_962,
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_residual_networks_have_the_published_number_of_parameters(name: str) -> None:
    assert count(models.build(name, **CIFAR)) == COUNTS[name]


def test_shortcuts_by_convolution_add_their_parameters() -> None:
    network = models.build("resnet20", shortcut="convolution", **CIFAR)
    assert count(network) == 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64)


@pytest.mark.parametrize("normalisation", ["none", "batch", "group"])
@pytest.mark.parametrize("shortcut", ["pad", "convolution"])
def test_a_residual_network_takes_images_of_odd_sizes(normalisation: str, shortcut: str) -> None:
    network = models.cifar_resnet((1, 9, 7), 3, 8, 4, normalisation, shortcut)
    outputs = network(torch.randn(2, 1, 9, 7, generator=generator()))
    assert outputs.shape == (2, 3)
    assert bool(outputs.isfinite().all())
    kinds = {"none": "Identity", "batch": "BatchNorm2d", "group": "GroupNorm"}
    assert type(network.bn1).__name__ == kinds[normalisation]


def test_without_normalisation_depth_does_not_change_the_initial_scale() -> None:
    shallow, deep = (
        models.build(name, normalisation="none", seed=0, input_shape=(3, 8, 8), classes=10)
        for name in ("resnet20", "resnet110")
    )
    x = torch.randn(4, 3, 8, 8, generator=generator())
    scales = [float(network(x).detach().std()) for network in (shallow, deep)]
    assert 0.2 < scales[1] / scales[0] < 5


def test_the_shortcut_without_parameters_is_every_second_pixel_and_zeros() -> None:
    block = models.cifar_resnet((1, 4, 4), 2, 8, 2).layer2[0]
    x = torch.randn(1, 2, 4, 4, generator=generator())
    shortcut = block.shortcut(x)
    assert shortcut.shape == (1, 4, 2, 2)
    assert torch.equal(shortcut[:, 1:3], x[:, :, ::2, ::2])
    assert float(shortcut[:, [0, 3]].abs().sum()) == 0


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
def test_a_perceptron_is_its_formula(activation: str) -> None:
    network = models.build("mlp", input_shape=(2, 3), classes=4, widths=[5], activation=activation)
    first, last = network.layers[1], network.layers[3]
    x = torch.randn(7, 2, 3, generator=generator())
    act = {"relu": torch.relu, "tanh": torch.tanh}.get(
        activation, getattr(nn.functional, activation)
    )
    hidden = act(x.reshape(7, 6) @ first.weight.T + first.bias)
    torch.testing.assert_close(network(x), hidden @ last.weight.T + last.bias)
    assert count(models.build("mlp", input_shape=(3,), classes=2, widths=[])) == 8


def vit(**settings: int) -> nn.Module:
    shape = {"patch": 2, "width": 4, "depth": 1, "heads": 2} | settings
    return models.build("vit", input_shape=(1, 4, 4), classes=3, **shape)


def test_the_hessian_of_a_transformer_is_the_dense_one() -> None:
    x = torch.randn(5, 1, 4, 4, generator=generator(), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 1, 0])
    objective = Objective(vit().double(), [(x[:3], y[:3]), (x[3:], y[3:])])
    w = objective.space.vector()

    def loss(v: Tensor) -> Tensor:
        return nn.functional.cross_entropy(objective.space.call(v, x), y)

    # Forward over reverse, column by column: torch.func.hessian, which batches them, is wrong by
    # layer_norm's weights (torch 2.13; finite differences tell).
    columns = torch.eye(len(w), dtype=w.dtype)
    with sdpa_kernel(SDPBackend.MATH):
        dense = torch.stack([torch.func.jvp(torch.func.grad(loss), (w,), (e,))[1] for e in columns])
    v = torch.randn(w.shape, generator=generator(1), dtype=w.dtype)
    torch.testing.assert_close(objective.hessian_product(w, v), dense @ v)
    assert float(dense.norm()) > 0


def test_a_transformer_has_the_parameters_that_the_paper_counts() -> None:
    # ViT-B/16 at 224 pixels and 1000 classes: 86,567,656 (torchvision's vit_b_16).
    with torch.device("meta"):
        network = models.ViT((3, 224, 224), 1000, 16, 768, 12, 12, 4)
    assert count(network) == 86_567_656


def test_attention_does_not_depend_on_the_order_of_the_tokens() -> None:
    attention = vit().blocks[0].attention
    x = torch.randn(2, 5, 4, generator=generator())
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet20", {"depth": 21}, "6 n \\+ 2"),
        ("resnet20", {"shortcut": "none"}, "shortcut is one of pad, convolution"),
        ("resnet18", {"normalisation": "layer"}, "normalisation is one of none, batch, group"),
        (
            "resnet18",
            {"input_shape": (5,)},
            "takes images .* not inputs of shape \\(5,\\); use mlp",
        ),
        ("convnet", {"input_shape": (5,)}, "takes images .* not inputs of shape \\(5,\\); use mlp"),
        ("vit", {"patch": 5}, "patch must divide the image, 32 x 32 pixels, not 5"),
        ("vit", {"heads": 3}, "heads must divide the width 64, not 3"),
        ("vit", {"depth": 0}, "at least 1"),
        ("mlp", {"widths": [0]}, "widths must be at least 1"),
        ("mlp", {"activation": "step"}, "activation is one of relu, tanh, gelu, silu"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        models.build(name, **(CIFAR | settings))
