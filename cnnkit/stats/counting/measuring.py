"""Counting the pixels of encoded images: threads decode, and what they count is added up."""

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from cnnkit.data.decode import (
    BadImageError,
    check_stopped,
    one_image,
    pillow_limits,
    stop_with,
)
from cnnkit.data.histogram import Counts
from cnnkit.data.loading.jpeg import Canvas
from cnnkit.data.sources.streams import EncodedImage
from cnnkit.events import OnEvent, TaskAdvanced, TaskEnded, TaskStarted
from cnnkit.stats.counting.cache import RecordCache
from cnnkit.stats.counting.decoding import STRIP_PIXELS, DecodedImage, decode
from cnnkit.stats.counting.tally import ImageRecord, Tally
from cnnkit.stats.counting.transform import Transform

BATCH_IMAGES = 64  # decoded by one thread at a time
BATCH_BYTES = 2**22  # of an archive, that are held for one thread
HELD_BYTES = 2**16  # of one histogram
PREFETCHED_BATCHES = 2  # read ahead beside those that the threads have in hand
TASK = "measure images"

Examination = Callable[[EncodedImage, bytes, DecodedImage, Counts], None]
"""Looks at an image once it is decoded; several threads call it at once."""


@dataclass(frozen=True)
class Treatment:
    """How images are treated before they are counted.

    Attributes:
        transform: resizes and crops.
        allow_large: whether images of very many pixels are decoded.
        examinations: what else looks at every image.
    """

    transform: Transform = field(default_factory=Transform)
    allow_large: bool = False
    examinations: tuple[Examination, ...] = ()


def measure_files(
    images: Iterable[EncodedImage],
    tally: Tally,
    treatment: Treatment,
    *,
    num_workers: int,
    total: int | None,
    cache: RecordCache | None,
    on_event: OnEvent,
) -> None:
    """Decode images and count their pixels.

    Args:
        images: what is to be decoded.
        tally: what they are added to, as far as it came even if the work is interrupted.
        treatment: how they are treated.
        num_workers: threads that decode; 0 decodes in this one.
        total: how many images there are; None where that is not known.
        cache: what is known of files from earlier, and is told of new ones; None for nothing.
        on_event: told how far the work is.
    """
    on_event(TaskStarted(TASK, total, "images"))
    done = 0
    try:
        with (
            pillow_limits(treatment.allow_large),
            _read_ahead(images, tally.sample is not None, treatment, num_workers, cache) as parts,
        ):
            for number, part in parts:
                tally.merge(part)
                done += number
                on_event(TaskAdvanced(TASK, done))
    finally:
        on_event(TaskEnded(TASK))


@contextmanager
def _read_ahead(
    images: Iterable[EncodedImage],
    keeps_sample: bool,
    treatment: Treatment,
    num_workers: int,
    cache: RecordCache | None,
) -> Iterator[Iterator[tuple[int, Tally]]]:
    """Give an iterator over what batches of images came to, each with its number of images."""
    stopped = threading.Event()
    pool = ThreadPoolExecutor(
        max(1, num_workers), "cnnkit-decode", initializer=stop_with, initargs=(stopped,)
    )
    most_held = (num_workers + PREFETCHED_BATCHES) * BATCH_BYTES

    def count(batch: list[EncodedImage], known: list[ImageRecord]) -> tuple[Tally, _News]:
        part = Tally(sample=[] if keeps_sample else None)
        news: _News = []
        found = known.copy()
        for image in batch:
            check_stopped()
            record = examine(image, treatment)
            found.append(record)
            if cache is not None:
                news.append((image, record))
            if record.counts is not None and record.counts.nbytes > HELD_BYTES:
                part.add_records(found)  # a histogram of 16 bits is not held for long
                found.clear()
        part.add_records(found)
        return part, news

    def results() -> Iterator[tuple[int, Tally]]:
        waiting: deque[tuple[int, int, Future[tuple[Tally, _News]]]] = deque()

        def finish() -> tuple[int, Tally]:
            number, _, future = waiting.popleft()
            part, news = future.result()
            if cache is not None:
                cache.keep(news)
            return number, part

        for batch in batched(images, BATCH_IMAGES):
            known: list[ImageRecord] = []
            unknown = batch
            if cache is not None and not treatment.examinations:  # those need the pixels
                known, unknown = cache.look_up(batch)
            if num_workers == 0:
                part, news = count(unknown, known)
                if cache is not None:
                    cache.keep(news)
                yield len(batch), part
                continue
            held = sum(len(image.content or b"") for image in batch)
            waiting.append((len(batch), held, pool.submit(count, unknown, known)))
            del batch, unknown  # what is in them may be large, and is the thread's now
            while (
                len(waiting) > num_workers + PREFETCHED_BATCHES
                or sum(number for _, number, _ in waiting) > most_held
            ):
                yield finish()
        while waiting:
            yield finish()

    try:
        yield results()
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
        if cache is not None:
            cache.flush()


