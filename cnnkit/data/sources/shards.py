"""WebDataset shards, `data-{000..127}.tar`: an image and its label side by side, read in place."""

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cnnkit.data.decode import os_reason
from cnnkit.data.sources.archives import file_identity
from cnnkit.data.sources.folder import is_image
from cnnkit.data.sources.members import BrokenArchiveError, Members
from cnnkit.data.sources.streams import (
    Chooser,
    EncodedImage,
    ImageStream,
    Stamp,
    digest,
    file_stamp,
)
from cnnkit.errors import NotFoundError, UsageError

RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
BRACES = re.compile(r"\{([^{}]*)\}")
MOST_SHARDS = 1_000_000
MAX_LABEL_BYTES = 2**20
"""A longer `.cls` or `.json` is refused unless large ones are allowed."""

NUM_SNIFFED = 24  # files that are looked at to tell a shard from an archive of class folders
LABEL_KEYS = ("class_name", "label_name", "cls", "label", "class", "class_id", "target")
"""Where a label stands in a `.json`, the first that is there."""


def expand_braces(spec: str) -> list[str]:
    """Return the names that a pattern with braces stands for, as a shell has it.

    `{000..127}` counts, with as many digits; `{a,b}` lists.

    Raises:
        UsageError: braces are empty or stand for too many names.
    """
    match = BRACES.search(spec)
    if match is None:
        return [spec]
    numbers = RANGE.fullmatch(match[1])
    if numbers is not None:
        first, last = int(numbers[1]), int(numbers[2])
        step = 1 if last >= first else -1
        if abs(last - first) >= MOST_SHARDS:
            raise UsageError(f"{spec!r} stands for {abs(last - first) + 1:,} shards", "name fewer")
        width = len(numbers[1]) if numbers[1].startswith("0") else 0
        middles = [f"{number:0{width}d}" for number in range(first, last + step, step)]
    else:
        middles = match[1].split(",")
        if len(middles) < 2:
            raise UsageError(
                f"{spec!r} has braces that stand for nothing", "write {000..127} or {a,b}"
            )
    return [
        name
        for middle in middles
        for name in expand_braces(spec[: match.start()] + middle + spec[match.end() :])
    ]


def find_shards(spec: str) -> tuple[Path, ...]:
    """Return the shards that a pattern with braces names.

    Raises:
        NotFoundError: one of them is not there.
        UsageError: the pattern makes no sense, or names one twice.
    """
    paths = tuple(Path(name).expanduser() for name in expand_braces(spec))
    missing = [str(path) for path in paths if not os.path.exists(path)]  # noqa: PTH110
    if missing:
        raise NotFoundError(
            f"{len(missing):,} of the {len(paths):,} shards of {spec!r} are not there, "
            f"such as {missing[0]!r}",
            "name those that are there",
        )
    if len(set(paths)) < len(paths):
        raise UsageError(f"{spec!r} names a shard twice", "name each once")
    return paths


def looks_like_shard(path: Path, allow_large: bool = False) -> bool:
    """Return whether a tar file begins with images and labels side by side."""
    images, labels = set(), set()
    try:
        for member in itertools.islice(Members(path, allow_large).read(), NUM_SNIFFED):
            key, extension = _key_and_extension(member.name)
            if is_image(PurePosixPath(member.name).name):
                images.add(key)
            elif extension in ("cls", "json"):
                labels.add(key)
    except (BrokenArchiveError, OSError):
        pass  # what could be read decides; reading it all will tell what is wrong
    return bool(images & labels)


