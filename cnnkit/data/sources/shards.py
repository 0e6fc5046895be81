"""WebDataset shards, `data-{000..127}.tar`: an image and its label side by side, read in place."""

import glob
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cnnkit.data.image_files import IMAGE_SUFFIXES
from cnnkit.data.image_limits import BadImageError, too_large
from cnnkit.data.layout import is_visible
from cnnkit.data.sources.archives import Archive, Place
from cnnkit.data.sources.members import BrokenArchiveError, Members, is_archive
from cnnkit.errors import NotFoundError, UsageError

RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
BRACES = re.compile(r"\{([^{}]*)\}")
MOST_SHARDS = 1_000_000
MAX_LABEL_BYTES = 2**20
"""A longer `.cls` or `.json` is refused unless large ones are allowed."""

MOST_DIGITS = 18  # of a label that is a number; of very many Python makes none
NUM_SNIFFED = 24  # files inspected to distinguish a shard from an archive of class folders
LABEL_EXTENSIONS = ("cls", "json")
NO_IMAGE_WORDS = {"mask", "seg", "segmentation", "depth", "label", "target", "annotation"}
LABEL_KEYS = ("class_name", "label_name", "cls", "label", "class", "class_id", "target")
"""Keys of the label in a `.json`, in order of precedence."""


def expand_braces(spec: str) -> list[str]:
    """Return the names that a pattern with braces expands to, as in a shell.

    `{000..127}` counts, with as many digits; `{a,b}` lists.

    Raises:
        UsageError: braces are empty or expand to too many names.
    """
    match = BRACES.search(spec)
    if match is None:
        return [spec]
    numbers = RANGE.fullmatch(match[1])
    if numbers is not None:
        first, last = int(numbers[1]), int(numbers[2])
        step = 1 if last >= first else -1
        if abs(last - first) >= MOST_SHARDS:
            raise UsageError(f"{spec!r} expands to {abs(last - first) + 1:,} shards", "name fewer")
        width = len(numbers[1]) if numbers[1].startswith("0") else 0
        middles = [f"{number:0{width}d}" for number in range(first, last + step, step)]
    else:
        middles = match[1].split(",")
        if len(middles) < 2:
            raise UsageError(
                f"{spec!r} has braces that expand to nothing", "write {000..127} or {a,b}"
            )
    return [
        name
        for middle in middles
        for name in expand_braces(spec[: match.start()] + middle + spec[match.end() :])
    ]


def is_pattern(spec: str) -> bool:
    """Return whether a name is a pattern of shards: with braces, or a `*`."""
    has_braces = BRACES.search(spec) is not None
    return has_braces or ("*" in spec and is_archive(spec) and not os.path.lexists(spec))


def find_shards(spec: str) -> tuple[Path, ...]:
    """Return the shards that a pattern names; those of a `*` in the order of their names.

    Raises:
        NotFoundError: one of them does not exist, or none matches a `*`.
        UsageError: the pattern is invalid, or names one twice.
    """
    paths = tuple(Path(name).expanduser() for name in expand_braces(spec))
    if any("*" in str(path) for path in paths):
        paths = tuple(Path(one) for path in paths for one in sorted(glob.glob(str(path))))  # noqa: PTH207
        if not paths:
            raise NotFoundError(f"there are no shards {spec!r}", "check the path")
    missing = [str(path) for path in paths if not os.path.exists(path)]  # noqa: PTH110
    if missing:
        raise NotFoundError(
            f"{len(missing):,} of the {len(paths):,} shards of {spec!r} do not exist, "
            f"such as {missing[0]!r}",
            "name existing ones",
        )
    if len(set(paths)) < len(paths):
        raise UsageError(f"{spec!r} names a shard twice", "name each once")
    return paths


def looks_like_shard(path: Path, allow_large: bool = False) -> bool:
    """Return whether a tar file begins with images and labels side by side."""
    images: set[str] = set()
    labels: set[str] = set()
    try:
        for member in itertools.islice(Members(path, allow_large).read(), NUM_SNIFFED):
            key, extension = _key_and_extension(member.name)
            if not is_shard_file(member.name):
                continue
            (labels if extension in LABEL_EXTENSIONS else images).add(key)
    except (BrokenArchiveError, OSError):
        pass  # what could be read decides; reading it all will say what is wrong
    return bool(images & labels)


def is_shard_file(name: str) -> bool:
    """Return whether a file of a shard is an image or a label."""
    path = PurePosixPath(name)
    if not all(map(is_visible, path.parts)):  # macOS puts `._0001.cls` beside `0001.cls`
        return False
    extension = _key_and_extension(name)[1]
    return extension in LABEL_EXTENSIONS or path.name.lower().endswith(IMAGE_SUFFIXES)


def label_order(name: str) -> tuple[int, int, str]:
    """Return the sort key of labels: numbers by value, then names."""
    is_number = name.isdecimal() and len(name) <= MOST_DIGITS
    return (0, int(name), name) if is_number else (1, 0, name)


@dataclass(frozen=True)
class Sample:
    """The files of one key.

    Attributes:
        archive: the shard.
        image: the image of them; of several the one with the plainest name.
        labels: by extension.
        others: the extensions of other images, in words.
    """

    archive: Archive
    image: Place
    labels: Mapping[str, Place]
    others: str = ""

    def label(self) -> tuple[str, str]:
        """Return the label, empty without one, and why it cannot be read."""
        texts = {}
        for extension, place in self.labels.items():
            if place.size > MAX_LABEL_BYTES and not self.archive.allow_large:
                reason = too_large(f"{place.size:,} bytes", MAX_LABEL_BYTES)
                return "", f"its label .{extension}: {reason}"
            try:
                texts[extension] = self.archive.read(place).decode("utf-8", "replace").strip()
            except BadImageError as error:
                return "", f"its label .{extension}: {error}"
        if texts.get("cls"):
            return _normal(texts["cls"]), ""
        return _normal(_label_in_json(texts.get("json", ""))), ""


def _normal(label: str) -> str:
    return unicodedata.normalize("NFC", label)


def _label_in_json(text: str) -> str:
    try:
        fields = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return ""
    if isinstance(fields, dict):
        for key in LABEL_KEYS:
            if isinstance(fields.get(key), str | int) and str(fields[key]).strip():
                return str(fields[key]).strip()
    return ""


def samples(archive: Archive) -> Iterator[Sample]:
    """Return the samples of a shard: files side by side whose names are equal up to a dot."""
    for _, places in itertools.groupby(
        archive.places, key=lambda place: _key_and_extension(place.name)[0]
    ):
        labels: dict[str, Place] = {}
        images: list[tuple[str, Place]] = []
        for place in places:
            extension = _key_and_extension(place.name)[1]
            if extension in LABEL_EXTENSIONS:
                labels[extension] = place
            else:
                images.append((extension, place))
        if images:
            images.sort(key=lambda one: _plainness(one[0]))
            others = ", ".join(f".{extension}" for extension, _ in images[1:])
            yield Sample(archive, images[0][1], labels, others)


def _plainness(extension: str) -> tuple[bool, bool]:
    """Return the sort key of the images of a sample: `jpg` before `image.jpg` before `mask.png`."""
    words = extension.split(".")[:-1]
    return bool(words), bool(NO_IMAGE_WORDS & set(words))


def _key_and_extension(name: str) -> tuple[str, str]:
    """Return the key of a file, up to the first dot of its name, and the rest in lower case."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    return str(path.parent / stem), extension.lower()
