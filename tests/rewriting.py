"""Changing `run.json` as somebody would who knows its checksum."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnnkit.runs.schema import CHECKSUM, checksum


def description_of(run: Path | str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(run) / "run.json").read_text())
    return content


def rewrite(run: Path | str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the description of a run in place, and its checksum with it."""
    description = description_of(run)
    change(description)
    description[CHECKSUM] = checksum(description)
    (Path(run) / "run.json").write_text(json.dumps(description))
