"""`cnnkit doctor`: what this machine has, and what it lacks."""

from pathlib import Path

from cnnkit.cli.options import DataDir, RunsDir
from cnnkit.cli.output import Output, with_output


@with_output
def doctor(output: Output, data_dir: DataDir = None, runs_dir: RunsDir = Path("runs")) -> None:
    """Show versions, devices and folders, and what is missing."""
    from cnnkit.doctor import examine

    output.emit(examine(data_dir, runs_dir))
