"""The verb: images of a dataset to look at, as they are stored and as a network gets them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data.catalogue import DATASETS
from cnnkit.data.image_set import TensorSet
from cnnkit.data.preprocessing import Preprocessing, to_channels
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.events import OnEvent, ignore
from cnnkit.registry import did_you_mean
from cnnkit.results.samples import Normalization, Picture, Sample, SampleList
from cnnkit.stats.decoding import BrokenImageError, decode
from cnnkit.stats.grey import to_8_bits
from cnnkit.stats.measuring import unlimited_pixels
from cnnkit.stats.sources import Source, open_source
from cnnkit.stats.statistics import measure_dataset

MAX_MEASURED = 2048
"""So many images are measured where no figures are published to normalise with."""

MAX_PICTURE_PIXELS = 2**26
"""All pictures together have at most about so many pixels; larger images are reduced."""

MIN_PICTURE_SIDE = 32


@dataclass(frozen=True)
class _Figures:
    """Mean and deviation to normalise with, and where they come from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


@dataclass
class _Range:
    """The values of normalised images, as far as they were seen."""

    number: int = 0
    below: int = 0
    above: int = 0
    min: float = math.inf
    max: float = -math.inf

    def add(self, values: Tensor) -> None:
        self.number += values.numel()
        self.below += int((values < 0).sum())
        self.above += int((values > 1).sum())
        self.min = min(self.min, float(values.min()))
        self.max = max(self.max, float(values.max()))


@dataclass
class _Treatment:
    """What is done to images, and what came of it.

    Attributes:
        shape: channels (None for the image's own), height and width to bring them to; None to leave
            them as they are.
        figures: to normalise them with; None not to.
        max_side: larger pictures are reduced to this.
        range: of the normalised values so far.
    """

    shape: tuple[int | None, int, int] | None
    figures: _Figures | None
    max_side: int
    range: _Range = field(default_factory=_Range)

    def titles(self) -> tuple[str, ...]:
        """Return what the pictures of each image show."""
        found = ["as stored"]
        if self.shape is not None:
            found.append(f"brought to {shape_text(self.shape)}")
        if self.figures is not None:
            found += ["normalised, clipped", "normalised, stretched"]
        return tuple(found)

    def pictures(self, image: Image.Image, content: bytes | None) -> tuple[Picture, ...]:
        """Return the pictures of an image.

        Args:
            image: of mode `L` or `RGB`.
            content: the bytes of its file; None for an image in memory.
        """
        found = [self._picture(image)]
        own = 1 if image.mode == "L" else 3
        channels = (self.shape[0] if self.shape else None) or own
        if self.figures is not None:
            channels = len(self.figures.mean)
        pixels = to_channels(_to_tensor(image)[None], channels)
        height, width = self.shape[1:] if self.shape else (image.height, image.width)
        figures = self.figures or _Figures((0.0,) * channels, (1.0,) * channels, "")
        treat = Preprocessing(channels, height, width, figures.mean, figures.std)
        if self.shape is not None:
            # As training does: files are resized while they are decoded, sets in memory as tensors.
            pixels = treat.resize(pixels) if content is None else treat.decode(content)[None]
            found.append(self._picture(_to_image(pixels[0])))
        if self.figures is not None:
            values = treat.normalize(pixels)[0].double()
            self.range.add(values)
            low, high = values.min(), values.max()
            stretched = (values - low) / max(float(high - low), 1e-12)
            found += [self._picture(_to_image(_to_bytes(one))) for one in (values, stretched)]
        return tuple(found)

    def _picture(self, image: Image.Image) -> Picture:
        if max(image.size) > self.max_side:
            image = image.copy()
            image.thumbnail((self.max_side, self.max_side), Image.Resampling.LANCZOS)
        return Picture(image.width, image.height, len(image.getbands()), image.tobytes())


