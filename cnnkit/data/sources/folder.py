"""Sets that are a folder of class folders, with or without folders of splits above them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.data.decode import IMAGE_SUFFIXES, BadImageError, read_header
from cnnkit.data.entry import DatasetEntry, FolderSource, Split
from cnnkit.errors import NotFoundError, UnavailableError, UsageError
from cnnkit.events import Note, OnEvent, TaskAdvanced, TaskEnded, TaskStarted

if TYPE_CHECKING:  # the description of a folder must not cost the import of torch
    from cnnkit.data.image_set import EncodedSet

SPLIT_OF_FOLDER = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

MODES_OF_GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N")

MOST_SAMPLED = 256
"""So many headers tell whether a folder is grey, and whether it is worth reading them all."""

MOST_MEASURED = 100_000
"""Above so many images their common size stays unknown: reading headers would take too long."""

LAYOUT = "expected are class folders, such as {0}/cat/1.jpg and {0}/dog/2.jpg"


def describe_folder(spec: str) -> DatasetEntry:
    """Return the description of a folder of class folders, from the names of its folders alone.

    Args:
        spec: the folder; `~` is the home folder.

    Raises:
        NotFoundError: there is nothing of this name.
        UsageError: it is no folder, has fewer than two class folders, or its splits have
            different ones.
        UnavailableError: it must not be read.
    """
    path = Path(spec).expanduser()
    if not os.path.lexists(path):
        raise NotFoundError(f"there is no folder {spec!r}")
    if not path.is_dir():
        raise UsageError(f"{spec!r} is no folder", LAYOUT.format("photos"))
    try:
        split_folders = _split_folders(spec, path)
        classes = {
            split: [item.name for item in _folders(folder)]
            for split, folder in split_folders.items()
        }
    except OSError as error:
        raise _unreadable(spec, error) from error
    first, names = next(iter(classes.items()))
    for name in names:
        if any("\ud800" <= sign <= "\udfff" for sign in name):  # bytes that are no UTF-8
            raise UsageError(
                f"a class folder in {spec!r} has a name that is no text: {name!r}", "rename it"
            )
    _check_classes(spec, split_folders[first], names)
    for split, others in classes.items():
        differing = sorted(set(names) ^ set(others))
        if differing:
            raise UsageError(
                f"the class folders of {first} and {split} in {spec!r} differ: {_some(differing)}",
                "each class needs a folder of the same name in both",
            )
    derived = "train" in split_folders and "test" not in split_folders
    splits = {split: Split(None, derived and split == "train") for split in split_folders}
    if derived:
        splits["test"] = Split(None, derived=True)
    return DatasetEntry(
        name=spec,
        title=f"the folder {path.name or path}",
        task="the names of its folders",
        channels=None,
        size=None,
        num_classes=len(names),
        classes=tuple(names),
        splits=splits,
        source=FolderSource(path, split_folders),
    )


def open_folder(
    entry: DatasetEntry, source: FolderSource, split: str, on_event: OnEvent
) -> EncodedSet:
    """Open a split of a folder.

    Channels are those of the whole folder: 1 if a sample of all files is grey, else 3. The size is
    that of all images of the split if they have one and are not too many to look at, else None. A
    file whose header cannot be read says nothing about either.

    Raises:
        UsageError: there is no image, or none in one of the class folders.
        UnavailableError: a folder must not be read.
    """
    import torch

    from cnnkit.data.image_set import EncodedSet, ImageFiles
    from cnnkit.data.sources.derived import derived_split

    try:
        found = {
            name: [_image_files(folder / class_name) for class_name in entry.classes]
            for name, folder in source.split_folders.items()
        }
        derived = entry.splits[split].derived
        folder = source.split_folders["train" if derived else split]
        num_outside = sum(is_image(item.name) for item in folder.iterdir())
    except OSError as error:
        raise _unreadable(entry.name, error) from error
    per_class = found["train" if derived else split]
    _check_images(entry, folder, per_class)
    if num_outside:
        on_event(Note(f"{folder}: {num_outside:,} images outside the class folders are left out"))
    paths = [path for files in per_class for path in files]
    everything = [path for classes in found.values() for files in classes for path in files]
    labels = torch.repeat_interleave(torch.tensor([len(files) for files in per_class]))
    whole = EncodedSet(
        dataset=entry.name,
        split=split,
        classes=entry.classes,
        labels=labels,
        channels=common_channels(everything),
        size=common_size(paths, on_event),
        files=ImageFiles(tuple(paths)),
    )
    return derived_split(whole, split) if derived else whole


@dataclass(frozen=True)
class ListedFolder:
    """The image files of any folder, whatever it lacks to be trained on.

    Attributes:
        files: paths by split and class; a folder without folders of splits is the split `""`, and
            images of a folder without class folders are the class `""`.
        errors: why folders could not be read, or are called like an image.
        num_others: visible files that are no images by their name, or lie beside class folders.
    """

    files: Mapping[str, Mapping[str, list[str]]]
    errors: tuple[OSError, ...]
    num_others: int


def list_folder(spec: str) -> ListedFolder:
    """Return the image files of a folder, without looking into them.

    Args:
        spec: the folder; `~` is the home folder.

    Raises:
        NotFoundError: there is nothing of this name.
        UsageError: it is no folder, or two of its folders are the same split.
        UnavailableError: it must not be read.
    """
    path = Path(spec).expanduser()
    if not os.path.lexists(path):
        raise NotFoundError(f"there is no folder {spec!r}")
    if not path.is_dir():
        raise UsageError(f"{spec!r} is no folder", LAYOUT.format("photos"))
    try:
        split_folders = _split_folders(spec, path)
        if split_folders == {"train": path}:
            split_folders = {"": path}
        listed = {split: _folders(folder) for split, folder in split_folders.items()}
        beside = {
            split: sorted(
                item.name
                for item in folder.iterdir()
                if not os.path.isdir(item)  # noqa: PTH112  (never raises)
            )
            for split, folder in split_folders.items()
        }
    except OSError as error:
        raise _unreadable(spec, error) from error
    found: dict[str, dict[str, list[str]]] = {}
    errors: list[OSError] = []
    num_others = 0
    for split, folders in listed.items():
        found[split] = {}
        for folder in folders:
            others: list[str] = []
            found[split][folder.name] = _image_files(folder, others, errors)
            num_others += len(others)
        visible = [name for name in beside[split] if is_visible(name)]
        flat = [str(split_folders[split] / name) for name in visible if is_image(name)]
        if flat and not any(found[split].values()):  # without class folders
            found[split] = {"": flat}
            visible = [name for name in visible if not is_image(name)]
        num_others += len(visible)
    return ListedFolder(found, tuple(errors), num_others)


def common_channels(paths: Sequence[str]) -> int:
    """Return 1 if a sample of the images is grey throughout, else 3."""
    modes = {mode for mode, _ in _headers(_sample(paths))}
    return 1 if modes and modes <= set(MODES_OF_GREY) else 3


def common_size(paths: Sequence[str], on_event: OnEvent) -> tuple[int, int] | None:
    """Return the height and width that all images have, or None.

    None also where they are too many to look at each, or where no header can be read.
    """
    sizes = {size for _, size in _headers(_sample(paths))}
    if len(sizes) != 1 or len(paths) > MOST_MEASURED:
        return None
    task = "read image sizes"
    if len(paths) > MOST_SAMPLED:
        on_event(TaskStarted(task, len(paths), "files"))
        try:
            for start in range(0, len(paths), MOST_SAMPLED):
                sizes |= {size for _, size in _headers(paths[start : start + MOST_SAMPLED])}
                if len(sizes) > 1:
                    return None
                on_event(TaskAdvanced(task, min(start + MOST_SAMPLED, len(paths))))
        finally:
            on_event(TaskEnded(task))
    return sizes.pop()


def _sample(paths: Sequence[str]) -> list[str]:
    """Return evenly spaced paths, at most `MOST_SAMPLED`."""
    count = min(len(paths), MOST_SAMPLED)
    return [paths[index * len(paths) // count] for index in range(count)]


def _headers(paths: Iterable[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield mode and (height, width) of the images whose header can be read."""
    for path in paths:
        with suppress(BadImageError):  # whoever decodes it will name it
            yield read_header(path)


