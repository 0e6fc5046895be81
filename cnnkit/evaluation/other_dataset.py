"""Images of another dataset than that of a run, with the labels of the classes of the run."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cnnkit.data import open_labelled, split_names, split_subset
from cnnkit.data.image_set import ImageSet
from cnnkit.errors import UsageError
from cnnkit.events import Note, emit
from cnnkit.registry import did_you_mean, some_of

ALL = "all"
MOST_SUGGESTED = 10


def open_other_dataset(
    dataset: str, split: str | None, classes: tuple[str, ...], data_dir: Path
) -> ImageSet:
    """Return images of a dataset that may hold only some of the classes of a run.

    Args:
        dataset: its name, as the user gave it.
        split: name of the split; `all` for every image; None for its own test set, else all.
        classes: class names of the run, in the order of the network's outputs.
        data_dir: where datasets are.

    Returns:
        A set whose labels are indices into `classes`; a class may have no image.

    Raises:
        UsageError: there is no such split, or an image is of a class that the run does not know.
        NotFoundError: there is no such dataset.
        UnavailableError: it is unavailable.
        BrokenImageError: it is an archive that is damaged.
    """
    if split is None:
        split = "test" if "test" in split_names(dataset) else ALL
        if split == ALL:
            emit(Note(f"{dataset} has no test set of its own: all its images are evaluated"))
    images = open_labelled(dataset, split, data_dir=data_dir)
    numbers = torch.nonzero(images.labels.bincount()).flatten().tolist()
    found = [images.classes[number] for number in numbers]
    places = _places(dataset, found, classes)
    new_labels = torch.full((len(images.classes),), -1)
    new_labels[numbers] = torch.tensor(places)
    return replace(images, split=split, classes=classes, labels=new_labels[images.labels])


def say_classes(images: ImageSet) -> None:
    """Emit a note where images are of some of the classes only."""
    has_images = images.labels.bincount(minlength=len(images.classes)).tolist()
    present = [name for name, number in zip(images.classes, has_images, strict=True) if number]
    absent = [name for name, number in zip(images.classes, has_images, strict=True) if not number]
    if absent:
        emit(
            Note(
                f"evaluated {len(present):,} of the {len(images.classes):,} classes the run knows: "
                f"{some_of(present)}; none of {some_of(absent)}"
            )
        )


def _places(dataset: str, found: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return the place of each class in those of the run.

    Names are compared in one form of Unicode; where that finds none, without regard to case, unless
    two classes would be the same.
    """
    exact = {_normal(name): place for place, name in enumerate(classes)}
    places = {name: exact[_normal(name)] for name in found if _normal(name) in exact}
    for name in found:
        if name in places:
            continue
        alike = [place for place, own in enumerate(classes) if _folded(own) == _folded(name)]
        rivals = [other for other in found if _folded(other) == _folded(name)]
        if len(alike) == len(rivals) == 1:
            places[name] = alike[0]
    unknown = [name for name in found if name not in places]
    if unknown:
        raise UsageError(
            *_unknown(dataset, unknown, [name for name in found if name in places], classes)
        )
    others = [
        (name, classes[at]) for name, at in places.items() if _normal(name) != _normal(classes[at])
    ]
    if others:
        said = some_of([f"{name} is {own}" for name, own in others])
        emit(Note(f"{dataset}: classes whose names differ in case are the same: {said}"))
    return [places[name] for name in found]


def _unknown(
    dataset: str, unknown: Sequence[str], known: Sequence[str], classes: Sequence[str]
) -> tuple[str, str]:
    """Return what is wrong with a dataset of other classes, and what to do."""
    more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
    what = f"{dataset} has the class {unknown[0]!r}{more}, which the run does not know"
    hint = did_you_mean(unknown[0], classes) or f"it knows {some_of(classes, MOST_SUGGESTED)}"
    if known:
        whole, _ = split_subset(dataset)
        chosen = ",".join(known[:MOST_SUGGESTED]) + (",…" if len(known) > MOST_SUGGESTED else "")
        hint += f"; `{whole}:{chosen}` evaluates the classes that it knows"
    return what, hint


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _normal(_normal(name).casefold())
