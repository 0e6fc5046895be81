"""Operations on batches against torchvision's on one image at a time."""

import pytest
import torch
from scipy.stats import chisquare
from torchvision.transforms.v2 import RandAugment

from cnnkit.data.loading.augmentation import MAX_RANDAUGMENT, Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.data.loading.randaugment import NUM_OPERATIONS, OPERATIONS, randaugment

SPACE = RandAugment._AUGMENTATION_SPACE


def torchvision_says(
    image: torch.Tensor, name: str, magnitude: int, is_opposite: bool
) -> torch.Tensor:
    theirs = RandAugment(magnitude=magnitude)
    levels, is_signed = SPACE[name]
    values = levels(MAX_RANDAUGMENT + 1, *image.shape[-2:])
    value = 0.0 if values is None else float(values[magnitude])
    if is_signed and is_opposite:
        value = -value
    return theirs._apply_image_or_video_transform(
        image, name, value, interpolation=theirs.interpolation, fill=theirs._fill
    )


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(10, 240, (12, 3, 9, 14), dtype=torch.uint8, generator=generator)


def test_the_operations_are_those_of_torchvision() -> None:
    assert tuple(SPACE) == OPERATIONS


@pytest.mark.parametrize("magnitude", [0, 5, 9, 30])
@pytest.mark.parametrize("operation", range(NUM_OPERATIONS))
def test_each_operation_is_that_of_torchvision(
    images: torch.Tensor, operation: int, magnitude: int
) -> None:
    name = OPERATIONS[operation]
    for batch in (images, images[:, :1]):
        for is_opposite in (False, True):
            drawn = torch.full((len(batch), 1), 2 * operation + is_opposite)
            found = randaugment(batch.clone(), drawn, magnitude)
            for image, got in zip(batch, found, strict=True):
                wanted = torchvision_says(image, name, magnitude, is_opposite)
                assert got.dtype == torch.uint8
                # torchvision's magnitudes are float32
                assert (got.int() - wanted.int()).abs().max() <= 1
                assert (got != wanted).float().mean() < 0.02


def test_the_second_operation_follows_the_first(images: torch.Tensor) -> None:
    operations = torch.tensor([[3, 5]])  # a shift and a turn: their order shows
    both = randaugment(images[:1].clone(), 2 * operations, 20)
    first = randaugment(images[:1].clone(), 2 * operations[:, :1], 20)
    assert torch.equal(both, randaugment(first, 2 * operations[:, 1:], 20))
    assert not torch.equal(both, randaugment(images[:1].clone(), 2 * operations.flip(1), 20))


def test_every_operation_is_equally_likely() -> None:
    made = Augmenter(Augmentation(randaugment=9), 0, 1, 7000, 2, torch.device("cpu"))
    assert made._operations is not None
    pairs = made._operations // 2
    counts = torch.bincount(pairs[:, 0] * NUM_OPERATIONS + pairs[:, 1], minlength=14**2)
    assert chisquare(counts.numpy()).pvalue > 0.01
    assert chisquare(torch.bincount(made._operations.flatten()).numpy()).pvalue > 0.01
