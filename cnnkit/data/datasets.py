"""The datasets that have a name, read from `datasets.toml`, so that no list waits for torch."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.data.entry import (
    DatasetEntry,
    EmbeddedSource,
    Published,
    Source,
    Split,
    TorchvisionSource,
)
from cnnkit.registry import Catalog

if TYPE_CHECKING:  # looking up a name must not cost the import of all results
    from cnnkit.results import DatasetList, DatasetRow

FILE = Path(__file__).with_name("datasets.toml")
CLASS_NAMES = "class_names"


def read_datasets(path: Path = FILE) -> Iterator[DatasetEntry]:
    """Read the datasets of a file; its head says what may stand in it.

    Long lists of class names are in files of their own, in the folder `class_names` beside it.

    Raises:
        TypeError, KeyError: a dataset has a key that there is not, or lacks one.
        FileNotFoundError: there is no such file of class names.
    """
    for name, known in tomllib.loads(path.read_text("utf-8")).items():
        classes = known.pop("classes", ())
        if isinstance(classes, str):
            file = path.parent / CLASS_NAMES / f"{classes}.txt"
            classes = file.read_text("utf-8").splitlines()
        size, published = known.pop("size", None), known.pop("published", None)
        yield DatasetEntry(
            name=name,
            classes=tuple(classes),
            size=size and tuple(size),
            published=published and Published(**_frozen(published)),
            splits=_splits(known),
            source=_source(name, known),
            **known,
        )


def _splits(known: dict[str, Any]) -> dict[str, Split]:
    """Take the splits out of what is known of a dataset."""
    derived, official = known.pop("derived", False), known.pop("official_names", {})
    sizes = known.pop("splits", dict.fromkeys(("train", "test")))
    return {split: Split(size, derived, official.get(split, "")) for split, size in sizes.items()}


def _source(name: str, known: dict[str, Any]) -> Source:
    """Take out where it comes from."""
    if known.pop("embedded", False):
        return EmbeddedSource(name)  # type: ignore[arg-type]
    return TorchvisionSource(**_frozen(known.pop("torchvision")))


def _frozen(known: dict[str, Any]) -> dict[str, Any]:
    """Return the same with tuples for lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}


DATASETS: Catalog[DatasetEntry] = Catalog("dataset", read_datasets)
"""Every dataset that has a name of its own."""


def list_datasets(pattern: str = "*") -> "DatasetList":
    """Return the datasets whose name fits a shell pattern, or contains it.

    Raises:
        NotFoundError: none does.
    """
    from cnnkit.results import DatasetList

    return DatasetList(tuple(map(_row, DATASETS.matching(pattern))))


def _row(entry: DatasetEntry) -> "DatasetRow":
    from cnnkit.results import DatasetRow

    published = entry.published
    return DatasetRow(
        name=entry.name,
        title=entry.title,
        task=entry.task,
        channels=entry.channels,
        size="x".join(map(str, entry.size)) if entry.size else None,
        num_classes=entry.num_classes,
        splits={name: split.num_images for name, split in entry.splits.items()},
        obtain=_obtained(entry),
        requires=entry.requires,
        mean=published.mean if published else None,
        std=published.std if published else None,
        source=published.source if published else None,
        homepage=entry.homepage,
    )


def _obtained(entry: DatasetEntry) -> str:
    if isinstance(entry.source, EmbeddedSource):
        return "included"
    if isinstance(entry.source, TorchvisionSource) and not entry.source.downloads:
        return "by hand"
    return "download"
