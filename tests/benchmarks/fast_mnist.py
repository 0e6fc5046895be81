"""99 % on MNIST: `cnnkit train` with `convnet_fast` against the loop of the lectures.

The lectures train LeNet-5 with ReLU for five epochs, and print 98.36 %. Their loop is the one that
they teach: a DataLoader over torchvision's MNIST with Resize, ToTensor and Normalize a sample at a
time, and `loss.item()` every step. `cnnkit train` trains `convnet_fast` for one epoch, with a
recipe. Each side is timed from opening the files to the accuracy on the 10,000 test images.
Both sides in one process, interleaved: every round is one training of the lectures and some of
cnnkit, each with a seed of its own.

Prints seconds and accuracy of each training, the mean accuracy with its deviation, and the ratio of
the medians of the seconds.

    python tests/benchmarks/fast_mnist.py --data-dir FOLDER_WITH_MNIST --rounds 3 --seeds 10
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torchvision import datasets, transforms

import cnnkit
from cnnkit import Recipe

LECTURE_EPOCHS = 5


def lecture_lenet5() -> nn.Sequential:
    """Return the network as lectures write it."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def lecture_training(data_dir: Path, batch_size: int, seed: int) -> tuple[float, float]:
    """Return seconds and test accuracy of five epochs of the lectures' loop."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    transform = transforms.Compose(
        [
            transforms.Resize((32, 32)),
            transforms.ToTensor(),
            transforms.Normalize((0.1307,), (0.3081,)),
        ]
    )
    images = datasets.MNIST(str(data_dir), train=True, transform=transform, download=True)
    test = datasets.MNIST(str(data_dir), train=False, transform=transform)
    loader = torch.utils.data.DataLoader(images, batch_size=batch_size, shuffle=True)
    model = lecture_lenet5()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    criterion = nn.CrossEntropyLoss()
    total = 0.0
    for _ in range(LECTURE_EPOCHS):
        model.train()
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(batch), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
    model.eval()
    correct = 0
    with torch.no_grad():
        for batch, labels in torch.utils.data.DataLoader(test, batch_size=1000):
            correct += int((model(batch).argmax(dim=1) == labels).sum())
    return time.perf_counter() - start, correct / len(test)


def cnnkit_training(data_dir: Path, recipe_name: str, seed: int) -> tuple[float, float]:
    """Return seconds and test accuracy of `cnnkit train`, with its checkpoints and files."""
    start = time.perf_counter()
    recipe = Recipe.of(**{**cnnkit.find_recipe(recipe_name).settings, "seed": seed})
    with tempfile.TemporaryDirectory() as runs:
        result = cnnkit.train(
            "convnet_fast", "mnist", recipe, device="cpu", data_dir=data_dir, runs_dir=Path(runs)
        )
    assert result.test is not None
    return time.perf_counter() - start, result.test.accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with MNIST in it")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of the lectures")
    parser.add_argument("--lecture-batch-size", type=int, default=64, help="64 as published")
    parser.add_argument("--recipe", default="mnist-fast", help="name, or file")
    parser.add_argument("--seeds", type=int, default=10, help="trainings of cnnkit in all")
    arguments = parser.parse_args()
    lecture: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    for number in range(arguments.rounds):
        lecture.append(lecture_training(arguments.data_dir, arguments.lecture_batch_size, number))
        print(f"lectures  seed {number}: {lecture[-1][0]:6.2f} s, {lecture[-1][1]:.2%}", flush=True)
        end = arguments.seeds * (number + 1) // arguments.rounds
        for seed in range(len(ours), end):
            ours.append(cnnkit_training(arguments.data_dir, arguments.recipe, seed))
            print(f"cnnkit    seed {seed}: {ours[-1][0]:6.2f} s, {ours[-1][1]:.2%}", flush=True)
    for name, found in (("lectures", lecture), ("cnnkit", ours)):
        seconds = [each for each, _ in found]
        accuracies = [accuracy for _, accuracy in found]
        deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
        print(
            f"{name:9} n={len(found)}: accuracy {statistics.mean(accuracies):.3%} "
            f"(deviation {100 * deviation:.3f} points), median {statistics.median(seconds):.2f} s "
            f"(from {min(seconds):.2f} to {max(seconds):.2f})"
        )
    ratio = statistics.median(one for one, _ in ours) / statistics.median(one for one, _ in lecture)
    print(f"cnnkit takes {ratio:.3f} of the lectures' time; {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
