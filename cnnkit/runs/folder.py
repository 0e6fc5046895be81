"""The folder of a run: its description, checkpoints and results."""

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from cnnkit.errors import CheckFailedError, NotFoundError, UnavailableError, UsageError, setting
from cnnkit.events import Warned, emit
from cnnkit.registry import did_you_mean
from cnnkit.runs.checkpoints import CHECKPOINT_NAMES, Checkpoint, CheckpointFolder
from cnnkit.system.files import (
    check_plain,
    explain_os_error,
    flush_folder,
    is_folder,
    read_plain,
    remove_tree,
    replace_bytes,
)
from cnnkit.system.locks import locked

SCHEMA = "cnnkit.run/1"

NETWORK_FOLDER = "network"

MOST_BYTES = 100  # of network and dataset each in the name of a run, whose limit is 255

MAX_JSON_BYTES = 16 * 2**20  # some ten times that of a run with 20,000 classes

_DESCRIPTION = "run.json"
_RESULT = "result.json"
_METRICS = "metrics.csv"
_SEEN_IMAGES = "seen_images.bin"
_FILES = (".lock", _DESCRIPTION, _RESULT, _METRICS, "curves.png", _SEEN_IMAGES)
_FOLDERS = ("checkpoints", "tensorboard", NETWORK_FOLDER)
_SEEN_SCHEMA = b"cnnkit.seen_images/1\n"
SEEN_HASH_BYTES = 16
MAX_SEEN_BYTES = 2**32  # the hashes of 268 million images


