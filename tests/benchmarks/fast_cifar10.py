"""CIFAR-10 with `speednet`: how good after a few epochs, and how long one takes.

The time of an epoch is held against a straightforward loop of the same network with the same batch:
fp32, channels first, normalized images in memory as floats, mirrored by chance, SGD. Nothing of it
is slowed: no DataLoader, no files. It runs in a process of its own, as torch makes it, for `cnnkit
train` changes how memory is kept. After every epoch of `cnnkit train` comes a stretch of the plain
loop, so that both sides see the same machine. An epoch of `cnnkit train` includes whatever it does
to an image, augmentation and all.

Prints the accuracy on the test images of each seed, as the recipe evaluates and without test-time
augmentation; mean and deviation; milliseconds an image of each epoch and stretch, and the ratio of
the medians. The first epoch, in which files may be decoded, is told apart.

    python tests/benchmarks/fast_cifar10.py FOLDER_OR_NAME --seeds 3 [--data-dir DIR]
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch.nn import functional

import cnnkit
from cnnkit import Recipe
from cnnkit.events import EpochEnded, Event

SHAPE = (3, 32, 32)


class PlainLoop:
    """The straightforward loop; its images are noise, whose speed is that of photographs.

    Args:
        arguments: of the network.
        batch_size: images a step.
        num_images: images a stretch.
    """

    def __init__(self, arguments: dict[str, str], batch_size: int, num_images: int) -> None:
        self.model = cnnkit.build_model("speednet", arguments=arguments)
        self.optimizer = torch.optim.SGD(
            [one for one in self.model.parameters() if one.requires_grad], 1e-3, momentum=0.9
        )
        self.batch_size = batch_size
        self.images = torch.randn(num_images, *SHAPE)
        self.labels = torch.randint(10, (num_images,))
        self.stretch()  # what is done once, such as the choice of a kernel, is not timed

    def stretch(self) -> float:
        """Return milliseconds an image."""
        start = time.perf_counter()
        self.model.train()
        total = 0.0
        for rows in torch.randperm(len(self.images)).split(self.batch_size):
            images, labels = self.images[rows], self.labels[rows]
            is_mirrored = torch.rand(len(rows), 1, 1, 1) < 0.5
            images = torch.where(is_mirrored, images.flip(3), images)
            self.optimizer.zero_grad()
            loss = functional.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return 1000 * (time.perf_counter() - start) / len(self.images)


def run_plain_loop(
    connection: Connection, arguments: dict[str, str], batch_size: int, num_images: int
) -> None:
    """Say when it is ready; then send milliseconds an image for every message, until None comes."""
    plain = PlainLoop(arguments, batch_size, num_images)
    connection.send("ready")
    while connection.recv() is not None:
        connection.send(plain.stretch())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="cifar10, or a folder with train and test in it")
    parser.add_argument("--data-dir", type=Path, help="where datasets lie")
    parser.add_argument("--recipe", default="cifar10-fast", help="name, or file")
    parser.add_argument("--seeds", type=int, default=3, help="trainings, with seeds from 0")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--precision", help="of cnnkit alone; what it chooses where not given")
    parser.add_argument("--widths", default="64,256,256", help="of both networks")
    parser.add_argument("--plain-images", type=int, default=10_000, help="images a stretch")
    options = parser.parse_args()
    changes = {"epochs": options.epochs, "precision": options.precision}
    settings = {
        **cnnkit.find_recipe(options.recipe).settings,
        **{name: value for name, value in changes.items() if value is not None},
    }
    arguments = {"widths": options.widths}
    batch_size = Recipe.of(**settings).batch_size
    spawn = multiprocessing.get_context("spawn")
    plain, theirs_end = spawn.Pipe()
    spawn.Process(
        target=run_plain_loop,
        args=(theirs_end, arguments, batch_size, options.plain_images),
        daemon=True,
    ).start()
    theirs_end.close()  # so that the end of the other process is noticed
    plain.recv()
    first: list[float] = []
    later: list[float] = []
    stretches: list[float] = []

    def on_event(event: Event) -> None:
        if not isinstance(event, EpochEnded):
            return
        per_image = 1000 / float(event.metrics["images_per_second"] or "nan")
        (first if event.epoch == 1 else later).append(per_image)
        plain.send("go")
        stretches.append(plain.recv())
        print(
            f"  epoch {event.epoch}: loss {event.metrics['train_loss']:.4f}, {per_image:.3f} ms an "
            f"image; plain {stretches[-1]:.3f}",
            flush=True,
        )

    with_tta: list[float] = []
    without: list[float] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as runs:
            start = time.perf_counter()
            result = cnnkit.train(
                "speednet",
                options.dataset,
                Recipe.of(**{**settings, "seed": seed}),
                model_arguments=arguments,
                device="cpu",
                data_dir=options.data_dir,
                runs_dir=Path(runs),
                on_event=on_event,
            )
            seconds = time.perf_counter() - start
            bare = cnnkit.evaluate(
                result.run, tta="none", device="cpu", data_dir=options.data_dir
            ).metrics
        assert result.test is not None
        with_tta.append(result.test.accuracy)
        without.append(bare.accuracy)
        print(
            f"seed {seed}: {with_tta[-1]:.2%} with the recipe's test-time augmentation, "
            f"{without[-1]:.2%} without; {seconds:.0f} s, the plain stretches included",
            flush=True,
        )
    plain.send(None)
    for name, found in (("as the recipe evaluates", with_tta), ("without augmentation", without)):
        deviation = 100 * statistics.stdev(found) if len(found) > 1 else float("nan")
        print(
            f"{name}: mean {statistics.mean(found):.2%}, deviation {deviation:.2f} points, "
            f"n={len(found)}"
        )
    ours = statistics.median(later or first)
    theirs = statistics.median(stretches)
    print(
        f"first epochs {statistics.median(first):.3f} ms an image; "
        f"{'later' if later else 'these'} {ours:.3f}; plain fp32 channels-first loop {theirs:.3f}"
    )
    print(
        f"an epoch takes {ours / theirs:.3f} of the plain loop's; {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
