"""Saving measurements to a file, loading them, and merging several."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cnnkit.data.histogram import EXACT_IN_INT64, Counts, from_sparse, to_sparse
from cnnkit.errors import UsageError, setting
from cnnkit.stats.counting.tally import (
    DEVIATION_BITS,
    FRACTION_BITS,
    ImageSums,
    SampledImage,
    Tally,
)
from cnnkit.stats.counting.transform import Transform
from cnnkit.system.files import TooLargeError, explain_os_error, read_regular, write_text
from cnnkit.system.records import List, Record, at_most, parse_json

SCHEMA = "cnnkit.histogram/1"
MOST_BYTES = 24 * 2**20  # of a file; a thousand classes of color images take 12 MB
MOST_HISTOGRAM_BYTES = 2**28  # of all files together, in memory
MOST_SIDE = 2**31

Count = Annotated[int, Field(ge=0, le=EXACT_IN_INT64)]
Kinds = Annotated[dict[str, Count], at_most(1000)]


@dataclass
class Measurement:
    """The measured integers of a dataset, and what was measured.

    Attributes:
        dataset: its name.
        split: the part of it.
        fingerprint: identifies the images; empty if not requested.
        transform: transform applied to images before counting; empty for none.
        classes: their names in order, those without images included.
        tally: the integers.
        population: number of images that the sample was drawn from; None without a sample.
        shard: number of this part, from 1, and of all; None if it is not a part.
        seconds: duration of the measurement, without opening the data; not saved.
    """

    dataset: str
    split: str
    fingerprint: str
    transform: str
    classes: list[str]
    tally: Tally
    population: int | None = None
    shard: tuple[int, int] | None = None
    seconds: float = 0.0


def save(measurement: Measurement, path: Path) -> None:
    """Write a measurement to a JSON file, atomically.

    Raises:
        UnavailableError: no space, no permission.
        NotFoundError: the folder does not exist.
    """
    tally = measurement.tally
    document = {
        "schema": SCHEMA,
        "dataset": measurement.dataset,
        "split": measurement.split,
        "fingerprint": measurement.fingerprint,
        "transform": measurement.transform,
        "classes": measurement.classes,
        "population": measurement.population,
        "shard": measurement.shard,
        "histograms": [
            {"class": name, "channels": [to_sparse(one) for one in counts]}
            for (name, _, _), counts in sorted(tally.histograms.items())
        ],
        "sums": [
            {
                "class": name,
                "num_images": sums.number,
                "means": sums.means,
                "squares": sums.squares,
                "deviations": sums.deviations,
            }
            for (name, _), sums in sorted(tally.sums.items())
        ],
        "sizes": sorted([*size, number] for size, number in tally.sizes.items()),
        "modes": dict(sorted(tally.modes.items())),
        "formats": dict(sorted(tally.formats.items())),
        "changes": dict(sorted(tally.changes.items())),
        "num_oriented": tally.num_oriented,
        "num_bytes": tally.num_bytes,
        "num_pixels": tally.num_pixels,
        "bad": sorted([name, reason] for name, reason in tally.bad),
        "sample": None
        if tally.sample is None
        else sorted([one.num_pixels, one.totals, one.squares] for one in tally.sample),
    }
    write_text(path, json.dumps(document, ensure_ascii=True) + "\n")


def load(path: Path, allow_large: bool = False, room: int = MOST_HISTOGRAM_BYTES) -> Measurement:
    """Read a measurement that `save` wrote.

    Args:
        path: the file.
        allow_large: read it however large it is.
        room: how many bytes its histograms may have.

    Raises:
        NotFoundError: there is no such file.
        UnavailableError: it cannot be read.
        UsageError: it is not a measurement, or larger than allowed.
    """
    try:
        content = read_regular(path, EXACT_IN_INT64 if allow_large else MOST_BYTES)
    except TooLargeError as error:
        raise _too_large(path, str(error.strerror)) from error
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error
    try:
        document = parse_json(content)
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise _no_measurement(path, f"its schema is not {SCHEMA}")
        saved = _Saved.from_plain(document)
        num_bytes = sum(8 * channel.bins for one in saved.histograms for channel in one.channels)
        if num_bytes > room and not allow_large:
            raise _too_large(
                path,
                f"its histograms take {num_bytes:,} bytes, more than the {room:,} left for them",
            )
        return saved.measurement()
    except ValueError as error:
        raise _no_measurement(path, f"it is damaged: {error}") from error


def load_parts(paths: Iterable[Path], allow_large: bool = False) -> list[tuple[Path, Measurement]]:
    """Read several measurements, for `merge`; see `load`."""
    parts, room = [], MOST_HISTOGRAM_BYTES
    for path in paths:
        part = load(path, allow_large, room)
        room -= part.tally.histogram_bytes
        parts.append((path, part))
    return parts


def merge(parts: Sequence[tuple[Path, Measurement]]) -> Measurement:
    """Return the sum of the parts of one dataset.

    Raises:
        UsageError: they are of different datasets, one is given twice or missing, or is not a part.
    """
    first_path, first = parts[0]
    seen: dict[int, Path] = {}
    for path, part in parts:
        if part.shard is None:
            raise UsageError(
                f"{path} is not a part but all of {part.dataset}",
                f"save parts with {setting('shard')} 1/8",
            )
        for what, mine, others in (
            ("dataset", first.fingerprint, part.fingerprint),
            ("split", first.split, part.split),
            ("transform", first.transform, part.transform),
        ):
            if mine != others:
                raise UsageError(
                    f"{first_path} and {path} are parts of different images: the {what} differs "
                    f"({first.dataset} and {part.dataset})",
                    "merge parts of one dataset, measured with the same options",
                )
        assert first.shard is not None
        number, of = part.shard
        if of != first.shard[1]:
            raise UsageError(
                f"{first_path} is one of {first.shard[1]} parts, but {path} one of {of}",
                "merge parts of the same number of parts",
            )
        if number in seen:
            raise UsageError(f"part {number}/{of} is given twice: {seen[number]} and {path}",
                             "leave one out")  # fmt: skip
        seen[number] = path
    assert first.shard is not None
    missing = [str(one) for one in range(1, first.shard[1] + 1) if one not in seen]
    if missing:
        raise UsageError(
            f"of {first.shard[1]} parts {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            f"measure with {setting('shard')} {missing[0]}/{first.shard[1]} "
            f"{setting('save_to')} FILE",
        )
    if sum(part.tally.num_pixels for _, part in parts) > EXACT_IN_INT64:
        raise UsageError("the parts have more pixels than can be counted", "measure them again")
    whole = Tally()
    classes: dict[str, None] = {}
    for _, part in sorted(parts, key=lambda one: one[1].shard or (0, 0)):
        whole.merge(part.tally)
        classes.update(dict.fromkeys(part.classes))
    return Measurement(
        first.dataset, first.split, first.fingerprint, first.transform, list(classes), whole
    )


class _SavedHistogram(Record):
    """Pixels of a channel by value; values that do not occur are left out."""

    bins: Literal[256, 65536]
    values: List[int]
    counts: List[Count]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.values) != len(self.counts) or not 0 < len(self.values) <= self.bins:
            raise ValueError("values and counts differ in length")
        if not all(a < b for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError("its values are not in ascending order")
        if self.values[0] < 0 or self.values[-1] >= self.bins or 0 in self.counts:
            raise ValueError("it counts values outside of the range, or a count is 0")
        return self

    def counts_by_value(self) -> Counts:
        """Return the histogram, int64 of shape (bins,)."""
        return from_sparse({"bins": self.bins, "values": self.values, "counts": self.counts})


class _SavedHistograms(Record):
    """The histograms of a class."""

    class_name: Annotated[str, Field(alias="class")]
    channels: List[_SavedHistogram]

    @property
    def num_pixels(self) -> int:
        """How many pixels each channel has."""
        return sum(self.channels[0].counts)

    @property
    def kind(self) -> tuple[str, int, int]:
        """Class, channels and bins."""
        return self.class_name, len(self.channels), self.channels[0].bins

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.channels) not in (1, 3):
            raise ValueError(f"it has {len(self.channels)} channels")
        if len({(one.bins, sum(one.counts)) for one in self.channels}) != 1:
            raise ValueError("its channels differ in bins or number of pixels")
        return self


class _SavedSums(Record):
    """The sums over images of a class."""

    class_name: Annotated[str, Field(alias="class")]
    num_images: Annotated[int, Field(ge=1, le=EXACT_IN_INT64)]
    means: List[int]
    squares: List[int]
    deviations: List[int]

    @property
    def kind(self) -> tuple[str, int]:
        """Class and channels."""
        return self.class_name, len(self.means)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not len(self.means) == len(self.squares) == len(self.deviations):
            raise ValueError("its sums differ in the number of channels")
        whole = self.num_images << FRACTION_BITS
        if not all(0 <= one <= whole for one in (*self.means, *self.squares)) or not all(
            0 <= one <= self.num_images << DEVIATION_BITS for one in self.deviations
        ):
            raise ValueError("its sums are larger than its images can have")
        return self

    def sums(self) -> ImageSums:
        """Return the sums for a tally."""
        return ImageSums(
            self.num_images, list(self.means), list(self.squares), list(self.deviations)
        )


class _Saved(Record):
    """The contents of a file; see `save`."""

    dataset: str
    split: str
    fingerprint: str
    transform: str
    classes: List[str]
    population: Count | None
    shard: Annotated[list[Count], at_most(2)] | None
    histograms: List[_SavedHistograms]
    sums: List[_SavedSums]
    sizes: List[Annotated[List[int], Field(min_length=3, max_length=3)]]
    modes: Kinds
    formats: Kinds
    changes: Kinds
    num_oriented: Count
    num_bytes: Count
    num_pixels: Count
    bad: List[Annotated[List[str], Field(min_length=2, max_length=2)]]
    sample: list[Any] | None  # rows of one number and two lists of them

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {one.kind for one in self.histograms}
        sums = {one.kind for one in self.sums}
        if len(kinds) != len(self.histograms) or len(sums) != len(self.sums):
            raise ValueError("a class occurs twice")
        if {(name, channels) for name, channels, _ in kinds} != sums:
            raise ValueError("histograms and sums have different classes")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class name occurs twice")
        if sum(one.num_pixels for one in self.histograms) != self.num_pixels:
            raise ValueError("its pixels do not add up")
        num_images = sum(one.num_images for one in self.sums)
        if not num_images <= self.num_pixels or self.num_oriented > num_images:
            raise ValueError("it has more images than pixels, or too many turned images")
        if not all(min(one) >= 1 and max(one[:2]) <= MOST_SIDE for one in self.sizes):
            raise ValueError("an image has no pixels, or too many")
        for of, numbers in (
            ("sizes", [number for _, _, number in self.sizes]),
            ("modes", list(self.modes.values())),
            ("formats", list(self.formats.values())),
        ):
            if sum(numbers) != num_images and (numbers or of != "formats"):
                raise ValueError(f"its {of} do not add up to {num_images:,} images")
        if self.shard is not None and not (
            len(self.shard) == 2 and 1 <= self.shard[0] <= self.shard[1]
        ):
            raise ValueError("there is no such part")
        if self.sample is not None:
            self._check_sample(num_images)
        try:
            Transform.parse(self.transform) if self.transform else Transform()
        except UsageError as error:
            raise ValueError("there is no such transform") from error
        return self

    def _check_sample(self, num_images: int) -> None:
        assert self.sample is not None
        if len(self.sample) != num_images or (self.population or 0) < num_images:
            raise ValueError("its sample has a different number of images")
        if not all(one.is_possible for one in map(_sampled, self.sample)):
            raise ValueError("an image of its sample has impossible values")

    def measurement(self) -> Measurement:
        """Return the measurement with the histograms in memory."""
        tally = Tally()
        for one in self.histograms:
            tally.add_histogram(
                one.class_name, np.stack([channel.counts_by_value() for channel in one.channels])
            )
        for sums in self.sums:
            tally.add_sums(*sums.kind, sums.sums())
        tally.sizes = Counter({(width, height): number for width, height, number in self.sizes})
        for name in ("modes", "formats", "changes"):
            setattr(tally, name, Counter(getattr(self, name)))
        for name in ("num_oriented", "num_bytes", "num_pixels"):
            setattr(tally, name, getattr(self, name))
        tally.bad = [(name, reason) for name, reason in self.bad]
        if self.sample is not None:
            tally.sample = [_sampled(one) for one in self.sample]
        return Measurement(
            dataset=self.dataset,
            split=self.split,
            fingerprint=self.fingerprint,
            transform=self.transform,
            classes=list(self.classes),
            tally=tally,
            population=self.population,
            shard=None if self.shard is None else (self.shard[0], self.shard[1]),
        )


def _sampled(row: Any) -> SampledImage:
    """Return an image of a sample.

    Raises:
        ValueError: it is none.
    """
    match row:
        case [number, list(totals), list(squares)]:
            if len(totals) <= 3 and all(type(one) is int for one in (number, *totals, *squares)):
                return SampledImage(number, tuple(totals), tuple(squares))
    raise ValueError("an image of its sample is incomplete")


def _too_large(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is too large: {why}", f"{setting('allow_large')} reads it")


def _no_measurement(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} was not written by `cnnkit stats --save`: {why}", "measure again")
