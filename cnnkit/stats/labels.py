"""Class counts, without decoding an image."""

import time

import torch

from cnnkit.data.image_set import TensorSet
from cnnkit.errors import UsageError
from cnnkit.events import Warned, emit
from cnnkit.results.stats import ClassStats, DatasetStatistics
from cnnkit.stats.count import open_request
from cnnkit.stats.counting import summarized
from cnnkit.stats.request import Request


def count_labels(request: Request) -> DatasetStatistics:
    """Count the images of each class without decoding any.

    Raises:
        UsageError: there are no images.
    """
    source = open_request(request)
    started = time.monotonic()
    if isinstance(source, TensorSet):
        numbers = source.labels.bincount(minlength=len(source.classes)).tolist()
        counts = dict(zip(source.classes, numbers, strict=True))
    else:
        names = [*source.classes, ""]  # those without a class are the last
        labels = torch.where(source.labels < 0, len(source.classes), source.labels)
        found = dict(zip(names, labels.bincount(minlength=len(names)).tolist(), strict=True))
        counts = {name: number for name, number in found.items() if name or number}
        for name, reason in source.problems:
            emit(Warned(f"{name}: {reason}"))
    number = sum(counts.values())
    if not number:
        raise UsageError(f"{source.dataset!r} has no images", "there is nothing to count")
    classes = tuple(ClassStats(name, count, None, None) for name, count in counts.items() if name)
    seconds = time.monotonic() - started
    return DatasetStatistics(
        dataset=source.dataset,
        split=source.split,
        num_images=number,
        num_pixels=0,
        mean=None,
        std=None,
        mean_of_image_means=None,
        mean_of_image_stds=None,
        exact=True,
        weighting="pixel",
        transform=None,
        bit_depth=None,
        num_listed=number,
        mean_error=None,
        std_error=None,
        channels=(),
        classes=classes,
        imbalance=summarized.imbalance(one.num_images for one in classes),
        sizes=None,
        modes={},
        formats={},
        num_grey=0,
        changes={},
        num_oriented=0,
        num_bytes=None,
        bad_files=(),
        duplicates=None,
        issues=None,
        published=None,
        against=None,
        shard=None,
        seconds=seconds,
        images_per_second=number / seconds if seconds > 0 else 0.0,
    )
