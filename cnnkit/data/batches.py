"""Whole batches of images on a device, from memory or from files."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data.augmentation import Augmentation
from cnnkit.data.augmenting import Augmenter
from cnnkit.data.image_set import DecodedSet, EncodedSet, ImageSet, TensorSet
from cnnkit.data.preprocessing import Preprocessing, to_channels
from cnnkit.data.sharing import Share
from cnnkit.errors import RunFailedError
from cnnkit.events import OnEvent, TaskAdvanced, TaskEnded, TaskStarted

MAX_RESIZED_BYTES = 2**31  # a set that would be larger after resizing is resized batch by batch
CHUNK_BYTES = 2**22  # so many bytes of float images are normalised at once
DECODED_AT_ONCE = 64  # images that a worker takes where a whole set is decoded
PREFETCHED_BATCHES = 2  # read ahead beside those that the workers have in hand

Batch = tuple[Tensor, Tensor]
NumberedBatch = tuple[int, Tensor, Tensor]

# What Pillow raises for files that are broken, cut short, or absurdly large.
BROKEN_IMAGE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Batches(ABC):
    """The images of a set as batches of (images, labels) on a device.

    Images are float32 of shape (B, channels, height, width), normalised; labels int64 of shape
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
        """How many batches a shuffled pass has."""
        return len(self._starts(shuffled=True)) - 1

    def batch_sizes(self) -> list[int]:
        """Return how many images each batch of a shuffled pass has."""
        return [end - start for start, end in pairwise(self._starts(shuffled=True))]

    def ordered(self, share: Share | None = None) -> Iterator[Batch]:
        """Return all images in the order of the set; with a share, its batches alone."""
        starts, first = self._starts(shuffled=False), 0
        if share is not None:
            first, end = share.of_batches(len(starts) - 1)
            starts = starts[: end + 1]
        whole = self._batches(torch.arange(self.num_images), starts, first)
        return ((images, labels) for _, images, labels in whole)

    def shuffled(
        self, seed: int, epoch: int, first_step: int = 0, share: Share | None = None
    ) -> Iterator[NumberedBatch]:
        """Return all images once, in an order that is a function of (seed, epoch) alone.

        They are augmented, which is a function of (seed, epoch) and their place in the set; what
        mixes the images of a batch is one of (seed, epoch, step).

        A single image that is left over joins the batch before it: batch norm cannot train on one.

        Args:
            seed: of the run.
            epoch: number of the pass.
            first_step: begin with this batch, counted from 0; it is what it is in a whole pass.
            share: take this process's part of every batch alone.

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
        starts = self._starts(shuffled=True)
        if share is not None:
            order, starts = _shared(order, starts, share)
        return self._batches(order, starts, first_step, augmenter)

    @property
    @abstractmethod
    def _home(self) -> torch.device:
        """Where the images are before they are normalised."""

    def as_bytes(self, images: Tensor) -> Tensor:
        """Return images of a batch as uint8 of the same shape, no longer normalised."""
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


class TensorBatches(Batches):
    """Batches out of a set that lies in memory as bytes, on the device from the start.

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
        # Several batches are gathered and normalised at once: the fixed cost of an operation is
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
        # A chunk begins where it does in a whole pass: so a batch has the same place in memory,
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


