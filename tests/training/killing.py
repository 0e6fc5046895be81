"""Trainings that are killed (SIGKILL) at random moments, and resumed, against one that was not.

    python -m tests.training.killing FOLDER --times 5 --seed 0 [--workers 1]

Makes an undisturbed run in FOLDER, and then runs that are killed once or twice and resumed. Each
must end with the same weights, optimizer and random state, `metrics.csv` and `result.json`, bit for
bit; durations apart. Every training is a process of its own, forked from this one, which has
imported torch but computed nothing. Half of the moments are points of time; the others lie within a
step, an evaluation, or the writing of a file.
"""

import argparse
import csv
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import cnnkit
from cnnkit import Recipe
from cnnkit.runs import checkpoints
from cnnkit.runs.checkpoints import CheckpointFolder
from cnnkit.training.step import Stepper, WholeBatch

TIMES = {"seconds", "images_per_second"}
KINDS = ("moment", "step", "evaluation", "moment", "write", "torn write")
# So many moments of a kind are to be hit, about; `moment` is a time.
MOST = {"moment": 1, "step": 24, "evaluation": 4, "write": 110, "torn write": 35}

NETWORK = """
from torch import nn
def make_net(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.1),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, num_classes),
    )
"""

RECIPES = {
    "adam": {
        "optimizer": "adam", "ema": 0.95, "clip_grad": 1.0, "label_smoothing": 0.1,
        "crop": 2, "flip": "alternating", "cutout": 3, "mixup": 0.5, "cutmix": 1.0,
    },
    "sgd": {
        "optimizer": "sgd", "momentum": 0.9, "schedule": "linear", "accumulate": 3,
        "flip": "random", "randaugment": 9, "cutmix": 0.5, "tta": "shift",
    },
}  # fmt: skip


def make_photos(folder: Path) -> None:
    """Make a folder of two classes of JPEG files."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 90), ("light", 150)):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            pixels = generator.normal(level, 50, (40, 36, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


class Case:
    """A training to be killed.

    Args:
        folder: where its network, images and runs lie.
        recipe: one of `RECIPES`.
        dataset: name or folder.
        num_workers: threads that read files.
        epochs: how long it is.
    """

    def __init__(
        self, folder: Path, recipe: str, dataset: str, num_workers: int, epochs: int
    ) -> None:
        self.folder = folder
        batch_size = 50 if dataset == "digits" else 10
        self.recipe = Recipe.of(epochs=epochs, batch_size=batch_size, **RECIPES[recipe])  # type: ignore[arg-type]
        self.dataset = dataset
        self.num_workers = num_workers
        (folder / "net.py").write_text(NETWORK)

    def begin(self, runs: Path) -> None:
        """Train from the beginning."""
        cnnkit.train(
            f"{self.folder / 'net.py'}:make_net",
            self.dataset,
            self.recipe,
            device="cpu",
            runs_dir=runs,
            num_workers=self.num_workers,
            checkpoint_steps=7,
        )


def in_a_process(work: Callable[[], object]) -> int:
    """Begin work in a forked process, and return its id; it exits with 0 if all went well."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(code)


