"""The folder of a run: what was asked, what came of it, and the weights."""

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CheckFailedError, NotFoundError, UnavailableError, UsageError
from cnnkit.files import explain_os_error, remove_tree, write_text
from cnnkit.registry import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = "cnnkit.run/1"
CHECKPOINT_NAMES = ("best", "last")

_DESCRIPTION = "run.json"
_RESULT = "result.json"
_METRICS = "metrics.csv"
_WEIGHTS = "model.safetensors"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """Weights out of a run.

    Attributes:
        name: `best` or `last`.
        epoch: how many epochs they were trained for.
        weights: the tensors by name, on the CPU.
    """

    name: str
    epoch: int
    weights: "dict[str, Tensor]"


class RunFolder:
    """A run on disk.

    Args:
        path: the folder; see `create_run` and `open_run`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_description(self, description: Mapping[str, Any]) -> None:
        """Write what was asked, every default resolved, as `run.json`."""
        self._write_json(_DESCRIPTION, {"schema": SCHEMA, **description})

    def read_description(self) -> dict[str, Any]:
        """Return what was asked.

        Raises:
            NotFoundError: there is no `run.json`, or it cannot be read.
            UnavailableError: it was written by a newer cnnkit.
        """
        path = self.path / _DESCRIPTION
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            schema = str(description["schema"])
        except FileNotFoundError as error:
            raise NotFoundError(
                f"{self.path} is not a run folder: it has no {_DESCRIPTION}",
                "name a folder that `cnnkit train` has made",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise NotFoundError(
                f"{path} is damaged: it does not hold the description of a run", "train again"
            ) from error
        except OSError as error:
            raise explain_os_error(error, f"read {path}") from error
        name, _, version = schema.partition("/")
        if name != SCHEMA.partition("/")[0] or not version.isdigit():
            raise NotFoundError(f"{path} does not describe a run: its schema is {schema!r}")
        if int(version) > int(SCHEMA.partition("/")[2]):
            raise UnavailableError(
                f"{self.path} was written by a newer cnnkit ({schema}; this one reads {SCHEMA})",
                "update cnnkit",
            )
        result: dict[str, Any] = description
        return result

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write what came of the run as `result.json`."""
        self._write_json(_RESULT, result)

    def append_metrics(self, metrics: Mapping[str, float | int | None]) -> None:
        """Add a line to `metrics.csv`; the first call writes the heading."""
        path = self.path / _METRICS
        try:
            is_new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(metrics))
                if is_new:
                    writer.writeheader()
                writer.writerow(metrics)
        except OSError as error:
            raise explain_os_error(error, f"write {path}") from error

    def save_checkpoint(
        self, names: Sequence[str], weights: "Mapping[str, Tensor]", epoch: int
    ) -> None:
        """Save weights under one or more names; each replaces the earlier one as a whole.

        Raises:
            UnavailableError: no space, no permission.
        """
        first = self._new_checkpoint(names[0])
        self._write_weights(first, weights, epoch)
        self._put_in_place(first, names[0])
        for name in names[1:]:
            # The same files under a second name: links where the disk can, copies where not.
            copied = self._new_checkpoint(name)
            for file in (self._checkpoint_path(names[0])).iterdir():
                try:
                    os.link(file, copied / file.name)
                except OSError:
                    shutil.copy2(file, copied / file.name)
            self._put_in_place(copied, name)

    def load_checkpoint(self, name: str | None = None) -> Checkpoint:
        """Return the weights of this name; without one the best, or the last if none is best.

        Raises:
            NotFoundError: there are none.
            CheckFailedError: they are not what was saved.
        """
        wanted = [name] if name is not None else list(CHECKPOINT_NAMES)
        for candidate in wanted:
            folder = self._existing_checkpoint(candidate)
            if folder is not None:
                return self._read_checkpoint(candidate, folder)
        raise NotFoundError(
            f"{self.path} holds no {' or '.join(wanted)} weights",
            "it was stopped before the first epoch was over; train again"
            if name is None
            else f"choose one of {', '.join(self.checkpoint_names()) or 'none'}",
        )

    def checkpoint_names(self) -> list[str]:
        """Return the names under which there are weights."""
        return [name for name in CHECKPOINT_NAMES if self._existing_checkpoint(name) is not None]

    def remove(self) -> None:
        """Remove the folder and all in it."""
        remove_tree(self.path)

    def _checkpoint_path(self, name: str) -> Path:
        return self.path / "checkpoints" / name

    def _existing_checkpoint(self, name: str) -> Path | None:
        """Return the checkpoint, or the earlier one if it was being replaced when all ended."""
        for folder in (self._checkpoint_path(name), self._checkpoint_path(f".{name}-old")):
            if folder.is_dir():
                return folder
        return None

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        # ASCII: the name of a file need not be valid text.
        text = json.dumps(content, indent=2, allow_nan=False)
        write_text(self.path / name, text + "\n")

    def _new_checkpoint(self, name: str) -> Path:
        folder = self._checkpoint_path(f".{name}-new")
        try:
            remove_tree(folder)
            folder.mkdir(parents=True)
        except OSError as error:
            raise explain_os_error(error, f"write {folder}") from error
        return folder

    def _write_weights(self, folder: Path, weights: "Mapping[str, Tensor]", epoch: int) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save

        path = folder / _WEIGHTS
        try:
            content = save(_separate(weights))
            path.write_bytes(content)
            manifest = {
                "epoch": epoch,
                "files": {
                    _WEIGHTS: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                },
            }
            (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            remove_tree(folder)
            if isinstance(error, OSError):
                raise explain_os_error(error, f"write {path}") from error
            raise

    def _put_in_place(self, folder: Path, name: str) -> None:
        target, earlier = self._checkpoint_path(name), self._checkpoint_path(f".{name}-old")
        try:
            remove_tree(earlier)
            with suppress(FileNotFoundError):
                target.rename(earlier)
            folder.rename(target)
            remove_tree(earlier)
        except OSError as error:
            raise explain_os_error(error, f"write {target}") from error

    def _read_checkpoint(self, name: str, folder: Path) -> Checkpoint:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            content = (folder / _WEIGHTS).read_bytes()
            epoch, expected = int(manifest["epoch"]), str(manifest["files"][_WEIGHTS]["sha256"])
        except FileNotFoundError as error:
            missing = Path(error.filename or _WEIGHTS).name
            raise NotFoundError(f"{folder} is incomplete: {missing} is missing") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CheckFailedError(f"{folder / _MANIFEST} is damaged") from error
        except OSError as error:
            raise explain_os_error(error, f"read {folder}") from error
        altered = CheckFailedError(
            f"{folder / _WEIGHTS} is not what was saved: its SHA-256 differs from the manifest's",
            "restore the file, choose another `--checkpoint`, or train again",
        )
        if hashlib.sha256(content).hexdigest() != expected:
            raise altered
        try:
            return Checkpoint(name, epoch, load(content))
        except SafetensorError as error:
            raise altered from error


def _separate(weights: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the tensors on the CPU, each with memory of its own, as safetensors needs them."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in weights.items():
        tensor = value.detach().cpu().contiguous()
        address = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return separate


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
            return RunFolder(path)
        except FileExistsError as error:
            if not path.is_dir():
                raise UnavailableError(f"cannot create {path}: {error.strerror}") from error
            number += 1
        except OSError as error:
            raise explain_os_error(error, f"create {path}") from error


def open_run(name: str, runs_dir: Path) -> RunFolder:
    """Return the run of this name: a folder, or the name of one in `runs_dir`.

    Raises:
        NotFoundError: there is none; the hint names close ones, or the newest.
        UsageError: it is a file.
    """
    for path in (Path(name), runs_dir / name):
        if path.is_dir():
            return RunFolder(path)
        if path.is_file():
            raise UsageError(f"{path} is a file", "name the folder of the run")
    described = sorted(runs_dir.glob(f"*/{_DESCRIPTION}"), key=lambda path: path.stat().st_mtime)
    known = [path.parent.name for path in described]
    hint = did_you_mean(Path(name).name, known)
    if not hint:
        newest = f"the newest in {runs_dir} is {known[-1]}" if known else ""
        hint = newest or "make one with `cnnkit train`"
    raise NotFoundError(f"there is no run {name!r}", hint)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "x"
