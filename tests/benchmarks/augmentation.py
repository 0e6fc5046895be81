"""Augmenting a batch on the CPU: cnnkit against torchvision image by image, and naive indexing.

All make the same of 1000 images of 3x32x32 bytes: a random crop after padding by 4 with reflection,
a random mirror image, a cutout of 8 pixels, the normalisation. RandAugment is compared likewise,
and a training step of `resnet20` stands beside them. All are interleaved in one process. Prints
milliseconds a batch, ratios of medians, and what augmentation adds to a batch that is only
normalized, as a share of the step.

    python tests/benchmarks/augmentation.py [--rounds 15]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from cnnkit.data.image_set import TensorSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.loading.tensor_batches import TensorBatches
from cnnkit.models import build_model

NUM_IMAGES = 5000
BATCH_SIZE = 1000
SIDE, CROP, CUTOUT = 32, 4, 8
CPU = torch.device("cpu")
CLASSES = tuple("0123456789")
TREATED = Preprocessing(3, SIDE, SIDE, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def made_set() -> TensorSet:
    """Return images of noise; what they show does not change the time."""
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_IMAGES, 3, SIDE, SIDE)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (NUM_IMAGES,), generator=generator)
    return TensorSet("made", "train", CLASSES, labels, 3, (SIDE, SIDE), images)


def batch_of(images: TensorSet, augmentation: Augmentation | None) -> Callable[[], Tensor]:
    """Return what makes the first batch of an epoch, another epoch every time."""
    batches = TensorBatches(
        images, TREATED, BATCH_SIZE, CPU, torch.channels_last, augmentation=augmentation
    )
    epochs = iter(range(1, 10**9))
    return lambda: next(batches.shuffled(0, next(epochs)))[1]


def torchvision_transform(*others: v2.Transform) -> Callable[[Tensor], Tensor]:
    """Return the pipeline that is taught, for one image of uint8."""
    return v2.Compose(
        [
            v2.RandomCrop(SIDE, padding=CROP, padding_mode="reflect"),
            v2.RandomHorizontalFlip(),
            *others,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(TREATED.mean, TREATED.std),
        ]
    )


def cut_out_one(image: Tensor) -> Tensor:
    """Return one image with its square set to 0."""
    y, x = torch.randint(SIDE, (2,)).tolist()
    half = CUTOUT // 2
    image[:, max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
    return image


def image_by_image(images: TensorSet, *others: v2.Transform) -> Callable[[], Tensor]:
    """Return a batch as a dataset and its loader make it."""
    transform = torchvision_transform(*others)

    def batch() -> Tensor:
        rows = torch.randperm(NUM_IMAGES)[:BATCH_SIZE].tolist()
        return torch.stack([cut_out_one(transform(images.images[row])) for row in rows])

    return batch


def naive(images: TensorSet) -> Callable[[], Tensor]:
    """Return a batch with every value fetched by its own index from a padded float batch."""

    def batch() -> Tensor:
        rows = torch.randperm(NUM_IMAGES)[:BATCH_SIZE]
        values = TREATED.normalize(images.images[rows])
        padded = functional.pad(values, (CROP,) * 4, mode="reflect")
        offsets = torch.randint(2 * CROP + 1, (2, BATCH_SIZE, 1))
        y = (torch.arange(SIDE) + offsets[0])[:, None, :, None]
        x = torch.arange(SIDE) + offsets[1]
        x = torch.where(torch.rand(BATCH_SIZE, 1) < 0.5, x.flip(1), x)[:, None, None, :]
        numbers = torch.arange(BATCH_SIZE)[:, None, None, None]
        found = padded[numbers, torch.arange(3)[:, None, None], y, x]
        centres = torch.randint(SIDE, (2, BATCH_SIZE, 1))
        near_y, near_x = (
            (torch.arange(SIDE) - centre + CUTOUT // 2).clamp(-1, CUTOUT) % CUTOUT
            == (torch.arange(SIDE) - centre + CUTOUT // 2)
            for centre in centres
        )
        found[(near_y[:, :, None] & near_x[:, None, :])[:, None].expand_as(found)] = 0
        return found

    return batch


def training_step(images: TensorSet) -> Callable[[], Tensor]:
    """Return a step of a small ResNet with a batch that lies ready."""
    network = build_model("resnet20", num_classes=10, in_channels=3)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    batch = TREATED.normalize(images.images[:BATCH_SIZE])
    batch = batch.contiguous(memory_format=torch.channels_last)
    labels = images.labels[:BATCH_SIZE]

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(batch), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss

    return step


def mixing(images: TensorSet, **alpha: float) -> Callable[[], Tensor]:
    """Return what mixes a batch that lies ready."""
    made = Augmenter(Augmentation(**alpha), 0, 1, NUM_IMAGES, 10, CPU)
    batch = TREATED.normalize(images.images[:BATCH_SIZE])
    batch = batch.contiguous(memory_format=torch.channels_last)
    steps = iter(range(10**9))
    return lambda: made.mixed(batch, images.labels[:BATCH_SIZE], next(steps))[1]


def main() -> None:
    """Run the rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    images = made_set()
    usual = Augmentation(crop=CROP, flip="random", cutout=CUTOUT)
    with_randaugment = Augmentation(crop=CROP, flip="random", cutout=CUTOUT, randaugment=9)
    ours, ours_randaugment, plain = "cnnkit", "cnnkit, RandAugment", "only normalized"
    step = "resnet20, a step"
    sides = {
        plain: batch_of(images, None),
        ours: batch_of(images, usual),
        "naive indexing": naive(images),
        "torchvision": image_by_image(images),
        ours_randaugment: batch_of(images, with_randaugment),
        "torchvision, RandAugment": image_by_image(images, v2.RandAugment()),
        "mixup alone": mixing(images, mixup=0.2),
        "cutmix alone": mixing(images, cutmix=1.0),
        step: training_step(images),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds + 1):
        for name, make in sides.items():
            start = time.perf_counter()
            make()
            if number:  # the first warms up
                times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:<25} {medians[name]:9.1f} ms a batch, smallest {min(values):9.1f}")
    for name, other in (
        ("naive indexing", ours),
        ("torchvision", ours),
        ("torchvision, RandAugment", ours_randaugment),
    ):
        print(f"{name} / {other}: {medians[name] / medians[other]:.1f}")
    added = (medians[ours] - medians[plain]) / medians[step]
    print(
        f"crop, mirror and cutout add {100 * added:.1f} % to a step of resnet20; "
        f"n = {arguments.rounds}, batches of {BATCH_SIZE}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
