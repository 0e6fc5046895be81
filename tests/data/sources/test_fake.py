from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.data import find_dataset, open_dataset
from cnnkit.data.image_set import TensorSet
from cnnkit.errors import ExitCode, UnavailableError, UsageError


def open_fake(spec: str, split: str) -> TensorSet:
    opened = open_dataset(spec, split, data_dir=Path("nowhere"))
    assert isinstance(opened, TensorSet)
    return opened


def test_shapes_splits_and_classes() -> None:
    train = open_fake("fake:3x33x20:10:103", "train")
    test = open_fake("fake:3x33x20:10:103", "test")
    assert train.images.shape == (103, 3, 33, 20)
    assert train.images.dtype == torch.uint8
    assert (train.channels, train.size) == (3, (33, 20))
    assert len(test) == 20
    assert set(test.labels.tolist()) == set(range(10))
    assert len(train.classes) == 10


def test_a_small_set_has_one_test_image_a_class() -> None:
    assert open_fake("fake:1x8x8:7:10", "test").labels.tolist() == list(range(7))


def test_it_is_always_the_same() -> None:
    train = open_fake("fake:1x5x5:3:600", "train")
    assert torch.equal(train.images, open_fake("fake:1x5x5:3:600", "train").images)
    assert train.images[0, 0, 0].tolist() == [113, 147, 171, 54, 172]
    assert int(train.images.sum(dtype=torch.int64)) == 1_820_329


def test_it_can_be_learnt() -> None:
    train, test = (open_fake("fake:3x16x16:10:1000", split) for split in ("train", "test"))
    means = torch.stack(
        [train.images[train.labels == label].float().mean(0).flatten() for label in range(10)]
    )
    nearest = torch.cdist(test.images.float().flatten(1), means).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.95
    assert not torch.equal(train.images[:10], test.images[:10])


@given(
    st.sampled_from([1, 3]),
    st.integers(1, 9999),
    st.integers(1, 9999),
    st.integers(2, 5000),
    st.integers(0, 10**9),
)
def test_every_good_spec_is_understood(
    channels: int, height: int, width: int, num_classes: int, more: int
) -> None:
    num_images = num_classes + more
    entry = find_dataset(f"fake:{channels}x{height}x{width}:{num_classes}:{num_images}")
    assert (entry.channels, entry.size) == (channels, (height, width))
    assert entry.num_classes == len(entry.classes) == num_classes
    assert entry.splits["train"].num_images == num_images
    assert entry.splits["test"].num_images == max(num_images // 5, num_classes)


@given(st.text())
def test_no_spec_makes_the_parser_fail(text: str) -> None:
    with suppress(UsageError):
        assert find_dataset(f"fake:{text}").num_classes >= 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fake", "the form is fake:CxHxW:classes:images"),
        ("fake:", "the form is"),
        ("fake:3x32:10:100", "the form is"),
        ("fake:3x32x32:10", "the form is"),
        ("fake:3x32x32:10:-5", "the form is"),
        ("fake:-3x32x32:10:100", "the form is"),
        ("fake:3x32x32:10:1000 ", "the form is"),
        ("fake:3x32x32:10:1e3", "the form is"),
        ("fake:٣x32x32:10:100", "the form is"),
        ("fake:2x32x32:10:100", "2 channels"),
        ("fake:0x32x32:10:100", "0 channels"),
        ("fake:3x0x32:10:100", "0x32"),
        ("fake:3x32x0:10:100", "32x0"),
        ("fake:3x32x32:0:100", "0 classes"),
        ("fake:3x32x32:1:100", "at least two"),
        ("fake:3x32x32:10:9", "at least one of each"),
        ("fake:3x32x32:10:0", "at least one of each"),
        ("fake:1x8x8:200000:300000", "the maximum is 100,000"),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_dataset(spec)
    assert message in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_set_that_no_memory_holds() -> None:
    with pytest.raises(UnavailableError, match="does not fit in memory"):
        open_fake(f"fake:3x{10**9}x{10**9}:2:{10**9}", "train")
