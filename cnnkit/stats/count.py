"""Carrying out a request: opening, counting, and sharing the work with other processes."""

import time
from dataclasses import replace

from cnnkit.data.encoded import Chooser
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.image_set import EncodedSet, TensorSet
from cnnkit.data.opening import ALL, open_images, split_names
from cnnkit.errors import UsageError, setting
from cnnkit.events import Note, Warned, emit, handled_by, ignore
from cnnkit.stats.combine import combine
from cnnkit.stats.counting.cache import RecordCache
from cnnkit.stats.counting.count_files import Examination, Treatment, measure_files
from cnnkit.stats.counting.count_tensors import CLAIM_IMAGES, measure_tensors
from cnnkit.stats.counting.sampling import draw
from cnnkit.stats.counting.tally import Tally
from cnnkit.stats.counting.transform import Transform
from cnnkit.stats.inspection.examining import Examinations
from cnnkit.stats.request import Request
from cnnkit.stats.saved_counts import Measurement
from cnnkit.system.distributed import ONE, ProcessGroup

Source = TensorSet | EncodedSet
CLAIM_FILES = 64  # chosen at once, where several processes share a set


def measure(request: Request, examinations: Examinations, group: ProcessGroup = ONE) -> Measurement:
    """Return the measurement of a request, shared with the other ranks if there are any.

    Args:
        request: what is asked for.
        examinations: examinations that also run on the images, and collect their findings.
        group: the processes that share the work.

    Raises:
        NotFoundError: there is no such dataset, folder or file.
        UsageError: options cannot be used with several ranks, or there is no such split.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read or written.
        RunFailedError: another rank failed.
    """
    if request.limit is not None or request.shard is not None:
        group.require_one(
            f"{setting('limit')} and {setting('shard')} cannot be used with torchrun",
            "leave them out, or run without it",
        )
    measured, error = None, None
    try:
        source = _open_in_turn(request, group)
        compared = group.select(request, replace(request, with_fingerprint=True))
        measured = _measure_here(compared, source, examinations, group)
    except Exception as caught:
        error = caught
    group.agree(error)
    assert measured is not None
    examinations.combine(group)
    return group.combined(measured, lambda own: combine(own, group))


def open_request(request: Request) -> Source:
    """Open the images that are asked for; see `open_images`."""
    return open_images(
        request.spec,
        request.split,
        data_dir=request.data_dir,
        download=request.download,
        allow_large=request.allow_large,
    )


def _open_in_turn(request: Request, group: ProcessGroup) -> Source:
    """Open the source on rank 0, which may have to download it, then on the others."""
    source, error = None, None
    if group.is_first:
        try:
            source = open_request(request)
        except Exception as caught:
            error = caught
    group.wait()  # for what rank 0 may have to download
    if error is not None:
        raise error
    return source if source is not None else _open_again(request)


def _open_again(request: Request) -> Source:
    """Open images whose remarks were emitted already."""
    with handled_by(ignore):
        return open_request(request)


def _measure_here(
    request: Request, source: Source, examinations: Examinations, group: ProcessGroup
) -> Measurement:
    """Measure the share of this process."""
    started = time.monotonic()
    tally = Tally()
    chosen, population = None, None
    if request.limit is not None and request.limit < len(source):
        population = len(source)
        chosen = draw(population, request.limit, request.seed)
        tally.sample = []
    # Images in memory of several splits together are processed one split after another, so that
    # the split of each is known; that of a file is.
    others = [name for name in _splits_to_compare(request) if name != source.split]
    one_by_one = isinstance(source, TensorSet) and source.split == ALL and len(others) > 1
    is_wanted = _chooser(request, group, source)
    if isinstance(source, TensorSet):
        _check_transform(request, source)
        if chosen is not None:
            is_wanted = chosen.__contains__
        rows = measure_tensors(source, tally, request.transform, is_wanted, request.num_workers)
        if not one_by_one and (request.duplicates or request.issues):
            examinations.of_tensors(source.subset(rows), source.split)
    else:
        _measure_files(request, source, is_wanted, chosen, tally, examinations.of_files())
    if source.split != ALL or one_by_one:
        for split in others:
            _examine_split(replace(request, split=split), examinations, one_by_one, group)
    return Measurement(
        dataset=source.dataset,
        split=source.split,
        fingerprint=source.fingerprint() if request.with_fingerprint else "",
        transform=str(request.transform),
        classes=list(source.classes),
        tally=tally,
        population=population,
        shard=request.shard,
        seconds=time.monotonic() - started,
    )


def _splits_to_compare(request: Request) -> list[str]:
    """Return the splits in which copies of an image are looked for."""
    return split_names(request.spec, request.allow_large) if request.duplicates else []


def _check_transform(request: Request, images: TensorSet) -> None:
    """Refuse to make every image of a set in memory larger than one may be.

    Raises:
        UsageError: the transform would.
    """
    height, width = images.images.shape[2:]
    try:
        request.transform.check(width, height, request.allow_large)
    except BadImageError as error:
        raise UsageError(f"{setting('transform')} {request.transform}: {error}") from error


def _chooser(request: Request, group: ProcessGroup, source: Source) -> Chooser:
    """Return the fingerprint of the units of a source that are measured here."""
    if request.shard is not None:
        number, of = request.shard
        return lambda unit: unit % of == number - 1
    return group.claims(CLAIM_IMAGES if isinstance(source, TensorSet) else CLAIM_FILES)


def _measure_files(
    request: Request,
    source: EncodedSet,
    is_wanted: Chooser,
    chosen: frozenset[int] | None,
    tally: Tally,
    looks: tuple[Examination, ...],
) -> None:
    cache = None
    if request.cache is not None:
        treatment = f"{request.transform} {'large' if request.allow_large else ''}"
        cache = RecordCache(request.cache, treatment)
    try:
        measure_files(
            source.images(is_wanted, chosen),
            tally,
            Treatment(request.transform, request.allow_large, looks),
            num_workers=request.num_workers,
            total=len(source) if chosen is None else len(chosen),
            cache=cache,
        )
    finally:
        if cache is not None:
            cache.close()
    if cache is not None:
        emit(Note(f"{cache.num_known:,} images already measured in {cache.path}"))
        if cache.num_damaged:
            emit(
                Warned(
                    f"{cache.num_damaged:,} records of {cache.path} were damaged, and their images "
                    "were measured again"
                )
            )


def _examine_split(
    request: Request, examinations: Examinations, with_quality: bool, group: ProcessGroup
) -> None:
    """Examine the images of another split, without counting their pixels."""
    source = _open_again(request)
    is_wanted = _chooser(request, group, source)
    if isinstance(source, TensorSet):
        rows = measure_tensors(source, Tally(), Transform(), is_wanted, request.num_workers)
        examinations.of_tensors(source.subset(rows), source.split, with_quality)
        return
    looks = examinations.of_files(with_quality)
    plain = replace(request, cache=None, transform=Transform())
    _measure_files(plain, source, is_wanted, None, Tally(), looks)
