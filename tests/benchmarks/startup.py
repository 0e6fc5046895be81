"""CPU time of `cnnkit --help`, beside that of the smallest Typer application: the two in turn.

    python tests/benchmarks/startup.py

What counts is user plus system time of the process; the medians of 20 starts each are compared.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NUM_STARTS = 20
MOST = 1.3  # times that of the smallest application
SMALLEST = '''\
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    """Say hello."""
    print(f"Hello {name}")


app()
'''


def cpu_seconds(command: list[str]) -> float:
    """Return user plus system time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure both, and print the medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        smallest = Path(folder) / "hello.py"
        smallest.write_text(SMALLEST)
        commands = {
            "one-command Typer app": [sys.executable, str(smallest), "--help"],
            "cnnkit": [sys.executable, "-m", "cnnkit", "--help"],
        }
        for command in commands.values():
            cpu_seconds(command)  # so that the bytecode of both is compiled
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(NUM_STARTS):
            for name, command in commands.items():
                seconds[name].append(cpu_seconds(command))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        spread = f"{1e3 * min(values):.0f} to {1e3 * max(values):.0f}"
        print(f"{name:22} --help: {1e3 * medians[name]:5.0f} ms of CPU time, {spread}")
    ratio = medians["cnnkit"] / medians["one-command Typer app"]
    print(f"ratio {ratio:.2f}, at most {MOST} wanted")


if __name__ == "__main__":
    main()