def show_dataset(
    dataset: str,
    *,
    split: str | None = None,
    num: int = 16,
    classes: Sequence[str] = (),
    indices: Sequence[int] = (),
    seed: int = 0,
    input_shape: tuple[int | None, int, int] | None = None,
    normalized: bool = False,
    allow_large: bool = False,
    data_dir: Path | None = None,
    download: bool = True,
    num_workers: int | None = None,
    on_event: OnEvent = ignore,
) -> SampleList:
    """Return images of a dataset to look at.

    Args:
        dataset: a name of the catalogue, a folder, an archive, shards, or a fake set.
        split: a split; `all` for every image; None for `train` where there are splits, else all.
        num: how many images to choose.
        classes: choose among the images of these alone; all where there are none.
        indices: take the images at these places instead of choosing.
        seed: chooses the images; the same set and seed give the same ones.
        input_shape: bring images to channels (None for their own), height and width, just as
            training does.
        normalized: normalise them, with published figures where there are some, else with those
            measured on `MAX_MEASURED` images.
        allow_large: decode images of very many pixels as well.
        data_dir: where the files of named sets are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        num_workers: threads that decode for the measurement; one a core by default.
        on_event: told what is odd.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: there is no image of an index, or options make no sense together.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read.
    """
    if indices and classes:
        raise UsageError("--index and --class are both given", "leave one of the two out")
    if input_shape is not None and input_shape[0] not in (None, 1, 3):
        raise UsageError(f"images have 1 or 3 channels, not {input_shape[0]}")
    source = open_source(dataset, split, data_dir=data_dir, download=download, on_event=on_event)
    labels = _labels(source)
    candidates = _of_classes(source, labels, classes)
    chosen = tuple(indices) or _choose(candidates, num, seed)
    _check_indices(source, chosen, len(labels))
    figures = None
    if normalized:
        figures = _published(source, input_shape) or _measured(
            source, input_shape, seed, data_dir, allow_large, num_workers, on_event
        )
    treatment = _Treatment(input_shape, figures, _max_side(len(chosen)))
    with unlimited_pixels():
        found = {
            sample.index: sample for sample in _samples(source, chosen, treatment, allow_large)
        }
    return SampleList(
        dataset=source.dataset,
        split=source.split,
        num_images=len(labels),
        num_candidates=len(candidates),
        seed=None if indices else seed,
        input=shape_text(input_shape) if input_shape else None,
        normalization=_normalization(figures, treatment.range),
        titles=treatment.titles(),
        samples=tuple(found[index] for index in chosen),
    )


def shape_text(shape: tuple[int | None, int, int]) -> str:
    """Return `CxHxW`, or `HxW` without channels."""
    return "x".join(str(size) for size in shape if size is not None)


def _labels(source: Source) -> list[str | None]:
    """Return the class of every image, in the order of their places."""
    if isinstance(source, TensorSet):
        return [source.classes[label] for label in source.labels.tolist()]
    images = source.images(lambda unit: True)
    return [image.class_name or None for image in images if not image.reason]


def _of_classes(
    source: Source, labels: Sequence[str | None], classes: Sequence[str]
) -> tuple[int, ...]:
    """Return the places of the images of some classes; of all without any."""
    known = source.classes if isinstance(source, TensorSet) else source.classes()
    for name in classes:
        if name not in known:
            raise NotFoundError(
                f"{source.dataset} has no class {name!r}",
                did_you_mean(name, known) or f"it has {_some(known)}",
            )
    if not classes:
        return tuple(range(len(labels)))
    found = tuple(index for index, label in enumerate(labels) if label in classes)
    if not found:
        raise UsageError(
            f"{source.dataset} has no images of {_some(classes)}", "take other classes"
        )
    return found


def _choose(candidates: Sequence[int], num: int, seed: int) -> tuple[int, ...]:
    # RandomState's numbers are promised never to change; those of numpy's newer Generator are not.
    stream = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    return tuple(candidates[place] for place in stream.permutation(len(candidates))[:num].tolist())


def _check_indices(source: Source, indices: Sequence[int], number: int) -> None:
    for index in indices:
        if not 0 <= index < number:
            part = "" if source.split == "all" else f"{source.split} "
            raise UsageError(
                f"{source.dataset} has no {part}image {index:,}",
                f"they are numbered from 0 to {number - 1:,}" if number else "it has none at all",
            )


