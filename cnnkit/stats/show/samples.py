"""The verb: images of a dataset, as stored and as network input."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cnnkit.data.datasets import DATASETS
from cnnkit.data.decode import decode, to_8_bits
from cnnkit.data.encoded import EncodedImage
from cnnkit.data.image_files import pillow_limits
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.image_set import EncodedSet, TensorSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.mean_std import NORMALIZE_WORDS, MeanStd, normalize_text
from cnnkit.data.normalization import measure_channels
from cnnkit.data.opening import ALL, open_dataset, open_images
from cnnkit.errors import BrokenImageError, NotFoundError, RunFailedError, UsageError, setting
from cnnkit.events import OnEvent, Warned, emit, takes_on_event
from cnnkit.registry import did_you_mean, some_of
from cnnkit.results.show import Sample, SampleList
from cnnkit.stats.measure import measure_dataset
from cnnkit.stats.show.augmented_samples import NUM_EPOCHS, augmented_titles, with_augmented
from cnnkit.stats.show.sample_pictures import Figures, ImageTreatment, max_picture_side, shape_text
from cnnkit.system.device import num_usable_cores
from cnnkit.system.randomness import permutation
from cnnkit.system.shapes import ImageInput, as_image_shape

Source = TensorSet | EncodedSet


@takes_on_event
def show_dataset(
    dataset: str,
    *,
    split: str | None = None,
    num: int = 16,
    classes: Sequence[str] = (),
    indices: Sequence[int] = (),
    seed: int = 0,
    input: ImageInput = None,  # noqa: A002  # the word for it
    normalized: bool = False,
    normalize: str | None = None,
    augmentation: Augmentation | None = None,
    allow_large: bool = False,
    data_dir: str | Path | None = None,
    download: bool = True,
    num_workers: int | None = None,
    on_event: OnEvent | None = None,
) -> SampleList:
    """Return sample images of a dataset.

    Args:
        dataset: a name of the catalog, a folder, an archive, shards, or a fake set.
        split: a split; `all` for every image; None for `train` where there are splits, else all.
        num: how many images to choose.
        classes: choose only among the images of these; empty for all.
        indices: take the images at these places instead of choosing.
        seed: chooses the images; the same set and seed give the same ones.
        input: bring images to channels (None for their own), height and width, just as
            training does.
        normalized: show them normalized.
        normalize: with which values, as in `Recipe`: `published`, `measured`, numbers such as
            `0.5/0.25`, or `none`; then they are shown so. None for published values where there
            are any, else measured ones.
        augmentation: show what training makes of them with it, in each of its first epochs.
        allow_large: decode images of very many pixels as well.
        data_dir: where the files of named sets are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        num_workers: threads that decode for the measurement; one a core by default.
        on_event: called with each event; None keeps the current handler.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: there is no image of an index, or options contradict each other.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read.
        RunFailedError: there is no image at all.
    """
    data_dir = None if data_dir is None else Path(data_dir)
    if indices and classes:
        raise UsageError(
            f"{setting('indices')} and {setting('classes')} are both given",
            "leave one of the two out",
        )
    input_shape = as_image_shape(input)
    if input_shape is not None and input_shape[0] not in (None, 1, 3):
        raise UsageError(f"images have 1 or 3 channels, not {input_shape[0]}")
    wanted = _checked(normalize or "auto")
    normalized = normalized or normalize is not None
    source = open_images(
        dataset, split, data_dir=data_dir, download=download, allow_large=allow_large,
    )  # fmt: skip
    number = len(source)
    if isinstance(source, EncodedSet):
        _check_readable(source)
    candidates = _of_classes(source, classes) if classes else range(number)
    chosen = tuple(indices) or _choose(candidates, num, seed)
    _check_indices(source, chosen, number)
    figures = None
    if normalized or (augmentation is not None and augmentation.cutout):
        figures = _figures(source, wanted, input_shape, data_dir, allow_large, num_workers)
    num_pictures = len(chosen) * (1 if augmentation is None else 1 + NUM_EPOCHS)
    treatment = ImageTreatment(
        input_shape,
        figures if normalized else None,
        max_picture_side(num_pictures),
        keeps=augmentation is not None,
        allow_large=allow_large,
    )
    with pillow_limits(allow_large):
        found = _samples(source, sorted(set(chosen)), treatment)
    titles = treatment.titles()
    if augmentation is not None:
        found = with_augmented(
            found, treatment.treated, treatment, augmentation, figures, seed, number
        )
        titles += augmented_titles()
    return SampleList(
        dataset=source.dataset,
        split=source.split,
        num_images=number,
        num_candidates=len(candidates),
        seed=None if indices else seed,
        input=shape_text(input_shape) if input_shape else None,
        normalization=treatment.normalization(),
        augmentation=None if augmentation is None else augmentation.sentence(),
        stages=titles,
        samples=tuple(found[index] for index in chosen),
    )


def _check_readable(source: EncodedSet) -> None:
    """Report unreadable files, and raise if there are no images."""
    for name, reason in source.problems:
        emit(Warned(f"{name}: {reason}"))
    if not len(source):
        reasons = "".join(f": {name}: {reason}" for name, reason in source.problems[:1])
        raise RunFailedError(f"{source.dataset} has no images{reasons}")


def _of_classes(source: Source, classes: Sequence[str]) -> Sequence[int]:
    """Return the places of the images of some classes."""
    for name in classes:
        if name not in source.classes:
            raise NotFoundError(
                f"{source.dataset} has no class {name!r}",
                did_you_mean(name, source.classes) or f"it has {some_of(source.classes, 10)}",
            )
    wanted = torch.tensor([name in classes for name in (*source.classes, "")])
    found: list[int] = torch.nonzero(wanted[source.labels]).flatten().tolist()
    if not found:
        raise UsageError(
            f"{source.dataset} has no images of {some_of(tuple(classes), 10)}",
            "choose other classes",
        )
    return found


def _choose(candidates: Sequence[int], num: int, seed: int) -> tuple[int, ...]:
    order = permutation(len(candidates), seed)
    return tuple(candidates[place] for place in order[:num].tolist())


def _check_indices(source: Source, indices: Sequence[int], number: int) -> None:
    for index in indices:
        if not 0 <= index < number:
            part = "" if source.split == "all" else f"{source.split} "
            raise UsageError(
                f"{source.dataset} has no {part}image {index:,}",
                f"indices are 0 to {number - 1:,}" if number else "it has no images",
            )


def _samples(source: Source, chosen: Sequence[int], treatment: ImageTreatment) -> dict[int, Sample]:
    """Return the images at some places, in ascending order, by place."""
    if isinstance(source, TensorSet):
        return {index: _sample_of_tensor(source, index, treatment) for index in chosen}
    images = source.images(lambda unit: True, frozenset(chosen))
    return {
        index: replace(_sample_of_file(image, treatment), index=index)
        for index, image in zip(chosen, images, strict=True)
    }


def _sample_of_tensor(source: TensorSet, index: int, treatment: ImageTreatment) -> Sample:
    pixels = source.images[index]
    return Sample(
        index=index,
        label=source.classes[int(source.labels[index])],
        width=pixels.shape[2],
        height=pixels.shape[1],
        mode="L" if len(pixels) == 1 else "RGB",
        path=None,
        reason=None,
        pictures=treatment.pictures(pixels),
    )


def _sample_of_file(encoded: EncodedImage, treatment: ImageTreatment) -> Sample:
    """Return an image of a stream, or why it is broken; its index is left at 0."""
    broken = Sample(
        0, encoded.class_name or None, None, None, None, encoded.name, encoded.reason, None
    )
    if encoded.reason:
        return broken
    try:
        content = encoded.read(treatment.allow_large)
        decoded = decode(content, treatment.allow_large)
        sample = replace(
            broken, width=decoded.width, height=decoded.height, mode=decoded.mode, reason=None
        )
        image = to_8_bits(decoded.pixels)
        del decoded  # a large image is not to be in memory twice
        own, stored = len(image.getbands()), treatment.picture(image)
        if treatment.shape is not None:
            del image
            image = treatment.brought(content, own)
        return replace(sample, pictures=(stored, *treatment.further(image, own)))
    except BadImageError as error:
        return replace(broken, reason=str(error))


def _checked(normalize: str) -> str:
    try:
        return normalize_text(normalize)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _figures(
    source: Source,
    normalize: str,
    shape: tuple[int | None, int, int] | None,
    data_dir: Path | None,
    allow_large: bool,
    num_workers: int | None,
) -> Figures:
    """Return the mean and standard deviation to normalize with.

    Raises:
        UsageError: there are none that are published, or those there are do not fit the channels.
    """
    channels = shape[0] if shape else None
    if normalize not in NORMALIZE_WORDS or normalize == "none":
        channels = channels or _channels(source, data_dir)
        if normalize == "none":
            return Figures((0.0,) * channels, (1.0,) * channels, "not at all")
        try:
            given = MeanStd.parse(normalize).for_channels(channels)
        except ValueError as error:
            raise UsageError(
                f"{setting('normalize')} {normalize} {error}",
                "give one number for all channels, or one each",
            ) from error
        return Figures(given.mean, given.std, "as given")
    entry = DATASETS.get(source.dataset)
    published = entry.published if entry is not None else None
    if normalize == "published" and published is None:
        raise UsageError(
            f"no mean and standard deviation are published for {source.dataset}",
            f"use {setting('normalize')} measured",
        )
    is_too_grey = published is not None and channels is not None and channels < len(published.mean)
    if normalize == "published" or (normalize == "auto" and published and not is_too_grey):
        assert published is not None
        repeat = _repeats(source, len(published.mean), shape)
        return Figures(published.mean * repeat, published.std * repeat, "published")
    return _measured(source, shape, data_dir, allow_large, num_workers)


def _measured(
    source: Source,
    shape: tuple[int | None, int, int] | None,
    data_dir: Path | None,
    allow_large: bool,
    num_workers: int | None,
) -> Figures:
    """Measure the training split as `train` does; at the images' own size as `stats` does."""
    workers = num_usable_cores() if num_workers is None else num_workers
    images = None
    if shape is not None or isinstance(source, TensorSet):
        images = _training_images(source, data_dir)
    if images is not None:
        channels, height, width = shape or (None, 1, 1)  # in memory they are measured as stored
        channels = channels or images.channels
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        plain = Preprocessing(channels, height, width, zeros, ones, allow_large)
        found = measure_channels([images], plain, workers, True)
        is_whole = found.num_images == found.num_total
        origin = f"measured on {found.num_images:,} training images"
        return Figures(found.mean, found.std, origin if is_whole else found.origin())
    measured = measure_dataset(
        source.dataset,
        allow_large=allow_large,
        data_dir=data_dir,
        num_workers=workers,
    )
    assert measured.mean is not None
    assert measured.std is not None
    repeat = _repeats(source, len(measured.mean), shape)
    # A constant channel has a std of 0, which cannot be divided by.
    std = tuple(value or 1.0 for value in measured.std)
    split = "" if measured.split == ALL else f"{measured.split} "
    number = f"{measured.num_images:,} {split}images"
    size = " at their own size" if shape is not None else ""
    return Figures(measured.mean * repeat, std * repeat, f"measured on {number}{size}")


def _training_images(source: Source, data_dir: Path | None) -> TensorSet | EncodedSet | None:
    """Return the images that `train` would measure; None of a set that it does not take."""
    try:
        return open_dataset(source.dataset, "train", data_dir=data_dir)
    except (UsageError, BrokenImageError):  # such as a single class, which can only be looked at
        return None


def _channels(source: Source, data_dir: Path | None) -> int:
    """Return the channels of the images; 3 if only reading all of them could show."""
    images = _training_images(source, data_dir)
    return 3 if images is None else images.channels


def _repeats(source: Source, known: int, shape: tuple[int | None, int, int] | None) -> int:
    """Return the number of repetitions of the values of `known` channels."""
    wanted = (shape[0] if shape else None) or known
    if wanted < known:
        raise UsageError(
            f"mean and std of {source.dataset} are for color, but grayscale is requested",
            "use three channels, or do not normalize",
        )
    return wanted // known