def _split_folders(spec: str, path: Path) -> Mapping[str, Path]:
    """Return the folder of each split; the folder itself is `train` where there are none."""
    folders = _folders(path)
    named = [folder for folder in folders if folder.name.lower() in SPLIT_OF_FOLDER]
    # A class may be called `train` as well, but then it has images where a split has folders.
    has_train = any(folder.name.lower() == "train" and _folders(folder) for folder in named)
    if not named or not (has_train or len(named) == len(folders)):
        return {"train": path}
    found: dict[str, Path] = {}
    for folder in named:
        split = SPLIT_OF_FOLDER[folder.name.lower()]
        if split in found:
            raise UsageError(
                f"{spec!r} has both {found[split].name} and {folder.name}", "one is enough"
            )
        found[split] = folder
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones."""
    return sorted(
        item
        for item in path.iterdir()
        if is_visible(item.name) and os.path.isdir(item)  # noqa: PTH112
    )


def is_visible(name: str) -> bool:
    """Return whether a file or folder of this name is looked at."""
    return not name.startswith(".") and name != "__MACOSX"


def is_image(name: str) -> bool:
    """Return whether a file of this name counts as an image."""
    return is_visible(name) and name.lower().endswith(IMAGE_SUFFIXES)


def _image_files(
    folder: Path, others: list[str] | None = None, errors: list[OSError] | None = None
) -> list[str]:
    """Return the images in a folder and below, in the order of torchvision's ImageFolder.

    Each folder is entered once, so links that lead back do no harm.

    Args:
        folder: where to look.
        others: is told the visible files that are no images by their name.
        errors: is told why folders could not be read, and which are called like an image; without
            it the first is raised, and the others are left out.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        current = waiting.pop()
        try:
            status = os.stat(current)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as items:
                below = sorted(items, key=lambda item: item.name)
        except OSError as error:
            if errors is None:
                raise
            errors.append(error)
            continue
        # Not DirEntry.is_dir: a link to itself makes it raise.
        folders = {item.path for item in below if _may_be_folder(item) and os.path.isdir(item.path)}  # noqa: PTH112
        found += [item.path for item in below if is_image(item.name) and item.path not in folders]
        if errors is not None:
            errors += [
                IsADirectoryError(errno.EISDIR, "a folder, not a file", path)
                for path in sorted(folders)
                if is_image(os.path.basename(path))  # noqa: PTH119
            ]
        if others is not None:
            others += [
                item.path
                for item in below
                if is_visible(item.name) and not is_image(item.name) and item.path not in folders
            ]
        waiting += sorted((path for path in folders), reverse=True)
    return sorted(found, key=os.path.split)


