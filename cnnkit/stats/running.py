"""Doing what a request asks for: opening, counting, and sharing the work with other processes."""

import time
from dataclasses import replace

from cnnkit.data.decode import BadImageError
from cnnkit.data.image_set import TensorSet
from cnnkit.data.sources.archives import ArchiveStream
from cnnkit.data.sources.shards import label_order
from cnnkit.data.sources.streams import Chooser, ImageStream
from cnnkit.distributed import Ranks
from cnnkit.errors import UsageError
from cnnkit.events import Note, Warned, ignore
from cnnkit.stats.counting.cache import RecordCache
from cnnkit.stats.counting.measuring import Examination, Treatment, measure_files
from cnnkit.stats.counting.memory import CLAIM_IMAGES, measure_tensors
from cnnkit.stats.counting.sampling import draw
from cnnkit.stats.counting.tally import Tally
from cnnkit.stats.counting.transform import Transform
from cnnkit.stats.inspection.examining import Examinations
from cnnkit.stats.measurement import Measurement
from cnnkit.stats.request import Request
from cnnkit.stats.sources import ALL, Source, open_source, split_names
from cnnkit.stats.spreading import bring_together


def measure(
    request: Request, examinations: Examinations, ranks: Ranks | None = None
) -> Measurement:
    """Measure what is asked for, with the other ranks if there are any.

    Args:
        request: what is asked for.
        examinations: what looks at the images as well, and is told what it finds.
        ranks: the processes that share the work; None for this one alone.

    Raises:
        NotFoundError: there is no such dataset, folder or file.
        UsageError: options do not go with several ranks, or there is no such split.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read or written.
        RunFailedError: another rank failed.
    """
    if ranks is None:
        return _measure_here(request, open_request(request), examinations, None)
    if request.limit is not None or request.shard is not None:
        raise UsageError(
            "--limit and --shard do not go with torchrun", "leave them out, or run without it"
        )
    measured, error = None, None
    try:
        source = _open_in_turn(request, ranks)
        theirs = replace(request, with_fingerprint=True)
        measured = _measure_here(theirs, source, examinations, ranks)
    except Exception as caught:
        error = caught
    ranks.agree(error)
    assert measured is not None
    examinations.bring_together(ranks)
    return bring_together(measured, ranks)


def open_request(request: Request) -> Source:
    """Open the images that are asked for; see `open_source`."""
    return open_source(
        request.spec,
        request.split,
        data_dir=request.data_dir,
        download=request.download,
        on_event=request.on_event,
        allow_large=request.allow_large,
    )


def _open_in_turn(request: Request, ranks: Ranks) -> Source:
    """Open the source first on rank 0, which may have to download it."""
    source, error = None, None
    if ranks.rank == 0:
        try:
            source = open_request(request)
        except Exception as caught:
            error = caught
    ranks.gather(None)  # the others wait for it
    if error is not None:
        raise error
    return source if source is not None else open_request(replace(request, on_event=ignore))


def _measure_here(
    request: Request, source: Source, examinations: Examinations, ranks: Ranks | None
) -> Measurement:
    """Measure what falls to this process."""
    started = time.monotonic()
    tally = Tally()
    chosen, population = None, None
    if request.limit is not None:
        number = len(source) if isinstance(source, TensorSet) else source.count_all()
        if request.limit < number:
            chosen, population = draw(number, request.limit, request.seed), number
            tally.sample = []
    # Images of several splits together are looked at apart, so that each is known by its split;
    # those of an archive know it themselves.
    splits = split_names(source) if request.duplicates else []
    apart = source.split == ALL and len(splits) > 1
    if isinstance(source, TensorSet):
        _check_transform(request, source)
        is_wanted = chosen.__contains__ if chosen is not None else _chooser(request, ranks, source)
        rows = measure_tensors(
            source, tally, request.transform, is_wanted, request.num_workers, request.on_event
        )
        if not apart and (request.duplicates or request.issues):
            examinations.of_tensors(source.subset(rows), source.split, request.on_event)
        classes = list(source.classes)
    else:
        looks = () if apart else examinations.of_files(source.split)
        _measure_stream(request, source, _chooser(request, ranks, source), chosen, tally, looks)
        names = source.final_classes() if isinstance(source, ArchiveStream) else {}
        tally.rename_classes(names)
        examinations.rename_classes(names)
        classes = _ordered_classes(source, tally, set(names.values()))
    for split in split_names(source) if request.duplicates else []:
        if apart or source.split not in (ALL, split):
            _examine_split(replace(request, split=split), examinations, apart, ranks)
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


def _check_transform(request: Request, images: TensorSet) -> None:
    """Refuse to make every image of a set in memory larger than one may be.

    Raises:
        UsageError: the transform would.
    """
    height, width = images.images.shape[2:]
    try:
        request.transform.check(width, height, request.allow_large)
    except BadImageError as error:
        raise UsageError(f"--transform {request.transform}: {error}") from error


def _chooser(request: Request, ranks: Ranks | None, source: Source) -> Chooser:
    """Return what tells which units of a source are measured here."""
    if ranks is not None:
        return ranks.claims(CLAIM_IMAGES if isinstance(source, TensorSet) else source.claim_size)
    if request.shard is not None:
        number, of = request.shard
        return lambda unit: unit % of == number - 1
    return lambda unit: True


def _measure_stream(
    request: Request,
    source: ImageStream,
    is_wanted: Chooser,
    chosen: frozenset[int] | None,
    tally: Tally,
    looks: tuple[Examination, ...],
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
            Treatment(request.transform, request.allow_large, looks),
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


def _examine_split(
    request: Request, examinations: Examinations, with_quality: bool, ranks: Ranks | None
) -> None:
    """Look at the images of another split, whose pixels are not counted."""
    source = open_request(request)
    is_wanted = _chooser(request, ranks, source)
    if isinstance(source, TensorSet):
        rows = measure_tensors(
            source, Tally(), Transform(), is_wanted, request.num_workers, request.on_event
        )
        examinations.of_tensors(source.subset(rows), source.split, request.on_event, with_quality)
        return
    looks = examinations.of_files(source.split, with_quality)
    plain = replace(request, cache=None, transform=Transform())
    _measure_stream(plain, source, is_wanted, None, Tally(), looks)
    if isinstance(source, ArchiveStream):
        examinations.rename_classes(source.final_classes())


def _ordered_classes(source: ImageStream, tally: Tally, final: set[str]) -> list[str]:
    """Return the classes in their order: as the source has them, or sorted."""
    known = list(source.classes())
    found = (tally.classes() | final) - set(known) - {""}
    return known + sorted(found, key=label_order)
