"""Bringing a dataset to what a network needs, visibly."""

from dataclasses import dataclass, replace

from cnnkit.data.entry import DatasetEntry
from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.normalization import measure_statistics
from cnnkit.errors import UsageError
from cnnkit.models import ModelDescription, check_request
from cnnkit.results import format_value
from cnnkit.training.network.pretrained import PretrainedWeights


@dataclass(frozen=True)
class InputShape:
    """Channels, height and width that a network will be given."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


def choose_input(
    model: ModelDescription, images: ImageSet, wanted: tuple[int | None, int, int] | None
) -> InputShape:
    """Return the input that suits both: the images' own size where the network takes it.

    Args:
        model: what the network needs.
        images: what the dataset has.
        wanted: channels (None for the network's own), height and width that the user asked for.

    Raises:
        UsageError: the network does not take what was asked for, or nobody knows a size.
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
        return InputShape(channels, height, width)
    if model.input is not None and (model.fixed_size or images.size is None):
        return InputShape(channels, *model.input[1:])
    if images.size is None:
        raise UsageError(
            f"the images of {images.dataset} differ in size, and {model.name} does not say which "
            "it wants",
            "choose one with --input, such as --input 3x224x224",
        )
    height, width = images.size
    smallest = model.min_size or 1
    if min(height, width) < smallest:
        scale = smallest / min(height, width)
        height, width = max(smallest, round(height * scale)), max(smallest, round(width * scale))
    return InputShape(channels, height, width)


def choose_preprocessing(
    shape: InputShape,
    dataset: DatasetEntry,
    train: ImageSet,
    normalize: str,
    num_workers: int,
    skip_bad: bool,
    weights: PretrainedWeights | None = None,
    allow_large: bool = False,
) -> tuple[Preprocessing, str]:
    """Return how images are treated, and where the normalisation comes from.

    Args:
        shape: of the input.
        dataset: may know published figures.
        train: the training images, to measure on.
        normalize: `auto`, `published`, `measured` or `none`.
        num_workers: threads that decode files for the measurement.
        skip_bad: leave broken images out of it.
        weights: that the network starts from; `auto` means their normalisation.
        allow_large: decode images above the limits as well.

    Raises:
        UsageError: published figures were asked for and there are none.
        RunFailedError: an image is broken.
    """
    channels = shape.channels
    plain = not_normalized(shape, allow_large)
    if normalize == "none":
        return plain, "not normalised: pixels 0..1"
    published = dataset.published
    if normalize == "published" and published is None:
        raise UsageError(
            f"no mean and deviation are published for {dataset.name}",
            "use --normalize measured",
        )
    usable = published is not None and len(published.mean) in (1, channels)
    if normalize == "published" and not usable:
        raise UsageError(
            f"the published figures of {dataset.name} are for colour, and the network sees grey",
            "use --normalize measured",
        )
    if weights is not None and normalize == "auto":
        mean, std = weights.mean, weights.std
        origin = "as the weights want it"
    elif published is not None and usable and normalize != "measured":
        repeat = channels // len(published.mean)
        mean, std = published.mean * repeat, published.std * repeat
        origin = "published"
    else:
        mean, std, number = measure_statistics(train, plain, num_workers, skip_bad)
        whole = "the" if number == len(train) else f"{format_value('integer', number)} of the"
        origin = f"measured on {whole} training images"
    treated = replace(plain, mean=mean, std=std)
    return treated, f"normalised with mean {_listed(mean)}, std {_listed(std)} ({origin})"


def not_normalized(shape: InputShape, allow_large: bool = False) -> Preprocessing:
    """Return the treatment that brings images to a shape, and leaves pixels from 0 to 1."""
    zeros, ones = (0.0,) * shape.channels, (1.0,) * shape.channels
    return Preprocessing(shape.channels, shape.height, shape.width, zeros, ones, allow_large)


def describe_fit(images: ImageSet, shape: InputShape, normalization: str) -> str:
    """Return one line that says what happens to an image on its way to the network."""
    if images.size is not None:
        parts = [f"{images.channels}x{images.size[0]}x{images.size[1]}"]
    else:
        parts = [f"{'colour' if images.channels == 3 else 'grey'} of various sizes"]
    if images.channels != shape.channels:
        parts.append("to three channels" if shape.channels == 3 else "to grey")
    if images.size != (shape.height, shape.width):
        same_shape = images.size and images.size[0] * shape.width == images.size[1] * shape.height
        cropped = "" if same_shape else " and cropped at the centre"
        parts.append(f"resized{cropped} to {shape.height}x{shape.width}")
    return f"images: {', '.join([*parts, normalization])}"


def _listed(values: tuple[float, ...]) -> str:
    shown = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"{value:.4f}" for value in shown)
