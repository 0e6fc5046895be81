"""Trainings of two processes of which one is killed (SIGKILL) at random moments, and restarted.

Each must end with the weights, the optimizer, the random states and the figures of the run that was
not disturbed, bit for bit: with dropout, batch norm, momentum, clipping, accumulation and an
average of the weights.

    python tests/benchmarks/kill_a_rank.py [--times 10] [--seed 0] [--nproc 2]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from tests.training.killing import NETWORK, outcome, same  # noqa: E402

OPTIONS = [
    "net.py:make_net", "digits", "--epochs", "12", "-b", "60", "--optimizer", "sgd",
    "--clip-grad", "1", "--accumulate", "2", "--ema", "0.95", "--checkpoint-steps", "7",
]  # fmt: skip


def children(pid: int) -> list[int]:
    """Return the processes that one has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def train(folder: Path, runs: str, num_processes: int, kills: list[float]) -> Path:
    """Train, kill a rank so many seconds after the run has begun, and again; return the run."""
    command = [sys.executable, "-m", "cnnkit", "train", *OPTIONS, "--runs-dir", runs, "-q"]
    command += ["--nproc", str(num_processes), "--max-restarts", str(len(kills))]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ) as launcher:
        while not list((folder / runs).glob("*/run.json")) and launcher.poll() is None:
            time.sleep(0.01)
        for seconds in kills:
            time.sleep(seconds)
            found = children(launcher.pid) if launcher.poll() is None else []
            if found:
                os.kill(random.choice(found), signal.SIGKILL)
        assert launcher.wait() == 0, f"exit code {launcher.returncode}"
    (run,) = (path.parent for path in (folder / runs).glob("*/result.json"))
    return run


def main() -> None:
    """Run the attempts; exit with 1 if one ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nproc", type=int, default=2)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    num_different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.py").write_text(NETWORK)
        wanted = outcome(train(folder, "whole", arguments.nproc, []))
        for number in range(arguments.times):
            # The second one may come while all are being started anew.
            kills = [random.uniform(0, 3), random.uniform(0, 15)][: random.choice((1, 1, 2))]
            got = outcome(train(folder, f"killed-{number}", arguments.nproc, kills))
            differing = [key for key in wanted if not same(wanted[key], got[key])]
            num_different += bool(differing)
            told = ", ".join(f"{seconds:.2f} s" for seconds in kills)
            print(f"{number + 1:>3}  killed after {told}: {differing or 'equal'}", flush=True)
    print(f"{arguments.times - num_different} of {arguments.times} equal")
    sys.exit(num_different > 0)


if __name__ == "__main__":
    main()
