"""From what a user calls a dataset to its description, and to the images of a split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.data.catalogue import DATASETS
from cnnkit.data.entry import (
    DatasetEntry,
    EmbeddedSource,
    FakeSource,
    FolderSource,
    TorchvisionSource,
)
from cnnkit.data.sources.fake import describe_fake, is_fake, open_fake
from cnnkit.data.sources.folder import describe_folder, open_folder
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.events import OnEvent, ignore
from cnnkit.registry import did_you_mean

if TYPE_CHECKING:  # looking up a name must not cost the import of torch
    from cnnkit.data.image_set import EncodedSet, TensorSet


def default_data_dir() -> Path:
    """Return the folder that datasets are kept in unless another is named: the user's cache."""
    from platformdirs import user_cache_path

    return user_cache_path("cnnkit", appauthor=False) / "datasets"


def find_dataset(spec: str) -> DatasetEntry:
    """Return what is known about a dataset without opening it; imports no torch.

    Args:
        spec: a name of the catalogue, a folder of class folders, or `fake:CxHxW:classes:images`.
            A name of the catalogue means the catalogue, even where a folder has the same name;
            `./name` means the folder.

    Raises:
        NotFoundError: there is no such dataset or folder.
        UsageError: the folder or the fake set makes no sense as a dataset.
        UnavailableError: the folder must not be read.
    """
    if is_fake(spec):
        return describe_fake(spec)
    if spec in DATASETS:
        return DATASETS[spec]
    if means_folder(spec):
        try:
            return describe_folder(spec)
        except NotFoundError as error:
            hint = did_you_mean(Path(spec).name, DATASETS)
            raise NotFoundError(error.message, hint or "`cnnkit datasets` lists names") from error
    return DATASETS.find(spec)


def means_folder(spec: str) -> bool:
    """Return whether a name that is none of the catalogue, and of no fake set, is a folder's."""
    if "/" in spec or os.sep in spec or spec.startswith(("~", ".")):
        return True
    return bool(spec) and os.path.isdir(spec)  # noqa: PTH112  (never raises)


def open_dataset(
    spec: str,
    split: str,
    *,
    data_dir: Path | None = None,
    download: bool = True,
    on_event: OnEvent = ignore,
) -> TensorSet | EncodedSet:
    """Open a split of a dataset.

    Args:
        spec: what `find_dataset` takes.
        split: `train`, `val`, `test`, or what else the set has.
        data_dir: where the files of a named set are looked for, and downloaded to; the user's cache
            folder by default.
        download: whether missing files may be downloaded.
        on_event: told how long work goes on, and what is odd about the files.

    Returns:
        A `TensorSet` for sets that live in memory, an `EncodedSet` for those made of image files.

    Raises:
        NotFoundError: there is no such dataset or folder.
        UsageError: the set has no such split; or the folder, or the fake set, makes no sense.
        UnavailableError: files are missing and cannot be downloaded, are damaged, or cannot be
            read or written; a package is missing; the set does not fit in memory.
    """
    entry = find_dataset(spec)
    check_split(entry, split)
    match entry.source:
        case FakeSource():
            return open_fake(entry, entry.source, split)
        case FolderSource():
            return open_folder(entry, entry.source, split, on_event)
        case EmbeddedSource():
            from cnnkit.data.sources.embedded import open_embedded

            return open_embedded(entry, entry.source.name, split)
        case TorchvisionSource():
            from cnnkit.data.sources.torchvision_sets import open_torchvision

            return open_torchvision(
                entry,
                entry.source,
                split,
                data_dir=data_dir or default_data_dir(),
                download=download,
                on_event=on_event,
            )


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
