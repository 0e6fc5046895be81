"""Files of a few bytes that ask for all memory or all time, and a process to read them in."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import torch

MOST_MEGABYTES = 1000  # above the imports
SECONDS = 120

MEASURED = """
import resource, sys
import torch, torchvision, numpy, pydantic, safetensors.torch
from cnnkit.cli.app import run
import cnnkit.training.experiment, cnnkit.stats.statistics, cnnkit.bench.measuring
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = run(sys.argv[1:])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("measured", code, (after - before) // 1024)
"""


def measured(*arguments: str | Path) -> tuple[int, int, str]:
    """Return exit code, megabytes above the imports, and stderr of a command."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    last = done.stdout.splitlines()[-1:] or [f"measured -{done.returncode} 0"]
    _, code, megabytes = last[0].split()
    return int(code), int(megabytes), done.stderr


def archive(
    pickled: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """Return a file as torch writes them, of parts that somebody made."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        made.writestr("net/data.pkl", pickled)
        made.writestr("net/byteorder", b"little")
        for name, content in storages.items():
            made.writestr(f"net/data/{name}", content)
        made.writestr("net/version", b"3\n")
    return buffer.getvalue()


def sparse(path: Path, content: bytes, size: int) -> None:
    """Write a file that says to be larger than what is on the disk."""
    path.write_bytes(content)
    os.truncate(path, size)


def safetensors(
    header: dict[str, object] | bytes, content: bytes = b"", length: int | None = None
) -> bytes:
    """Return a file of safetensors with a header that may lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def saved(state: object, is_archive: bool = True) -> bytes:
    """Return what `torch.save` writes."""
    buffer = BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=is_archive)
    return buffer.getvalue()
