"""Decoded images in grey, and names in the order that a person expects."""

import re

from PIL import Image


def to_grey(image: Image.Image) -> Image.Image:
    """Return an 8-bit image as `L`, colour by ITU-R 601 luma."""
    return image if image.mode == "L" else image.convert("L")


def natural_order(name: str) -> list[str | int]:
    """Return what names are sorted by so that `9` comes before `10`."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
