from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

from cnnkit.data import DATASETS, open_dataset
from cnnkit.data.image_set import TensorSet


def open_both(name: str) -> tuple[TensorSet, TensorSet]:
    train = open_dataset(name, "train", data_dir=Path("nowhere"))
    test = open_dataset(name, "test", data_dir=Path("nowhere"))
    assert isinstance(train, TensorSet)
    assert isinstance(test, TensorSet)
    return train, test


def rows(*sets: TensorSet) -> list[tuple[int, ...]]:
    """Return every image with its label, sorted, so that order does not matter."""
    return sorted(
        (int(label), *image.flatten().tolist())
        for image_set in sets
        for image, label in zip(image_set.images, image_set.labels, strict=True)
    )


def test_digits_are_those_of_scikit_learn() -> None:
    data = load_digits()
    scaled = np.floor(data.data * 255 / 16 + 0.5).astype(int)
    expected = sorted((int(y), *x) for x, y in zip(scaled.tolist(), data.target, strict=True))
    assert rows(*open_both("digits")) == expected


def test_iris_is_exact_in_millimetres() -> None:
    data = load_iris()
    millimetres = [[int(f"{value:.1f}".replace(".", "")) for value in row] for row in data.data]
    expected = sorted((int(y), *x) for x, y in zip(millimetres, data.target, strict=True))
    train, test = open_both("iris")
    assert rows(train, test) == expected
    assert train.images.shape == (120, 1, 1, 4)
    assert list(data.target_names) == list(train.classes)


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_the_splits_are_as_the_catalog_says_and_never_change(name: str) -> None:
    train, test = open_both(name)
    entry = DATASETS[name]
    assert len(train) == entry.splits["train"].num_images
    assert len(test) == entry.splits["test"].num_images
    assert (train.split, test.split) == ("train", "test")
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert tuple(train.images.shape[1:]) == (1, *(entry.size or ()))
    share = test.labels.bincount() / (test.labels.bincount() + train.labels.bincount())
    assert torch.allclose(share, torch.tensor(0.2), atol=0.01)
    again, _ = open_both(name)
    assert torch.equal(again.images, train.images)


def test_the_test_fifth_of_digits_is_this_one() -> None:
    # A changed seed would turn test images of older runs into training images.
    _, test = open_both("digits")
    assert test.labels[:12].tolist() == [0, 2, 6, 8, 2, 3, 5, 7, 9, 5, 5, 4]
    assert int(test.images.sum()) == 1_798_956
