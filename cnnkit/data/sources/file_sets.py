"""Datasets of image files: from a listing to a split with labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.data.entry import DatasetEntry, FilesSource, Split
from cnnkit.data.image_files import IMAGE_SUFFIXES
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.layout import SPLIT_ORDER
from cnnkit.data.sources.file_listing import LAYOUT, Listing, class_names, list_files
from cnnkit.data.sources.members import is_archive
from cnnkit.errors import BrokenImageError, UnavailableError, UsageError
from cnnkit.events import Note, TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.registry import some_of

if TYPE_CHECKING:  # the description of files must not cost the import of torch
    from cnnkit.data.encoded import EncodedFiles, Item
    from cnnkit.data.image_set import EncodedSet

# Modes that `decode` converts to one channel: transparency is dropped.
MODES_OF_GREY = ("1", "L", "LA", "La", "LA;16", "I", "I;16", "I;16B", "I;16L", "I;16N")

MOST_SAMPLED = 256
"""Number of headers sampled to find whether a set is grayscale, and whether to read them all."""

MOST_MEASURED = 100_000
"""Maximum number of images whose headers are read to find their common size."""


def describe_files(spec: str, as_classes: bool = False, allow_large: bool = False) -> DatasetEntry:
    """Return the description of a folder, an archive, shards or a table, to be trained on.

    Args:
        spec: its path; of several shards a pattern.
        as_classes: use the top-level folders as classes, even if they are named like splits.
        allow_large: read archives above the limits as well.

    Raises:
        NotFoundError: there is nothing of this name.
        UsageError: it is none of these, has fewer than two classes, or its splits have different
            ones.
        UnavailableError: it, or a folder in it, must not be read.
        BrokenImageError: an archive is damaged.
    """
    listing = list_files(spec, as_classes, allow_large)
    check_readable(spec, listing)
    path = Path(spec).expanduser()
    names = class_names(listing)
    classes = {
        split: [name for name in names if name in by_class]
        for split, by_class in listing.files.items()
    }
    for name in names:
        if any("\ud800" <= sign <= "\udfff" for sign in name):  # bytes that are no UTF-8
            raise UsageError(
                f"a class folder in {spec!r} has a name that is not valid text: {name!r}",
                "rename it",
            )
    first = next((split for split in SPLIT_ORDER if split in classes), "")
    _check_classes(spec, listing, first, classes.get(first, []))
    for split, others in classes.items():
        differing = sorted(set(classes[first]) ^ set(others))
        if differing:
            named = some_of(list(map(repr, differing)))
            raise UsageError(
                f"the class folders of {first} and {split} in {spec!r} differ: {named}",
                "each class needs a folder of the same name in both",
            )
    splits = {split or "train": Split(None) for split in ("", *SPLIT_ORDER) if split in classes}
    if "train" in splits and "test" not in splits:
        splits["train"] = splits["test"] = Split(None, derived=True)
    return DatasetEntry(
        name=spec,
        title=f"the {'folder' if path.is_dir() else 'files of'} {path.name or path}",
        task="the names of its folders" if path.is_dir() else "the labels of its images",
        channels=None,
        size=None,
        num_classes=len(names),
        classes=tuple(names),
        splits=splits,
        source=FilesSource(lasting_path(spec), listing),
    )


def check_readable(spec: str, listing: Listing) -> None:
    """Refuse files of which a part cannot be read at all.

    Raises:
        BrokenImageError: an archive is damaged.
        UnavailableError: a folder must not be read.
    """
    for name, reason in listing.problems:
        if is_archive(name):
            raise BrokenImageError(f"{name}: {reason}", "download or pack it again")
        raise UnavailableError(
            f"{spec!r} cannot be read: {reason}: {name}", "check its permissions"
        )


def lasting_path(spec: str) -> str:
    """Return a path, or a pattern of paths, that is the same from any folder."""
    return os.path.abspath(os.path.expanduser(spec))  # noqa: PTH100, PTH111


def open_files(entry: DatasetEntry, source: FilesSource, split: str) -> EncodedSet:
    """Open a split of a set of image files, to be trained on.

    Channels are those of the complete set: 1 if a sample of all files is grayscale, else 3. The
    size is that of all images of the split if they have one and are not too many, else None.
    Files whose header cannot be read are ignored for both.

    Raises:
        UsageError: there is no image, or none in one of the classes.
    """
    from cnnkit.data.encoded import EncodedFiles
    from cnnkit.data.sources.derived import derived_split

    listing: Listing = source.listing
    derived = entry.splits[split].derived
    listed = "train" if derived else split
    files = listing.files[listed if listed in listing.files else ""]
    _check_images(entry, files)
    for remark in listing.remarks:
        emit(Note(remark))
    num_outside = len(files.get("", ()))
    if num_outside:
        emit(Note(f"{entry.name}: {num_outside:,} images outside the class folders are left out"))
    labelled = {name: files[name] for name in entry.classes}
    whole = files_set(entry.name, split, entry.classes, [(split, labelled)])
    everything = EncodedFiles(
        tuple(
            item
            for by_class in listing.files.values()
            for name in entry.classes
            for item in by_class.get(name, ())
        )
    )
    whole = whole.with_headers(common_channels(everything), common_size(whole.files))
    return derived_split(whole, split) if derived else whole


def files_set(
    dataset: str,
    split: str,
    classes: Sequence[str],
    parts: Sequence[tuple[str, Mapping[str, Sequence[Item]]]],
    problems: Sequence[tuple[str, str]] = (),
) -> EncodedSet:
    """Return a set of image files.

    Args:
        dataset: the name that it was opened under.
        split: the split, or `all`.
        classes: in label order; images of other classes are left out, but for those without one.
        parts: files by class, of one or several splits, each with its name.
        problems: what cannot be read at all, with the reason.
    """
    import torch

    from cnnkit.data.encoded import EncodedFiles
    from cnnkit.data.image_set import EncodedSet

    items: list[Item] = []
    labels: list[int] = []
    of_splits: list[str] = []
    for name, by_class in parts:
        for label, class_name in (*enumerate(classes), (-1, "")):
            found = by_class.get(class_name, ())
            items += found
            labels += [label] * len(found)
            of_splits += [name] * len(found)
    return EncodedSet(
        dataset=dataset,
        split=split,
        classes=tuple(classes),
        labels=torch.tensor(labels, dtype=torch.int64),
        channels=3,
        size=None,
        files=EncodedFiles(tuple(items)),
        of_splits=tuple(of_splits) if len(parts) > 1 else None,
        problems=tuple(problems),
    )


def common_channels(files: EncodedFiles) -> int:
    """Return 1 if all images of a sample are grayscale, else 3."""
    modes = {mode for mode, _ in _headers(files, _sample(len(files)))}
    return 1 if modes and modes <= set(MODES_OF_GREY) else 3


def common_size(files: EncodedFiles) -> tuple[int, int] | None:
    """Return the common height and width of the images, or None.

    None also where they are too many to look at each, or where no header can be read.
    """
    number = len(files)
    sizes = {size for _, size in _headers(files, _sample(number))}
    if len(sizes) != 1 or number > MOST_MEASURED:
        return None
    task = "read image sizes"
    if number > MOST_SAMPLED:
        emit(TaskStarted(task, number, "files"))
        try:
            for start in range(0, number, MOST_SAMPLED):
                end = min(start + MOST_SAMPLED, number)
                sizes |= {size for _, size in _headers(files, range(start, end))}
                if len(sizes) > 1:
                    return None
                emit(TaskAdvanced(task, end))
        finally:
            emit(TaskEnded(task))
    return sizes.pop()


def _sample(number: int) -> list[int]:
    """Return evenly spaced numbers, at most `MOST_SAMPLED`."""
    count = min(number, MOST_SAMPLED)
    return [index * number // count for index in range(count)]


def _headers(files: EncodedFiles, indices: Sequence[int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield mode and (height, width) of the images whose header can be read."""
    for index in indices:
        with suppress(BadImageError):  # reported when it is decoded
            yield files.header(index)


def _check_classes(spec: str, listing: Listing, split: str, names: Sequence[str]) -> None:
    if len(names) >= 2:
        return
    where = repr(spec) if not split else f"{split} of {spec!r}"
    if names:
        raise UsageError(
            f"{where} has a single class folder, {names[0]!r}",
            f"there must be at least two; {LAYOUT.format(spec)}",
        )
    num_images = len(listing.files.get(split, {}).get("", ()))
    what = f"{num_images:,} images but no class folders" if num_images else "no class folders"
    raise UsageError(f"{where} has {what}", LAYOUT.format(spec))


def _check_images(entry: DatasetEntry, files: Mapping[str, Sequence[Item]]) -> None:
    empty = [name for name in entry.classes if not files.get(name)]
    if len(empty) == len(entry.classes):
        raise UsageError(
            f"{entry.name!r} has no images",
            f"{LAYOUT.format(entry.name)}; image files end in {', '.join(IMAGE_SUFFIXES)}",
        )
    if empty:
        raise UsageError(
            f"class folders of {entry.name!r} have no images: {some_of(list(map(repr, empty)))}",
            "add some, or remove the folders",
        )
