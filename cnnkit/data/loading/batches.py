"""Batches of images on a device, in an order determined by seed and epoch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.system.distributed import ALL, Shard

Batch = tuple[Tensor, Tensor]
NumberedBatch = tuple[int, Tensor, Tensor]


class Batches(ABC):
    """The images of a set as batches of (images, labels) on a device.

    Images are float32 of shape (B, channels, height, width), normalized; labels int64 of shape
    (B,), or, where images are mixed, float32 of shape (B, classes): the share of each class.

    Attributes:
        num_images: how many images the set has.
        batch_size: how many a batch has; the last one may be smaller.
        skipped: broken images that were left out, by name.
        skip_bad: whether they are left out.
    """

    skip_bad = False

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        batch_size: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.num_images = len(images)
        self.batch_size = batch_size
        self.skipped: set[str] = set()
        self._preprocessing = preprocessing
        self._device = device
        self._memory_format = memory_format
        self._augmentation = augmentation
        self._num_classes = len(images.classes)

    @property
    def num_batches(self) -> int:
        """Number of batches of a shuffled epoch."""
        return len(self._starts(shuffled=True)) - 1

    def batch_sizes(self) -> list[int]:
        """Return the number of images of each batch of a shuffled epoch."""
        return [end - start for start, end in pairwise(self._starts(shuffled=True))]

    def ordered(self, shard: Shard = ALL) -> Iterator[Batch]:
        """Return all images in the order of the set, or only the batches of a shard."""
        starts = self._starts(shuffled=False)
        first, end = shard.of_units(len(starts) - 1)
        whole = self._batches(torch.arange(self.num_images), starts[: end + 1], first)
        return ((images, labels) for _, images, labels in whole)

    def shuffled(
        self, seed: int, epoch: int, first_step: int = 0, shard: Shard = ALL
    ) -> Iterator[NumberedBatch]:
        """Return all images once, in an order that is a function of only (seed, epoch).

        They are augmented, which is a function of (seed, epoch) and their place in the set; what
        mixes the images of a batch is one of (seed, epoch, step).

        A single image that is left over joins the batch before it: batch norm cannot train on one.

        Args:
            seed: of the run.
            epoch: number of the pass.
            first_step: begin with this batch, counted from 0; the same as in a complete epoch.
            shard: which part of every batch to take.

        Returns:
            The number of each batch, counted from 0, its images and its labels. A batch whose
            images are all broken and left out is missing.
        """
        order = epoch_order(self.num_images, seed, epoch)
        augmenter = None
        if self._augmentation is not None:
            augmenter = Augmenter(
                self._augmentation, seed, epoch, self.num_images, self._num_classes, self._home
            )
        order, starts = _sharded(order, self._starts(shuffled=True), shard)
        return self._batches(order, starts, first_step, augmenter)

    @property
    @abstractmethod
    def _home(self) -> torch.device:
        """Device of the images before normalization."""

    def as_bytes(self, images: Tensor) -> Tensor:
        """Return the images of a batch with normalization undone, uint8 of the same shape."""
        return self._preprocessing.denormalize(images)

    @abstractmethod
    def _batches(
        self,
        order: Tensor,
        starts: list[int],
        first: int = 0,
        augmenter: Augmenter | None = None,
    ) -> Iterator[NumberedBatch]:
        """Return the images in this order from batch `first` on, each batch with its number.

        Batch i is order[starts[i] : starts[i + 1]].
        """

    def _starts(self, shuffled: bool) -> list[int]:
        starts = [*range(0, self.num_images, self.batch_size), self.num_images]
        if shuffled and len(starts) > 2 and starts[-1] - starts[-2] == 1:
            del starts[-2]
        return starts

    def _normalized(self, images: Tensor, rows: Tensor, augmenter: Augmenter | None) -> Tensor:
        images = self._preprocessing.normalize(images)
        if augmenter is not None:
            images = augmenter.cut(images, rows)  # faster in this layout than in the next
        return images.contiguous(memory_format=self._memory_format)


def epoch_order(number: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation of `range(number)` that is a function of (number, seed, epoch)."""
    sequence = np.random.SeedSequence([seed, epoch])
    generator = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    return torch.randperm(number, generator=generator)


def _sharded(order: Tensor, starts: list[int], shard: Shard) -> tuple[Tensor, list[int]]:
    """Return the images of a shard in their order, and where each batch of them starts."""
    parts, its_starts = [], [0]
    for start, end in pairwise(starts):
        begin, stop = shard.of_images(end - start)
        parts.append(order[start + begin : start + stop])
        its_starts.append(its_starts[-1] + stop - begin)
    return torch.cat(parts), its_starts
