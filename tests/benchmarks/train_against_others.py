"""`cnnkit train` against PyTorch Lightning and torchvision's reference style, in one run.

The same network, batch, optimizer, learning rate and epochs on every side, interleaved by rounds,
each in a process of its own, with as many threads as the machine has cores:

- `cnnkit train`, with files decoded once (`--cache auto`), and every epoch (`--cache off`);
- PyTorch Lightning, a `LightningModule` and a `DataLoader` with 2 workers, its bar and logger off;
- the loop of torchvision's reference scripts: a `DataLoader` with 2 workers, loss and accuracy
  read every step, as its `MetricLogger` does.

The network is LeNet-5 for both sets (3x32x32 and 1x32x32): small enough for the loop and the data
to count, which a large network would hide. Images a second are those of all epochs together, the
decoding, and the start of the workers, included; nothing is evaluated but by `cnnkit`, which does
it outside of that time. Prints each round, the medians, and the ratios.

Lightning is wanted in the environment: pip install lightning. Where it is missing, that side is
left out, and the reason printed.

    python tests/benchmarks/train_against_others.py --folder CIFAR10_AS_JPEG --data-dir WITH_MNIST
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

SIDES = ("cnnkit", "cnnkit, no cache", "lightning", "torchvision style")
LEARNING_RATE = 0.05
MOMENTUM = 0.9
NUM_WORKERS = 2


def time_cnnkit(arguments: argparse.Namespace, cache: str) -> tuple[float, float]:
    """Return seconds of all epochs, and the mean loss of the last."""
    import cnnkit
    from cnnkit import Recipe

    recipe = Recipe.of(
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        optimizer="sgd",
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        schedule="constant",
        normalize="none",
        val_split=0.0,
        cache=cache,
    )
    decoding = [0.0, 0.0]

    def on_event(event: object) -> None:
        """Add up how long files are decoded before the first epoch."""
        task = getattr(event, "task", "")
        if task.startswith("decode"):
            kind = type(event).__name__
            if kind == "TaskStarted":
                decoding[1] = time.perf_counter()
            elif kind == "TaskEnded":
                decoding[0] += time.perf_counter() - decoding[1]

    with tempfile.TemporaryDirectory() as runs:
        result = cnnkit.train(
            "lenet5",
            arguments.dataset,
            recipe,
            device="cpu",
            data_dir=Path(arguments.data_dir),
            runs_dir=Path(runs),
            on_event=on_event,
        )
    seconds = decoding[0] + sum(epoch.seconds for epoch in result.epochs)
    return seconds, result.epochs[-1].train_loss


def loader_of(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Return what both others train on: torchvision's set behind torch's `DataLoader`."""
    import torch
    from torchvision import datasets
    from torchvision.transforms import v2

    if arguments.dataset == "mnist":
        steps = [v2.Resize((32, 32)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        images = datasets.MNIST(arguments.data_dir, train=True, transform=v2.Compose(steps))
    else:
        steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        folder = Path(arguments.dataset) / "train"
        images = datasets.ImageFolder(str(folder), transform=v2.Compose(steps))
    return torch.utils.data.DataLoader(
        images, batch_size=arguments.batch_size, shuffle=True, num_workers=NUM_WORKERS
    )


def network_of(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    import cnnkit

    channels = 1 if arguments.dataset == "mnist" else 3
    return cnnkit.build_model("lenet5", num_classes=10, in_channels=channels, image_size=(32, 32))


def time_torchvision_style(arguments: argparse.Namespace) -> tuple[float, float]:
    """Return seconds of all epochs, and the mean loss of the last."""
    import torch

    loader, model = loader_of(arguments), network_of(arguments)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=MOMENTUM)
    start = time.perf_counter()
    for _ in range(arguments.epochs):
        model.train()
        loss_sum = correct = number = 0.0
        for images, labels in loader:
            output = model(images)
            loss = criterion(output, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            correct += (output.argmax(1) == labels).sum().item()
            loss_sum += loss.item() * len(labels)
            number += len(labels)
    return time.perf_counter() - start, loss_sum / number


def time_lightning(arguments: argparse.Namespace) -> tuple[float, float]:
    """Return seconds of all epochs, and the mean loss of the last."""
    import logging

    import lightning
    import torch

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    network = network_of(arguments)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.losses: list[float] = []

        def training_step(self, batch, number):  # type: ignore[no-untyped-def]
            images, labels = batch
            logits = self.network(images)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            accuracy = (logits.argmax(1) == labels).float().mean()
            self.log("loss", loss, on_step=False, on_epoch=True)
            self.log("accuracy", accuracy, on_step=False, on_epoch=True)
            return loss

        def on_train_epoch_end(self) -> None:
            self.losses.append(float(self.trainer.callback_metrics["loss"]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), LEARNING_RATE, momentum=MOMENTUM)

    module = Module()
    trainer = lightning.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = loader_of(arguments)
    start = time.perf_counter()
    trainer.fit(module, loader)
    return time.perf_counter() - start, module.losses[-1]


def run_side(arguments: argparse.Namespace) -> None:
    """Train on one side, and print seconds and loss."""
    import torch

    torch.manual_seed(arguments.seed)
    match arguments.side:
        case "cnnkit":
            seconds, loss = time_cnnkit(arguments, "auto")
        case "cnnkit, no cache":
            seconds, loss = time_cnnkit(arguments, "off")
        case "lightning":
            seconds, loss = time_lightning(arguments)
        case _:
            seconds, loss = time_torchvision_style(arguments)
    threads, version = torch.get_num_threads(), str(torch.__version__)
    print(json.dumps({"seconds": seconds, "loss": loss, "threads": threads, "torch": version}))


def measured(arguments: argparse.Namespace, side: str, dataset: str, seed: int) -> dict[str, float]:
    """Return what a process of its own came to."""
    command = [
        sys.executable, __file__, "--side", side, "--dataset", dataset, "--seed", str(seed),
        "--data-dir", str(arguments.data_dir), "--epochs", str(arguments.epochs),
        "--batch-size", str(arguments.batch_size),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(f"{side} on {dataset} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def number_of_images(dataset: str) -> int:
    if dataset == "mnist":
        return 60_000
    return sum(1 for path in (Path(dataset) / "train").rglob("*") if path.is_file())


def main() -> None:
    """Run the rounds on both sets, and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="of class folders below train; left out without it")
    parser.add_argument("--data-dir", default=".", help="where MNIST lies")
    parser.add_argument("--no-mnist", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        run_side(arguments)
        return
    sides = list(SIDES)
    if importlib.util.find_spec("lightning") is None:
        print("lightning is left out: it is not installed (pip install lightning)")
        sides.remove("lightning")
    datasets = ([arguments.folder] if arguments.folder else []) + ["mnist"][arguments.no_mnist :]
    for dataset in datasets:
        number = number_of_images(dataset) * arguments.epochs
        ours = [one for one in sides if dataset != "mnist" or one != "cnnkit, no cache"]
        rates: dict[str, list[float]] = {side: [] for side in ours}
        for seed in range(arguments.rounds):
            for side in ours:
                figures = measured(arguments, side, dataset, seed)
                rates[side].append(number / figures["seconds"])
                print(
                    f"{dataset} round {seed + 1}  {side:<18} {rates[side][-1]:8,.0f} images/s  "
                    f"last train loss {figures['loss']:.4f}",
                    flush=True,
                )
        medians = {side: statistics.median(values) for side, values in rates.items()}
        print(
            f"{dataset}: lenet5, batch {arguments.batch_size}, {arguments.epochs} epochs, "
            f"n = {arguments.rounds}, torch {figures['torch']}, {figures['threads']} threads"
        )
        for side in ours:
            ratios = ", ".join(
                f"{medians[side] / medians[other]:.2f} of {other}"
                for other in ours
                if side.startswith("cnnkit") and not other.startswith("cnnkit")
            )
            print(f"  {side:<18} median {medians[side]:8,.0f} images/s  {ratios}")


if __name__ == "__main__":
    main()
