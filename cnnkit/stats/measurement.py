"""What was measured, as it is saved to a file, and brought together from several."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.data.histogram import from_sparse, to_sparse
from cnnkit.errors import UsageError
from cnnkit.files import explain_os_error, write_text
from cnnkit.stats.counting.tally import ImageSums, SampledImage, Tally

SCHEMA = "cnnkit.histogram/1"


@dataclass
class Measurement:
    """The integers of a dataset, and what they are of.

    Attributes:
        dataset: what it was called.
        split: the part of it.
        fingerprint: what tells these images from others; empty where it was not asked for.
        transform: what was done to images before they were counted; empty for nothing.
        classes: their names in order, those without images included.
        tally: the integers.
        population: images that the sample was drawn from; None where it is no sample.
        shard: number of this part, from 1, and of all; None for the whole.
        seconds: duration of the measuring, without opening the data; not saved.
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
    """Write a measurement to a JSON file, whole or not at all.

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


def load(path: Path) -> Measurement:
    """Read a measurement that `save` wrote.

    Raises:
        NotFoundError: there is no such file.
        UnavailableError: it cannot be read.
        UsageError: it is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error
    except UnicodeDecodeError as error:
        raise _no_measurement(path, "it is no text") from error
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise _no_measurement(path, f"its schema is not {SCHEMA}")
        return _read(document)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError) as error:
        raise _no_measurement(path, f"it is damaged: {error}") from error


def merge(parts: Sequence[tuple[Path, Measurement]]) -> Measurement:
    """Return the whole that parts of one dataset add up to.

    Raises:
        UsageError: they are of different datasets, one is there twice or missing, or is no part.
    """
    first_path, first = parts[0]
    seen: dict[int, Path] = {}
    for path, part in parts:
        if part.shard is None:
            raise UsageError(
                f"{path} is no part but all of {part.dataset}", "save parts with --shard 1/8"
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
                    "merge parts of one dataset, measured alike",
                )
        assert first.shard is not None
        number, of = part.shard
        if of != first.shard[1]:
            raise UsageError(
                f"{first_path} is one of {first.shard[1]} parts, but {path} one of {of}",
                "merge parts of one division",
            )
        if number in seen:
            raise UsageError(f"part {number}/{of} is there twice: {seen[number]} and {path}",
                             "leave one out")  # fmt: skip
        seen[number] = path
    assert first.shard is not None
    missing = [str(one) for one in range(1, first.shard[1] + 1) if one not in seen]
    if missing:
        raise UsageError(
            f"of {first.shard[1]} parts {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            f"measure with --shard {missing[0]}/{first.shard[1]} --save FILE",
        )
    whole = Tally()
    classes: dict[str, None] = {}
    for _, part in sorted(parts, key=lambda one: one[1].shard or (0, 0)):
        whole.merge(part.tally)
        classes.update(dict.fromkeys(part.classes))
    return Measurement(
        first.dataset, first.split, first.fingerprint, first.transform, list(classes), whole
    )


def _read(document: dict[str, Any]) -> Measurement:
    tally = Tally()
    for one in document["histograms"]:
        tally.add_histogram(one["class"], np.stack([from_sparse(c) for c in one["channels"]]))
    for one in document["sums"]:
        lists = [[int(value) for value in one[key]] for key in ("means", "squares", "deviations")]
        tally.add_sums(one["class"], len(lists[0]), ImageSums(int(one["num_images"]), *lists))
    tally.sizes = Counter({(int(w), int(h)): int(number) for w, h, number in document["sizes"]})
    for name in ("modes", "formats", "changes"):
        setattr(tally, name, Counter({str(k): int(v) for k, v in document[name].items()}))
    for name in ("num_oriented", "num_bytes", "num_pixels"):
        setattr(tally, name, int(document[name]))
    tally.bad = [(str(name), str(reason)) for name, reason in document["bad"]]
    if document["sample"] is not None:
        tally.sample = [
            SampledImage(int(n), tuple(map(int, totals)), tuple(map(int, squares)))
            for n, totals, squares in document["sample"]
        ]
    if sum(int(one[0].sum()) for one in tally.histograms.values()) != tally.num_pixels:
        raise ValueError("its pixels do not add up")
    shard = document["shard"]
    return Measurement(
        dataset=str(document["dataset"]),
        split=str(document["split"]),
        fingerprint=str(document["fingerprint"]),
        transform=str(document["transform"]),
        classes=[str(name) for name in document["classes"]],
        tally=tally,
        population=None if document["population"] is None else int(document["population"]),
        shard=None if shard is None else (int(shard[0]), int(shard[1])),
    )


def _no_measurement(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} was not written by `cnnkit stats --save`: {why}", "measure again")
