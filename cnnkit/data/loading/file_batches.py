"""Batches from encoded files, prefetched; and decoding a complete set once."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import torch
from torch import Tensor

from cnnkit.data.content_hashes import ContentHashes
from cnnkit.data.image_files import pillow_limits
from cnnkit.data.image_limits import BadImageError, check_stopped, one_image, stop_with
from cnnkit.data.image_set import DecodedSet, EncodedSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.data.loading.batches import Batch, Batches, NumberedBatch
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.errors import BrokenImageError, setting
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit

DECODED_AT_ONCE = 64  # images that a worker takes while a complete set is decoded
PREFETCHED_BATCHES = 2  # read ahead beside those that the workers have in hand


class FileBatches(Batches):
    """Batches from encoded files, prefetched and decoded by threads.

    Pillow decodes and resizes without the interpreter lock, so threads do; they start at once and
    their errors come through as they are.

    Args:
        images: the set.
        preprocessing: what is done to each image.
        batch_size: images a batch.
        device: device of the batches.
        memory_format: layout of the batches.
        num_workers: threads that read ahead; 0 reads where the batches are used.
        skip_bad: leave broken images out, and store their names in `skipped`.
        augmentation: what is done to the images of a shuffled pass.
        hashes: keeps the hash of each file that is decoded; None for no one.
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
        hashes: ContentHashes | None = None,
    ) -> None:
        super().__init__(images, preprocessing, batch_size, device, memory_format, augmentation)
        self._files = images.files
        self._labels = images.labels
        self._num_workers = num_workers
        self._hashes = hashes
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
        stopped = threading.Event()
        pool = ThreadPoolExecutor(
            self._num_workers, "cnnkit-decode", initializer=stop_with, initargs=(stopped,)
        )
        waiting: deque[Future[Batch]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(self._read, part, augmenter))
                if len(waiting) > self._num_workers + PREFETCHED_BATCHES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, rows: Tensor, augmenter: Augmenter | None) -> Batch:
        images, kept = [], []
        allow_large = self._preprocessing.allow_large
        with pillow_limits(allow_large):
            for row in rows.tolist():
                check_stopped()
                try:
                    with one_image():
                        content = self._files.read(row, allow_large)
                        images.append(self._preprocessing.decode(content))
                    if self._hashes is not None:
                        self._hashes.note(row, content)
                    kept.append(row)
                except BadImageError as error:
                    if not self.skip_bad:
                        raise broken_image(self._files.name(row), error) from error
                    self.skipped.add(self._files.name(row))
        if not images:
            return torch.empty(0), rows[:0]
        pixels, places = torch.stack(images), torch.tensor(kept)
        return pixels if augmenter is None else augmenter.moved(pixels, places), places


def decoded(
    images: EncodedSet,
    preprocessing: Preprocessing,
    num_workers: int,
    skip_bad: bool,
    hashes: ContentHashes | None = None,
) -> DecodedSet:
    """Decode every image of a set once; batches of the result are those of the files.

    Args:
        images: the set.
        preprocessing: what is done to each image.
        num_workers: number of decoding threads; 0 decodes in this one.
        skip_bad: leave broken images out.
        hashes: keeps the hash of each file; None for no one.

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
        hashes=hashes,
    )
    shape = (len(images), preprocessing.channels, preprocessing.height, preprocessing.width)
    pixels = torch.zeros(shape, dtype=torch.uint8)
    is_whole = torch.zeros(len(images), dtype=torch.bool)
    task, done = f"decode {images.split}", 0
    emit(TaskStarted(task, len(images), "images"))
    try:
        for some, rows in files.raw():
            pixels[rows] = some
            is_whole[rows] = True
            done += len(rows)
            emit(TaskAdvanced(task, done))
    finally:
        emit(TaskEnded(task))
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


def broken_image(name: str, error: BadImageError) -> BrokenImageError:
    """Return the error that names a broken image."""
    return BrokenImageError(
        f"broken image {name}: {error}",
        f"repair or remove it, or leave it out with {setting('skip_bad')}",
    )
