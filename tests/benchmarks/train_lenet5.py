"""LeNet-5 on MNIST, batch 32: `cnnkit train` against the plain loop of the lectures.

Both sides in one process, interleaved, with the same network, optimizer and settings. The loop is
the one that lectures teach: a DataLoader over torchvision's MNIST with Resize and ToTensor a
sample at a time, `loss.item()` every step. Prints images a second of each round, the ratio of the
medians, and the losses of both.

    python tests/benchmarks/train_lenet5.py --data-dir FOLDER_WITH_MNIST
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

BATCH_SIZE = 32
LEARNING_RATE = 0.1  # so that an epoch learns something to compare


def lecture_lenet5() -> nn.Sequential:
    """Return the network as lectures write it, drawn from the seed as `cnnkit` draws it."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def lecture_epoch(data_dir: Path, seed: int) -> tuple[float, float]:
    """Return images a second, and the mean loss, of an epoch of the lectures' loop."""
    torch.manual_seed(seed)
    transform = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    images = datasets.MNIST(str(data_dir), train=True, transform=transform, download=True)
    loader = torch.utils.data.DataLoader(images, batch_size=BATCH_SIZE, shuffle=True)
    model = lecture_lenet5()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    criterion = nn.CrossEntropyLoss()
    total = 0.0
    start = time.perf_counter()
    model.train()
    for batch, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(batch), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    seconds = time.perf_counter() - start
    return len(images) / seconds, total / len(images)


def cnnkit_epoch(data_dir: Path, seed: int) -> tuple[float, float]:
    """Return images a second, and the mean loss, of an epoch of `cnnkit train`."""
    recipe = Recipe.of(
        epochs=1,
        batch_size=BATCH_SIZE,
        optimizer="sgd",
        momentum=0.0,
        lr=LEARNING_RATE,
        schedule="constant",
        normalize="none",
        val_split=0.0,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as runs:
        result = cnnkit.train(
            "lenet5", "mnist", recipe, device="cpu", data_dir=data_dir, runs_dir=Path(runs)
        )
    return result.epochs[0].images_per_second, result.epochs[0].train_loss


def main() -> None:
    """Run the rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sides = {"lectures' loop": lecture_epoch, "cnnkit train": cnnkit_epoch}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {name: [] for name in sides}
    for seed in range(arguments.rounds):
        for name, epoch in sides.items():
            rate, loss = epoch(arguments.data_dir, seed)
            rates[name].append(rate)
            losses[name].append(loss)
            print(f"round {seed + 1}  {name:<15} {rate:8,.0f} images/s  train loss {loss:.4f}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name in sides:
        spread = statistics.stdev(losses[name]) if arguments.rounds > 1 else float("nan")
        print(
            f"{name:<15} median {medians[name]:8,.0f} images/s, train loss "
            f"{statistics.mean(losses[name]):.4f} +- {spread:.4f} (n = {arguments.rounds})"
        )
    ratio = medians["cnnkit train"] / medians["lectures' loop"]
    threads = torch.get_num_threads()
    print(f"ratio of medians {ratio:.2f}, torch {torch.__version__}, {threads} threads")


if __name__ == "__main__":
    main()
