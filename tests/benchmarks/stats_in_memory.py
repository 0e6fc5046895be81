"""Statistics of a CIFAR-sized set in memory: cnnkit against the lectures' stacked tensors.

Both sides in one process, interleaved. The lectures turn every image into a float tensor with
ToTensor, stack all of them along a fourth axis, and take mean and deviation of the flat channels
(Stevens, Antiga and Viehmann, Deep Learning with PyTorch, section 7.1.4). Prints images a second
of each round, the ratio of the medians, and the figures of both.

    python tests/benchmarks/stats_in_memory.py
"""

import argparse
import statistics
import time

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from cnnkit.data.image_set import TensorSet
from cnnkit.stats.counting.count_tensors import measure_tensors
from cnnkit.stats.counting.summarized import (
    channel_stats,
    class_stats,
    mean_and_std,
    means_over_images,
)
from cnnkit.stats.counting.tally import Tally
from cnnkit.stats.counting.transform import Transform

NUM_IMAGES = 50_000


def made_up_set() -> TensorSet:
    """Return 50,000 colour images of 32 x 32 pixels in ten classes."""
    stream = np.random.default_rng(0)
    pixels = stream.integers(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = torch.from_numpy(stream.integers(0, 10, NUM_IMAGES))
    classes = tuple(map(str, range(10)))
    return TensorSet("made-up", "train", classes, labels, 3, (32, 32), torch.from_numpy(pixels))


class LectureDataset(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """The images as torchvision's CIFAR10 gives them: a Pillow image each, turned by ToTensor."""

    def __init__(self, images: TensorSet) -> None:
        self.data = images.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = images.labels.tolist()
        self.transform = transforms.ToTensor()

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]

    def __len__(self) -> int:
        return len(self.data)


def lecture_statistics(dataset: LectureDataset) -> tuple[list[float], list[float]]:
    """Return mean and deviation as the lectures compute them."""
    images = torch.stack([dataset[index][0] for index in range(len(dataset))], dim=3)
    flat = images.view(3, -1)
    return flat.mean(dim=1).tolist(), flat.std(dim=1).tolist()


def cnnkit_statistics(images: TensorSet, threads: int) -> tuple[list[float], list[float]]:
    """Return mean and deviation out of the whole tally, with all else that `stats` derives."""
    tally = Tally()
    measure_tensors(images, tally, Transform(), lambda _: True, threads)
    channel_stats(tally), means_over_images(tally)
    class_stats(tally, images.classes, "pixel")
    figures = mean_and_std(tally)
    assert figures is not None
    return list(figures.mean), list(figures.std)


def main() -> None:
    """Run the rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = made_up_set()
    dataset = LectureDataset(images)
    sides = {
        "lectures' tensors": lambda: lecture_statistics(dataset),
        "cnnkit stats": lambda: cnnkit_statistics(images, arguments.threads),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            mean, std = run()
            rate = NUM_IMAGES / (time.perf_counter() - start)
            rates[name].append(rate)
            shown = " ".join(f"{value:.6f}" for value in (*mean, *std))
            print(f"round {number + 1}  {name:<17} {rate:10,.0f} images/s  {shown}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["cnnkit stats"] / medians["lectures' tensors"]
    print(f"ratio of medians {ratio:.1f}, torch {torch.__version__}, {arguments.threads} threads")


if __name__ == "__main__":
    main()
