"""Grayscale conversion of decoded images, and natural sorting of names."""

import re

from PIL import Image


def to_grey(image: Image.Image) -> Image.Image:
    """Return an 8-bit image as `L`, color by ITU-R 601 luma."""
    return image if image.mode == "L" else image.convert("L")


def natural_order(name: str) -> list[str | int]:
    """Return the natural sort key of a name: `9` comes before `10`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
