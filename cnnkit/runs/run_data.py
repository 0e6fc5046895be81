"""The data of a run: its splits, and the batches that are made of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from cnnkit.data import open_dataset
from cnnkit.data.content_hashes import HASH_BYTES, ContentHashes
from cnnkit.data.entry import DatasetEntry
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.image_set import DecodedSet, EncodedSet, ImageSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.batches import Batches
from cnnkit.data.loading.batching import make_batches
from cnnkit.data.loading.file_batches import broken_image, decoded
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.normalization import MeasuredChannels, measure_channels
from cnnkit.data.sources.file_sets import MOST_MEASURED
from cnnkit.data.splits import stratified_holdout
from cnnkit.errors import UsageError, setting
from cnnkit.events import Note, TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.runs.recipe import Recipe
from cnnkit.system.device import memory_format
from cnnkit.system.distributed import ProcessGroup, Shard
from cnnkit.system.memory import available_bytes

EVENT_FILES = 256
CACHE_SHARE = 0.25  # of the memory that is free may be filled with decoded images
UNKNOWN_MEMORY = 2**32  # assumed to be free where the system does not say


@dataclass(frozen=True)
class RunData:
    """The splits of a run.

    Attributes:
        entry: what the catalog says of the dataset.
        train: without the held-out images.
        val: None where there are none.
        test: None where there are none.
        fingerprint: of the training images, the held-out ones included.
        val_fingerprint: of the validation images; None where they are a part of those.
        order: the place in the training split of each image of `train`, and then of `val`; None
            where there are none.
        train_hashes: of the training files, as far as they were read; None for a set in memory.
        val_hashes: of the validation files, likewise.
    """

    entry: DatasetEntry
    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None
    fingerprint: str
    val_fingerprint: str | None
    order: Tensor | None = None
    train_hashes: ContentHashes | None = None
    val_hashes: ContentHashes | None = None

    def counts(self) -> str:
        """Return how many images are there for what, as a sentence says it."""
        counts = [f"{_num_usable(self.train):,} to train on"]
        if self.val is not None:
            counts.append(f"{_num_usable(self.val):,} to choose the best epoch by")
        if self.test is not None:
            counts.append(f"{_num_usable(self.test):,} to test")
        return ", ".join(counts)

    def num_files(self, recipe: Recipe) -> int:
        """Return how many image files are gone through every epoch."""
        followed = [self.train, self.val, self.test if recipe.monitor == "test" else None]
        return sum(len(one) for one in followed if isinstance(one, EncodedSet))


def _num_usable(images: ImageSet) -> int:
    """Return how many images a set has, without those that are known to be broken."""
    return int(images.is_whole.sum()) if isinstance(images, DecodedSet) else len(images)


def open_data(entry: DatasetEntry, recipe: Recipe, data_dir: Path) -> RunData:
    """Open every split that a recipe needs.

    Raises:
        UsageError: the dataset lacks a split that the recipe asks for.
        NotFoundError, UnavailableError: the images are unavailable.
    """
    images: ImageSet = open_dataset(entry, "train", data_dir=data_dir)
    fingerprint = images.fingerprint()
    val: ImageSet | None = None
    val_fingerprint = order = None
    if recipe.val_split and "val" in entry.splits:
        val = open_dataset(entry, "val", data_dir=data_dir)
        val_fingerprint = val.fingerprint()
    elif recipe.val_split:
        stay, held_out = stratified_holdout(images.labels, recipe.val_split, recipe.seed)
        _check_classes(entry.name, images, held_out)
        images, val = images.subset(stay), images.subset(held_out)
        order = torch.cat([stay, held_out])
    if recipe.patience is not None and val is None:
        raise UsageError(
            f"{setting('patience')} needs validation images, and none are held out",
            f"use a {setting('val_split')} above 0",
        )
    test: ImageSet | None = None
    if "test" in entry.splits:
        test = open_dataset(entry, "test", data_dir=data_dir)
        test = test if len(test) else None  # classes of one image have no held-out image
    if recipe.monitor == "test" and test is None:
        raise UsageError(
            f"{entry.name} has no test set to monitor", f"use {setting('monitor')} val"
        )
    return RunData(
        entry, images, val, test, fingerprint, val_fingerprint, order, _hashes(images), _hashes(val)
    )


def _hashes(images: ImageSet | None) -> ContentHashes | None:
    return ContentHashes(len(images)) if isinstance(images, EncodedSet) else None


def _check_classes(dataset: str, images: ImageSet, held_out: Tensor) -> None:
    """Raise where a class has too few images for a validation split.

    Raises:
        UsageError: a class has a single image, which stays to be trained on.
    """
    counts = torch.bincount(images.labels, minlength=len(images.classes))
    held = torch.bincount(images.labels[held_out], minlength=len(images.classes))
    empty = [images.classes[i] for i in torch.nonzero((counts > 0) & (held == 0)).flatten()]
    if empty:
        shown = ", ".join(map(repr, empty[:3])) + (", ..." if len(empty) > 3 else "")
        raise UsageError(
            f"{setting('val_split')} leaves no validation image of {len(empty)} "
            f"class{'es' if len(empty) > 1 else ''} of {dataset} ({shown}): a class needs "
            "at least two images",
            f"use {setting('val_split')} 0, or bring more images",
        )


def checked_workers(num_workers: int) -> int:
    """Return the number of threads that read files.

    Raises:
        UsageError: it is below 0.
    """
    if num_workers < 0:
        raise UsageError(f"{setting('num_workers')} must be at least 0, not {num_workers}")
    return num_workers


@dataclass(frozen=True)
class LoaderConfig:
    """Where and how batches are made.

    Attributes:
        device: where they are wanted.
        num_workers: threads that read files.
        skip_bad: leave broken images out.
    """

    device: torch.device
    num_workers: int
    skip_bad: bool
    _made: list[Batches] = field(default_factory=list)

    def batches(
        self,
        images: ImageSet,
        setup: ModelAndData,
        batch_size: int,
        augmentation: Augmentation | None = None,
        hashes: ContentHashes | None = None,
    ) -> Batches:
        """Return the batches of a set, and remember them for their skipped images."""
        batches = make_batches(
            images,
            setup.preprocessing,
            batch_size,
            self.device,
            memory_format(self.device, setup.channels_last),
            self.num_workers,
            self.skip_bad,
            augmentation,
            hashes,
        )
        self._made.append(batches)
        return batches

    def num_skipped(self) -> int:
        """Return how many broken images were left out, each counted once."""
        return len(set().union(*(batches.skipped for batches in self._made)))


def measured(data: RunData, preprocessing: Preprocessing, place: LoaderConfig) -> MeasuredChannels:
    """Measure the channels of the full training split, the held-out images included.

    Raises:
        RunFailedError: an image is broken, and is not to be left out.
    """
    is_held_out = data.val is not None and data.order is not None
    split = [data.train, data.val] if data.val is not None and is_held_out else [data.train]
    return measure_channels(
        split,
        preprocessing,
        place.num_workers,
        place.skip_bad,
        order=data.order,
        hashes=(data.train_hashes, data.val_hashes),
    )


def cached(
    data: RunData,
    recipe: Recipe,
    preprocessing: Preprocessing,
    place: LoaderConfig,
    group: ProcessGroup,
    is_measured: bool = False,
) -> RunData:
    """Return the data with image files decoded, where that is worth it, and say what was chosen.

    They are decoded where they are gone through more than once, with what `is_measured` goes
    through, and take no more than a quarter of the memory that is free: of several processes each
    has all of them, whose batches iterate over the complete set.

    Raises:
        RunFailedError: an image is broken, and is not to be left out.
    """
    number = data.num_files(recipe)
    if not number or (recipe.epochs == 1 and not is_measured) or recipe.cache == "off":
        return data
    size = number * preprocessing.channels * preprocessing.height * preprocessing.width
    if place.device.type == "cpu":  # GPUs have a memory each
        size *= group.local_size
    size_text = f"{size / 2**20:,.2f} MiB"
    free = available_bytes(place.device) or UNKNOWN_MEMORY
    (is_too_large,) = group.any_of(size > CACHE_SHARE * free)
    if is_too_large:
        emit(
            Note(
                f"files are decoded every epoch: once decoded they would take {size_text}, more "
                f"than a quarter of the {free / 2**30:,.1f} GiB of memory that are free"
            )
        )
        return data
    emit(Note(f"files are decoded once, and take {size_text} of memory"))
    return with_decoded(data, recipe, preprocessing, place, group)


def check_headers(data: RunData, place: LoaderConfig, allow_large: bool) -> None:
    """Look at the headers of the image files that are not decoded yet.

    So an image that is none, or is too large, is found before the training and not behind it, when
    the test images are decoded. Sets of very many files are not looked at.

    Raises:
        BrokenImageError: there is one, and it is not to be left out.
    """
    if place.skip_bad:
        return
    task = "read image headers"
    for images in (data.train, data.val, data.test):
        if not isinstance(images, EncodedSet) or len(images) > MOST_MEASURED:
            continue
        emit(TaskStarted(task, len(images), "files"))
        try:
            for index in range(len(images)):
                try:
                    images.files.header(index, allow_large)
                except BadImageError as error:
                    raise broken_image(images.files.name(index), error) from error
                if index % EVENT_FILES == 0:
                    emit(TaskAdvanced(task, index))
        finally:
            emit(TaskEnded(task))


def with_decoded(
    data: RunData,
    recipe: Recipe,
    preprocessing: Preprocessing,
    place: LoaderConfig,
    group: ProcessGroup,
) -> RunData:
    """Return the data with the image files decoded that are gone through every epoch.

    Raises:
        RunFailedError: an image is broken, and is not to be left out.
    """

    def in_memory(images: ImageSet | None, hashes: ContentHashes | None = None) -> ImageSet | None:
        if not isinstance(images, EncodedSet):
            return images
        return _decoded_together(images, decode, group, hashes)

    def decode(images: EncodedSet, hashes: ContentHashes | None) -> DecodedSet:
        return decoded(images, preprocessing, place.num_workers, place.skip_bad, hashes)

    train = in_memory(data.train, data.train_hashes)
    assert train is not None
    return replace(
        data,
        train=train,
        val=in_memory(data.val, data.val_hashes),
        test=in_memory(data.test) if recipe.monitor == "test" else data.test,
    )


def _decoded_together(
    images: EncodedSet,
    decode: Callable[[EncodedSet, ContentHashes | None], DecodedSet],
    group: ProcessGroup,
    hashes: ContentHashes | None,
) -> DecodedSet:
    """Return a set of which every process decoded a part."""
    bounds = [Shard(rank, group.size).of_units(len(images)) for rank in range(group.size)]
    start, end = bounds[group.rank]
    if end - start == len(images):
        return decode(images, hashes)
    own = ContentHashes(end - start)
    part = decode(images.subset(torch.arange(start, end)), own)
    pixels = torch.empty((len(images), *part.images.shape[1:]), dtype=part.images.dtype)
    is_whole = torch.empty(len(images), dtype=part.is_whole.dtype)
    pixels[start:end], is_whole[start:end] = part.images, part.is_whole
    all_hashes = torch.zeros((len(images), HASH_BYTES), dtype=torch.uint8)
    all_hashes[start:end] = own.rows
    for rows in (pixels, is_whole, all_hashes):
        group.fill_in(rows, bounds)
    if hashes is not None:
        hashes.add(all_hashes)
    return replace(
        part,
        labels=images.labels,
        images=pixels,
        is_whole=is_whole,
        broken=frozenset().union(*group.gather(part.broken)),
    )
