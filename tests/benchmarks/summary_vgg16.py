"""VGG-16: `cnnkit summary` against the imports alone, and against torchinfo on the CPU.

Three whole processes, interleaved: the command; a process that only imports torch and torchvision;
and a script that builds VGG-16 on the CPU and calls torchinfo, as tutorials do. Prints seconds and
peak memory of every round, the ratio of the medians, and the memory beyond the imports.

    python tests/benchmarks/summary_vgg16.py --rounds 7
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TORCHINFO = """
import torchvision
from torchinfo import summary
summary(torchvision.models.vgg16(), input_size=(1, 3, 224, 224))
"""
IMPORTS = "import torch, torchvision"
SIDES = {
    "imports": [sys.executable, "-c", IMPORTS],
    "cnnkit summary": [sys.executable, "-m", "cnnkit", "summary", "vgg16", "--input", "3x224x224"],
    "torchinfo": [sys.executable, "-c", TORCHINFO],
}
SETTLE_SECONDS = 0.2  # between two processes


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        peak_mb: most memory that it held, in 10^6 bytes.
    """

    seconds: float
    peak_mb: float


def run(command: list[str], folder: str) -> Cost:
    """Return what a process took that must succeed."""
    with (Path(folder) / "output.txt").open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit((Path(folder) / "output.txt").read_text("utf-8"))
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_maxrss * unit / 1e6)


def main() -> None:
    """Run the rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    costs: dict[str, list[Cost]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for command in SIDES.values():  # files into the cache of the system, and bytecode
            run(command, folder)
        for number in range(arguments.rounds):
            for name, command in SIDES.items():
                time.sleep(SETTLE_SECONDS)
                costs[name].append(run(command, folder))
                last = costs[name][-1]
                print(
                    f"round {number + 1}  {name:<15} {last.seconds:6.2f} s  {last.peak_mb:6.0f} MB"
                )
    seconds = {name: statistics.median(one.seconds for one in costs[name]) for name in SIDES}
    peaks = {name: statistics.median(one.peak_mb for one in costs[name]) for name in SIDES}
    for name in SIDES:
        every = [one.seconds for one in costs[name]]
        print(
            f"{name:<15} median {seconds[name]:.2f} s ({min(every):.2f} to {max(every):.2f}, "
            f"n = {len(every)}), {peaks[name]:.0f} MB"
        )
    ours, imports, theirs = (seconds[n] for n in ("cnnkit summary", "imports", "torchinfo"))
    more = peaks["cnnkit summary"] - peaks["imports"]
    print(f"time of summary / imports   {ours / imports:.2f} (wanted: at most 1.25)")
    print(f"time of summary / torchinfo {ours / theirs:.2f} (wanted: below 1)")
    print(f"memory beyond the imports   {more:.0f} MB (wanted: at most 60)")
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"Python {sys.version.split()[0]}, {threads} threads, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
