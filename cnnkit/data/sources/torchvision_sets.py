"""Datasets opened by torchvision's classes, converted to cnnkit's image sets."""

import errno
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.datasets

from cnnkit.data.encoded import EncodedFiles
from cnnkit.data.entry import DatasetEntry, TorchvisionSource
from cnnkit.data.image_set import EncodedSet, TensorSet
from cnnkit.data.sources.derived import derived_split
from cnnkit.data.sources.download import LIMITS
from cnnkit.data.sources.stanford_cars import StanfordCars
from cnnkit.data.sources.torchvision_files import FileService
from cnnkit.data.sources.torchvision_readers import READERS, Contents
from cnnkit.data.sources.unpacking import ArchiveError
from cnnkit.data.sources.unverified import check_unverified
from cnnkit.errors import CnnkitError, UnavailableError, setting
from cnnkit.events import Note, Warned, emit

NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

OWN_CLASSES: dict[str, Any] = {"StanfordCars": StanfordCars}
"""Replacements of classes of torchvision."""


@dataclass(frozen=True)
class _Request:
    """One split of a set, as it was asked for."""

    entry: DatasetEntry
    source: TorchvisionSource
    split: str
    data_dir: Path
    download: bool


def open_torchvision(
    entry: DatasetEntry,
    source: TorchvisionSource,
    split: str,
    *,
    data_dir: Path,
    download: bool,
) -> TensorSet | EncodedSet:
    """Open a split from the files in the data folder, or download them.

    Args:
        entry: the set.
        source: how it is opened.
        split: one of the entry's.
        data_dir: where files are looked for, and downloaded to.
        download: whether missing files may be downloaded.

    Raises:
        UnavailableError: files are missing, damaged or incomplete, or a package is missing, or
            there is no room or no permission.
    """
    for module in source.modules:
        if find_spec(module) is None:
            raise UnavailableError(
                f"{entry.name} needs the package {module}", f"`pip install {module}` brings it"
            )
    derived = entry.splits[split].derived
    whole = _Request(entry, source, "train" if derived else split, data_dir.expanduser(), download)
    contents = _load(whole)
    _check(whole, contents, derived=derived)
    opened = _image_set(whole, contents)
    return derived_split(opened, split) if derived else opened


def _load(request: _Request) -> Contents:
    """Return images, labels and class names, or an error that says what to do."""
    service = FileService(
        allowed=request.download,
        drive_mirror=request.source.drive_mirror,
        limits=replace(LIMITS, max_bytes=request.source.max_download_gb * 10**9),
    )
    try:
        with _no_empty_folders(request):
            return _construct_and_read(request, request.data_dir, service)
    except MemoryError as error:
        raise UnavailableError(
            f"{request.entry.name} {request.split} does not fit in memory",
            "use a machine with more memory, or a smaller split",
        ) from error
    except CnnkitError:
        raise
    except Exception as error:  # damaged files make torchvision and scipy raise anything
        reason = error.errno if isinstance(error, OSError) else None
        if reason in NO_ROOM:
            reason_text = str(getattr(error, "strerror", None) or error).lower()
            raise UnavailableError(
                f"no space left on the disk of {request.data_dir}: {reason_text}",
                f"free some space, or choose another folder with {setting('data_dir')}",
            ) from error
        if reason in NO_PERMISSION:
            contents = _load_aside(request)
            if contents is not None:
                return contents
            place = getattr(error, "filename", None) or request.data_dir
            raise UnavailableError(
                f"no permission to use {place}", f"choose another folder with {setting('data_dir')}"
            ) from error
        raise _unavailable(request, service, error) from error


