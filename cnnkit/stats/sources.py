"""From what a user calls a dataset to its images: in memory, or as a stream of files."""

import os
from collections.abc import Mapping
from pathlib import Path

from cnnkit.data.catalogue import DATASETS
from cnnkit.data.decode import IMAGE_SUFFIXES
from cnnkit.data.image_set import EncodedSet, ImageFiles, ImageSet, TensorSet, joined
from cnnkit.data.opening import check_split, find_dataset, means_folder, open_dataset
from cnnkit.data.sources.archives import ArchiveStream
from cnnkit.data.sources.fake import is_fake
from cnnkit.data.sources.folder import list_folder
from cnnkit.data.sources.members import is_archive
from cnnkit.data.sources.shards import BRACES, ShardStream, find_shards, looks_like_shard
from cnnkit.data.sources.streams import FileStream, ImageStream
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.events import OnEvent, Warned
from cnnkit.registry import did_you_mean

ALL = "all"
"""The split that is every image."""

Source = TensorSet | ImageStream


def open_source(
    spec: str,
    split: str | None,
    *,
    data_dir: Path | None,
    download: bool,
    on_event: OnEvent,
    allow_large: bool = False,
) -> Source:
    """Open the images of a split.

    Args:
        spec: a name of the catalogue, a folder, an archive, shards such as `data-{000..127}.tar`,
            or a fake set.
        split: a split; `all` for every image; None for `train` where the publishers made splits,
            else all.
        data_dir: where the files of a named set are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        on_event: told what is odd.
        allow_large: read archives above the limits of `Members` as well.

    Raises:
        NotFoundError: there is no such dataset, folder or file.
        UsageError: there is no such split, or the name makes no sense.
        UnavailableError: files are missing, damaged or cannot be read.
    """
    if BRACES.search(spec):
        return _only_all(ShardStream(spec, find_shards(spec), allow_large), split)
    path = Path(spec).expanduser()
    if is_archive(spec):
        if not os.path.lexists(path):
            raise NotFoundError(f"there is no archive {spec!r}")
        if not os.path.isdir(path):  # noqa: PTH112  (never raises)
            if not spec.lower().endswith(".zip") and looks_like_shard(path, allow_large):
                return _only_all(ShardStream(spec, (path,), allow_large), split)
            return ArchiveStream(spec, path, split, allow_large)
    if not is_fake(spec) and spec not in DATASETS and means_folder(spec):
        return _open_folder(spec, split, on_event)
    return _open_named(spec, split, data_dir, download, on_event)


def split_names(source: Source) -> list[str]:
    """Return the splits that a dataset has as its publishers made them; of an archive, once read.

    Nothing for sets that are one whole.
    """
    if isinstance(source, ArchiveStream):
        return source.seen_splits()
    if isinstance(source, FileStream) and source.dataset not in DATASETS:
        return [name for name in list_folder(source.dataset).files if name]
    if isinstance(source, ShardStream):
        return []
    entry = find_dataset(source.dataset)
    usual = ("train", "val", "test")
    return [name for name, split in entry.splits.items() if name in usual and not split.derived]


def _open_folder(spec: str, split: str | None, on_event: OnEvent) -> FileStream:
    """Open a folder, whatever it lacks to be trained on."""
    listed = list_folder(spec)
    splits = listed.files
    if split is None:
        split = "train" if "train" in splits else ALL
    if split != ALL and split not in splits:
        has = [name for name in splits if name]
        close = did_you_mean(split, has)
        raise UsageError(
            f"{spec} has no split {split!r}",
            f"{close + ' ' if close else ''}it has {', '.join([*has, ALL])}",
        )
    chosen = splits if split == ALL else {split: splits[split]}
    files: dict[str, list[str]] = {}
    for classes in chosen.values():
        for name, paths in classes.items():
            files.setdefault(_printable(name), []).extend(paths)
    bad = [(str(error.filename), (error.strerror or str(error)).lower()) for error in listed.errors]
    if not any(files.values()) and not bad:
        suffixes = ", ".join(IMAGE_SUFFIXES)
        raise UsageError(f"{spec!r} has no images", f"images end with {suffixes}")
    for name, paths in files.items():
        if not paths:
            on_event(Warned(f"the class folder {name!r} has no images"))
    if listed.num_others:
        on_event(Warned(f"files that are no images by their name left out: {listed.num_others:,}"))
    return FileStream(spec, split, files, bad)


def _printable(name: str) -> str:
    """Return a name that is no text, as those of folders may be, with escapes for its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _open_named(
    spec: str, split: str | None, data_dir: Path | None, download: bool, on_event: OnEvent
) -> Source:
    entry = find_dataset(spec)
    has_own = any(not one.derived for one in entry.splits.values())
    if split is None:
        split = "train" if "train" in entry.splits and has_own else ALL
    if split != ALL:
        check_split(entry, split)
        names = [split]
    else:
        # `test10k` of QMNIST and the like are parts of others, so only the usual ones are joined.
        usual = [name for name in entry.splits if name in ("train", "val", "test")]
        names = usual or list(entry.splits)
    whole: ImageSet | None = None
    for name in names:
        part = open_dataset(spec, name, data_dir=data_dir, download=download, on_event=on_event)
        whole = part if whole is None else joined(whole, part)
    assert whole is not None
    if isinstance(whole, TensorSet):
        return TensorSet(
            whole.dataset, split, whole.classes, whole.labels, whole.channels, whole.size,
            whole.images,
        )  # fmt: skip
    assert isinstance(whole, EncodedSet)
    return FileStream(entry.name, split, _files_by_class(whole))


def _files_by_class(images: EncodedSet) -> Mapping[str, list[str]]:
    files: dict[str, list[str]] = {name: [] for name in images.classes}
    assert isinstance(images.files, ImageFiles)
    for path, label in zip(images.files.paths, images.labels.tolist(), strict=True):
        files[images.classes[label]].append(path)
    return files


def _only_all(stream: ShardStream, split: str | None) -> ShardStream:
    if split not in (None, ALL):
        raise UsageError(
            f"{stream.dataset} has no split {split!r}", "shards are one set; name those of a split"
        )
    return stream