def code_of(pid: int) -> int:
    """Wait for a process; return its exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(kind: str, number: int) -> None:
    """Arrange that this process kills itself at its `number`-th moment of a kind."""
    count = [0]

    def counted(function: Callable[..., Any], halfway: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                halfway(*arguments)
                die()
            return function(*arguments, **options)

        return call

    def half_a_step(
        stepper: Stepper, images: torch.Tensor, labels: torch.Tensor, whole: WholeBatch
    ) -> None:
        stepper._set_gradients(images, labels, whole)
        stepper.optimizer.step()

    def half_a_file(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])

    def nothing(*arguments: Any) -> None: ...

    if kind == "step":
        Stepper.take = counted(Stepper.take, half_a_step)  # type: ignore[method-assign]
    elif kind == "torn write":
        checkpoints._write_through = counted(checkpoints._write_through, half_a_file)
    elif kind == "write":
        for owner, name in ((os, "fsync"), (Path, "rename"), (shutil, "rmtree"), (os, "replace")):
            setattr(owner, name, counted(getattr(owner, name), nothing))
    else:
        forward = nn.Linear.forward
        in_evaluation = counted(forward, nothing)

        def either(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
            return (forward if self.training else in_evaluation)(self, x)  # type: ignore[no-any-return]

        nn.Linear.forward = either  # type: ignore[method-assign]


def outcome(run: Path) -> dict[str, Any]:
    """Return all that a run came to, durations apart."""
    with (run / "metrics.csv").open() as file:
        rows = [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]
    result = json.loads((run / "result.json").read_text())
    for epoch in result["epochs"]:
        for name in TIMES:
            del epoch[name]
    del result["seconds"], result["run"]
    folder = CheckpointFolder(run / "checkpoints")
    last = folder.load_training("last")
    progress = last.state["progress"]
    return {
        "metrics": rows,
        "result": result,
        "best": folder.load("best").weights,
        "last": last.weights,
        "raw": last.raw_weights,
        "stepper": last.state["stepper"],
        "position": (progress["epoch"], progress["step"], progress["best_epoch"]),
    }


def same(one: Any, other: Any) -> bool:
    """Return whether two outcomes are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def attempt(case: Case, runs: Path, kind: str, seconds: float, chance: random.Random) -> str:
    """Begin a training, kill it at a moment, once or twice, and let it end; say what was done."""
    told = []
    for _ in range(chance.choice((1, 1, 2))):
        found = list(runs.glob("*/run.json"))
        number = chance.randint(1, MOST[kind])
        delay = chance.uniform(0.02, seconds)

        def work(found: list[Path] = found, number: int = number) -> None:
            if kind != "moment":
                die_at(kind, number)
            if found:
                cnnkit.resume(found[0].parent, {"workers": chance.choice((0, 1, 3))})
            else:
                case.begin(runs)

        pid = in_a_process(work)
        if kind == "moment":
            time.sleep(delay)
            os.kill(pid, signal.SIGKILL)
        code = code_of(pid)
        assert code in (0, -signal.SIGKILL), f"{kind} {number}: exit code {code}"
        told.append(
            "not hit" if code == 0 else f"{delay:.2f} s" if kind == "moment" else f"no. {number}"
        )
        if code == 0:
            break
        # Before there is a run.json, there is no run to resume.
        if not list(runs.glob("*/run.json")):
            shutil.rmtree(runs, ignore_errors=True)
    described = list(runs.glob("*/run.json"))
    if not described:
        assert code_of(in_a_process(lambda: case.begin(runs))) == 0
    elif not (described[0].parent / "result.json").exists():
        run = described[0].parent
        assert code_of(in_a_process(lambda: cnnkit.resume(run))) == 0, f"{kind}: resume failed"
    return f"{kind} {', '.join(told)}"


def main() -> None:
    """Run the attempts; exit with 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--recipe", choices=RECIPES, default="adam")
    parser.add_argument("--workers", type=int, help="train on image files, read by so many threads")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    dataset = "digits"
    if arguments.workers is not None:
        dataset = str(arguments.folder / "photos")
        if not Path(dataset).exists():
            make_photos(Path(dataset))
    case = Case(
        arguments.folder, arguments.recipe, dataset, arguments.workers or 0, arguments.epochs
    )
    chance = random.Random(arguments.seed)
    cnnkit.open_dataset("digits", "train")  # imports what every process needs, as these do:
    torch.optim.Adam(nn.Linear(1, 1).parameters())
    importlib.import_module("torchvision.transforms.v2")
    start = time.perf_counter()
    assert code_of(in_a_process(lambda: case.begin(arguments.folder / "whole"))) == 0
    seconds = time.perf_counter() - start
    (run,) = (arguments.folder / "whole").iterdir()
    wanted = outcome(run)
    num_different = 0
    for number in range(arguments.times):
        runs = arguments.folder / f"killed-{arguments.seed}-{number}"
        told = attempt(case, runs, KINDS[number % len(KINDS)], seconds, chance)
        (run,) = (path.parent for path in runs.glob("*/run.json"))
        got = outcome(run)
        differing = [key for key in wanted if not same(wanted[key], got[key])]
        num_different += bool(differing)
        print(
            f"{number + 1:>3}  {told}: {', '.join(differing) + ' differ' if differing else 'equal'}"
        )
    print(
        f"{arguments.times - num_different} of {arguments.times} equal, torch {torch.__version__}"
    )
    sys.exit(num_different > 0)


if __name__ == "__main__":
    main()
