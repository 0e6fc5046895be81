"""Random augmentation of training batches, on the device of the images."""

import math

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.randaugment import NUM_OPERATIONS, randaugment
from cnnkit.system.randomness import stable_stream

# Each change draws from a random stream of its own, independent of the others.
CROP, FLIP, RANDAUGMENT, CUTOUT, MIX = range(1, 6)


class Augmenter:
    """The augmentation of one epoch.

    What is drawn for an image is a function of (seed, epoch) and of its place in the set, what is
    drawn for a batch of (seed, epoch, step): so it does not matter how images come together, who
    reads them, or where the epoch was begun. It is drawn on the CPU, and so the same everywhere.

    Args:
        augmentation: which changes.
        seed: of the run.
        epoch: number of the pass, from 1.
        num_images: how many images the set has.
        num_classes: how many classes they are of.
        device: where the images are when they are moved.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        seed: int,
        epoch: int,
        num_images: int,
        num_classes: int,
        device: torch.device,
    ) -> None:
        self._augmentation = augmentation
        self._seed = seed
        self._epoch = epoch
        self._num_classes = num_classes
        self._offsets = self._is_mirrored = self._operations = self._centres = None
        crop = augmentation.crop
        if crop:
            drawn = torch.randint(2 * crop + 1, (num_images, 2), generator=self._generator(CROP))
            self._offsets = (drawn - crop).to(device)
        if augmentation.flip == "random":
            drawn = torch.randint(2, (num_images,), generator=self._generator(FLIP))
            self._is_mirrored = drawn.bool().to(device)
        elif augmentation.flip == "alternating":
            of_the_run = _generator(np.random.SeedSequence([seed], spawn_key=(FLIP,)))
            drawn = torch.randint(2, (num_images,), generator=of_the_run)
            self._is_mirrored = ((drawn + epoch) % 2).bool().to(device)
        if augmentation.randaugment is not None:
            generator = self._generator(RANDAUGMENT)
            drawn = torch.randint(2 * NUM_OPERATIONS, (num_images, 2), generator=generator)
            self._operations = drawn.to(device)
        if augmentation.cutout:
            drawn = torch.rand((num_images, 2), generator=self._generator(CUTOUT))
            self._centres = drawn.to(device)

    def moved(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return images shifted, mirrored, and changed by RandAugment.

        Args:
            images: uint8 of shape (B, C, H, W).
            rows: the place of each in the set, of shape (B,), on the device of the Augmenter.

        Returns:
            uint8 of shape (B, C, H, W).
        """
        offsets = None if self._offsets is None else self._offsets[rows]
        is_mirrored = None if self._is_mirrored is None else self._is_mirrored[rows]
        images = shifted(images, offsets, is_mirrored)
        if self._operations is not None:
            assert self._augmentation.randaugment is not None
            images = randaugment(images, self._operations[rows], self._augmentation.randaugment)
        return images

    def cut(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return images with their square set to 0, the same tensor changed.

        Args:
            images: normalized, of shape (B, C, H, W).
            rows: as in `moved`.
        """
        if self._centres is None:
            return images
        centres = self._centres[rows].to(images.device)
        side = self._augmentation.cutout
        height, width = images.shape[-2:]
        in_rows = _in_square(centres[:, 0], height, side)
        in_columns = _in_square(centres[:, 1], width, side)
        return images.masked_fill_((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)

    def mixed(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the images of a batch mixed in pairs, and the shares of their classes.

        The first is paired with the second, the third with the fourth; their order is random. An
        odd one at the end stays as it is. mixup: Zhang et al., 2018; cutmix: Yun et al., 2019.

        Args:
            images: of shape (B, C, H, W); changed.
            labels: int64 of shape (B,).
            step: number of the batch in the epoch.

        Returns:
            The images, and float32 of shape (B, classes), the share of each class in the pixels or
            the blend; where nothing is mixed, the images and labels as they were.
        """
        chosen = self._augmentation
        if not chosen.mixes:
            return images, labels
        sequence = np.random.SeedSequence([self._seed, self._epoch], spawn_key=(MIX, step))
        stream = stable_stream(sequence)
        is_mixup = chosen.mixup > 0 and (not chosen.cutmix or stream.random_sample() < 0.5)
        alpha = chosen.mixup if is_mixup else chosen.cutmix
        own_share = float(stream.beta(alpha, alpha))
        num_paired = len(images) - len(images) % 2
        first, second = images[0:num_paired:2], images[1:num_paired:2]
        if is_mixup:
            kept = first.clone()
            first.lerp_(second, 1 - own_share)
            second.lerp_(kept, 1 - own_share)
        else:
            height, width = images.shape[-2:]
            top, bottom, left, right = _box(own_share, height, width, stream)
            first, second = (one[..., top:bottom, left:right] for one in (first, second))
            kept = first.clone()
            first.copy_(second)
            second.copy_(kept)
            own_share = 1 - (bottom - top) * (right - left) / (height * width)
        partners = labels.clone()
        partners[0:num_paired:2] = labels[1:num_paired:2]
        partners[1:num_paired:2] = labels[0:num_paired:2]
        shares = torch.zeros(len(labels), self._num_classes, device=labels.device)
        shares.scatter_(1, labels[:, None], own_share)
        rest = torch.full((len(labels), 1), 1 - own_share, device=labels.device)
        return images, shares.scatter_add_(1, partners[:, None], rest)

    def _generator(self, purpose: int) -> torch.Generator:
        return _generator(np.random.SeedSequence([self._seed, self._epoch], spawn_key=(purpose,)))


def shifted(images: Tensor, offsets: Tensor | None, is_mirrored: Tensor | None) -> Tensor:
    """Return images that were padded by reflection, cropped, and mirrored left to right.

    Args:
        images: of shape (B, C, H, W), any dtype.
        offsets: where the crop begins, down and to the right of the image's own corner, int64 of
            shape (B, 2), each below H or W in size; None for the corner itself.
        is_mirrored: bool of shape (B,); None for no image.

    Returns:
        The same shape and dtype.
    """
    num_images, channels, height, width = images.shape
    device = images.device
    if offsets is not None:
        # Whole rows first, which are copied fast; only then pixels within rows.
        y = _reflected(torch.arange(height, device=device) + offsets[:, :1], height)
        planes = torch.arange(num_images * channels, device=device).view(num_images, channels, 1)
        lines = planes * height + y[:, None, :]
        images = images.reshape(-1, width).index_select(0, lines.flatten())
        images = images.view(num_images, channels, height, width)
    if offsets is None and is_mirrored is None:
        return images
    x = torch.arange(width, device=device).expand(num_images, width)
    if is_mirrored is not None:
        x = torch.where(is_mirrored[:, None], width - 1 - x, x)
    if offsets is not None:
        x = _reflected(x + offsets[:, 1:], width)
    return images.gather(3, x[:, None, None, :].expand_as(images))


def _reflected(places: Tensor, size: int) -> Tensor:
    """Return places beyond the edge of 0..size - 1 as places within; the edge is not repeated."""
    return (size - 1) - ((size - 1) - places.abs()).abs()


def _in_square(centres: Tensor, size: int, side: int) -> Tensor:
    """Return which of `size` places are in a span of `side`; centers (B,) in 0..1 -> (B, size).

    A span may reach over the edge.
    """
    first = (centres * size).long()[:, None] - side // 2
    places = torch.arange(size, device=centres.device)
    return (places >= first) & (places < first + side)


def _box(
    own_share: float, height: int, width: int, stream: np.random.RandomState
) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a box of 1 - `own_share` of the area, cut at the edge.

    Its center is any pixel, its shape that of the image.
    """
    scale = math.sqrt(1 - own_share)
    edges = []
    for size in (height, width):
        length = round(size * scale)
        first = int(stream.randint(size)) - length // 2
        edges += [max(0, first), min(size, first + length)]
    top, bottom, left, right = edges
    return top, bottom, left, right


def _generator(sequence: np.random.SeedSequence) -> torch.Generator:
    seed = int(sequence.generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator().manual_seed(seed)
