"""Commands in a process of their own, whose memory above the imports is measured.

    python -m tests.measuring < commands.json

Reads a list of lists of arguments, and prints a line a command: its exit code, and how many MB more
than after the imports the process had taken at most by then.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_MEGABYTES = 1000


def measured(commands: Sequence[Sequence[str | Path]], seconds: float) -> list[tuple[int, str]]:
    """Return exit code and stderr of commands; together they may not take 1 GB or so long."""
    words = [[str(word) for word in command] for command in commands]
    done = subprocess.run(
        [sys.executable, "-m", "tests.measuring"],
        input=json.dumps(words), capture_output=True, text=True, timeout=seconds, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(commands), f"{commands[len(lines)]}: {done.stderr[-2000:]}"
    for command, (_, _, megabytes) in zip(commands, lines, strict=True):
        assert megabytes < MOST_MEGABYTES, f"{command} took {megabytes} MB"
    print(*(f"{megabytes} MB after {command}" for command, (_, _, megabytes) in
            zip(commands, lines, strict=True)), sep="\n")  # fmt: skip
    return [(code, said) for code, said, _ in lines]


def _main() -> None:
    import contextlib
    import io

    import cnnkit.bench.measure_speed
    import cnnkit.stats.measure
    import cnnkit.training.train  # noqa: F401
    from cnnkit.cli.app import run

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    before = peak()
    for arguments in json.load(sys.stdin):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = run(arguments)
        print(json.dumps([int(code), said.getvalue()[-500:], peak() - before]), flush=True)


if __name__ == "__main__":
    _main()
