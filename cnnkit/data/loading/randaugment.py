"""RandAugment (Cubuk et al., 2020) with torchvision's operations and ranges, on batches."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnnkit.data.loading.augmentation import MAX_RANDAUGMENT

if TYPE_CHECKING:
    from torch import Tensor

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
NUM_OPERATIONS = len(OPERATIONS)


def randaugment(images: "Tensor", drawn: "Tensor", magnitude: int) -> "Tensor":
    """Return images, each changed by its operations, one after the other.

    Images that get the same operation get it together.

    Args:
        images: uint8 of shape (B, C, H, W); changed.
        drawn: int64 of shape (B, operations), 0 to 2 * `NUM_OPERATIONS` - 1: twice the number of
            the operation, and 1 more for its opposite direction.
        magnitude: 0 to 30.
    """
    for column in drawn.unbind(1):
        for number in sorted(set(column.tolist())):
            operation, is_opposite = divmod(number, 2)
            if operation:
                chosen = (column == number).nonzero()[:, 0]
                some = images[chosen]
                images[chosen] = _changed(some, OPERATIONS[operation], magnitude, bool(is_opposite))
    return images


def _changed(images: "Tensor", operation: str, magnitude: int, is_opposite: bool) -> "Tensor":
    """Return images after an operation, uint8 of the same shape."""
    from torchvision.transforms.v2 import functional as v2

    level = magnitude / MAX_RANDAUGMENT
    signed = -level if is_opposite else level
    height, width = images.shape[-2:]
    factor = 1 + 0.9 * signed
    angle = math.degrees(math.atan(0.3 * signed))
    still: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    make: dict[str, Callable[[], Tensor]] = {
        "ShearX": lambda: v2.affine(images, **still | {"shear": [angle, 0.0], "center": [0, 0]}),
        "ShearY": lambda: v2.affine(images, **still | {"shear": [0.0, angle], "center": [0, 0]}),
        "TranslateX": lambda: v2.affine(
            images, **still | {"translate": [int(150 / 331 * width * signed), 0]}
        ),
        "TranslateY": lambda: v2.affine(
            images, **still | {"translate": [0, int(150 / 331 * height * signed)]}
        ),
        "Rotate": lambda: v2.rotate(images, 30 * signed),
        "Brightness": lambda: v2.adjust_brightness(images, factor),
        "Color": lambda: v2.adjust_saturation(images, factor),
        "Contrast": lambda: v2.adjust_contrast(images, factor),
        "Sharpness": lambda: v2.adjust_sharpness(images, factor),
        "Posterize": lambda: v2.posterize(images, round(8 - 4 * level)),
        "Solarize": lambda: v2.solarize(images, 255 * (1 - level)),
        "AutoContrast": lambda: v2.autocontrast(images),
        "Equalize": lambda: v2.equalize(images),
    }
    return make[operation]()
