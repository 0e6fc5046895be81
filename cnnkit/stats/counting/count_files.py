"""Counting the pixels of encoded images: threads decode, and their counts are added."""

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from PIL import Image

from cnnkit.data.decode import DecodedImage, decode
from cnnkit.data.encoded import EncodedImage
from cnnkit.data.histogram import Counts
from cnnkit.data.image_files import pillow_limits
from cnnkit.data.image_limits import BadImageError, check_stopped, one_image, stop_with
from cnnkit.data.loading.jpeg import Canvas
from cnnkit.data.tiff_planes import STRIP_PIXELS
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.stats.counting.cache import RecordCache
from cnnkit.stats.counting.tally import ImageRecord, Tally
from cnnkit.stats.counting.transform import Transform

BATCH_IMAGES = 64  # decoded by one thread at a time
HELD_BYTES = 2**16  # of one histogram
PREFETCHED_BATCHES = 2  # read ahead beside those that the threads have in hand
TASK = "measure images"

Examination = Callable[[EncodedImage, bytes, DecodedImage, Counts], None]
"""Examines a decoded image; called from several threads."""


@dataclass(frozen=True)
class Treatment:
    """The processing of images before they are counted.

    Attributes:
        transform: resizes and crops.
        allow_large: whether images of very many pixels are decoded.
        examinations: further examinations of every image.
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
) -> None:
    """Decode images and count their pixels.

    Args:
        images: the images to decode.
        tally: receives the counts, also if the work is interrupted.
        treatment: the processing before.
        num_workers: threads that decode; 0 decodes in this one.
        total: number of images; None if unknown.
        cache: records of earlier runs, to which new ones are added; None for no cache.
    """
    emit(TaskStarted(TASK, total, "images"))
    done = 0
    try:
        with (
            pillow_limits(treatment.allow_large),
            _read_ahead(images, tally.sample is not None, treatment, num_workers, cache) as parts,
        ):
            for number, part in parts:
                tally.merge(part)
                done += number
                emit(TaskAdvanced(TASK, done))
    finally:
        emit(TaskEnded(TASK))


@contextmanager
def _read_ahead(
    images: Iterable[EncodedImage],
    keeps_sample: bool,
    treatment: Treatment,
    num_workers: int,
    cache: RecordCache | None,
) -> Iterator[Iterator[tuple[int, Tally]]]:
    """Yield an iterator over the counts of batches, each with its number of images."""
    stopped = threading.Event()
    pool = ThreadPoolExecutor(
        max(1, num_workers), "cnnkit-decode", initializer=stop_with, initargs=(stopped,)
    )

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
                part.add_records(found)  # a histogram of 16 bits is not kept for long
                found.clear()
        part.add_records(found)
        return part, news

    def results() -> Iterator[tuple[int, Tally]]:
        waiting: deque[tuple[int, Future[tuple[Tally, _News]]]] = deque()

        def finish() -> tuple[int, Tally]:
            number, future = waiting.popleft()
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
            waiting.append((len(batch), pool.submit(count, unknown, known)))
            if len(waiting) > num_workers + PREFETCHED_BATCHES:
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
    """Return the images in lists of this size, the last one shorter."""
    found = iter(images)
    while batch := list(islice(found, size)):
        yield batch


def examine(image: EncodedImage, treatment: Treatment) -> ImageRecord:
    """Return the record of an image file, with the reason if it is bad."""
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
    """Return the record of a decoded image.

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
    counted = image.histogram()  # in C, while other threads continue
    packed = struct.pack(f"{len(counted)}q", *counted)  # in half the time of numpy.array
    return np.frombuffer(packed, dtype=np.int64).reshape(-1, 256)
