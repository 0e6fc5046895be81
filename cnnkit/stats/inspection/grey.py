"""Decoded pixels as 8 bits, in colour or grey, and names in the order that a person expects."""

import re

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = Image.Image | npt.NDArray[np.uint16]
"""A decoded image: of mode `L` or `RGB`, or 16-bit planes of shape (C, H, W), C = 1 or 3."""


def to_8_bits(pixels: Pixels) -> Image.Image:
    """Return a decoded image with 8 bits a channel, `L` or `RGB`; of 16 bits the upper eight."""
    if isinstance(pixels, Image.Image):
        return pixels
    upper = np.empty((*pixels.shape[1:], len(pixels)), dtype=np.uint8)
    for channel, plane in enumerate(pixels):  # one after another: all at once are large
        upper[..., channel] = plane >> 8
    return Image.fromarray(upper[..., 0] if len(pixels) == 1 else upper)


def to_grey(image: Image.Image) -> Image.Image:
    """Return an 8-bit image as `L`, colour by ITU-R 601 luma."""
    return image if image.mode == "L" else image.convert("L")


def natural_order(name: str) -> list[str | int]:
    """Return what names are sorted by so that `9` comes before `10`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
