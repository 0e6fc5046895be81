"""Runs one command over every bomb in a process of its own, and tells how its memory grew.

    python -m tests.fuzz.run_bombs ROOT stats|show|train|bench [NAME...]

A line of JSON a bomb: its name, the exit code, what was printed, the growth of the peak of the
memory in bytes, and the seconds.
"""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from cnnkit.cli.app import run
from tests.fuzz.bombs import ARCHIVES, IMAGES, write_good

MODEL = """
from torch import nn

def small(num_classes, in_channels):
    return nn.Sequential(
        nn.AvgPool2d(8), nn.Conv2d(in_channels, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, num_classes),
    )
"""


def memory(key: str) -> int:
    """Return a number of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def commands(verb: str, dataset: Path) -> list[str]:
    """Return the words of a command over a dataset."""
    small = f"{dataset.parent / 'small.py'}:small"
    return {
        "stats": ["stats", str(dataset), "--duplicates", "--issues", "--json"],
        "transform": ["stats", str(dataset), "--transform", "resize=224", "--json"],
        "show": ["show", str(dataset), "-n", "30", "--input", "224", "--normalized", "--json"],
        "train": [
            "train", small, str(dataset), "--epochs", "1", "--batch-size", "4", "--input", "224",
            "--skip-bad", "--runs-dir", str(dataset.parent / "runs"), "--json", "-j", "2",
            "--val-split", "0", "--normalize", "none",
        ],
    }[verb]  # fmt: skip


def main(root: Path, verb: str, names: list[str]) -> None:
    """Run the command over each dataset; at first over a good one, so that all is imported."""
    (root / "small.py").write_text(MODEL)
    write_good(root / "good")
    for name in ["good", *names]:
        dataset = root / name if name in ARCHIVES or name == "good" else root / f"{name}.set"
        if name in IMAGES:
            write_good(dataset)
            content = IMAGES[name]()
            (dataset / "a" / name).write_bytes(content)
            (dataset / "b" / name).write_bytes(content)
        elif name in ARCHIVES:
            dataset.write_bytes(ARCHIVES[name]())
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        before, start = memory("VmRSS"), time.monotonic()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(commands(verb, dataset))
        grown = memory("VmHWM") - before
        seconds = time.monotonic() - start
        print(json.dumps([name, int(code), out.getvalue(), err.getvalue(), grown, seconds]))
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:] or [*IMAGES, *ARCHIVES])
