"""The verb: measuring a dataset, and merging parts that were measured separately."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnnkit.errors import UsageError, setting
from cnnkit.events import Note, OnEvent, emit, takes_on_event
from cnnkit.results.stats import DatasetStatistics, Weighting
from cnnkit.stats.against import load_against, with_against
from cnnkit.stats.count import measure
from cnnkit.stats.counting.transform import Transform
from cnnkit.stats.inspection.examining import Examinations
from cnnkit.stats.labels import count_labels
from cnnkit.stats.report import summarize
from cnnkit.stats.request import Request
from cnnkit.stats.saved_counts import load_parts, merge, save
from cnnkit.system.device import num_usable_cores
from cnnkit.system.distributed import joined_group


@takes_on_event
def measure_dataset(
    dataset: str,
    *,
    split: str | None = None,
    weighting: Weighting = "pixel",
    transform: str | None = None,
    labels_only: bool = False,
    limit: int | None = None,
    seed: int = 0,
    allow_large: bool = False,
    duplicates: bool = False,
    issues: bool = False,
    shard: tuple[int, int] | None = None,
    save_to: str | Path | None = None,
    against: str | None = None,
    cache: str | Path | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
    num_workers: int | None = None,
    on_event: OnEvent | None = None,
) -> DatasetStatistics:
    """Measure a dataset: exact mean and std, classes, sizes, modes, and broken files.

    Under torchrun the ranks share the work, and each returns the results for all images.

    Args:
        dataset: a name of the catalog, a folder, an archive with class folders (zip, tar, tar.gz,
            tar.bz2, tar.xz), WebDataset shards such as `data-{000..127}.tar`, or a fake set.
        split: a split; `all` for every image; None for `train` where there are splits, else all.
        weighting: whether every pixel counts the same, or every image.
        transform: transform applied to images before, such as `resize=256,crop=224`.
        labels_only: only count classes, and decode nothing.
        limit: measure a sample of so many images.
        seed: chooses the sample.
        allow_large: decode images of very many pixels, and read a large file to compare with.
        duplicates: look for duplicate images, in this split or in another.
        issues: look for blank, very dark, very bright and blurred images.
        shard: number of the part to measure, from 1, and number of parts.
        save_to: where the histograms are written.
        against: a saved file or a dataset to compare with.
        cache: a file that keeps the results of each image for the next time.
        data_dir: where the files of named sets are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        num_workers: number of decoding threads; 0 decodes in this one; one a core by default.
        on_event: called with each event; None keeps the current handler.

    Raises:
        NotFoundError: there is no such dataset, folder or file.
        UsageError: options contradict each other or are invalid, or there is no image.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read or written.
        RunFailedError: no image could be decoded, or another rank failed.
    """
    data_dir = None if data_dir is None else Path(data_dir)
    save_to = None if save_to is None else Path(save_to)
    cache = None if cache is None else Path(cache)
    request = Request(
        spec=dataset,
        split=split,
        data_dir=data_dir,
        download=download,
        transform=Transform.parse(transform) if transform is not None else Transform(),
        allow_large=allow_large,
        limit=limit,
        seed=seed,
        shard=shard,
        with_fingerprint=save_to is not None or shard is not None,
        duplicates=duplicates,
        issues=issues,
        cache=cache,
        num_workers=num_usable_cores() if num_workers is None else num_workers,
    )
    _check_weighting(weighting)
    if labels_only:
        if against is not None:
            raise UsageError(
                f"{setting('labels_only')} decodes nothing, so {setting('against')} has no meaning",
                "leave one out",
            )
        request.check_for_labels()
        return count_labels(request)
    other = load_against(against, allow_large) if against is not None else None
    examinations = Examinations(duplicates, issues)
    with joined_group() as group:
        measured = measure(request, examinations, group)
    if save_to is not None and group.is_first:
        save(measured, save_to)
        emit(Note(f"wrote {save_to}"))
    result = summarize(measured, weighting, examinations.duplicates(), examinations.issues())
    if against is not None:
        result = with_against(result, measured, against, other, request)
    return result


@takes_on_event
def merge_parts(
    paths: Sequence[Path],
    *,
    weighting: Weighting = "pixel",
    save_to: str | Path | None = None,
    against: str | None = None,
    allow_large: bool = False,
    data_dir: str | Path | None = None,
    num_workers: int | None = None,
    on_event: OnEvent | None = None,
) -> DatasetStatistics:
    """Merge parts that `measure_dataset` saved with a `shard`.

    Args:
        paths: one file a part, all of them, in any order.
        weighting: whether every pixel counts the same, or every image.
        save_to: where the merged histograms are written.
        against: a saved file or a dataset to compare with.
        allow_large: read files whatever memory they take, and images of very many pixels.
        data_dir: where the files of that are.
        num_workers: threads that decode that.
        on_event: called with each event; None keeps the current handler.

    Raises:
        NotFoundError: a file does not exist.
        UsageError: a file is not a part, a part is given twice or missing, or they are of different
            datasets.
        UnavailableError: a file cannot be read or written.
    """
    data_dir = None if data_dir is None else Path(data_dir)
    save_to = None if save_to is None else Path(save_to)
    started = time.monotonic()
    _check_weighting(weighting)
    if not paths:
        raise UsageError(
            "there is nothing to merge", f"name the files that {setting('save_to')} wrote"
        )
    measured = merge(load_parts(paths, allow_large))
    measured = replace(measured, seconds=time.monotonic() - started)
    other = load_against(against, allow_large) if against is not None else None
    if save_to is not None:
        save(measured, save_to)
        emit(Note(f"wrote {save_to}"))
    result = summarize(measured, weighting)
    if against is not None:
        request = Request(
            measured.dataset,
            measured.split,
            data_dir,
            transform=Transform.parse(measured.transform) if measured.transform else Transform(),
            allow_large=allow_large,
            num_workers=num_usable_cores() if num_workers is None else num_workers,
        )
        result = with_against(result, measured, against, other, request)
    return result


def _check_weighting(weighting: str) -> None:
    if weighting not in ("pixel", "image"):
        raise UsageError(f"unknown weighting {weighting!r}", "choose pixel or image")
