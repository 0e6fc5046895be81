"""Listing the image files of a set by split and class, without reading them.

Folders, archives, shards and tables of labels all become a `Listing`; the code that reads
images does not depend on where they are.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cnnkit.data.encoded import Item, PackedFile, sorted_items
from cnnkit.data.image_files import IMAGE_SUFFIXES, os_reason
from cnnkit.data.layout import Layout, Parts, arrange, is_visible
from cnnkit.data.sources.archives import Archive
from cnnkit.data.sources.members import is_archive
from cnnkit.data.sources.shards import (
    LABEL_KEYS,
    find_shards,
    is_pattern,
    is_shard_file,
    label_order,
    looks_like_shard,
    samples,
)
from cnnkit.data.sources.table import is_table, read_table
from cnnkit.errors import NotFoundError, UnavailableError, UsageError

LAYOUT = "expected class folders, such as {0}/cat/1.jpg and {0}/dog/2.jpg"
MOST_REMEMBERED = 4

Seen = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of what a listing depends on: folders, archives, a table."""


@dataclass(frozen=True)
class Listing:
    """The image files of a set.

    Attributes:
        files: by split and class, each in the order of torchvision's ImageFolder, of a table in
            that of its lines. Without splits the split is `""`; of images without a class the
            class is.
        problems: what cannot be read at all, with the reason: a folder, the end of an archive.
        remarks: notes on what was assumed and what was ignored.
        no_files: folders named like an image.
        has_numbers: whether classes that are numbers are in the order of these; those of folders
            are in that of torchvision's ImageFolder, where 10 comes before 2.
        seen: what the listing depends on.
    """

    files: Mapping[str, Mapping[str, Sequence[Item]]]
    problems: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    no_files: tuple[str, ...] = ()
    has_numbers: bool = False
    seen: Seen = field(default=(), repr=False)


_remembered: OrderedDict[tuple[str, bool, bool], Listing] = OrderedDict()


def lists_files(spec: str) -> bool:
    """Return whether a name is that of files: a folder, an archive, shards, or a table."""
    if is_pattern(spec) or is_archive(spec) or is_table(spec):
        return True
    return "/" in spec or os.sep in spec or spec.startswith(("~", ".")) or os.path.isdir(spec)  # noqa: PTH112


def list_files(spec: str, as_classes: bool = False, allow_large: bool = False) -> Listing:
    """Return the image files of a folder, an archive, shards or a table.

    A set that was listed a short while ago, and whose folders and archives have not changed since,
    is not listed again.

    Args:
        spec: its path; of several shards a pattern such as `data-{000..127}.tar`.
        as_classes: use the top-level folders as classes, even if they are named like splits.
        allow_large: read archives above the limits as well.

    Raises:
        NotFoundError: there is nothing of this name.
        UsageError: it is neither folder, archive nor table, or the table is invalid.
        UnavailableError: it must not be read.
    """
    # what was allowed once is allowed to all that comes later in a command
    for key in ((spec, as_classes, True), (spec, as_classes, allow_large)):
        known = _remembered.get(key)
        if known and known.seen and _seen(path for path, *_ in known.seen) == known.seen:
            _remembered.move_to_end(key)
            return known
    listing = _list(spec, as_classes, allow_large)
    _remembered[spec, as_classes, allow_large] = listing
    if len(_remembered) > MOST_REMEMBERED:
        _remembered.popitem(last=False)
    return listing


