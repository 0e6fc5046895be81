"""Test-time augmentation: the mean of a network's logits over several views of an image."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnkit.errors import UsageError, setting
from cnnkit.registry import did_you_mean

TTA_KINDS = ("none", "mirror", "shift")


def check_views(tta: str, height: int, width: int) -> None:
    """Check the kind of test-time augmentation for images of a size.

    Raises:
        UsageError: with the names of the kinds.
    """
    if tta not in TTA_KINDS:
        raise UsageError(
            f"unknown test-time augmentation {tta!r}",
            did_you_mean(tta, TTA_KINDS) or f"choose one of {', '.join(TTA_KINDS)}",
        )
    if tta == "shift" and min(height, width) < 2:
        raise UsageError(
            f"images of {height}x{width} cannot be shifted by reflection",
            f"use {setting('tta')} mirror",
        )


def mean_logits(model: nn.Module, images: Tensor, tta: str) -> Tensor:
    """Return the averaged logits of images, float32 of shape (B, K).

    Args:
        model: takes (B, C, H, W), returns logits of shape (B, K).
        images: of shape (B, C, H, W).
        tta: `none` for only the images; `mirror` for the mean of the logits of each image and its
            mirror image; `shift` for half of that, and half of the mean over the image moved by a
            pixel up and to the left, the same down and to the right, and the mirror images of
            both. What a shift uncovers is filled by reflection.
    """
    if tta == "none":
        logits: Tensor = model(images).float()
        return logits
    return torch.stack([w * model(view).float() for w, view in _views(images, tta)]).sum(0)


def _views(images: Tensor, tta: str) -> Iterator[tuple[float, Tensor]]:
    """Return views, laid out in memory as the images are, and their weights."""
    weight = 1 / 2 if tta == "mirror" else 1 / 4
    yield weight, images
    yield weight, _as_laid_out(images.flip(3), images)
    if tta == "shift":
        height, width = images.shape[2:]
        padded = functional.pad(images, (1, 1, 1, 1), mode="reflect")
        for first in (0, 2):
            shifted = padded[..., first : first + height, first : first + width]
            yield weight / 2, _as_laid_out(shifted, images)
            yield weight / 2, _as_laid_out(shifted.flip(3), images)


def _as_laid_out(view: Tensor, images: Tensor) -> Tensor:
    return torch.empty_like(images).copy_(view)
