"""Descriptions of datasets, as in the catalog: plain data, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DERIVED_TEST_FRACTION = 0.2
"""The share of each class that becomes the test split of a set that has none of its own."""

DERIVED_TEST_SEED = 20_120_903
"""The seed that chooses those images; it never changes, or test sets would leak into training."""


@dataclass(frozen=True)
class Split:
    """One split of a dataset.

    Attributes:
        num_images: how many images it has; None if unknown without the files.
        derived: whether cnnkit made the split itself, because the publishers made none: a fixed
            stratified fifth of the images is `test`, the rest `train`.
        official_name: what the publishers call it, where that differs.
    """

    num_images: int | None
    derived: bool = False
    official_name: str = ""


@dataclass(frozen=True)
class Published:
    """Published mean and standard deviation of each channel, on the scale 0..1.

    Attributes:
        mean: one mean a channel.
        std: one standard deviation a channel.
        source: where they come from, and over which pixels they were computed.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


@dataclass(frozen=True)
class EmbeddedSource:
    """A dataset inside an installed package, without download."""

    name: Literal["digits", "iris"]


Reader = Literal[
    "arrays", "paths", "samples", "caltech", "fer2013", "inaturalist", "omniglot", "pcam"
]


@dataclass(frozen=True)
class TorchvisionSource:
    """A dataset that a class of `torchvision.datasets` opens.

    Attributes:
        class_name: the class in `torchvision.datasets`.
        arguments: by split, the keyword arguments of its constructor beside root and download.
        layout: the files or folders, under the data folder, that serve when placed by hand.
        reader: how images and labels are taken from the object: `arrays` from one array and one
            label array, `paths` from a list of paths and one of labels, `samples` from a list of
            (path, label) pairs; the others are the ways of single sets.
        images: the attribute with the array, the paths or the pairs.
        labels: the attribute with the labels; not for pairs.
        axes: the order of the axes of the array; H is always rows from top to bottom.
        first_label: the label that the files use for class 0.
        classes: the attribute with the class names; empty where the catalog has to name them.
        folder: the folder under the data folder that is handed over as root.
        downloads: whether the constructor can download.
        drive_mirror: address that serves the files which the class would fetch from Google Drive.
        max_download_gb: what no file of the set that is downloaded is larger than.
        unordered: whether the image order depends on the file system, so must be sorted.
        modules: modules that must be installed beside cnnkit's own.
    """

    class_name: str
    arguments: Mapping[str, Mapping[str, object]]
    layout: tuple[str, ...]
    reader: Reader = "arrays"
    images: str = "data"
    labels: str = "targets"
    axes: Literal["NHW", "NWH", "NHWC", "NCHW"] = "NHW"
    first_label: int = 0
    classes: str = ""
    folder: str = ""
    downloads: bool = True
    drive_mirror: str = ""
    max_download_gb: int = 16
    unordered: bool = False
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilesSource:
    """Image files: a folder, an archive, shards, or a table of paths and labels.

    Attributes:
        path: where they are, from any folder; of several shards a pattern.
        listing: a `sources.file_listing.Listing`; without a test split it is derived from the
            training images.
    """

    path: str
    listing: Any = field(repr=False)


@dataclass(frozen=True)
class SubsetSource:
    """A subset of the classes of another dataset.

    Attributes:
        whole: the other dataset.
        classes: in its own order.
    """

    whole: "DatasetEntry"
    classes: tuple[str, ...]


@dataclass(frozen=True)
class FakeSource:
    """A synthetic dataset, generated from a fixed seed.

    Attributes:
        shape: channels, height, width.
        num_classes: how many patterns there are.
        num_images: training images; the test split has a fifth as many.
    """

    shape: tuple[int, int, int]
    num_classes: int
    num_images: int


Source = EmbeddedSource | TorchvisionSource | FilesSource | FakeSource | SubsetSource


@dataclass(frozen=True)
class DatasetEntry:
    """The description of a dataset, known without opening it.

    Attributes:
        name: what it is called on the command line.
        title: what its publishers call it.
        task: what the classes are, in a few words.
        channels: 1 for grayscale, 3 for RGB; None for a folder whose files were not read yet.
        size: height and width; None if they differ from image to image, or are unknown yet.
        num_classes: how many classes there are.
        classes: their names in label order; empty where only the files know them.
        splits: the splits, in the order train, val, test, others.
        source: how it is opened.
        homepage: where its publishers describe it; empty for folders and fakes.
        requires: what it needs beside a download: an extra, a license, files placed by hand.
        published: mean and standard deviation that were published; None where none are known.
        num_images: all images together, where the sizes of the splits do not say.
        note: what else to know before trusting a number.
    """

    name: str
    title: str
    task: str
    channels: int | None
    size: tuple[int, int] | None
    num_classes: int
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    source: Source
    homepage: str = ""
    requires: str = ""
    published: Published | None = None
    num_images: int | None = field(default=None)
    note: str = ""