class ShardStream(ImageStream):
    """The images of WebDataset shards; a unit is a shard.

    Args:
        dataset: the name that it was opened under.
        paths: the shards.
        allow_large: read what is above the limits of `Members` as well.
    """

    claim_size = 1

    def __init__(self, dataset: str, paths: Sequence[Path], allow_large: bool = False) -> None:
        self.dataset, self.split = dataset, "all"
        self._paths = paths
        self._allow_large = allow_large
        self._num_without_label = 0

    def images(
        self, is_wanted: Chooser, chosen: frozenset[int] | None = None
    ) -> Iterator[EncodedImage]:
        """Return the images of the wanted shards; a shard that is broken is one of them."""
        number = 0
        self._num_without_label = 0
        for unit, path in enumerate(self._paths):
            if not is_wanted(unit):
                continue
            stamp = file_stamp(str(path))
            before = number
            try:
                for sample in _samples(path, self._allow_large):
                    if sample.image_name:
                        if chosen is None or number in chosen:
                            yield self._image(path, sample, stamp)
                        number += 1
                    del sample  # before the next one is read
            except BrokenArchiveError as error:
                if chosen is None:
                    read = f"; {number - before:,} images before that were read"
                    yield EncodedImage(str(path), "", reason=f"{error}{read * (number > before)}")
            except OSError as error:
                if chosen is None:
                    yield EncodedImage(str(path), "", reason=os_reason(error))

    def _image(self, path: Path, sample: "_Sample", stamp: Stamp | None) -> EncodedImage:
        label = sample.label()
        if label is None and not sample.reason:
            self._num_without_label += 1
        return EncodedImage(
            f"{path}/{sample.image_name}",
            label or "",
            content=sample.image,
            reason=sample.reason,
            archive=stamp,
        )

    def count(self) -> None:
        """Return None: shards have no index."""

    def classes(self) -> Sequence[str]:
        """Return nothing: the classes are known once all was read."""
        return ()

    def class_counts(self) -> dict[str, int]:
        """Return the images of each label; they are read, but not decoded."""
        return dict(sorted(super().class_counts().items(), key=lambda item: label_order(item[0])))

    def fingerprint(self) -> str:
        """Return a SHA-256 over the names of the shards, their sizes and both their ends."""
        return digest(f"{path.name} {file_identity(path)}" for path in self._paths)

    def remarks(self) -> Sequence[str]:
        """Return how many images had no label."""
        if not self._num_without_label:
            return ()
        return (
            f"{self._num_without_label:,} images have no label: neither .cls, nor .json with one "
            f"of {', '.join(LABEL_KEYS)}",
        )


def label_order(name: str) -> tuple[int, int, str]:
    """Return what sorts labels: numbers by value, then names."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


@dataclass
class _Sample:
    """The files of one key; a reason says which of them cannot be read, and why."""

    key: str
    image_name: str = ""
    image: bytes | None = None
    reason: str = ""
    labels: dict[str, bytes] = field(default_factory=dict)

    def label(self) -> str | None:
        """Return the label; None without one that can be read."""
        if "cls" in self.labels:
            text = self.labels["cls"].decode("utf-8", "replace").strip()
            if text:
                return text
        if "json" in self.labels:
            try:
                fields = json.loads(self.labels["json"])
            except (ValueError, RecursionError):
                return None
            if isinstance(fields, dict):
                for key in LABEL_KEYS:
                    if isinstance(fields.get(key), str | int) and str(fields[key]).strip():
                        return str(fields[key]).strip()
        return None


def _samples(path: Path, allow_large: bool) -> Iterator[_Sample]:
    """Return the samples of a shard: files side by side whose names are equal up to a dot."""
    current: _Sample | None = None
    for member in Members(path, allow_large).read():
        key, extension = _key_and_extension(member.name)
        if current is not None and key != current.key:
            yield current
            current = None  # and its bytes with it, before the next are read
        if current is None:
            current = _Sample(key)
        if is_image(PurePosixPath(member.name).name):
            if not current.image_name:
                current.image_name = member.name
                found = member.read()
                current.image, current.reason = found.content, found.reason or current.reason
                del found
        elif extension in ("cls", "json"):
            label = member.read(MAX_LABEL_BYTES)
            current.labels[extension] = label.content or b""
            if label.reason:
                current.reason = f"its label .{extension}: {label.reason}"
    if current is not None:
        yield current


def _key_and_extension(name: str) -> tuple[str, str]:
    """Return the key of a file, up to the first dot of its name, and the rest in lower case."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    return str(path.parent / stem), extension.lower()