_News = list[tuple[EncodedImage, ImageRecord]]


def batched(images: Iterable[EncodedImage], size: int) -> Iterator[list[EncodedImage]]:
    """Return the images in lists of this size, or shorter where their bytes are many."""
    batch: list[EncodedImage] = []
    held = 0
    for image in images:
        batch.append(image)
        held += len(image.content or b"")
        del image  # its bytes may be many, and the next is read only when they are gone
        if len(batch) == size or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def examine(image: EncodedImage, treatment: Treatment) -> ImageRecord:
    """Return what one image file holds, or why it is bad."""
    record = ImageRecord(image.name, image.class_name, image.reason)
    if image.reason:
        return record
    with one_image():
        try:
            _count_into(record, image, treatment)
        except BadImageError as error:
            record.reason = str(error)
    return record


def _count_into(record: ImageRecord, image: EncodedImage, treatment: Treatment) -> None:
    """Decode an image, and note what it holds.

    Raises:
        BadImageError: it cannot be read or decoded, or is too large.
    """
    content = image.read(treatment.allow_large)
    decoded = decode(content, treatment.allow_large, _canvas())
    treated = treatment.transform.apply(decoded, treatment.allow_large)
    record.counts = count_decoded(treated)
    record.width, record.height = decoded.width, decoded.height
    record.mode, record.form = decoded.mode, decoded.form
    record.num_bytes = len(content)
    record.is_oriented = decoded.is_oriented
    record.changes = treated.changes
    for look_at in treatment.examinations:
        look_at(image, content, decoded, record.counts)


_of_thread = threading.local()


def _canvas() -> Canvas:
    """Return the canvas of this thread; nothing of an image is kept once it is counted."""
    if not hasattr(_of_thread, "canvas"):
        _of_thread.canvas = Canvas()
    canvas: Canvas = _of_thread.canvas
    return canvas


def count_decoded(decoded: DecodedImage) -> Counts:
    """Return the histogram of a decoded image, int64 of shape (C, 256) or (C, 65536)."""
    if decoded.image is not None:
        return count_image(decoded.image)
    assert decoded.planes is not None
    counts = np.zeros((len(decoded.planes), 65536), dtype=np.int64)
    for own, plane in zip(counts, decoded.planes, strict=True):
        values = plane.reshape(-1)
        for start in range(0, len(values), STRIP_PIXELS):  # which become 64-bit integers
            own += np.bincount(values[start : start + STRIP_PIXELS], minlength=65536)
    return counts


def count_image(image: Image.Image) -> Counts:
    """Return the histogram of a Pillow image of mode `L` or `RGB`, int64 of shape (C, 256)."""
    counted = image.histogram()  # in C, while other threads go on
    packed = struct.pack(f"{len(counted)}q", *counted)  # in half the time of numpy.array
    return np.frombuffer(packed, dtype=np.int64).reshape(-1, 256)
