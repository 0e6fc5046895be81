"""Finding a dataset by its name or path, and opening its splits."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnnkit.data.datasets import DATASETS
from cnnkit.data.entry import (
    DatasetEntry,
    EmbeddedSource,
    FakeSource,
    FilesSource,
    SubsetSource,
    TorchvisionSource,
)
from cnnkit.data.image_files import IMAGE_SUFFIXES
from cnnkit.data.sources.fake import describe_fake, is_fake, open_fake
from cnnkit.data.sources.file_listing import LAYOUT, class_names, list_files, lists_files
from cnnkit.data.sources.file_sets import (
    check_readable,
    describe_files,
    files_set,
    lasting_path,
    open_files,
)
from cnnkit.errors import CnnkitError, NotFoundError, UsageError
from cnnkit.events import Note, OnEvent, Warned, emit, takes_on_event
from cnnkit.registry import did_you_mean, some_of

if TYPE_CHECKING:  # looking up a name must not cost the import of torch
    from cnnkit.data.image_set import EncodedSet, ImageSet, TensorSet

ALL = "all"
"""Name of the split that contains every image."""

MOST_NAMED = 10
FAKE_PARTS = 4


def default_data_dir() -> Path:
    """Return the folder of datasets: `CNNKIT_DATA_DIR`, or a folder in the user's cache."""
    named = os.environ.get("CNNKIT_DATA_DIR")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("cnnkit", appauthor=False) / "datasets"


def as_data_dir(data_dir: str | Path | None) -> Path:
    """Return the given folder, or the default."""
    return default_data_dir() if data_dir is None else Path(data_dir)


def find_dataset(spec: str | DatasetEntry) -> DatasetEntry:
    """Return the description of a dataset without opening it; imports no torch.

    Args:
        spec: a name of the catalog; a folder of class folders, an archive with such folders,
            WebDataset shards such as `data-{000..127}.tar`, or a table of paths and labels; or
            `fake:CxHxW:classes:images`. A name of the catalog means the catalog, even where a
            folder has the same name; `./name` means the folder. Behind a colon some of the classes
            may be named: `cifar10:bird,airplane`. An entry is returned as it is.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: the files or the fake set are not a valid dataset, or only one class is named.
        UnavailableError: the files must not be read.
    """
    if isinstance(spec, DatasetEntry):
        return spec
    if spec in DATASETS:
        return DATASETS[spec]
    whole, classes = split_subset(spec)
    if classes:
        return _describe_subset(spec, whole, classes)
    if is_fake(spec):
        return describe_fake(spec)
    if lists_files(spec):
        try:
            return describe_files(spec)
        except NotFoundError as error:
            hint = did_you_mean(Path(spec).name, DATASETS) or error.hint
            raise NotFoundError(
                error.message, hint or "`cnnkit datasets` lists the names"
            ) from error
    return DATASETS.find(spec)


def allow_large_files(spec: str) -> None:
    """Let `find_dataset` and `open_dataset` read an archive above the limits in this process.

    Other errors are left to those functions.
    """
    whole, _ = split_subset(spec)
    if whole and whole not in DATASETS and not is_fake(whole) and lists_files(whole):
        with suppress(CnnkitError):
            list_files(whole, allow_large=True)


def split_subset(spec: str) -> tuple[str, tuple[str, ...]]:
    """Return a dataset and the classes of it that are named behind a colon; none for all.

    Raises:
        UsageError: nothing is named behind the colon.
    """
    if is_fake(spec):  # a colon is part of its own name
        parts = spec.split(":", FAKE_PARTS)
        whole, named = ":".join(parts[:FAKE_PARTS]), "".join(parts[FAKE_PARTS:])
    else:
        whole, _, named = spec.rpartition(":")
        is_drive = len(whole) == 1 and named.startswith(("/", "\\"))  # of Windows
        if not whole or is_drive or os.path.lexists(spec):
            return spec, ()
    names = (unicodedata.normalize("NFC", name.strip()) for name in named.split(","))
    classes = tuple(dict.fromkeys(filter(None, names)))
    if not classes and (whole in DATASETS or os.path.lexists(whole)):
        raise UsageError(
            f"{spec!r} names no class after the colon",
            "name some, separated by commas, or remove the colon",
        )
    return (whole, classes) if classes else (spec, ())


