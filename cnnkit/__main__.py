"""The command line, as `cnnkit` and as `python -m cnnkit`."""

import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Threads of GNU OpenMP, which torch computes with, wait for each other in a busy loop, by
    # default almost without end: where another program holds a core, training then runs at a
    # fiftieth of its speed. This bound costs nothing on a quiet machine. It is read when torch is
    # imported; a user's own value is kept.
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    try:
        from cnnkit.cli.app import run
    except KeyboardInterrupt:  # before the error boundary exists
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
