import itertools
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from cnnkit.results import DatasetStatistics
from cnnkit.stats.counting.count_files import count_image
from cnnkit.stats.counting.tally import (
    FRACTION_BITS,
    ImageRecord,
    Tally,
    fixed_point_sums,
    sums_over_images,
)
from cnnkit.stats.report import summarize
from cnnkit.stats.saved_counts import Measurement, load, merge, save
from tests.stats.making import noise, plain_figures


def record(number: int) -> ImageRecord:
    """Return an image of a class, of one of several sizes, grey or not, 8 or 16 bits."""
    if number % 7 == 3:
        return ImageRecord(f"{number}.png", f"c{number % 3}", "cut short")
    pixels = noise(number, 2 + number % 5, 3 + number % 4, 1 if number % 4 == 0 else 3)
    image = Image.fromarray(pixels)
    counts = count_image(image)
    if number % 11 == 5:
        deep = pixels.astype(np.int64) * 200 + number
        channels = deep.reshape(-1, len(counts)).T
        counts = np.stack([np.bincount(one, minlength=65536) for one in channels])
    return ImageRecord(
        f"{number}.png", f"c{number % 3}", "", counts, image.width, image.height, image.mode,
        "PNG", 100 + number, number % 9 == 0, ("alpha dropped",) if number % 6 == 0 else (),
    )  # fmt: skip


RECORDS = [record(number) for number in range(60)]


def tally_of(records: list[ImageRecord]) -> Tally:
    tally = Tally()
    tally.add_records(records)
    return tally


def answer(tally: Tally) -> DatasetStatistics:
    return summarize(Measurement("d", "all", "f", "", ["c0", "c1", "c2"], tally), "image", False)


WHOLE = answer(tally_of(RECORDS)).to_dict()


@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_any_partition_in_any_order_gives_the_same_bits(
    stream: random.Random, num_parts: int
) -> None:
    records = RECORDS.copy()
    stream.shuffle(records)
    parts: list[list[ImageRecord]] = [[] for _ in range(num_parts)]
    for one in records:
        parts[stream.randrange(num_parts)].append(one)
    whole = Tally()
    for part in parts:
        whole.merge(tally_of(part))
    assert answer(whole).to_dict() == WHOLE


def test_parts_are_not_changed_by_merging() -> None:
    a, b = tally_of(RECORDS[:20]), tally_of(RECORDS[20:])
    for _ in range(2):
        whole = Tally()
        whole.merge(a)
        whole.merge(b)
        assert answer(whole).to_dict() == WHOLE


@given(st.permutations(range(8)))
def test_eight_saved_parts_merge_in_any_order(order: list[int]) -> None:
    parts = [
        Measurement(
            "d", "all", "f", "", ["c0", "c1", "c2"], tally_of(RECORDS[i::8]), shard=(i + 1, 8)
        )
        for i in order
    ]
    merged = merge([(Path(f"{i}.json"), part) for i, part in zip(order, parts, strict=True)])
    assert summarize(merged, "image", False).to_dict() == WHOLE


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    tally = tally_of(RECORDS)
    tally.bad.append(("caf\udce9.jpg", "empty"))
    measured = Measurement("d", "all", "f", "resize=3", ["c0"], tally, shard=(2, 5))
    save(measured, tmp_path / "part.json")
    again = load(tmp_path / "part.json")
    assert (again.dataset, again.transform, again.shard, again.classes) == (
        "d", "resize=3", (2, 5), ["c0"],
    )  # fmt: skip
    assert sorted(again.tally.bad) == sorted(tally.bad)
    assert again.tally.sums == tally.sums
    assert again.tally.sizes == tally.sizes
    assert all((again.tally.histograms[k] == v).all() for k, v in tally.histograms.items())


def test_figures_are_those_of_numpy() -> None:
    images = []
    for number, one in enumerate(RECORDS):
        if one.counts is None:
            continue
        white = one.counts.shape[1] - 1
        channels = [np.repeat(np.arange(white + 1), counts) / white for counts in one.counts]
        # Pixels of a channel in any order: mean and deviation do not see it.
        assert len({len(channel) for channel in channels}) == 1, number
        images.append(np.stack(channels * (3 // len(channels)), axis=1))
    expected = plain_figures(images)
    by_pixel = summarize(Measurement("d", "all", "", "", [], tally_of(RECORDS)), "pixel", False)
    by_image = answer(tally_of(RECORDS))
    for name, ours in (
        ("mean", by_pixel.mean),
        ("std", by_pixel.std),
        ("mean_of_image_means", by_pixel.mean_of_image_means),
        ("mean_of_image_means", by_image.mean),
        ("mean_of_image_stds", by_image.mean_of_image_stds),
        ("weighted_std", by_image.std),
    ):
        np.testing.assert_allclose(ours, expected[name], rtol=1e-12, err_msg=name)
    assert by_pixel.num_pixels == sum(map(len, images))
    assert by_pixel.bit_depth == 16


@given(
    arrays.arrays(np.int64, (5, 2), elements=st.integers(0, 2**40)),
    arrays.arrays(np.int64, (5, 2), elements=st.integers(1, 2**33)),
    st.sampled_from([1, 255, 65535]),
)
def test_fixed_point_is_the_same_in_arrays_and_in_integers(
    above: np.ndarray, below: np.ndarray, further: int
) -> None:
    for divisors in (below, below % 1000 + 1):
        expected = [
            sum(
                (int(a) << FRACTION_BITS) // (int(b) * further)
                for a, b in zip(above[:, i], divisors[:, i], strict=True)
            )
            for i in range(2)
        ]
        assert fixed_point_sums(above, divisors, further) == expected


def test_a_large_image_has_the_deviation_of_small_ones() -> None:
    """Its sums pass 64 bits when they are squared."""
    numbers = np.array([4, 2**26])
    totals = numbers[:, None] * 2**15
    squares = numbers[:, None] * 2**31
    one, other = (
        sums_over_images(numbers[i : i + 1], totals[i : i + 1], squares[i : i + 1], 65535)
        for i in range(2)
    )
    assert one.deviations == other.deviations


@pytest.mark.parametrize("names", list(itertools.permutations("abc")))
def test_the_whole_does_not_depend_on_what_classes_are_called(names: tuple[str, ...]) -> None:
    by_name = dict(zip(("c0", "c1", "c2"), names, strict=True))
    for called in (by_name, dict.fromkeys(by_name, "all")):
        tally = tally_of([replace(one, class_name=called[one.class_name]) for one in RECORDS])
        assert tally.classes() == set(called.values())
        assert answer(tally).mean == tuple(WHOLE["mean"])
