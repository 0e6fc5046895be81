"""Readers of images and labels from torchvision's dataset objects, without decoding any."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.entry import Reader, TorchvisionSource
from cnnkit.system.compat import labelled_samples, omniglot_drawings, pcam_files

CHUNK_IMAGES = 4096
PCAM_IMAGES = 262_144  # of its largest split
PCAM_SHAPE = (96, 96, 3)


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of a dataset object.

    Attributes:
        images: uint8 of shape (N, C, H, W), or the path of each image.
        labels: int64 of shape (N,), from 0.
        classes: the class names that the files gave; empty where they give none.
    """

    images: Tensor | tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]


def read_arrays(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read one array of images and one of labels."""
    images = torch.as_tensor(getattr(dataset, source.images))
    match source.axes:
        case "NHW":
            images = images.unsqueeze(1)
        case "NWH":
            images = images.transpose(1, 2).unsqueeze(1)
        case "NHWC":
            images = images.permute(0, 3, 1, 2)
        case "NCHW":
            pass
    labels = torch.as_tensor(getattr(dataset, source.labels))
    if labels.ndim == 2:  # QMNIST has writer and date behind the digit
        labels = labels[:, 0]
    return Contents(
        images.contiguous(),
        labels.to(torch.int64).contiguous() - source.first_label,
        _class_names(dataset, source),
    )


def read_paths(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read a list of paths and a list of labels."""
    paths = getattr(dataset, source.images)
    labels = getattr(dataset, source.labels)
    return _files(paths, labels, _class_names(dataset, source), source)


def read_samples(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read a list of (path, label) pairs."""
    samples = getattr(dataset, source.images)
    return _files(
        (path for path, _ in samples),
        [label for _, label in samples],
        _class_names(dataset, source),
        source,
    )


def read_caltech(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read the folders of the categories; the object itself only counts their files."""
    classes = _class_names(dataset, source)
    folder = Path(dataset.root) / f"{source.class_name.removeprefix('Caltech')}_ObjectCategories"
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(str(path) for path in (folder / name).glob("*.jpg"))
        paths += found
        labels += [label] * len(found)
    return _files(paths, labels, classes, source)


def read_inaturalist(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read the (category, file name) pairs."""
    folders = [os.path.join(dataset.root, name) for name in dataset.all_categories]  # noqa: PTH118
    return _files(
        (os.path.join(folders[label], name) for label, name in dataset.index),  # noqa: PTH118
        [label for label, _ in dataset.index],
        _class_names(dataset, source),
        source,
    )


def read_omniglot(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read the drawings; labels are in the order of sorted names, not of the disk."""
    names = _class_names(dataset, source)
    classes = tuple(sorted(names))
    label_of = {name: label for label, name in enumerate(classes)}
    folder = Path(dataset.target_folder)
    samples = sorted(
        (label_of[names[index]], str(folder / names[index] / file_name))
        for file_name, index in omniglot_drawings(dataset)
    )
    return _files((path for _, path in samples), [label for label, _ in samples], classes, source)


def read_fer2013(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read the list of (image, label) pairs that the table was turned into.

    Raises:
        ValueError: it is the table without labels, test.csv.
    """
    samples = labelled_samples(dataset)
    labels = [label for _, label in samples]
    if None in labels:
        raise ValueError("test.csv has no labels; fer2013.csv and icml_face_data.csv have")
    images = torch.stack([image for image, _ in samples]).unsqueeze(1)
    return Contents(images, torch.tensor(labels, dtype=torch.int64), ())


def read_pcam(dataset: Any, source: TorchvisionSource) -> Contents:
    """Read the two HDF5 files of a split, in chunks, for the images are gigabytes.

    Raises:
        ValueError: they announce other images than the published ones, or more.
    """
    h5py = import_module("h5py")  # not one of cnnkit's own requirements
    paths = pcam_files(dataset)
    with h5py.File(paths["targets"], "r") as file:
        if np.prod(file["y"].shape, dtype=object) > PCAM_IMAGES:
            raise ValueError(f"{paths['targets']} has labels of shape {file['y'].shape}")
        labels = torch.as_tensor(np.asarray(file["y"]).reshape(-1).astype(np.int64))
    with h5py.File(paths["images"], "r") as file:
        stored = file["x"]
        if stored.shape != (len(labels), *PCAM_SHAPE):
            raise ValueError(f"{paths['images']} has images of shape {stored.shape}")
        num_images, height, width, channels = stored.shape
        images = torch.empty((num_images, channels, height, width), dtype=torch.uint8)
        for start in range(0, num_images, CHUNK_IMAGES):
            chunk = torch.as_tensor(np.asarray(stored[start : start + CHUNK_IMAGES]))
            images[start : start + CHUNK_IMAGES] = chunk.permute(0, 3, 1, 2)
    return Contents(images, labels, ())


READERS: dict[Reader, Callable[[Any, TorchvisionSource], Contents]] = {
    "arrays": read_arrays,
    "paths": read_paths,
    "samples": read_samples,
    "caltech": read_caltech,
    "fer2013": read_fer2013,
    "inaturalist": read_inaturalist,
    "omniglot": read_omniglot,
    "pcam": read_pcam,
}


def _class_names(dataset: Any, source: TorchvisionSource) -> tuple[str, ...]:
    """Return the names of an object's classes; of several names for one, the first."""
    if not source.classes:
        return ()
    names = getattr(dataset, source.classes)
    return tuple(name if isinstance(name, str) else name[0] for name in names)


def _files(
    paths: Iterable[str | Path],
    labels: Sequence[int],
    classes: tuple[str, ...],
    source: TorchvisionSource,
) -> Contents:
    names = [str(path) for path in paths]
    order: Iterable[int] = range(len(names))
    if source.unordered:
        order = sorted(order, key=names.__getitem__)
    chosen = list(order)
    all_labels = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    return Contents(
        tuple(names[index] for index in chosen),
        all_labels[torch.as_tensor(chosen, dtype=torch.int64)] - source.first_label,
        classes,
    )