def _describe_subset(spec: str, whole: str, classes: Sequence[str]) -> DatasetEntry:
    entry = find_dataset(whole)
    unknown = [name for name in classes if name not in entry.classes]
    if unknown and isinstance(entry.source, FilesSource):
        # the top-level folders, although they are named like splits
        entry = describe_files(whole, as_classes=True)
        unknown = [name for name in classes if name not in entry.classes]
    if unknown and entry.classes:
        raise NotFoundError(
            f"{whole} has no class {unknown[0]!r}",
            did_you_mean(unknown[0], entry.classes)
            or f"it has {some_of(entry.classes, MOST_NAMED)}",
        )
    if len(classes) < 2:
        raise UsageError(f"{spec!r} names a single class", "name two or more, separated by commas")
    ordered = tuple(name for name in entry.classes or classes if name in classes)
    return replace(
        entry,
        name=spec,
        num_classes=len(ordered),
        classes=ordered,
        splits={name: replace(split, num_images=None) for name, split in entry.splits.items()},
        source=SubsetSource(entry, ordered),
        published=None,
        num_images=None,
    )


def lasting_name(spec: str) -> str:
    """Return the name that finds a dataset from any working directory."""
    whole, classes = split_subset(spec)
    is_of_files = whole not in DATASETS and not is_fake(whole) and lists_files(whole)
    name = lasting_path(whole) if is_of_files else whole
    return f"{name}:{','.join(classes)}" if classes else name


@takes_on_event
def open_dataset(
    spec: str | DatasetEntry,
    split: str,
    *,
    data_dir: str | Path | None = None,
    download: bool = True,
    on_event: OnEvent | None = None,
) -> TensorSet | EncodedSet:
    """Open a split of a dataset, to train on or to evaluate with.

    Args:
        spec: what `find_dataset` takes, or has returned.
        split: `train`, `val`, `test`, or what else the set has.
        data_dir: where the files of a named set are looked for, and downloaded to; the user's cache
            folder by default.
        download: whether missing files may be downloaded.
        on_event: called with each event; None keeps the current handler.

    Returns:
        A `TensorSet` for sets that live in memory, an `EncodedSet` for those made of image files.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: the set has no such split; or the files, or the fake set, make no sense.
        UnavailableError: files are missing and cannot be downloaded, are damaged, or cannot be
            read or written; a package is missing; the set does not fit in memory.
    """
    entry = find_dataset(spec)
    check_split(entry, split)
    return _open_entry(entry, split, as_data_dir(data_dir), download)


def _open_entry(
    entry: DatasetEntry,
    split: str,
    data_dir: Path,
    download: bool,
) -> TensorSet | EncodedSet:
    match entry.source:
        case FakeSource():
            return open_fake(entry, entry.source, split)
        case FilesSource():
            return open_files(entry, entry.source, split)
        case SubsetSource():
            whole = _open_entry(entry.source.whole, split, data_dir, download)
            return with_classes(whole, entry.name, entry.source.classes)
        case EmbeddedSource():
            from cnnkit.data.sources.embedded import open_embedded

            return open_embedded(entry, entry.source.name, split)
        case TorchvisionSource():
            from cnnkit.data.sources.torchvision_sets import open_torchvision

            return open_torchvision(
                entry,
                entry.source,
                split,
                data_dir=data_dir,
                download=download,
            )


AnySet = TypeVar("AnySet", bound="ImageSet")


def with_classes(whole: AnySet, dataset: str, classes: Sequence[str]) -> AnySet:
    """Return the images of some classes, in the order of the complete set, labeled from 0.

    Raises:
        NotFoundError: there is no such class.
    """
    import torch

    for name in classes:
        if name not in whole.classes:
            raise NotFoundError(
                f"{whole.dataset} has no class {name!r}",
                did_you_mean(name, whole.classes) or f"it has {some_of(whole.classes, MOST_NAMED)}",
            )
    ordered = tuple(name for name in whole.classes if name in classes)
    new_labels = torch.tensor(
        [ordered.index(name) if name in ordered else -1 for name in whole.classes]
    )
    kept = torch.nonzero((whole.labels >= 0) & (new_labels[whole.labels] >= 0)).flatten()
    part = whole.subset(kept)
    return replace(part, dataset=dataset, classes=ordered, labels=new_labels[part.labels])


def open_images(
    spec: str,
    split: str | None,
    *,
    data_dir: Path | None = None,
    download: bool = True,
    allow_large: bool = False,
) -> TensorSet | EncodedSet:
    """Open images for statistics or display, even if they cannot be trained on.

    Args:
        spec: what `find_dataset` takes; a single class may be named as well.
        split: a split; `all` for every image; None for `train` where the publishers made splits,
            else all.
        data_dir: where the files of a named set are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        allow_large: read archives above the limits as well.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: there is no such split, or the name makes no sense.
        UnavailableError: files are missing, damaged or cannot be read.
    """
    whole, classes = (spec, ()) if spec in DATASETS else split_subset(spec)
    is_of_files = not is_fake(whole) and whole not in DATASETS and lists_files(whole)
    if is_of_files:
        images: TensorSet | EncodedSet = _open_listed(whole, split, classes, allow_large)
    else:
        images = _open_named(whole, split, data_dir, download)
    return with_classes(images, spec, classes) if classes else images


