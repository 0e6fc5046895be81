"""Thirty trainings that are killed (SIGKILL) at random moments, once or twice, and resumed.

Each must end with the weights, the optimizer, the random state and the figures of the run that was
not killed, bit for bit: with dropout, batch norm, momentum, clipping, accumulation, label
smoothing, every kind of augmentation and an average of the weights, and for image files with a
random number of readers at every resume.
The moments are points of time, or lie within a step, an evaluation, or the writing of a file.

    python tests/benchmarks/resume_after_kill.py [--seed 100]

torch computes with one thread here, for the processes are forked from one that has imported it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
CASES = [
    ("adam, digits", 12, ["--recipe", "adam"]),
    ("sgd, digits", 6, ["--recipe", "sgd"]),
    ("adam, files, 0 readers", 4, ["--recipe", "adam", "--workers", "0"]),
    ("adam, files, 1 reader", 4, ["--recipe", "adam", "--workers", "1"]),
    ("sgd, files, 3 readers", 4, ["--recipe", "sgd", "--workers", "3"]),
]


def main() -> None:
    """Run the thirty, and exit with 1 if one ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    failed = 0
    for number, (name, times, options) in enumerate(CASES):
        print(f"{name}:", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.training.killing", folder]
            command += ["--times", str(times), "--seed", str(arguments.seed + number), *options]
            failed += subprocess.run(command, env=environment, check=False).returncode != 0
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
