"""The verb: images of a dataset to look at, as they are stored and as a network gets them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnkit.data.catalogue import DATASETS
from cnnkit.data.decode import BadImageError, pillow_limits
from cnnkit.data.image_set import TensorSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.sources.archives import ArchiveStream
from cnnkit.data.sources.streams import EncodedImage, ImageStream
from cnnkit.errors import NotFoundError, RunFailedError, UsageError
from cnnkit.events import OnEvent, Warned, ignore
from cnnkit.registry import did_you_mean
from cnnkit.results.samples import Sample, SampleList
from cnnkit.stats.counting.decoding import decode
from cnnkit.stats.inspection.grey import to_8_bits
from cnnkit.stats.show.augmented_samples import NUM_EPOCHS, augmented_titles, with_augmented
from cnnkit.stats.show.sample_pictures import (
    Figures,
    ImageTreatment,
    max_picture_side,
    shape_text,
)
from cnnkit.stats.sources import Source, open_source
from cnnkit.stats.statistics import measure_dataset

MAX_MEASURED = 2048
"""So many images are measured where no figures are published to normalise with."""


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
    augmentation: Augmentation | None = None,
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
        augmentation: show what training makes of them with it, in each of its first epochs.
        allow_large: decode images of very many pixels as well.
        data_dir: where the files of named sets are looked for, and downloaded to.
        download: whether missing files may be downloaded.
        num_workers: threads that decode for the measurement; one a core by default.
        on_event: told what is odd.

    Raises:
        NotFoundError: there is no such dataset, folder, file or class.
        UsageError: there is no image of an index, or options make no sense together.
        UnavailableError: files are missing and cannot be downloaded, or cannot be read.
        RunFailedError: there is no image at all.
    """
    if indices and classes:
        raise UsageError("--index and --class are both given", "leave one of the two out")
    if input_shape is not None and input_shape[0] not in (None, 1, 3):
        raise UsageError(f"images have 1 or 3 channels, not {input_shape[0]}")
    source = open_source(
        dataset,
        split,
        data_dir=data_dir,
        download=download,
        on_event=on_event,
        allow_large=allow_large,
    )
    number, labels = _listed(source, bool(classes), on_event)
    candidates = _of_classes(source, labels, classes) if classes else range(number)
    chosen = tuple(indices) or _choose(candidates, num, seed)
    _check_indices(source, chosen, number)
    figures = None
    if normalized or (augmentation is not None and augmentation.cutout):
        figures = _published(source, input_shape) or _measured(
            source, input_shape, seed, data_dir, allow_large, num_workers, on_event
        )
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
        titles=titles,
        samples=tuple(found[index] for index in chosen),
    )


def _listed(
    source: Source, needs_labels: bool, on_event: OnEvent
) -> tuple[int, Sequence[str | None]]:
    """Return the number of images, and the class of each; no classes where none are needed.

    An archive without an index is read for that from its beginning to its end.
    """
    if isinstance(source, TensorSet):
        return len(source), [source.classes[label] for label in source.labels.tolist()]
    number = None if needs_labels else source.count()
    if number:
        return number, ()
    folders, reason = [], ""
    for image in source.images(lambda unit: True):
        if image.reason and not image.class_name:  # an archive, or a folder, and no image of its
            reason = f"{image.name}: {image.reason}"
            on_event(Warned(reason))
        else:
            folders.append(image.class_name)
    if not folders:
        raise RunFailedError(f"{source.dataset} has no images" + f": {reason}" * bool(reason))
    for remark in source.remarks():
        on_event(Warned(remark))
    final = _final_classes(source)
    return len(folders), [final.get(folder, folder) or None for folder in folders]


def _final_classes(source: ImageStream) -> Mapping[str, str]:
    """Return what classes are called, now that all was read, by what they were called so far."""
    return source.final_classes() if isinstance(source, ArchiveStream) else {}


def _of_classes(
    source: Source, labels: Sequence[str | None], classes: Sequence[str]
) -> Sequence[int]:
    """Return the places of the images of some classes."""
    known = list(source.classes if isinstance(source, TensorSet) else source.classes())
    known += sorted({label for label in labels if label is not None} - set(known))
    for name in classes:
        if name not in known:
            raise NotFoundError(
                f"{source.dataset} has no class {name!r}",
                did_you_mean(name, known) or f"it has {_some(known)}",
            )
    found = [index for index, label in enumerate(labels) if label in classes]
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


def _samples(source: Source, chosen: Sequence[int], treatment: ImageTreatment) -> dict[int, Sample]:
    """Return the images at some places, in ascending order, by place."""
    if isinstance(source, TensorSet):
        return {index: _sample_of_tensor(source, index, treatment) for index in chosen}
    images = source.images(lambda unit: True, frozenset(chosen))
    # To its end, where there are more: the classes of an archive are known only then.
    found = [_sample_of_file(image, treatment) for image in images]
    if len(found) != len(chosen):
        raise RunFailedError(f"{source.dataset} changed while it was read", "try again")
    final = _final_classes(source)
    return {
        index: replace(sample, index=index, label=final.get(sample.label or "", sample.label))
        for index, sample in zip(chosen, found, strict=True)
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
        pixels = decoded.planes if decoded.image is None else decoded.image
        assert pixels is not None
        sample = replace(
            broken, width=decoded.width, height=decoded.height, mode=decoded.mode, reason=None
        )
        image = to_8_bits(pixels)
        del decoded, pixels  # a large image is not to be in memory twice
        own, stored = len(image.getbands()), treatment.picture(image)
        if treatment.shape is not None:
            del image
            image = treatment.brought(content, own)
        return replace(sample, pictures=(stored, *treatment.further(image, own)))
    except BadImageError as error:
        return replace(broken, reason=str(error))


def _published(source: Source, shape: tuple[int | None, int, int] | None) -> Figures | None:
    entry = DATASETS.get(source.dataset)
    published = entry.published if entry is not None else None
    if published is None:
        return None
    repeat = _repeats(source, len(published.mean), shape)
    return Figures(published.mean * repeat, published.std * repeat, "published")


def _measured(
    source: Source,
    shape: tuple[int | None, int, int] | None,
    seed: int,
    data_dir: Path | None,
    allow_large: bool,
    num_workers: int | None,
    on_event: OnEvent,
) -> Figures:
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
    return Figures(measured.mean * repeat, std * repeat, f"measured on {number}")


def _repeats(source: Source, known: int, shape: tuple[int | None, int, int] | None) -> int:
    """Return how often the figures of `known` channels must be repeated."""
    wanted = (shape[0] if shape else None) or known
    if wanted < known:
        raise UsageError(
            f"mean and deviation of {source.dataset} are those of colour, and grey is asked for",
            "ask for three channels, or leave the normalising out",
        )
    return wanted // known


def _some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    listed = ", ".join(names[:10])
    return f"{listed} and {len(names) - 10} more" if len(names) > 10 else listed
