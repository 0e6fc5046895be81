"""Derived test splits, for sets whose publishers made none."""

from dataclasses import replace
from typing import TypeVar

from cnnkit.data.entry import DERIVED_TEST_FRACTION, DERIVED_TEST_SEED
from cnnkit.data.image_set import ImageSet
from cnnkit.data.splits import stratified_holdout

AnySet = TypeVar("AnySet", bound=ImageSet)


def derived_split(whole: AnySet, split: str) -> AnySet:
    """Return `train` or `test` of a set: a fixed fifth of each class is test, the rest train.

    The same images in the same order always give the same split.
    """
    train, test = stratified_holdout(whole.labels, DERIVED_TEST_FRACTION, DERIVED_TEST_SEED)
    return replace(whole.subset({"train": train, "test": test}[split]), split=split)
