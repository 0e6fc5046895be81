"""Planted copies are found, and none invented; the search is complete."""

import gzip
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnkit.results.inspection import DuplicateGroup, Duplicates
from cnnkit.stats.inspection.duplicates import find_duplicates
from cnnkit.stats.inspection.fingerprints import (
    Fingerprint,
    FingerprintCollector,
    difference_hash,
    take_fingerprint,
)
from cnnkit.stats.inspection.hamming import close_pairs

RESAMPLING = Image.Resampling


def encoded(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        return opened.copy() if opened.mode in ("L", "RGB") else opened.convert("RGB")


class Planting:
    """A set that is put together image by image."""

    def __init__(self) -> None:
        self.collector = FingerprintCollector()

    def add(self, name: str, content: bytes, label: str = "a", split: str = "train") -> None:
        self.collector.add(
            name,
            decoded(content),
            label=label,
            split=split,
            content=content,
        )

    def find(self) -> Duplicates:
        return find_duplicates(self.collector.fingerprints)


def names(group: DuplicateGroup) -> list[str]:
    return [image.path for image in group.images]


@pytest.fixture(scope="module")
def digits(mnist_files: Path) -> list[Image.Image]:
    """The first 4,000 test digits of MNIST."""
    content = gzip.decompress((mnist_files / "t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    return [Image.fromarray(one) for one in pixels[:4000]]


def scene(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Return a made-up photograph: blobs of colour at many scales."""
    random = np.random.default_rng(seed)
    layers = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48):
        noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize(size, RESAMPLING.BICUBIC)
        layers += np.asarray(layer, dtype=float) * 3 / cells
    layers -= layers.min()
    return Image.fromarray((layers * 255 / layers.max()).astype(np.uint8))


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=60),
    st.lists(st.integers(0, 2**12 - 1), max_size=200),
    st.integers(0, 64),
)
@settings(max_examples=60, deadline=None)
def test_the_search_is_that_of_brute_force(
    spread: list[int], crowded: list[int], radius: int
) -> None:
    hashes = [*spread, *crowded]
    expected = {
        (i, j): (hashes[i] ^ hashes[j]).bit_count()
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (hashes[i] ^ hashes[j]).bit_count() <= radius
    }
    found = {}
    for i, j, bits in close_pairs(np.array(hashes, dtype=np.uint64), radius):
        for a, b, distance in zip(i.tolist(), j.tolist(), bits.tolist(), strict=True):
            pair = (min(a, b), max(a, b))
            assert pair not in found
            found[pair] = distance
    assert found == expected


@given(
    st.lists(st.tuples(st.integers(0, 2**10 - 1), st.integers(-5, 40)), max_size=200),
    st.integers(0, 10),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_the_search_keeps_to_keys(
    images: list[tuple[int, int]], radius: int, max_key_difference: int
) -> None:
    expected = {
        (i, j)
        for i, (first, first_key) in enumerate(images)
        for j, (second, second_key) in enumerate(images)
        if i < j
        and (first ^ second).bit_count() <= radius
        and abs(first_key - second_key) <= max_key_difference
    }
    hashes = np.array([one for one, _ in images], dtype=np.uint64)
    keys = np.array([key for _, key in images], dtype=np.int64)
    found = [
        (min(pair), max(pair))
        for i, j, _ in close_pairs(hashes, radius, keys, max_key_difference)
        for pair in zip(i.tolist(), j.tolist(), strict=True)
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_the_search_is_that_of_brute_force_over_many_blocks() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 6000, dtype=np.uint64)
    hashes[1::2] = hashes[::2] ^ (np.uint64(1) << random.integers(0, 64, 3000, dtype=np.uint64))
    found = np.zeros((6000, 6000), dtype=bool)
    for i, j, bits in close_pairs(hashes, 12):
        assert (np.bitwise_count(hashes[i] ^ hashes[j]) == bits).all()
        found[i, j] = True
    assert not (found & found.T).any()
    close = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 12
    np.fill_diagonal(close, False)
    assert ((found | found.T) == close).all()
    assert close.sum() >= 6000


def test_the_hash_says_where_it_gets_brighter_to_the_right() -> None:
    rising = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert difference_hash(Image.fromarray(rising)) == 2**64 - 1
    assert difference_hash(Image.fromarray(rising[:, ::-1].copy())) == 0
    noisy = np.full((8, 9), 100, dtype=np.uint8)
    noisy[:, ::2] += 4
    assert difference_hash(Image.fromarray(noisy)) == 0  # as even as it looks
    one = np.zeros((8, 9), dtype=np.uint8)
    one[0, 1:] = 50
    assert difference_hash(Image.fromarray(one)) == 1 << 63
    one[0, 1:] = 0
    one[7, 8] = 50
    assert difference_hash(Image.fromarray(one)) == 1


def test_planted_copies_of_digits_are_found_and_none_invented(digits: list[Image.Image]) -> None:
    planting = Planting()
    for number, digit in enumerate(digits):
        planting.add(f"{number}.png", encoded(digit))
    expected = set()
    copies = {
        "bytes": lambda digit: encoded(digit),
        "pixels": lambda digit: encoded(digit, "BMP"),
        "jpeg": lambda digit: encoded(digit, "JPEG", quality=75),
        "webp": lambda digit: encoded(digit, "WEBP", quality=80),
        "half": lambda digit: encoded(digit.resize((14, 14), RESAMPLING.LANCZOS)),
        "smaller": lambda digit: encoded(digit.resize((21, 21), RESAMPLING.BILINEAR)),
        "larger": lambda digit: encoded(digit.resize((42, 42), RESAMPLING.BICUBIC)),
        "double": lambda digit: encoded(digit.resize((56, 56), RESAMPLING.BILINEAR)),
    }
    for number in range(0, 400, 8):
        for offset, (kind, copy) in enumerate(copies.items()):
            source = number + offset
            planting.add(f"{kind} of {source}", copy(digits[source]))
            expected.add((f"{source}.png", f"{kind} of {source}"))
    found = planting.find()
    assert {tuple(names(group)) for group in found.groups} == expected
    assert (found.count("bytes"), found.count("pixels"), found.count("near")) == (50, 50, 300)
    assert found.num_images == 4400
    for group in found.groups:
        assert group.images[1].match == group.kind
        assert (group.distance, group.difference) == (0, 0) or group.kind == "near"


def test_planted_copies_of_photographs_are_found_and_none_invented() -> None:
    planting = Planting()
    expected = set()
    for number in range(60):
        image = scene(number)
        planting.add(f"{number}", encoded(image, "JPEG", quality=92))
        copies = [
            encoded(image, "JPEG", quality=40),
            encoded(image, "PNG"),
            encoded(image.resize((150, 100), RESAMPLING.BOX), "JPEG", quality=75),
            encoded(image.resize((224, 224), RESAMPLING.BICUBIC), "JPEG", quality=75),
            encoded(image.resize((600, 400), RESAMPLING.LANCZOS), "WEBP", quality=60),
        ]
        for index, copy in enumerate(copies):
            planting.add(f"{number} copy {index}", copy)
        expected.add((str(number), *(f"{number} copy {index}" for index in range(len(copies)))))
    found = planting.find()
    assert {tuple(names(group)) for group in found.groups} == expected
    assert found.count("near") == 300


def test_leaks_and_several_labels_are_told_and_come_first() -> None:
    planting = Planting()
    images = [encoded(scene(number, (40, 30))) for number in range(4)]
    for number, content in enumerate(images):
        planting.add(f"train {number}", content, label="cat")
    planting.add("train 0 copy", images[0], label="cat")
    planting.add("train 1 other", images[1], label="dog")
    again = encoded(decoded(images[2]), "JPEG", quality=90)
    planting.add("leak", again, label="cat", split="test")
    found = planting.find()
    assert [names(group) for group in found.groups] == [
        ["train 2", "leak"], ["train 1", "train 1 other"], ["train 0", "train 0 copy"]
    ]  # fmt: skip
    assert found.across_splits == found.groups[:1]
    assert found.across_labels == found.groups[1:2]
    assert found.groups[0].splits == ("train", "test")
    assert found.groups[1].labels == ("cat", "dog")
    assert [group.kind for group in found.groups] == ["near", "bytes", "bytes"]
    plain = found.to_dict()
    assert (plain["num_groups_across_splits"], plain["num_groups_across_labels"]) == (1, 1)
    assert plain["groups"][0]["images"][1]["match"] == "near"


def test_images_without_contrast_are_compared_for_equality_alone() -> None:
    random = np.random.default_rng(0)
    planting = Planting()
    for number in range(200):  # paper: nearly white, each a little different
        pixels = 250 + random.integers(-2, 3, (20, 20))
        planting.add(str(number), encoded(Image.fromarray(pixels.astype(np.uint8))))
    planting.add("again", encoded(Image.fromarray(pixels.astype(np.uint8))))
    found = planting.find()
    assert found.num_plain == 201
    assert [names(group) for group in found.groups] == [["199", "again"]]


def test_another_colour_is_another_picture() -> None:
    planting = Planting()
    mask = np.asarray(scene(0, (32, 32)).convert("L"))
    for name, color in (("red", (197, 0, 0)), ("green", (0, 100, 0))):  # of one brightness
        pixels = (mask[..., None] * np.array(color) / 255).astype(np.uint8)
        planting.add(name, encoded(Image.fromarray(pixels)))
    greys = [
        Image.frombytes("L", (32, 32), one.thumbnail) for one in planting.collector.fingerprints
    ]
    assert np.abs(np.asarray(greys[0], int) - np.asarray(greys[1], int)).max() <= 1
    assert planting.find().groups == ()


def test_a_grey_copy_of_a_grey_picture_has_the_same_pixels() -> None:
    planting = Planting()
    grey = scene(0, (30, 20)).convert("L")
    planting.add("grey", encoded(grey))
    planting.add("grey as colour", encoded(grey.convert("RGB")))
    planting.add("turned", encoded(grey.transpose(Image.Transpose.ROTATE_90)))
    (group,) = planting.find().groups
    assert names(group) == ["grey", "grey as colour"]
    assert group.kind == "pixels"


def test_16_bits_are_compared_as_such() -> None:
    wide = np.asarray(scene(0, (30, 20)).convert("L")).astype(np.uint16)[None] * 256
    collector = FingerprintCollector()
    for name, pixels in (
        ("a", wide),
        ("b", wide.copy()),
        ("c", wide + 1),
        ("rgb", wide.repeat(3, 0)),
    ):
        collector.add(name, pixels, label=None, split="train", content=None)
    (group,) = find_duplicates(collector.fingerprints).groups
    assert [(image.path, image.match) for image in group.images] == [
        ("a", "first"), ("b", "pixels"), ("c", "near"), ("rgb", "pixels")
    ]  # fmt: skip
    assert group.labels == ()


def test_the_order_of_adding_and_the_number_of_threads_do_not_matter() -> None:
    contents = [encoded(scene(number % 30, (24, 24))) for number in range(90)]

    def add(collector: FingerprintCollector, number: int) -> None:
        content = contents[number]
        collector.add(
            str(number), decoded(content), label=None, split="train",
            content=content,
        )  # fmt: skip

    one = FingerprintCollector()
    for number in range(90):
        add(one, number)
    parts = FingerprintCollector(), FingerprintCollector()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: add(parts[number % 2], number), reversed(range(90))))
    merged = FingerprintCollector()
    for part in parts:
        merged.extend(part.fingerprints)
    assert find_duplicates(merged.fingerprints) == find_duplicates(one.fingerprints)
    assert [names(group) for group in find_duplicates(one.fingerprints).groups] == [
        [str(number), str(number + 30), str(number + 60)] for number in range(30)
    ]


def test_images_of_few_pixels_are_compared_for_equality_alone() -> None:
    planting = Planting()
    for side in (8, 12):
        image = scene(side, (side, side))
        planting.add(f"{side}", encoded(image))
        planting.add(f"{side} again", encoded(image))
        planting.add(f"{side} like it", encoded(image.point(lambda value: value * 99 // 100)))
    found = planting.find()
    assert found.num_plain == 3
    assert [names(group) for group in found.groups] == [
        ["8", "8 again"], ["12", "12 again", "12 like it"]
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (200, 1), (3, 2)])
def test_odd_shapes(size: tuple[int, int]) -> None:
    image = scene(3).resize(size)
    taken = [
        take_fingerprint(name, image, label="a", split="train", content=encoded(image))
        for position, name in enumerate("ab")
    ]
    (group,) = find_duplicates(taken).groups
    assert group.kind == "bytes"


def test_no_images_and_one_image() -> None:
    assert find_duplicates([]).groups == ()
    found = find_duplicates(take(["x"]))
    assert (found.num_images, found.groups) == (1, ())


def take(given_names: Iterable[str]) -> list[Fingerprint]:
    return [
        take_fingerprint(name, scene(0), label=None, split="train", content=None)
        for name in given_names
    ]
