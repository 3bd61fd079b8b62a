"""Pixels of image files, read by Pillow, which is an optional dependency."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from landscape.errors import InputError, refused
from landscape.runtime import limits
from landscape.runtime.files import check_regular


def decode(source: Path | BinaryIO, name: str, size: int, *, gray: bool = False) -> np.ndarray:
    """Read an image, resize it so that its shorter side has ``size`` pixels, and crop its centre.

    Args:
        source: Path or open file of the image.
        name: Name of the image for error messages.
        size: Height and width in pixels.
        gray: Whether to convert the image to one gray channel.

    Returns:
        8-bit pixels, shape (size, size, channels).

    Raises:
        InputError: Pillow is missing, or it cannot read the image.
    """
    pillow, operations = _pillow()
    if isinstance(source, Path):
        check_regular(source)
    message = f"cannot read the image {name}"
    # Pillow only warns of large images. The size check below refuses them before they are unpacked.
    with refused(message), warnings.catch_warnings():
        warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
        with pillow.open(source) as image:
            if math.prod(image.size) > limits.MAX_PIXELS:
                width, height = image.size
                raise InputError(
                    f"{message}: it has {width:,} x {height:,} pixels, more than "
                    f"{limits.MAX_PIXELS:,}; make it smaller"
                )
            image = operations.fit(image.convert("L" if gray else "RGB"), (size, size))
            pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, None] if gray else pixels


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError(f"images need Pillow: pip install pillow ({error})") from error
    return Image, ImageOps