@contextmanager
def _no_empty_folders(request: _Request) -> Iterator[None]:
    """After a failure, remove the folders created for files that were not downloaded."""
    folders = [request.data_dir / Path(place).parts[0] for place in request.source.layout]
    made = [folder for folder in (*folders, request.data_dir) if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in made:
            for current, _, _ in os.walk(folder, topdown=False):
                if not os.listdir(current):  # noqa: PTH208
                    os.rmdir(current)  # noqa: PTH106
        raise


def _load_aside(request: _Request) -> Contents | None:
    """Unpack the files of a read-only data folder in a temporary folder.

    Only sets that end up in memory can do so; None where that does not help either.
    """
    if request.source.reader != "arrays":
        return None
    service = FileService(allowed=False)
    with tempfile.TemporaryDirectory(prefix="cnnkit-") as folder:
        aside = Path(folder)
        try:
            for place in {Path(name).parts[0] for name in request.source.layout}:
                _link(request.data_dir / place, aside / place)
            contents = _construct_and_read(request, aside, service)
        except Exception:
            return None  # the original error, that of the folder itself, is reported
    emit(Note(f"{request.data_dir} cannot be written to: unpacked in a temporary folder instead"))
    return contents


def _link(source: Path, target: Path) -> None:
    """Build the tree of `source` at `target`, of folders and links to the files."""
    if source.is_dir():
        target.mkdir()
        for item in source.iterdir():
            _link(item, target / item.name)
    elif source.is_file():
        target.symlink_to(source.absolute())


def _construct_and_read(request: _Request, data_dir: Path, service: FileService) -> Contents:
    """Let torchvision open the files, first as they are, then unpacking and downloading."""
    source = request.source
    dataset_class = OWN_CLASSES.get(source.class_name) or getattr(
        torchvision.datasets, source.class_name
    )
    root = data_dir / source.folder if source.folder else data_dir
    arguments: dict[str, Any] = dict(source.arguments[request.split])
    check_unverified(source, root)
    with service.installed(), warnings.catch_warnings():
        # The pickles of CIFAR are older than what NumPy likes today.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        if source.downloads:
            try:
                dataset = dataset_class(str(root), download=False, **arguments)
            except (RuntimeError, FileNotFoundError):
                dataset = dataset_class(str(root), download=True, **arguments)
        else:
            dataset = dataset_class(str(root), **arguments)
        return READERS[source.reader](dataset, source)


def _unavailable(request: _Request, service: FileService, error: BaseException) -> CnnkitError:
    """Return the error for files that are missing or damaged."""
    name, source = request.entry.name, request.source
    first_line = (str(error).splitlines() or [""])[0]
    if isinstance(error, ArchiveError):
        what = f"the files of {name} cannot be unpacked: {first_line}"
    elif service.failures:
        wanted = "downloaded to" if request.download else "found in"
        reasons = "; ".join(dict.fromkeys(service.failures))  # every mirror is asked in turn
        what = f"{name} could not be {wanted} {request.data_dir}: {reasons}"
    elif any(_lies_there(request.data_dir, place) for place in source.layout):
        what = f"the files of {name} in {request.data_dir} cannot be used: {first_line}"
    elif source.downloads:
        what = f"{name} could not be put into {request.data_dir}: {first_line}"
    else:
        what = f"{name} is not in {request.data_dir}, and cannot be downloaded"
    return UnavailableError(what, way_out(request.entry, source))


def _lies_there(data_dir: Path, place: str) -> bool:
    """Return whether a file of a layout exists, packed or unpacked."""
    return (data_dir / place.removesuffix("/*.jpg")).exists() or (
        "/" in place and (data_dir / Path(place).parts[0]).is_dir()
    )


def way_out(entry: DatasetEntry, source: TorchvisionSource) -> str:
    """Return a hint for a missing set: which files to place, and which set needs none."""
    see = f" (see {entry.homepage})" if entry.homepage else ""
    return (
        f"the data folder must contain {', '.join(source.layout)}{see}; `digits` needs no download"
    )


def _check(request: _Request, contents: Contents, *, derived: bool) -> None:
    """Raise if classes are missing, and warn if images are missing."""
    entry, labels = request.entry, contents.labels
    classes = contents.classes or entry.classes
    where = f"{entry.name} in {request.data_dir}"
    if len(labels) == 0 or len(classes) != entry.num_classes:
        raise UnavailableError(
            f"{where} has {len(labels):,} images of {len(classes):,} classes instead of "
            f"{entry.num_classes:,}: it is incomplete",
            f"remove it and open it again; {way_out(entry, request.source)}",
        )
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        raise UnavailableError(
            f"{where} has labels outside its {len(classes):,} classes",
            way_out(entry, request.source),
        )
    published = entry.splits[request.split].num_images
    if derived:
        counts = [split.num_images for split in entry.splits.values()]
        published = entry.num_images or (None if None in counts else sum(filter(None, counts)))
    if published is not None and published != len(labels):
        emit(
            Warned(
                f"{where} has {len(labels):,} images in {request.split} "
                f"instead of the published {published:,}"
            )
        )


def _image_set(request: _Request, contents: Contents) -> TensorSet | EncodedSet:
    entry = request.entry
    assert entry.channels is not None
    classes = contents.classes or entry.classes
    if isinstance(contents.images, torch.Tensor):
        return TensorSet(
            dataset=entry.name,
            split=request.split,
            classes=classes,
            labels=contents.labels,
            channels=entry.channels,
            size=entry.size,
            images=contents.images,
        )
    return EncodedSet(
        dataset=entry.name,
        split=request.split,
        classes=classes,
        labels=contents.labels,
        channels=entry.channels,
        size=entry.size,
        files=EncodedFiles(contents.images),
    )
