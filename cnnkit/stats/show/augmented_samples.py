"""Samples as augmented in the starting epochs of training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.errors import UsageError, setting
from cnnkit.results.show import Sample
from cnnkit.stats.show.sample_pictures import Figures, ImageTreatment, to_bytes, to_image

NUM_EPOCHS = 4


def augmented_titles() -> tuple[str, ...]:
    """Return the captions of the pictures that `with_augmented` adds."""
    return tuple(f"augmented, epoch {epoch}" for epoch in range(1, NUM_EPOCHS + 1))


def with_augmented(
    samples: Mapping[int, Sample],
    pixels: Sequence[Tensor],
    treatment: ImageTreatment,
    augmentation: Augmentation,
    figures: Figures | None,
    seed: int,
    num_images: int,
) -> dict[int, Sample]:
    """Return samples with one more picture per epoch; together they are a batch.

    Args:
        samples: by their place in the set.
        pixels: of those that are not broken, in their order: uint8 of shape (C, H, W).
        treatment: makes the pictures.
        augmentation: which changes.
        figures: mean and std, for the pixels that are 0 after normalization; None for the
            scale 0..1.
        seed: of the changes.
        num_images: how many images the set has.

    Raises:
        UsageError: the images differ in size, or are too small for the changes.
    """
    whole = [sample for sample in samples.values() if sample.pictures is not None]
    if not whole:
        return dict(samples)
    if len({image.shape for image in pixels}) > 1:
        raise UsageError(
            "the images differ in size or channels, and cannot form a batch",
            f"choose one with {setting('input')}, such as {setting('input')} 3x224x224",
        )
    batch = torch.stack(list(pixels))
    channels, height, width = batch.shape[1:]
    augmentation.check(height, width)
    figures = figures or Figures((0.0,) * channels, (1.0,) * channels, "")
    treat = Preprocessing(channels, height, width, figures.mean, figures.std)
    mean, std = (torch.tensor(values)[:, None, None] for values in (figures.mean, figures.std))
    names = sorted({sample.label or "-" for sample in whole})
    labels = torch.tensor([names.index(sample.label or "-") for sample in whole])
    rows = torch.tensor([sample.index for sample in whole])
    pictures = [list(sample.pictures or ()) for sample in whole]
    for epoch in range(1, NUM_EPOCHS + 1):
        augmenter = Augmenter(
            augmentation, seed, epoch, num_images, len(names), torch.device("cpu")
        )
        images = treat.normalize(augmenter.moved(batch.clone(), rows))
        images, shares = augmenter.mixed(augmenter.cut(images, rows), labels, 0)
        for place, image in enumerate(to_bytes(images * std + mean)):
            caption = _caption(names, shares[place]) if augmentation.mixes else ()
            pictures[place].append(replace(treatment.picture(to_image(image)), caption=caption))
    changed = {
        sample.index: replace(sample, pictures=tuple(its_pictures))
        for sample, its_pictures in zip(whole, pictures, strict=True)
    }
    return {**samples, **changed}


def _caption(names: Sequence[str], shares: Tensor) -> tuple[str, ...]:
    """Return the classes of a mixed image and their shares, the largest first."""
    ordered = shares.argsort(descending=True, stable=True).tolist()
    return tuple(
        f"{100 * float(shares[number]):.0f} % {names[number]}"
        for number in ordered
        if shares[number] > 0
    )
