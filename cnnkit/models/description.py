"""Descriptions of networks, available without building them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedAccuracy:
    """A published accuracy.

    Attributes:
        dataset: the set that it was measured on.
        top1: share of images whose class comes first, as a fraction; None where not published.
        top5: share of images whose class is among the first five; None where not published.
        weights: the weights that it belongs to; empty where they are not public.
        crop: height and width of the image that the network saw; None where not stated.
        source: who published it, and where.
    """

    dataset: str
    top1: float | None
    top5: float | None
    weights: str
    crop: int | None
    source: str


@dataclass(frozen=True)
class PublishedCost:
    """A published cost of one image, in its true unit.

    Attributes:
        value: the number.
        unit: `MACs` or `FLOPs` (2 a MAC).
        source: who published it, and where.
        crop: height and width of the image; None where not stated.
    """

    value: int
    unit: str
    source: str
    crop: int | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A network of the zoo; `build_model` makes it.

    Attributes:
        name: its name on the command line.
        title: its common name.
        family: the family that it belongs to.
        year: of publication.
        builder: `module:function`; called with keyword arguments.
        input: native input as (channels, height, width).
        min_size: smallest height and width of an image that it takes.
        fixed_size: it takes only its native height and width.
        takes_channels: the builder takes `in_channels`; otherwise `input[0]` is all it takes.
        takes_size: the builder takes `image_size` (height, width).
        num_classes: of the network as published.
        num_params: parameters of the network that is built, at its native input.
        salient: what is new about it, in a few words.
        reference: the paper.
        accuracy: published accuracies; the first is at its native input, where one is.
        cost: published costs; the first is at its native input.
        keywords: fixed arguments that the builder is given.
        in_timm: timm has it under the same name, with the same names of parameters.
        note: what else has to be known to compare it with what was published; mostly empty.
    """

    name: str
    title: str
    family: str
    year: int
    builder: str
    input: tuple[int, int, int]
    min_size: int
    fixed_size: bool
    takes_channels: bool
    takes_size: bool
    num_classes: int
    num_params: int
    salient: str
    reference: str
    accuracy: tuple[PublishedAccuracy, ...] = ()
    cost: tuple[PublishedCost, ...] = ()
    keywords: tuple[tuple[str, object], ...] = ()
    in_timm: bool = False
    note: str = ""


@dataclass(frozen=True)
class ModelDescription:
    """The description of any network, in the zoo or not, before it is built.

    Unknown values are None, never 0.

    Attributes:
        spec: how `build_model` finds it again, from any folder.
        name: short, and fit for a file name: `lenet5`, `timm_resnet18`, `make_net`.
        input: native input as (channels, height, width).
        min_size: smallest height and width of an image that it takes.
        fixed_size: it takes only its native height and width.
        takes_classes: it can be built for any number of classes.
        takes_channels: it can be built for any number of channels.
        takes_size: it is built for a height and width.
        num_classes: as published.
        entry: its entry in the catalog; None for a network from elsewhere.
    """

    spec: str
    name: str
    input: tuple[int, int, int] | None
    min_size: int | None
    fixed_size: bool | None
    takes_classes: bool
    takes_channels: bool
    takes_size: bool
    num_classes: int | None
    entry: ModelEntry | None = None