def open_labelled(spec: str, split: str, *, data_dir: Path | None = None) -> TensorSet | EncodedSet:
    """Open the images of a split that have a class, to evaluate: a single class may have some.

    Args:
        spec: what `open_images` takes.
        split: a split, also one that cnnkit makes of the training images; `all` for every image.
        data_dir: where the files of a named set are looked for, and downloaded to.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: there is no such split, or no image in it has a class.
        UnavailableError: files are missing or cannot be read.
        BrokenImageError: an archive is damaged.
    """
    import torch

    whole, _ = split_subset(spec)
    if whole not in DATASETS and not is_fake(whole) and lists_files(whole):
        check_readable(whole, list_files(whole))
    if split in ("train", "test") and "test" not in split_names(spec):
        images = open_dataset(spec, split, data_dir=data_dir)
    else:
        images = open_images(spec, split, data_dir=data_dir)
    has_class = images.labels >= 0
    num_without = len(images) - int(has_class.sum())
    if num_without == len(images):
        what = f"{num_without:,} images but no classes" if num_without else f"no {split} images"
        raise UsageError(f"{spec!r} has {what}", LAYOUT.format(whole))
    if num_without:
        emit(Note(f"{spec}: images without a class left out: {num_without:,}"))
        images = images.subset(torch.nonzero(has_class).flatten())
    return images


def split_names(spec: str, allow_large: bool = False) -> list[str]:
    """Return the splits that a dataset has as its publishers made them.

    Empty for sets without splits.
    """
    whole, _ = (spec, ()) if spec in DATASETS else split_subset(spec)
    if not is_fake(whole) and whole not in DATASETS and lists_files(whole):
        return [name for name in list_files(whole, allow_large=allow_large).files if name]
    entry = find_dataset(whole)
    usual = ("train", "val", "test")
    return [name for name, split in entry.splits.items() if name in usual and not split.derived]


def _open_listed(
    spec: str,
    split: str | None,
    classes: Sequence[str],
    allow_large: bool,
) -> EncodedSet:
    listing = list_files(spec, allow_large=allow_large)
    if not set(classes) <= set(class_names(listing)):
        listing = list_files(spec, as_classes=True, allow_large=allow_large)
    files = listing.files
    if split is None:
        split = "train" if "train" in files else ALL
    has = [name for name in files if name]
    if split != ALL and split not in files:
        close = did_you_mean(split, has)
        raise UsageError(
            f"{spec} has no split {split!r}",
            f"{close + ' ' if close else ''}it has {', '.join([*has, ALL])}",
        )
    names = class_names(listing)
    parts = [(name, files[name]) for name in files if split in (ALL, name)]
    for remark in listing.remarks:
        emit(Warned(remark))
    for name in names:
        if all(not by_class.get(name) for _, by_class in parts) and parts[0][1].keys() & {name}:
            emit(Warned(f"the class folder {name!r} has no images"))
    no_files = [(path, "a folder, not a file") for path in listing.no_files]
    images = files_set(spec, split, names, parts, [*listing.problems, *no_files])
    if not len(images) and not listing.problems:
        raise UsageError(
            f"{spec!r} has no images", f"image files end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return replace(images, classes=tuple(map(_printable, images.classes)))


def _printable(name: str) -> str:
    """Return a name with escapes for bytes that are not valid text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _open_named(
    spec: str,
    split: str | None,
    data_dir: Path | None,
    download: bool,
) -> TensorSet | EncodedSet:
    entry = find_dataset(spec)
    has_own = any(not one.derived for one in entry.splits.values())
    if split is None:
        split = "train" if "train" in entry.splits and has_own else ALL
    if split != ALL:
        check_split(entry, split)
        names = [split]
    else:
        # `test10k` of QMNIST and the like are parts of others, so only the usual ones are joined.
        usual = [name for name in entry.splits if name in ("train", "val", "test")]
        names = usual or list(entry.splits)
    parts = [open_dataset(spec, name, data_dir=data_dir, download=download) for name in names]
    from cnnkit.data.image_set import joined

    whole: Any = parts[0]
    for part in parts[1:]:
        whole = joined(whole, part)
    opened: TensorSet | EncodedSet = replace(whole, split=split)
    return opened


def check_split(entry: DatasetEntry, split: str) -> None:
    """Refuse a split that a set does not have.

    Raises:
        UsageError: it has none of this name; the hint names those it has.
    """
    if split in entry.splits:
        return
    for name, known in entry.splits.items():
        if split and known.official_name == split:
            raise UsageError(
                f"{entry.name} has no split {split!r}",
                f"what its publishers call {split} is {name} here",
            )
    close = did_you_mean(split, entry.splits)
    raise UsageError(
        f"{entry.name} has no split {split!r}",
        f"{close + ' ' if close else ''}it has {', '.join(entry.splits)}",
    )