class RunFolder:
    """The folder of a run on disk.

    Args:
        path: the folder; see `create_run` and `open_run`.

    Attributes:
        checkpoints: the weights in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = CheckpointFolder(path / "checkpoints")

    def write_description(self, description: Mapping[str, Any]) -> None:
        """Write the settings, every default resolved, as `run.json`, with its checksum.

        Raises:
            UsageError: a value is none that a run can have.
            UnavailableError: no space, no permission.
        """
        from cnnkit.runs.schema import CHECKSUM, checksum, problem

        plain = json.loads(json.dumps({"schema": SCHEMA, **description}, allow_nan=False))
        wrong = problem(plain)
        if wrong is not None:
            raise UsageError(f"the run would be invalid: {wrong}")
        self._write_json(_DESCRIPTION, {**plain, CHECKSUM: checksum(plain)})

    def read_description(self) -> dict[str, Any]:
        """Return the settings, every value checked; no link in the folder is followed from here.

        Raises:
            NotFoundError: there is no `run.json`.
            CheckFailedError: it is damaged, or the folder holds a link, a pipe or a device.
            UnavailableError: it was written by a newer cnnkit, or cannot be read.
        """
        from cnnkit.runs.schema import CHECKSUM, EDITED, WAY_OUT, checksum, parse, problem

        path = self.path / _DESCRIPTION
        if not os.path.lexists(path):
            raise NotFoundError(
                f"{self.path} is not a run folder: it has no {_DESCRIPTION}",
                "name a folder that `cnnkit train` has made",
            )
        self._check_plain()
        plain = parse(read_plain(path, MAX_JSON_BYTES), path)
        if CHECKSUM in plain and plain[CHECKSUM] != checksum(plain):
            raise CheckFailedError(
                f"{path} is not what was written: its SHA-256 differs from the one in it", EDITED
            )
        self._check_schema(plain)
        wrong = problem(plain)
        if wrong is not None:
            raise CheckFailedError(f"{path} is damaged: {wrong}", WAY_OUT)
        if CHECKSUM not in plain:
            emit(Warned(f"{path} has no checksum, so a change in it would not be noticed"))
        return plain

    @property
    def is_described(self) -> bool:
        """Whether there is a `run.json`."""
        return os.path.lexists(self.path / _DESCRIPTION)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the result of the run as `result.json`."""
        self._write_json(_RESULT, result)

    @property
    def is_complete(self) -> bool:
        """Whether the run was trained and tested to its end."""
        return (self.path / _RESULT).is_file()

    def remove_result(self) -> None:
        """Remove `result.json`: the run is no longer complete."""
        (self.path / _RESULT).unlink(missing_ok=True)

    def write_metrics(self, rows: Sequence[Mapping[str, float | int | None]]) -> None:
        """Write `metrics.csv`, one line per epoch; all of it again, so that no line is ever cut.

        Raises:
            UnavailableError: no space, no permission.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
        replace_bytes(self.path / _METRICS, text.getvalue().encode())

    def write_seen_images(self, hashes: bytes) -> None:
        """Write the hashes of the image files that the run has used, sorted, as `seen_images.bin`.

        Raises:
            UnavailableError: no space, no permission.
        """
        checksum = hashlib.sha256(hashes).digest()
        replace_bytes(self.path / _SEEN_IMAGES, _SEEN_SCHEMA + checksum + hashes)

    def read_seen_images(self) -> bytes | None:
        """Return what `write_seen_images` wrote; None where nothing was.

        Raises:
            CheckFailedError: the file is damaged.
            UnavailableError: it cannot be read.
        """
        path = self.path / _SEEN_IMAGES
        try:
            content = read_plain(path, MAX_SEEN_BYTES)
        except NotFoundError:
            return None
        start = len(_SEEN_SCHEMA) + hashlib.sha256().digest_size
        checksum, hashes = content[len(_SEEN_SCHEMA) : start], content[start:]
        if (
            not content.startswith(_SEEN_SCHEMA)
            or checksum != hashlib.sha256(hashes).digest()
            or len(hashes) % SEEN_HASH_BYTES
        ):
            raise CheckFailedError(
                f"{path} is damaged: it does not hold the hashes that the run wrote",
                "restore it from a copy, or remove it: what was trained on is then unknown",
            )
        return hashes

    def lock(self) -> AbstractContextManager[bool]:
        """Return the lock of the run, to be acquired while it is trained; see `locked`."""
        return locked(self.path)

    def load_checkpoint(self, name: str | None = None) -> Checkpoint:
        """Return the weights of this name; without one the best, or the last if none is best.

        Raises:
            NotFoundError: there are none.
            CheckFailedError: they are not what was saved.
        """
        wanted = [name] if name is not None else list(CHECKPOINT_NAMES)
        there = self.checkpoints.names()
        for candidate in wanted:
            if candidate in there:
                return self.checkpoints.load(candidate)
        raise NotFoundError(
            f"{self.path} holds no {' or '.join(wanted)} weights",
            "it was stopped before its first checkpoint; `cnnkit train --resume` resumes it"
            if name is None
            else f"choose one of {', '.join(there) or 'none'}",
        )

    def remove(self) -> None:
        """Remove the folder and all in it."""
        remove_tree(self.path)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        # ASCII: the name of a file need not be valid text.
        text = json.dumps(content, indent=2, allow_nan=False)
        replace_bytes(self.path / name, f"{text}\n".encode())

    def _check_plain(self) -> None:
        for name in _FILES:
            check_plain(self.path / name)
        for name in _FOLDERS:
            check_plain(self.path / name, is_folder=True)

    def _check_schema(self, plain: Mapping[str, Any]) -> None:
        schema = plain.get("schema")
        name, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
        if name != SCHEMA.partition("/")[0] or not re.fullmatch(r"[1-9][0-9]{0,8}", version):
            raise CheckFailedError(
                f"{self.path / _DESCRIPTION} does not describe a run: its schema is "
                f"{ascii(schema)[:80]}",
                "name a folder that `cnnkit train` has made",
            )
        if int(version) > int(SCHEMA.partition("/")[2]):
            raise UnavailableError(
                f"{self.path} was written by a newer cnnkit ({schema}; this one reads {SCHEMA})",
                "update cnnkit",
            )


def check_runs_dir(runs_dir: Path) -> None:
    """Raise early where runs cannot be kept in a folder.

    Raises:
        UnavailableError: it is a file, or is not writable.
    """
    folder = runs_dir.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        reason = f"{there} is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = f"{there} is not writable"
    else:
        return
    raise UnavailableError(f"runs cannot be kept in {runs_dir}: {reason}", _other_runs_dir())


def create_run(runs_dir: Path, model: str, dataset: str) -> RunFolder:
    """Make the folder `<model>-<dataset>-<date-time>` for a new run.

    Raises:
        UnavailableError: no space, no permission.
    """
    stem = f"{_slug(model)}-{_slug(dataset)}-{datetime.now():%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = runs_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            flush_folder(runs_dir)
            return RunFolder(path)
        except FileExistsError as error:
            if not path.is_dir():
                reason = f"{runs_dir} is no folder"
                raise UnavailableError(
                    f"cannot create {path}: {reason}", _other_runs_dir()
                ) from error
            number += 1
        except FileNotFoundError as error:  # a system folder, such as /proc, cannot hold it
            reason = f"{runs_dir} takes no folders"
            raise UnavailableError(f"cannot create {path}: {reason}", _other_runs_dir()) from error
        except OSError as error:
            raise explain_os_error(error, f"create {path}") from error


def open_run(name: str, runs_dir: Path) -> RunFolder:
    """Return the run of this name: a folder, or the name of one in `runs_dir`.

    Raises:
        NotFoundError: there is none; the hint names close ones, or the newest.
        UsageError: it is a file.
    """
    for path in (Path(name), runs_dir / name):
        if is_folder(path):
            return RunFolder(path)
        if os.path.isfile(path):  # noqa: PTH113  # which takes a name that is too long
            raise UsageError(f"{path} is a file", "name the folder of the run")
    described = sorted(runs_dir.glob(f"*/{_DESCRIPTION}"), key=lambda path: path.stat().st_mtime)
    known = [path.parent.name for path in described]
    hint = did_you_mean(Path(name).name, known)
    if not hint:
        newest = f"the newest in {runs_dir} is {known[-1]}" if known else ""
        hint = newest or "make one with `cnnkit train`"
    raise NotFoundError(f"there is no run {name!r}", hint)


def _slug(name: str) -> str:
    """Return a name with the letters and digits of any script, short enough for a file's."""
    kept = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", name)).strip("-.")
    return kept.encode()[:MOST_BYTES].decode(errors="ignore") or "x"


@contextmanager
def locked_run(run: RunFolder) -> Iterator[None]:
    """Lock a run, and warn where its disk has no locks."""
    with run.lock() as is_held:
        if not is_held:
            emit(
                Warned(f"the disk of {run.path} has no locks: let no other process train this run")
            )
        yield


def _other_runs_dir() -> str:
    return f"choose another {setting('runs_dir')}"
