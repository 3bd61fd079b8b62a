"""Residual networks for small images (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.models.layers import image_shape, normalise

SHORTCUTS = ("pad", "convolution")


class ResNet(nn.Module):
    """A 3 x 3 stem, stages of basic blocks, global average pooling, and a linear head.

    Each stage except the first halves the image size. The modules have the same names as in the
    usual PyTorch implementations for CIFAR, so their weights can be loaded.

    Args:
        input_shape: Shape (channels, height, width) of an image.
        classes: Number of outputs.
        blocks: Number of blocks in each stage.
        width: Number of channels of the first stage. Each stage has twice as many as the previous.
        normalisation: Normalisation after each convolution: ``"none"``, ``"batch"`` or ``"group"``.
            With ``"none"`` the convolutions have biases, and the last convolution of each block
            starts at zero. The signal then does not grow with the depth (De & Smith 2020, arXiv
            2002.10444).
        shortcut: Shortcut of blocks that change the shape. ``"pad"`` takes every second pixel and
            adds channels of zeros (option A, no parameters). ``"convolution"`` is a 1 x 1
            convolution (option B).
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        blocks: Sequence[int],
        width: int = 16,
        normalisation: str = "batch",
        shortcut: str = "pad",
    ) -> None:
        super().__init__()
        if shortcut not in SHORTCUTS:
            raise InputError(f"shortcut is one of {', '.join(SHORTCUTS)}, not '{shortcut}'")
        channels, _, _ = image_shape("a residual network", input_shape)
        self.conv1 = _convolution(channels, width, 1, normalisation)
        self.bn1 = normalise(normalisation, width)
        before = width
        for stage, count in enumerate(blocks):
            after = width * 2**stage
            layers = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(_Block(before, after, stride, normalisation, shortcut))
                before = after
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.linear = nn.Linear(before, classes)
        self.stages = len(blocks)
        self.zero_last = normalisation == "none"
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights of the convolutions. The last layer keeps torch's defaults."""
        _initialise(self, zero_last=self.zero_last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, channels, height, width)."""
        hidden = torch.relu(self.bn1(self.conv1(inputs)))
        for stage in range(self.stages):
            hidden = self.get_submodule(f"layer{stage + 1}")(hidden)
        outputs: Tensor = self.linear(hidden.mean((2, 3)))
        return outputs


def cifar_resnet(
    input_shape: Sequence[int],
    classes: int,
    depth: int = 20,
    width: int = 16,
    normalisation: str = "batch",
    shortcut: str = "pad",
) -> ResNet:
    """The network of section 4.2 of the paper: depth 6 n + 2 in three stages of n blocks.

    Args:
        input_shape: Shape (channels, height, width) of an image.
        classes: Number of outputs.
        depth: Depth: 20, 32, 44, 56, 110, ...
        width: Number of channels of the first stage, 16 in the paper.
        normalisation: Normalisation, as in ``ResNet``.
        shortcut: Kind of shortcut, as in ``ResNet``.

    Raises:
        InputError: The depth is not 6 n + 2.

    Examples:
        >>> network = cifar_resnet((3, 32, 32), 10)
        >>> sum(parameter.numel() for parameter in network.parameters())
        269722
    """
    if depth < 8 or (depth - 2) % 6:
        raise InputError(f"the depth of a CIFAR ResNet is 6 n + 2 (20, 32, 44, ...), not {depth}")
    blocks = (depth - 2) // 6
    return ResNet(input_shape, classes, (blocks,) * 3, width, normalisation, shortcut)


def resnet18(
    input_shape: Sequence[int],
    classes: int,
    width: int = 64,
    normalisation: str = "batch",
    shortcut: str = "convolution",
) -> ResNet:
    """ResNet-18 with a stem for small images: a 3 x 3 convolution without pooling.

    Args:
        input_shape: Shape (channels, height, width) of an image.
        classes: Number of outputs.
        width: Number of channels of the first stage, 64 in the paper.
        normalisation: Normalisation, as in ``ResNet``.
        shortcut: Kind of shortcut, as in ``ResNet``.
    """
    return ResNet(input_shape, classes, (2, 2, 2, 2), width, normalisation, shortcut)


class _Block(nn.Module):
    """A basic block: relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))."""

    def __init__(self, before: int, after: int, stride: int, kind: str, shortcut: str) -> None:
        super().__init__()
        self.conv1 = _convolution(before, after, stride, kind)
        self.bn1 = normalise(kind, after)
        self.conv2 = _convolution(after, after, 1, kind)
        self.bn2 = normalise(kind, after)
        self.shortcut: nn.Module = nn.Identity()
        if before != after and shortcut == "pad":
            self.shortcut = _Pad(after - before, stride)
        elif before != after:
            self.shortcut = nn.Sequential(
                _convolution(before, after, stride, kind, size=1), normalise(kind, after)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(self.conv1(inputs)))
        return torch.relu(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))


class _Pad(nn.Module):
    """A shortcut of every ``stride``-th pixel, with channels of zeros added on both sides."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, inputs: Tensor) -> Tensor:
        before = self.channels // 2
        padding = (0, 0, 0, 0, before, self.channels - before)
        return nn.functional.pad(inputs[:, :, :: self.stride, :: self.stride], padding)


def _convolution(before: int, after: int, stride: int, kind: str, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride, padding=size // 2, bias=kind == "none")


def _initialise(network: ResNet, *, zero_last: bool) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if zero_last and isinstance(module, _Block):
            nn.init.zeros_(module.conv2.weight)
