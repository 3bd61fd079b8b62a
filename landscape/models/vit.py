"""A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.models.layers import image_shape


class ViT(nn.Module):
    """Patches, a class token, learned positions, pre-normalised blocks, and a linear head.

    Args:
        input_shape: Shape (channels, height, width) of an image. The patch size must divide the
            height and the width.
        classes: Number of outputs.
        patch: Side of a square patch in pixels.
        width: Dimension of a token. The number of heads must divide it.
        depth: Number of blocks.
        heads: Number of attention heads per block.
        expansion: Number of hidden units of a block's perceptron, divided by ``width``.
        dropout: Dropout probability of a block's outputs in training.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        patch: int = 4,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        expansion: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(patch, width, depth, heads, expansion) < 1 or not 0 <= dropout < 1:
            raise InputError("vit: sizes must be at least 1 and dropout in [0, 1)")
        channels, height, breadth = image_shape("vit", input_shape)
        if height % patch or breadth % patch:
            raise InputError(
                f"vit: patch must divide the image, {height} x {breadth} pixels, not {patch}"
            )
        if width % heads:
            raise InputError(f"vit: heads must divide the width {width}, not {heads}")
        tokens = (height // patch) * (breadth // patch) + 1
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(
            *(_Block(width, heads, expansion, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, channels, height, width)."""
        patches = self.embed(inputs).flatten(2).transpose(1, 2)
        token = self.token.expand(len(inputs), -1, -1)
        hidden = self.blocks(torch.cat([token, patches], 1) + self.position)
        outputs: Tensor = self.head(self.norm(hidden[:, 0]))
        return outputs


class _Block(nn.Module):
    """A block: y = x + attention(norm(x)), then y + perceptron(norm(y))."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs + self.dropout(self.attention(self.norm1(inputs)))
        outputs: Tensor = hidden + self.dropout(self.perceptron(self.norm2(hidden)))
        return outputs


class _Attention(nn.Module):
    """Attention softmax(Q K^T / sqrt(d)) V in each head, for tokens (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        shape = (*inputs.shape[:2], 3, self.heads, -1)
        q, k, v = self.qkv(inputs).reshape(shape).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
        outputs: Tensor = self.project(attended.transpose(1, 2).flatten(2))
        return outputs