def _seen(paths: Iterable[str]) -> Seen:
    found = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            return ()
        found.append((path, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _list(spec: str, as_classes: bool, allow_large: bool) -> Listing:
    if is_pattern(spec):
        return _list_shards(find_shards(spec), allow_large)
    path = Path(spec).expanduser()
    is_folder = path.is_dir()
    if is_archive(spec) and not is_folder:
        if not os.path.lexists(path):
            raise NotFoundError(f"there is no archive {spec!r}")
        if not spec.lower().endswith(".zip") and looks_like_shard(path, allow_large):
            return _list_shards((path,), allow_large)
        return _list_archive(path, as_classes, allow_large)
    if is_table(spec) and not is_folder:
        table = read_table(spec)
        seen = _seen([str(table.path)])
        return Listing(table.files, remarks=table.remarks, has_numbers=True, seen=seen)
    if not os.path.lexists(path):
        raise NotFoundError(f"there is no folder {spec!r}")
    if not is_folder:
        raise UsageError(f"{spec!r} is not a folder", LAYOUT.format("photos"))
    return _list_folder(spec, path, as_classes)


def is_image(name: str) -> bool:
    """Return whether a file of this name counts as an image."""
    return is_visible(name) and name.lower().endswith(IMAGE_SUFFIXES)


def _arranged(
    items: Sequence[tuple[Parts, Item]], empty: Iterable[Parts], as_classes: bool
) -> tuple[dict[str, dict[str, list[Item]]], Layout]:
    """Return files by split and class."""
    layout = arrange({folder for folder, _ in items}, empty, as_classes)
    files: dict[str, dict[str, list[Item]]] = {
        split: {name: [] for name in names} for split, names in layout.classes.items()
    }
    for folder, item in items:
        if folder in layout.places:
            split, class_name = layout.places[folder]
            files[split].setdefault(class_name, []).append(item)
    for classes in files.values():
        for name in classes:
            classes[name] = list(sorted_items(classes[name]))
    return files, layout


def _list_archive(path: Path, as_classes: bool, allow_large: bool) -> Listing:
    def is_wanted(name: str) -> bool:
        parts = PurePosixPath(name).parts
        return all(map(is_visible, parts)) and is_image(parts[-1] if parts else "")

    archive = Archive(path, is_wanted, allow_large)
    items: list[tuple[Parts, Item]] = [
        (PurePosixPath(place.name).parent.parts, PackedFile(archive, place))
        for place in archive.places
    ]
    files, layout = _arranged(items, (), as_classes)
    problems = []
    if archive.problem:
        before = f"; {len(items):,} images before that were read" if items else ""
        problems.append((str(path), archive.problem + before))
    remarks = [f"{path}: {remark}" for remark in layout.remarks]
    if archive.num_others:
        remarks.append(f"{path}: files without an image suffix left out: {archive.num_others:,}")
    if archive.dead_links:
        remarks.append(
            f"{path}: links that do not lead to an image of the archive left out: "
            f"{len(archive.dead_links):,}, such as {archive.dead_links[0]}"
        )
    if archive.num_folder_links:
        remarks.append(
            f"{path}: links to folders of the set itself left out: {archive.num_folder_links:,}"
        )
    return Listing(files, tuple(problems), tuple(remarks), seen=_seen([str(path)]))


def _list_shards(paths: Sequence[Path], allow_large: bool) -> Listing:
    files: dict[str, list[Item]] = {}
    problems: list[tuple[str, str]] = []
    num_without_label, several = 0, ""
    for path in paths:
        archive = Archive(path, is_shard_file, allow_large)
        number = 0
        for sample in samples(archive):
            label, reason = sample.label()
            if reason:
                problems.append((f"{path}/{sample.image.name}", reason))
                continue
            number += 1
            num_without_label += not label
            several = several or sample.others
            files.setdefault(label, []).append(PackedFile(archive, sample.image))
        if archive.problem:
            before = f"; {number:,} images before that were read" if number else ""
            problems.append((str(path), archive.problem + before))
    remarks = []
    if num_without_label:
        remarks.append(
            f"{num_without_label:,} images have no label: neither .cls, nor .json with one "
            f"of {', '.join(LABEL_KEYS)}"
        )
    if several:
        remarks.append(f"samples with several images, of which only one is used: {several}")
    return Listing(
        {"": files},
        tuple(problems),
        tuple(remarks),
        has_numbers=True,
        seen=_seen([*map(str, paths), *{str(path.parent) for path in paths}]),
    )


@dataclass
class _Walk:
    """A walk through a folder that visits every folder once, even if links lead back."""

    items: list[tuple[Parts, Item]] = field(default_factory=list)
    folders: dict[Parts, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    no_files: list[str] = field(default_factory=list)
    links: list[tuple[str, Parts]] = field(default_factory=list)
    num_links_back: int = 0
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def enter(self, path: str, parts: Parts) -> None:
        waiting = [(path, parts)]
        while waiting:
            current, at = waiting.pop()
            try:
                status = os.stat(current)  # noqa: PTH116
                if (status.st_dev, status.st_ino) in self._entered:
                    self.num_links_back += 1
                    continue
                self._entered.add((status.st_dev, status.st_ino))
                with os.scandir(current) as found:
                    below = sorted(found, key=lambda item: item.name)
            except OSError as error:
                if not at:
                    raise
                self.problems.append((current, os_reason(error)))
                continue
            self.folders[at] = current
            waiting += reversed([one for item in below if (one := self._look_at(item, at))])

    def _look_at(self, item: os.DirEntry[str], at: Parts) -> tuple[str, Parts] | None:
        """Add an item of a folder; return it if it is a folder to enter."""
        if not is_visible(item.name):
            return None
        # Not DirEntry.is_dir for links: one to itself makes it raise.
        is_link = item.is_symlink()
        if os.path.isdir(item.path) if is_link else item.is_dir(follow_symlinks=False):  # noqa: PTH112
            if is_image(item.name):
                self.no_files.append(item.path)
            if is_link:
                self.links.append((item.path, (*at, item.name)))
                return None
            return item.path, (*at, item.name)
        if is_image(item.name):
            self.items.append((at, item.path))
        else:
            self.others.append(item.path)
        return None

    def follow_links(self, top: str) -> None:
        """Enter the folders that links lead to, outside of the set itself."""
        own = os.path.realpath(top)
        while self.links:
            path, parts = self.links.pop(0)
            target = os.path.realpath(path)
            common = os.path.commonpath([own, target])
            if common in (own, target):  # a folder of the set, or around it
                self.num_links_back += 1
            else:
                self.enter(path, parts)


def _list_folder(spec: str, path: Path, as_classes: bool) -> Listing:
    walk = _Walk()
    try:
        walk.enter(str(path), ())
        walk.follow_links(str(path))
    except OSError as error:
        raise UnavailableError(
            f"{spec!r} cannot be read: {error.strerror or error}: {error.filename}",
            "check its permissions",
        ) from error
    with_images = {folder for folder, _ in walk.items}
    empty = [parts for parts in walk.folders if parts and parts not in with_images]
    files, layout = _arranged(walk.items, empty, as_classes)
    remarks = [f"{spec}: {remark}" for remark in layout.remarks]
    if walk.others:
        remarks.append(f"files without an image suffix left out: {len(walk.others):,}")
    if walk.num_links_back:
        remarks.append(f"links to folders of the set itself left out: {walk.num_links_back:,}")
    return Listing(
        files,
        tuple(walk.problems),
        tuple(remarks),
        tuple(walk.no_files),
        seen=_seen(walk.folders.values()),
    )


def class_names(listing: Listing) -> list[str]:
    """Return the classes of all splits in their order; those without a class left out."""
    found = {name for classes in listing.files.values() for name in classes if name}
    return sorted(found, key=label_order if listing.has_numbers else None)