def _may_be_folder(item: os.DirEntry[str]) -> bool:
    """Return whether an item has to be looked at twice; plain files, nearly all, have not."""
    return is_visible(item.name) and (item.is_symlink() or item.is_dir(follow_symlinks=False))


def _check_classes(spec: str, folder: Path, names: Sequence[str]) -> None:
    if len(names) >= 2:
        return
    if names:
        raise UsageError(
            f"{str(folder)!r} has a single class folder, {names[0]!r}",
            f"there must be two to tell apart; {LAYOUT.format(spec)}",
        )
    num_images = sum(is_image(item.name) for item in folder.iterdir())
    what = f"{num_images:,} images but no class folders" if num_images else "no class folders"
    raise UsageError(f"{str(folder)!r} has {what}", LAYOUT.format(spec))


def _check_images(entry: DatasetEntry, folder: Path, per_class: list[list[str]]) -> None:
    empty = [name for name, files in zip(entry.classes, per_class, strict=True) if not files]
    if len(empty) == len(per_class):
        raise UsageError(
            f"{str(folder)!r} has no images",
            f"{LAYOUT.format(entry.name)}; images end with {', '.join(IMAGE_SUFFIXES)}",
        )
    if empty:
        raise UsageError(
            f"class folders of {str(folder)!r} have no images: {_some(empty)}",
            "add some, or take the folders away",
        )


def _unreadable(spec: str, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"{spec!r} cannot be read: {error.strerror or error}: {error.filename}",
        "check its permissions",
    )


def _some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    listed = ", ".join(repr(name) for name in names[:5])
    return f"{listed} and {len(names) - 5} more" if len(names) > 5 else listed
