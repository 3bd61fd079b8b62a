"""A small convolutional network for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from landscape.models.layers import image_shape, normalise


class ConvNet(nn.Module):
    """Two 3 x 3 convolutions with ReLU, 2 x 2 max pooling, and a linear head.

    Args:
        input_shape: Shape (channels, height, width) of an image.
        classes: Number of outputs.
        width: Number of channels of the first convolution. The second has twice as many.
        normalisation: Normalisation after each convolution: ``"none"``, ``"batch"`` or ``"group"``.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        width: int = 16,
        normalisation: str = "none",
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape("convnet", input_shape)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            normalise(normalisation, width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            normalise(normalisation, 2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(2 * width * (height // 2) * (breadth // 2), classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, channels, height, width)."""
        outputs: Tensor = self.head(self.features(inputs))
        return outputs
