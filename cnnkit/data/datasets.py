"""The catalog of named datasets, read from `datasets.toml` without importing torch."""

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
    """Return the datasets of a TOML file; the comment at its top describes the format.

    Long lists of class names are in files of their own, in the folder `class_names` beside it.

    Raises:
        TypeError, KeyError: a dataset has an unknown key, or lacks one.
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
    """Return the splits of a dataset's table, removed from it."""
    derived, official = known.pop("derived", False), known.pop("official_names", {})
    sizes = known.pop("splits", dict.fromkeys(("train", "test")))
    return {split: Split(size, derived, official.get(split, "")) for split, size in sizes.items()}


def _source(name: str, known: dict[str, Any]) -> Source:
    """Return the source of a dataset's table, removed from it."""
    if known.pop("embedded", False):
        return EmbeddedSource(name)  # type: ignore[arg-type]
    return TorchvisionSource(**_frozen(known.pop("torchvision")))


def _frozen(known: dict[str, Any]) -> dict[str, Any]:
    """Return the value with lists converted to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}


DATASETS: Catalog[DatasetEntry] = Catalog("dataset", read_datasets)
"""All named datasets."""


def list_datasets(pattern: str = "*") -> "DatasetList":
    """Return the datasets whose name matches a shell pattern, or contains it.

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
