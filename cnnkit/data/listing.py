"""The catalogue of datasets as a result."""

from cnnkit.data.catalogue import DATASETS
from cnnkit.data.entry import DatasetEntry, EmbeddedSource, TorchvisionSource
from cnnkit.results import DatasetList, DatasetRow


def list_datasets(pattern: str = "*") -> DatasetList:
    """Return the datasets whose name fits a shell pattern, or contains it.

    Raises:
        NotFoundError: none does.
    """
    return DatasetList(tuple(map(_row, DATASETS.matching(pattern))))


def _row(entry: DatasetEntry) -> DatasetRow:
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
        requires=entry.asks,
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
