"""Preprocessing: bringing a dataset to what a network needs."""

from dataclasses import dataclass
from typing import Any, Self

from cnnkit.data.entry import DatasetEntry
from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.preprocessing import Decoding, Preprocessing
from cnnkit.data.mean_std import NORMALIZE_WORDS, MeanStd
from cnnkit.data.normalization import MeasuredChannels
from cnnkit.errors import UsageError, setting
from cnnkit.models import ModelDescription, check_request
from cnnkit.runs.pretrained import PretrainedWeights


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of a network's input."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


def choose_input(
    model: ModelDescription, images: ImageSet, wanted: tuple[int | None, int, int] | None
) -> ImageShape:
    """Return the input shape: the images' own size where the network takes it.

    Args:
        model: what the network needs.
        images: what the dataset has.
        wanted: channels (None for the network's own), height and width that the user asked for.

    Raises:
        UsageError: the network does not take what was asked for, or no size is known.
    """
    channels = images.channels
    if not model.takes_channels and model.input is not None:
        channels = model.input[0]
    if wanted is not None:
        asked, height, width = wanted
        channels = channels if asked is None else asked
        if channels not in (1, 3):
            raise UsageError(f"images have 1 or 3 channels, not {channels}")
        check_request(model, None, channels, (height, width))
        return ImageShape(channels, height, width)
    if model.input is not None and (model.fixed_size or images.size is None):
        return ImageShape(channels, *model.input[1:])
    if images.size is None:
        raise UsageError(
            f"the images of {images.dataset} differ in size, and {model.name} does not name "
            "an input size",
            f"choose one with {setting('input')}, such as {setting('input')} 3x224x224",
        )
    height, width = images.size
    smallest = model.min_size or 1
    if min(height, width) < smallest:
        scale = smallest / min(height, width)
        height, width = max(smallest, round(height * scale)), max(smallest, round(width * scale))
    return ImageShape(channels, height, width)


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of every channel of the input, and where they come from.

    Attributes:
        mean: on the scale 0..1.
        std: likewise.
        source: `none`, `given`, `published`, `weights` or `measured`.
        measured: what was measured, where it was.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    measured: MeasuredChannels | None = None

    @classmethod
    def of_measured(cls, measured: MeasuredChannels) -> Self:
        """Return the normalization by what was measured."""
        return cls(measured.mean, measured.std, "measured", measured)

    def to_dict(self) -> dict[str, Any]:
        """Return what `run.json` keeps beside the numbers."""
        measured = self.measured
        return {
            "source": self.source,
            "num_images": None if measured is None else measured.num_images,
            "num_total": None if measured is None else measured.num_total,
        }

    def sentence(self) -> str:
        """Return a description for the user."""
        if self.source == "none":
            return "not normalized: pixels 0..1"
        origin = {
            "given": "as given",
            "published": "published",
            "weights": "as the weights expect",
        }.get(self.source)
        if self.measured is not None:
            origin = self.measured.origin()
        return f"normalized with mean {_listed(self.mean)}, std {_listed(self.std)} ({origin})"


def known_normalization(
    channels: int,
    dataset: DatasetEntry,
    normalize: str,
    weights: PretrainedWeights | None = None,
) -> Normalization | None:
    """Return the normalization that is known without a look at the images.

    Args:
        channels: of the input.
        dataset: may know published values.
        normalize: as in `Recipe`.
        weights: that the network starts from; `auto` means their normalization.

    Returns:
        None where it is to be measured.

    Raises:
        UsageError: published values were asked for and there are none, or numbers were given for
            another number of channels.
    """
    if normalize == "none":
        return Normalization((0.0,) * channels, (1.0,) * channels, "none")
    if normalize not in NORMALIZE_WORDS:
        given = _given(normalize, channels)
        return Normalization(given.mean, given.std, "given")
    published = dataset.published
    if normalize == "published" and published is None:
        raise UsageError(
            f"no mean and standard deviation are published for {dataset.name}",
            f"use {setting('normalize')} measured, or give numbers such as "
            f"{setting('normalize')} 0.5/0.25",
        )
    is_usable = published is not None and len(published.mean) in (1, channels)
    if normalize == "published" and not is_usable:
        raise UsageError(
            f"the published values of {dataset.name} are for RGB, and the network takes grayscale",
            f"use {setting('normalize')} measured",
        )
    if weights is not None and normalize == "auto":
        return Normalization(weights.mean, weights.std, "weights")
    if published is not None and is_usable and normalize != "measured":
        repeat = channels // len(published.mean)
        return Normalization(published.mean * repeat, published.std * repeat, "published")
    return None


def _given(normalize: str, channels: int) -> MeanStd:
    try:
        return MeanStd.parse(normalize).for_channels(channels)
    except ValueError as error:
        raise UsageError(
            f"{setting('normalize')} {normalize} {error}",
            "give one number for all channels, or one each",
        ) from error


def not_normalized(
    shape: ImageShape, allow_large: bool = False, decoding: Decoding = "full"
) -> Preprocessing:
    """Return the preprocessing that brings images to a shape, and leaves pixels from 0 to 1."""
    zeros, ones = (0.0,) * shape.channels, (1.0,) * shape.channels
    size = shape.height, shape.width
    return Preprocessing(shape.channels, *size, zeros, ones, allow_large, decoding)


def describe_fit(images: ImageSet, shape: ImageShape, normalization: Normalization) -> str:
    """Return one line that describes the preprocessing of an image."""
    if images.size is not None:
        parts = [f"{images.channels}x{images.size[0]}x{images.size[1]}"]
    else:
        parts = [f"{'RGB' if images.channels == 3 else 'grayscale'} of various sizes"]
    if images.channels != shape.channels:
        parts.append("to three channels" if shape.channels == 3 else "to grayscale")
    if images.size != (shape.height, shape.width):
        same_shape = images.size and images.size[0] * shape.width == images.size[1] * shape.height
        cropped = "" if same_shape else " and cropped at the center"
        parts.append(f"resized{cropped} to {shape.height}x{shape.width}")
    return f"images: {', '.join([*parts, normalization.sentence()])}"


def _listed(values: tuple[float, ...]) -> str:
    shown = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"{value:.4f}" for value in shown)