class FileBatches(Batches):
    """Batches out of encoded files, read and decoded ahead by threads.

    Pillow decodes and resizes without the interpreter lock, so threads do; they start at once and
    their errors come through as they are.

    Args:
        images: the set.
        preprocessing: what is done to each image.
        batch_size: images a batch.
        device: where the batches are wanted.
        memory_format: layout of the batches.
        num_workers: threads that read ahead; 0 reads where the batches are used.
        skip_bad: leave broken images out, and note their names in `skipped`.
        augmentation: what is done to the images of a shuffled pass.
    """

    def __init__(
        self,
        images: EncodedSet,
        preprocessing: Preprocessing,
        batch_size: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        num_workers: int = 0,
        skip_bad: bool = False,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(images, preprocessing, batch_size, device, memory_format, augmentation)
        self._files = images.files
        self._labels = images.labels
        self._num_workers = num_workers
        self.skip_bad = skip_bad

    @property
    def _home(self) -> torch.device:
        return torch.device("cpu")

    def _batches(
        self,
        order: Tensor,
        starts: list[int],
        first: int = 0,
        augmenter: Augmenter | None = None,
    ) -> Iterator[NumberedBatch]:
        read = self._read_ahead(self._parts(order, starts[first:]), augmenter)
        for number, (images, rows) in enumerate(read, first):
            if len(rows):
                labels = self._labels[rows]
                if self._device.type == "cuda":
                    images, labels = images.pin_memory(), labels.pin_memory()
                images = images.to(self._device, non_blocking=True)
                labels = labels.to(self._device, non_blocking=True)
                images = self._normalized(images, rows, augmenter)
                if augmenter is not None:
                    images, labels = augmenter.mixed(images, labels, number)
                yield number, images, labels

    def raw(self) -> Iterator[Batch]:
        """Return all images in order, and their places in the set.

        Images are uint8 of shape (B, channels, height, width), on the CPU.
        """
        starts = self._starts(shuffled=False)
        rows = torch.arange(self.num_images)
        for images, kept in self._read_ahead(self._parts(rows, starts)):
            if len(kept):
                yield images, kept

    @staticmethod
    def _parts(order: Tensor, starts: list[int]) -> Iterator[Tensor]:
        return (order[start:end] for start, end in pairwise(starts))

    def _read_ahead(
        self, parts: Iterator[Tensor], augmenter: Augmenter | None = None
    ) -> Iterator[Batch]:
        """Return the images of each part as uint8, and their places in the set."""
        if self._num_workers == 0:
            yield from (self._read(part, augmenter) for part in parts)
            return
        pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="cnnkit-decode")
        waiting: deque[Future[Batch]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(self._read, part, augmenter))
                if len(waiting) > self._num_workers + PREFETCHED_BATCHES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, rows: Tensor, augmenter: Augmenter | None) -> Batch:
        images, kept = [], []
        for row in rows.tolist():
            try:
                images.append(self._preprocessing.decode(self._files.read(row)))
                kept.append(row)
            except BROKEN_IMAGE_ERRORS as error:
                if not self.skip_bad:
                    raise broken_image(self._files.name(row), error) from error
                self.skipped.add(self._files.name(row))
        if not images:
            return torch.empty(0), rows[:0]
        pixels, places = torch.stack(images), torch.tensor(kept)
        return pixels if augmenter is None else augmenter.moved(pixels, places), places


def make_batches(
    images: ImageSet,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    num_workers: int = 0,
    skip_bad: bool = False,
    augmentation: Augmentation | None = None,
) -> Batches:
    """Return the batches of a set of either kind; see `Batches` and `FileBatches`."""
    if isinstance(images, TensorSet):
        return TensorBatches(images, preprocessing, batch_size, device, memory_format, augmentation)
    if isinstance(images, EncodedSet):
        return FileBatches(
            images,
            preprocessing,
            batch_size,
            device,
            memory_format,
            num_workers,
            skip_bad,
            augmentation,
        )
    raise TypeError(f"unknown kind of image set: {type(images).__name__}")


def decoded(
    images: EncodedSet,
    preprocessing: Preprocessing,
    num_workers: int,
    skip_bad: bool,
    on_event: OnEvent,
) -> DecodedSet:
    """Decode every image of a set once; batches of the result are those of the files.

    Raises:
        RunFailedError: an image is broken, and is not to be left out.
    """
    files = FileBatches(
        images,
        preprocessing,
        DECODED_AT_ONCE,
        torch.device("cpu"),
        num_workers=num_workers,
        skip_bad=skip_bad,
    )
    shape = (len(images), preprocessing.channels, preprocessing.height, preprocessing.width)
    pixels = torch.zeros(shape, dtype=torch.uint8)
    is_whole = torch.zeros(len(images), dtype=torch.bool)
    task, done = f"decode {images.split}", 0
    on_event(TaskStarted(task, len(images), "images"))
    try:
        for some, rows in files.raw():
            pixels[rows] = some
            is_whole[rows] = True
            done += len(rows)
            on_event(TaskAdvanced(task, done))
    finally:
        on_event(TaskEnded(task))
    return DecodedSet(
        dataset=images.dataset,
        split=images.split,
        classes=images.classes,
        labels=images.labels,
        channels=preprocessing.channels,
        size=preprocessing.size,
        images=pixels,
        is_whole=is_whole,
        broken=frozenset(files.skipped),
    )


def epoch_order(number: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation of `range(number)` that is a function of (number, seed, epoch)."""
    sequence = np.random.SeedSequence([seed, epoch])
    generator = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    return torch.randperm(number, generator=generator)


def _shared(order: Tensor, starts: list[int], share: Share) -> tuple[Tensor, list[int]]:
    """Return the images of a share in their order, and where each batch of them starts."""
    parts, its_starts = [], [0]
    for start, end in pairwise(starts):
        begin, stop = share.of_images(end - start)
        parts.append(order[start + begin : start + stop])
        its_starts.append(its_starts[-1] + stop - begin)
    return torch.cat(parts), its_starts


def broken_image(name: str, error: BaseException) -> RunFailedError:
    """Return the error that names a broken image."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if name in reason:  # Pillow and the system repeat the path, or the address of a buffer
        reason = getattr(error, "strerror", None) or "it cannot be read"
    if "cannot identify image file" in reason:
        reason = "it is no image"
    return RunFailedError(
        f"broken image {name}: {reason}", "repair or remove it, or leave it out with --skip-bad"
    )
