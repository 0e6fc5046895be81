"""Comparison with a saved measurement, or with another dataset that is measured too."""

from dataclasses import replace
from pathlib import Path

from cnnkit.data.datasets import DATASETS
from cnnkit.data.opening import default_data_dir
from cnnkit.data.sources.file_listing import lists_files
from cnnkit.errors import UnavailableError, UsageError
from cnnkit.events import Note, emit
from cnnkit.results.stats import Comparison, DatasetStatistics
from cnnkit.stats.count import measure
from cnnkit.stats.counting import against_published, summarized
from cnnkit.stats.inspection.examining import Examinations
from cnnkit.stats.request import Request
from cnnkit.stats.saved_counts import Measurement, load


def load_against(against: str, allow_large: bool = False) -> Measurement | None:
    """Return the saved measurement if `against` is a file; None if it is a dataset.

    Args:
        against: the file or dataset.
        allow_large: read a file however large it is.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it was not saved by `stats`, or is too large.
    """
    path = Path(against).expanduser()
    is_file = path.is_file() and against not in DATASETS and not lists_files(against)
    return load(path, allow_large) if is_file or against.lower().endswith(".json") else None


def with_against(
    result: DatasetStatistics,
    measured: Measurement,
    against: str,
    other: Measurement | None,
    request: Request,
) -> DatasetStatistics:
    """Return the result with the differences from another dataset.

    Args:
        result: the statistics.
        measured: the measurement they were computed from.
        against: the other dataset, or the file.
        other: the measurement in the file; None for a dataset, which is measured now.
        request: how `measured` was measured.

    Raises:
        NotFoundError: there is no such dataset.
        UsageError: it has no images, or only published values with another number of channels.
        UnavailableError: it is missing, and it has no published values.
    """
    if measured.tally.num_images == 0:
        return result
    published = result.published
    entry = None if other is not None else DATASETS.get(against)
    if entry is not None and entry.published is not None and not measured.transform:
        figures = summarized.mean_and_std(measured.tally)
        over_images = summarized.means_over_images(measured.tally)
        assert figures is not None
        assert over_images is not None
        published = against_published.compare_published(entry.published, figures, over_images)
        if published is not None:
            published = replace(published, source=f"{entry.name}, {published.source}")
    comparison: Comparison | None = None
    if other is None:
        other = _measure_against(against, measured, request)
    if other is not None:
        if other.tally.num_images == 0:
            raise UsageError(f"{against} has no images to compare with", "name another")
        comparison = against_published.compare(against, measured.tally, other.tally)
    return replace(result, published=published, against=comparison)


def _measure_against(against: str, measured: Measurement, request: Request) -> Measurement | None:
    """Return the other dataset measured in the same way; None if only published values exist."""
    entry = DATASETS.get(against)
    split = measured.split if entry is not None and measured.split in entry.splits else None
    theirs = replace(
        request,
        spec=against,
        split=split,
        download=False,
        limit=None,
        shard=None,
        cache=None,
        with_fingerprint=False,
        duplicates=False,
        issues=False,
    )
    try:
        return measure(theirs, Examinations(duplicates=False, issues=False))
    except UnavailableError:
        if entry is None or entry.published is None or measured.transform:
            raise
        where = request.data_dir or default_data_dir()
        theirs_have, ours_have = (
            len(entry.published.mean),
            len(summarized.channel_stats(measured.tally)),
        )
        if theirs_have != ours_have:
            counted = f"{theirs_have} channel{'' if theirs_have == 1 else 's'}"
            raise UsageError(
                f"{against} has {counted} and {measured.dataset} {ours_have}: its published "
                "values cannot be compared",
                f"the images themselves can, once they are in {where}",
            ) from None
        emit(Note(f"{against} is not in {where}: compared only with its published values"))
        return None
