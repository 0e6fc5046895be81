"""Batches from tensors in memory."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from cnnkit.data.image_set import DecodedSet, TensorSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.data.loading.batches import Batches, NumberedBatch
from cnnkit.data.loading.preprocessing import Preprocessing, to_channels

MAX_RESIZED_BYTES = 2**31  # a set that would be larger after resizing is resized batch by batch
CHUNK_BYTES = 2**22  # so many bytes of float images are normalized at once


class TensorBatches(Batches):
    """Batches from a set in memory, stored as bytes on the device from the start.

    See `Batches` for the arguments.
    """

    def __init__(
        self,
        images: TensorSet,
        preprocessing: Preprocessing,
        batch_size: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(images, preprocessing, batch_size, device, memory_format, augmentation)
        pixels = to_channels(images.images, preprocessing.channels)
        resized_bytes = len(pixels) * pixels.shape[1] * preprocessing.height * preprocessing.width
        if resized_bytes <= MAX_RESIZED_BYTES:
            pixels = preprocessing.resize(pixels)
        self._images = pixels.to(device)
        self._labels = images.labels.to(device)
        self._is_whole: Tensor | None = None
        if isinstance(images, DecodedSet) and images.broken:
            self._is_whole = images.is_whole
            self.skip_bad = True
            self.skipped |= images.broken

    @property
    def _home(self) -> torch.device:
        return self._device

    def _batches(
        self,
        order: Tensor,
        starts: list[int],
        first: int = 0,
        augmenter: Augmenter | None = None,
    ) -> Iterator[NumberedBatch]:
        # Several batches are gathered and normalized at once: the fixed cost of an operation is
        # as large as its work on a small batch. The numbers are the same for any chunk.
        preprocessing = self._preprocessing
        batch_bytes = (
            4
            * self.batch_size
            * preprocessing.channels
            * preprocessing.height
            * preprocessing.width
        )
        step = max(1, CHUNK_BYTES // batch_bytes)
        if self._is_whole is not None:
            is_whole = self._is_whole[order]
            num_before = [0, *is_whole.cumsum(0).tolist()]
            order, starts = order[is_whole], [num_before[start] for start in starts]
        order = order.to(self._device)
        # A chunk begins where it does in a complete epoch: so a batch has the same place in memory,
        # by which some kernels choose how to add.
        for begin in range(first - first % step, len(starts) - 1, step):
            bounds = starts[begin : begin + step + 1]
            rows = order[bounds[0] : bounds[-1]]
            images, labels = preprocessing.resize(self._images[rows]), self._labels[rows]
            if augmenter is not None:
                images = augmenter.moved(images, rows)
            images = self._normalized(images, rows, augmenter)
            sizes = [end - start for start, end in pairwise(bounds)]
            parts = zip(images.split_with_sizes(sizes), labels.split_with_sizes(sizes), strict=True)
            for number, (some, their_labels) in enumerate(parts, begin):
                if number >= first and len(their_labels):
                    if augmenter is not None:
                        some, their_labels = augmenter.mixed(some, their_labels, number)
                    yield number, some, their_labels
