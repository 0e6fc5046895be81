"""The verb: measuring a dataset, and bringing parts together that were measured apart."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnkit.data.archives import ArchiveStream
from cnnkit.data.catalogue import DATASETS
from cnnkit.data.image_set import TensorSet
from cnnkit.data.opening import default_data_dir
from cnnkit.data.shards import label_order
from cnnkit.data.streams import Chooser, ImageStream
from cnnkit.devices import num_usable_cores
from cnnkit.distributed import Ranks, joined_ranks
from cnnkit.errors import RunFailedError, UnavailableError, UsageError
from cnnkit.events import Note, OnEvent, Warned, ignore
from cnnkit.results.statistics import (
    ClassFigures,
    Comparison,
    DatasetStatistics,
    PublishedFigures,
    Weighting,
)
from cnnkit.stats import comparing, summary
from cnnkit.stats.cache import RecordCache
from cnnkit.stats.measurement import Measurement, load, merge, save
from cnnkit.stats.measuring import Treatment, measure_files
from cnnkit.stats.memory import CLAIM_IMAGES, measure_tensors
from cnnkit.stats.sampling import draw
from cnnkit.stats.sources import ALL, Source, open_source
from cnnkit.stats.spreading import bring_together
from cnnkit.stats.tally import Tally
from cnnkit.stats.transform import Transform


@dataclass(frozen=True)
class _Request:
    """What is to be measured, and how."""

    spec: str
    split: str | None
    data_dir: Path | None
    download: bool
    transform: Transform
    allow_large: bool
    limit: int | None
    seed: int
    shard: tuple[int, int] | None
    with_fingerprint: bool
    cache: Path | None
    num_workers: int
    on_event: OnEvent


def measure_dataset(
    dataset: str,
    *,
    split: str | None = None,
    weighting: Weighting = "pixel",
    transform: str | None = None,
    labels_only: bool = False,
    by_class: bool = False,
    limit: int | None = None,
    seed: int = 0,
    allow_large: bool = False,
    shard: tuple[int, int] | None = None,
    save_to: Path | None = None,
    against: str | None = None,
    cache: Path | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    num_workers: int | None = None,
    on_event: OnEvent = ignore,
) -> DatasetStatistics:
    """Measure a dataset: exact mean and deviation, and all else that one should know of it.

    Under torchrun the ranks share the work, and each returns the figures of the whole.

    Args:
        dataset: a name of the catalogue, a folder, an archive with class folders (zip, tar, tar.gz,
            tar.bz2, tar.xz), WebDataset shards such as `data-{000..127}.tar`, or a fake set.
        split: a split; `all` for every image; None for `train` where there are splits, else all.
        weighting: whether every pixel counts the same, or every image.
        transform: what is done to images first, such as `resize=256,crop=224`.
        labels_only: count classes alone, and decode nothing.
        by_class: whether the tables show means and deviations of classes.
        limit: measure a sample of so many images.
        seed: chooses the sample.
        allow_large: decode images of very many pixels as well.
        shard: number of a part, from 1, and of all parts, to be measured alone.
        save_to: where the histograms are written.
        against: a saved file or a dataset to compare with.
        cache: a file where what was found in each image is kept for the next time.
        data_dir: where the files of named sets are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        num_workers: threads that decode; one a core by default.
        on_event: told how far the work is, and what is odd.

    Raises:
        NotFoundError: there is no such dataset, folder or file.
        UsageError: options contradict each other or make no sense, or there is no image.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read or written.
        RunFailedError: no image could be decoded, or another rank failed.
    """
    request = _Request(
        spec=dataset,
        split=split,
        data_dir=data_dir,
        download=download,
        transform=Transform.parse(transform) if transform else Transform(),
        allow_large=allow_large,
        limit=limit,
        seed=seed,
        shard=shard,
        with_fingerprint=save_to is not None or shard is not None,
        cache=cache,
        num_workers=num_usable_cores() if num_workers is None else num_workers,
        on_event=on_event,
    )
    _check(request, weighting, labels_only, against)
    if labels_only:
        return _count_labels(request)
    other = _load_against(against) if against is not None else None
    with joined_ranks() as ranks:
        measured = _measure(request, ranks)
        is_first = ranks is None or ranks.rank == 0
    if save_to is not None and is_first:
        save(measured, save_to)
        on_event(Note(f"wrote {save_to}"))
    result = _summarize(measured, weighting, by_class)
    if against is not None:
        result = _with_against(result, measured, against, other, request)
    return result


def merge_parts(
    paths: Sequence[Path],
    *,
    weighting: Weighting = "pixel",
    by_class: bool = False,
    save_to: Path | None = None,
    against: str | None = None,
    data_dir: Path | None = None,
    num_workers: int | None = None,
    on_event: OnEvent = ignore,
) -> DatasetStatistics:
    """Bring parts together that `measure_dataset` saved with a `shard`.

    Args:
        paths: one file a part, all of them, in any order.
        weighting: whether every pixel counts the same, or every image.
        by_class: whether the tables show means and deviations of classes.
        save_to: where the histograms of the whole are written.
        against: a saved file or a dataset to compare with.
        data_dir: where the files of that are.
        num_workers: threads that decode that.
        on_event: told what was done.

    Raises:
        NotFoundError: a file is not there.
        UsageError: a file is no part, a part is there twice or missing, or they are of different
            datasets.
    """
    started = time.monotonic()
    if not paths:
        raise UsageError("there is nothing to merge", "name the files that --save wrote")
    measured = merge([(path, load(path)) for path in paths])
    other = _load_against(against) if against is not None else None
    if save_to is not None:
        save(measured, save_to)
        on_event(Note(f"wrote {save_to}"))
    measured.seconds = time.monotonic() - started
    result = _summarize(measured, weighting, by_class)
    if against is not None:
        request = _Request(
            measured.dataset, measured.split, data_dir, False, Transform(), False, None, 0, None,
            False, None, num_usable_cores() if num_workers is None else num_workers, on_event,
        )  # fmt: skip
        result = _with_against(result, measured, against, other, request)
    return result


def _check(request: _Request, weighting: str, labels_only: bool, against: str | None) -> None:
    if weighting not in ("pixel", "image"):
        raise UsageError(f"unknown weighting {weighting!r}", "choose pixel or image")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit} measures nothing", "1 is the least")
    if request.num_workers < 0:
        raise UsageError(f"--workers {request.num_workers} is below 0", "0 decodes in one thread")
    if request.shard is not None:
        number, of = request.shard
        if not 1 <= number <= of:
            raise UsageError(f"there is no part {number} of {of}", "such as --shard 3/8")
        if request.limit is not None:
            raise UsageError("--limit and --shard contradict each other", "leave one out")
    if labels_only and (
        request.transform.steps or request.limit is not None or request.shard or against
        or request.with_fingerprint
    ):  # fmt: skip
        raise UsageError(
            "--labels-only decodes nothing, so it goes with no option about pixels",
            "leave --transform, --limit, --shard, --save and --against out",
        )


def _open(request: _Request) -> Source:
    return open_source(
        request.spec,
        request.split,
        data_dir=request.data_dir,
        download=request.download,
        on_event=request.on_event,
    )


def _measure(request: _Request, ranks: Ranks | None) -> Measurement:
    """Measure what is asked for, with the other ranks if there are any."""
    if ranks is None:
        return _measure_here(request, _open(request), None)
    if request.limit is not None or request.shard is not None:
        raise UsageError(
            "--limit and --shard do not go with torchrun", "leave them out, or run without it"
        )
    measured, error = None, None
    try:
        source = _open_in_turn(request, ranks)
        measured = _measure_here(replace(request, with_fingerprint=True), source, ranks)
    except Exception as caught:
        error = caught
    ranks.agree(error)
    assert measured is not None
    return bring_together(measured, ranks)


def _open_in_turn(request: _Request, ranks: Ranks) -> Source:
    """Open the source first on rank 0, which may have to download it."""
    source, error = None, None
    if ranks.rank == 0:
        try:
            source = _open(request)
        except Exception as caught:
            error = caught
    ranks.gather(None)  # the others wait for it
    if error is not None:
        raise error
    return source if source is not None else _open(replace(request, on_event=ignore))


def _measure_here(request: _Request, source: Source, ranks: Ranks | None) -> Measurement:
    """Measure what falls to this process."""
    tally = Tally()
    started = time.monotonic()
    chosen, population = None, None
    if request.limit is not None:
        number = len(source) if isinstance(source, TensorSet) else source.count_all()
        if request.limit < number:
            chosen, population = draw(number, request.limit, request.seed), number
            tally.sample = []
    if isinstance(source, TensorSet):
        is_wanted = _chooser(request, ranks, CLAIM_IMAGES)
        if chosen is not None:
            is_wanted = chosen.__contains__
        measure_tensors(source, tally, request.transform, is_wanted, request.on_event)
        classes = list(source.classes)
    else:
        is_wanted = _chooser(request, ranks, source.claim_size)
        _measure_stream(request, source, is_wanted, chosen, tally)
        classes = _name_classes(source, tally)
    return Measurement(
        dataset=source.dataset,
        split=source.split,
        fingerprint=source.fingerprint() if request.with_fingerprint else "",
        transform=str(request.transform),
        classes=classes,
        tally=tally,
        population=population,
        shard=request.shard,
        seconds=time.monotonic() - started,
    )


def _chooser(request: _Request, ranks: Ranks | None, claim_size: int) -> Chooser:
    if ranks is not None:
        return ranks.claims(claim_size)
    if request.shard is not None:
        number, of = request.shard
        return lambda unit: unit % of == number - 1
    return lambda unit: True


def _measure_stream(
    request: _Request,
    source: ImageStream,
    is_wanted: Chooser,
    chosen: frozenset[int] | None,
    tally: Tally,
) -> None:
    cache = None
    if request.cache is not None:
        treatment = f"{request.transform} {'large' if request.allow_large else ''}"
        cache = RecordCache(request.cache, treatment)
    total = len(chosen) if chosen is not None else source.count()
    try:
        measure_files(
            source.images(is_wanted, chosen),
            tally,
            Treatment(request.transform, request.allow_large),
            num_workers=request.num_workers,
            total=total,
            cache=cache,
            on_event=request.on_event,
        )
    finally:
        if cache is not None:
            cache.close()
    if cache is not None:
        request.on_event(Note(f"{cache.num_known:,} images known from {cache.path}"))
    for remark in source.remarks():
        request.on_event(Warned(remark))


def _name_classes(source: ImageStream, tally: Tally) -> list[str]:
    """Return the classes in their order, after those of an archive got their final names."""
    if isinstance(source, ArchiveStream):
        names = source.final_classes()
        tally.rename_classes(names)
        return sorted({name for name in names.values() if name})
    known = list(source.classes())
    found = sorted(tally.classes() - set(known) - {""}, key=label_order)
    return known + found


def _summarize(measured: Measurement, weighting: Weighting, by_class: bool) -> DatasetStatistics:
    tally = measured.tally
    figures = summary.mean_and_std(tally, weighting)
    if figures is None and measured.shard is None:
        first = min(tally.bad, default=None)
        if first is None:
            raise UsageError(f"{measured.dataset!r} has no images", "there is nothing to measure")
        raise RunFailedError(
            f"none of the {len(tally.bad):,} files of {measured.dataset!r} could be decoded, "
            f"such as {summary.printable(first[0])}: {first[1]}",
            "repair them, or name another dataset",
        )
    seconds = measured.seconds
    over_images = summary.means_over_images(tally)
    errors = None
    if measured.population is not None:
        errors = summary.errors(tally, measured.population, weighting)
    classes = summary.class_figures(tally, measured.classes, weighting)
    is_in_memory = not tally.formats
    return DatasetStatistics(
        dataset=measured.dataset,
        split=measured.split,
        num_images=tally.num_images,
        num_pixels=tally.num_pixels,
        mean=figures.mean if figures else None,
        std=figures.std if figures else None,
        mean_of_image_means=over_images.mean if over_images else None,
        mean_of_image_stds=over_images.std if over_images else None,
        exact=measured.population is None,
        weighting=weighting,
        transform=measured.transform or None,
        bit_depth=(16 if tally.bins == 65536 else 8) if figures else None,
        num_listed=measured.population or tally.num_images + len(tally.bad),
        mean_error=errors.mean if errors else None,
        std_error=errors.std if errors else None,
        channels=summary.channel_figures(tally),
        classes=classes,
        imbalance=summary.imbalance(one.num_images for one in classes),
        sizes=summary.size_figures(tally),
        modes=dict(tally.modes.most_common()),
        formats=dict(tally.formats.most_common()),
        num_grey=tally.num_grey,
        changes=dict(sorted(tally.changes.items())),
        num_oriented=tally.num_oriented,
        num_bytes=None if is_in_memory else tally.num_bytes,
        bad_files=summary.bad_files(tally),
        duplicates=None,
        published=_own_published(measured, figures, over_images),
        against=None,
        shard=f"{measured.shard[0]}/{measured.shard[1]}" if measured.shard else None,
        seconds=seconds,
        images_per_second=tally.num_images / seconds if seconds > 0 else 0.0,
        by_class=by_class,
    )


def _own_published(
    measured: Measurement,
    figures: summary.MeanAndStd | None,
    over_images: summary.MeanAndStd | None,
) -> PublishedFigures | None:
    """Return the published figures of the dataset itself, which are of its training images."""
    entry = DATASETS.get(measured.dataset)
    if entry is None or entry.published is None or figures is None or over_images is None:
        return None
    whole = measured.split in ("train", ALL) and measured.shard is None
    if not whole or measured.transform or measured.population is not None:
        return None
    return comparing.compare_published(entry.published, figures, over_images)


def _load_against(against: str) -> Measurement | None:
    """Return what was saved, where `against` is a file; None where it is a dataset."""
    path = Path(against).expanduser()
    if against.lower().endswith(".json") or (against not in DATASETS and path.is_file() and
                                             path.suffix == ""):  # fmt: skip
        return load(path)
    return None


def _with_against(
    result: DatasetStatistics,
    measured: Measurement,
    against: str,
    other: Measurement | None,
    request: _Request,
) -> DatasetStatistics:
    """Return the result with what differs from another dataset, measured or saved."""
    if measured.tally.num_images == 0:
        return result
    published = result.published
    entry = None if other is not None else DATASETS.get(against)
    if entry is not None and entry.published is not None:
        figures = summary.mean_and_std(measured.tally)
        over_images = summary.means_over_images(measured.tally)
        assert figures is not None
        assert over_images is not None
        published = comparing.compare_published(entry.published, figures, over_images)
        if published is not None:
            published = replace(published, source=f"{entry.name}, {published.source}")
    comparison: Comparison | None = None
    if other is None:
        other = _measure_against(against, measured, request, is_published=published is not None)
    if other is not None:
        if other.tally.num_images == 0:
            raise UsageError(f"{against} has no images to compare with", "name another")
        comparison = comparing.compare(against, measured.tally, other.tally)
    return replace(result, published=published, against=comparison)


def _measure_against(
    against: str, measured: Measurement, request: _Request, is_published: bool
) -> Measurement | None:
    """Measure the other dataset in the same way; None where its published figures have to do."""
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
    )
    try:
        return _measure_here(theirs, _open(theirs), None)
    except UnavailableError:
        if not is_published:
            raise
        where = request.data_dir or default_data_dir()
        request.on_event(
            Note(f"{against} is not in {where}: compared with its published figures alone")
        )
        return None


def _count_labels(request: _Request) -> DatasetStatistics:
    """Count the images of each class without decoding any."""
    source = _open(request)
    started = time.monotonic()
    if isinstance(source, TensorSet):
        numbers = source.labels.bincount(minlength=len(source.classes)).tolist()
        counts = dict(zip(source.classes, numbers, strict=True))
    else:
        counts = dict(source.class_counts())
        for remark in source.remarks():
            request.on_event(Warned(remark))
    number = sum(counts.values())
    if not number:
        raise UsageError(f"{request.spec!r} has no images", "there is nothing to count")
    classes = tuple(ClassFigures(name, count, None, None) for name, count in counts.items() if name)
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
        imbalance=summary.imbalance(one.num_images for one in classes),
        sizes=None,
        modes={},
        formats={},
        num_grey=0,
        changes={},
        num_oriented=0,
        num_bytes=None,
        bad_files=(),
        duplicates=None,
        published=None,
        against=None,
        shard=None,
        seconds=seconds,
        images_per_second=number / seconds if seconds > 0 else 0.0,
    )
