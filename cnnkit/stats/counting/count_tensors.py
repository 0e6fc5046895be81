"""Counting the pixels of sets in memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data.encoded import Chooser
from cnnkit.data.histogram import CHUNK_IMAGES, count_values
from cnnkit.data.image_set import TensorSet
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.stats.counting.count_files import TASK, count_image
from cnnkit.stats.counting.tally import ImageRecord, SampledImage, Tally, sums_over_images
from cnnkit.stats.counting.transform import Transform

CLAIM_IMAGES = 4096  # chosen at once, where several processes share a set
Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

MODE_OF_CHANNELS = {1: "L", 3: "RGB"}


def measure_tensors(
    images: TensorSet,
    tally: Tally,
    transform: Transform,
    is_wanted: Chooser,
    num_workers: int,
) -> Tensor:
    """Count the pixels of a set in memory.

    Args:
        images: the set.
        tally: receives the counts.
        transform: resizes and crops.
        is_wanted: returns whether an image is counted, by its index.
        num_workers: threads that count.

    Returns:
        The numbers of the images that were counted, int64 of shape (M,).
    """
    counted = [np.empty(0, dtype=np.int64)]
    keeps_sample = tally.sample is not None

    def count(chunk: tuple[int, Rows]) -> Tally:
        label, rows = chunk
        pixels = images.images.numpy()[rows]
        part = Tally(sample=[] if keeps_sample else None)
        if transform.steps:
            part.add_records(_transformed(pixels, images.classes[label], transform))
        else:
            _count_pixels(pixels, images.classes[label], part)
        return part

    emit(TaskStarted(TASK, len(images), "images"))
    pool = ThreadPoolExecutor(max(1, num_workers), thread_name_prefix="cnnkit-count")
    try:
        for start in range(0, len(images), CLAIM_IMAGES):
            numbers = range(start, min(start + CLAIM_IMAGES, len(images)))
            rows = np.array(list(filter(is_wanted, numbers)), dtype=np.int64)
            for part in pool.map(count, _chunks_of_a_class(images, rows)):
                tally.merge(part)
            counted.append(rows)
            emit(TaskAdvanced(TASK, numbers[-1] + 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        emit(TaskEnded(TASK))
    return torch.from_numpy(np.concatenate(counted))


def _chunks_of_a_class(images: TensorSet, rows: Rows) -> Iterator[tuple[int, Rows]]:
    """Return the rows in chunks of one label, each with its label."""
    labels = images.labels.numpy()[rows]
    for label in np.unique(labels).tolist():
        members = rows[labels == label]
        for start in range(0, len(members), CHUNK_IMAGES):
            yield label, members[start : start + CHUNK_IMAGES]


def _count_pixels(pixels: Pixels, class_name: str, tally: Tally) -> None:
    """Count images of one class; uint8 of shape (N, C, H, W)."""
    number_of_images, channels, height, width = pixels.shape
    tally.add_histogram(class_name, count_values(torch.from_numpy(pixels)))
    # NumPy adds only in this thread; torch would wake others, which chunks keep busy already.
    flat = pixels.reshape(number_of_images, channels, -1)
    fits = height * width * 255**2 < 2**32
    sums = np.uint32 if fits else np.uint64  # the narrower is the faster
    totals = flat.sum(-1, dtype=sums).astype(np.int64)
    squared = np.multiply(flat, flat, dtype=np.uint16)
    squares = squared.sum(-1, dtype=sums).astype(np.int64)
    numbers = np.full(number_of_images, height * width, dtype=np.int64)
    tally.num_pixels += number_of_images * height * width
    tally.sizes[width, height] += number_of_images
    tally.modes[MODE_OF_CHANNELS[channels]] += number_of_images
    tally.add_sums(class_name, channels, sums_over_images(numbers, totals, squares, 255))
    if tally.sample is not None:
        for total, square in zip(totals.tolist(), squares.tolist(), strict=True):
            tally.sample.append(
                SampledImage(
                    height * width,
                    tuple(value * 257 for value in total),
                    tuple(value * 257**2 for value in square),
                )
            )


def _transformed(pixels: Pixels, class_name: str, transform: Transform) -> Iterator[ImageRecord]:
    for one in pixels:
        image = to_pillow(torch.from_numpy(one))
        yield ImageRecord(
            name="",
            class_name=class_name,
            counts=count_image(transform.apply_to_image(image)),
            width=image.width,
            height=image.height,
            mode=image.mode,
            changes=transform.changes(image.width, image.height),
        )


def to_pillow(pixels: Tensor) -> Image.Image:
    """Return an image in memory, uint8 of shape (C, H, W), as a Pillow image `L` or `RGB`."""
    if len(pixels) == 1:
        return Image.fromarray(pixels[0].numpy())
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