def _samples(
    source: Source, chosen: Sequence[int], treatment: _Treatment, allow_large: bool
) -> Iterator[Sample]:
    if isinstance(source, TensorSet):
        for index in dict.fromkeys(chosen):
            image = _to_image(source.images[index])
            name = source.classes[int(source.labels[index])]
            yield Sample(
                index, name, image.width, image.height, image.mode, None, None,
                treatment.pictures(image, None),
            )  # fmt: skip
        return
    images = source.images(lambda unit: True, frozenset(chosen))
    for index, encoded in zip(sorted(set(chosen)), images, strict=True):
        label = encoded.class_name or None
        try:
            content = encoded.read()
            decoded = decode(content, allow_large)
        except (BrokenImageError, OSError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            text = (said or str(error)).lower()
            yield Sample(index, label, None, None, None, encoded.name, text, None)
            continue
        pixels = decoded.planes if decoded.image is None else decoded.image
        assert pixels is not None
        yield Sample(
            index, label, decoded.width, decoded.height, decoded.mode, encoded.name, None,
            treatment.pictures(to_8_bits(pixels), content),
        )  # fmt: skip


def _published(source: Source, shape: tuple[int | None, int, int] | None) -> _Figures | None:
    entry = DATASETS.get(source.dataset)
    published = entry.published if entry is not None else None
    if published is None:
        return None
    repeat = _repeats(source, len(published.mean), shape)
    return _Figures(published.mean * repeat, published.std * repeat, "published")


def _measured(
    source: Source,
    shape: tuple[int | None, int, int] | None,
    seed: int,
    data_dir: Path | None,
    allow_large: bool,
    num_workers: int | None,
    on_event: OnEvent,
) -> _Figures:
    measured = measure_dataset(
        source.dataset,
        split=source.split,
        limit=MAX_MEASURED,
        seed=seed,
        allow_large=allow_large,
        data_dir=data_dir,
        num_workers=num_workers,
        on_event=on_event,
    )
    assert measured.mean is not None
    assert measured.std is not None
    repeat = _repeats(source, len(measured.mean), shape)
    # A channel of one single value has no spread to divide by.
    std = tuple(value or 1.0 for value in measured.std)
    number = f"{measured.num_images:,} images"
    return _Figures(measured.mean * repeat, std * repeat, f"measured on {number}")


def _repeats(source: Source, known: int, shape: tuple[int | None, int, int] | None) -> int:
    """Return how often the figures of `known` channels must be repeated."""
    wanted = (shape[0] if shape else None) or known
    if wanted < known:
        raise UsageError(
            f"mean and deviation of {source.dataset} are those of colour, and grey is asked for",
            "ask for three channels, or leave the normalising out",
        )
    return wanted // known


def _normalization(figures: _Figures | None, seen: _Range) -> Normalization | None:
    if figures is None or seen.number == 0:
        return None
    return Normalization(
        mean=figures.mean,
        std=figures.std,
        source=figures.source,
        min=seen.min,
        max=seen.max,
        below=seen.below / seen.number,
        above=seen.above / seen.number,
    )


def _max_side(number: int) -> int:
    return max(MIN_PICTURE_SIDE, math.isqrt(MAX_PICTURE_PIXELS // max(number, 1)))


def _to_tensor(image: Image.Image) -> Tensor:
    """Return an image as uint8 of shape (C, H, W)."""
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def _to_image(pixels: Tensor) -> Image.Image:
    """Return uint8 of shape (1 or 3, H, W) as an image."""
    if len(pixels) == 1:
        return Image.fromarray(pixels[0].numpy())
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _to_bytes(values: Tensor) -> Tensor:
    """Return values as bytes, as they are shown: 0 is black, 1 is white, what is beyond is cut."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def _some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    listed = ", ".join(names[:10])
    return f"{listed} and {len(names) - 10} more" if len(names) > 10 else listed
