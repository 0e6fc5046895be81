"""Checkpoints: a folder of files with a manifest, written so that a crash costs nothing.

A checkpoint is written to a folder beside its place, flushed to the disk, and renamed; the one
before it stays until then, and of `last` also afterwards, as `previous`.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from cnnkit.errors import (
    CheckFailedError,
    CnnkitError,
    NotFoundError,
    UnavailableError,
    UsageError,
    setting,
)
from cnnkit.system.files import (
    TooLargeError,
    explain_os_error,
    flush_folder,
    read_regular,
    remove_tree,
)
from cnnkit.system.records import Record, at_most, parse_json
from cnnkit.system.torch_files import check_safetensors, in_a_line, read_data

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_NAMES = ("best", "last")
PREVIOUS = "previous"
DAMAGED = "damaged"

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
RAW_WEIGHTS = "unaveraged.safetensors"
TRAINING = "training.pt"
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 2**20
MOST_CONFIG_BYTES = 2**24  # the names of very many classes


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a run.

    Attributes:
        name: `best` or `last`.
        epoch: how many full epochs they were trained for.
        weights: the tensors by name, on the CPU; those that are evaluated.
        config: what `config.json` beside them holds; None for no such file.
    """

    name: str
    epoch: int
    weights: "Mapping[str, Tensor]"
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TrainingCheckpoint(Checkpoint):
    """Everything that a training resumes from.

    Attributes:
        state: everything beside the weights: tensors, numbers, texts, and lists and dictionaries
            of them.
        raw_weights: the weights that the optimizer changes, where others are evaluated.
        step: how many steps were done of the epoch after `epoch`.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    raw_weights: "Mapping[str, Tensor] | None" = None
    step: int = 0


Count = Annotated[int, Field(ge=0, lt=2**63)]


class SavedFile(Record):
    """What a manifest says of a file.

    Attributes:
        bytes: its size.
        sha256: its SHA-256, in hexadecimal digits.
    """

    bytes: Count
    sha256: str


class Manifest(Record):
    """What `manifest.json` holds.

    Attributes:
        epoch: how many full epochs the weights were trained for.
        step: how many steps were done of the epoch after `epoch`.
        files: the files of the checkpoint by name.
    """

    epoch: Count
    step: Count = 0
    files: Annotated[dict[str, SavedFile], at_most(100)]


class CheckpointFolder:
    """The checkpoints of a run.

    Args:
        path: the folder that holds them; made when it is needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names under which there are weights."""
        return [name for name in CHECKPOINT_NAMES if self.find(name) is not None]

    def training_names(self) -> list[str]:
        """Return the checkpoints that a training can resume from, newest first."""
        return [name for name in ("last", PREVIOUS) if (self.path / name).is_dir()]

    def find(self, name: str) -> Path | None:
        """Return the folder of a checkpoint, or of the earlier one where it is being replaced."""
        earlier = PREVIOUS if name == "last" else f".{name}-old"
        for folder in (self.path / name, self.path / earlier):
            if folder.is_dir():
                return folder
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint under its name, atomically.

        Raises:
            UnavailableError: no space, no permission; the earlier checkpoints are kept.
        """
        folder = self.path / f".{checkpoint.name}-new"
        try:
            self._write(folder, checkpoint)
            self._put_in_place(folder, checkpoint.name)
        except OSError as error:
            with suppress(OSError):  # the error of the write is the one to report
                remove_tree(folder)
            raise explain_os_error(error, f"write {self.path / checkpoint.name}") from error

    def load(self, name: str) -> Checkpoint:
        """Return the weights of a checkpoint that `names` lists.

        Raises:
            NotFoundError: a file of it is missing.
            CheckFailedError: a file of it is not what was saved.
        """
        folder = self.find(name)
        if folder is None:
            raise NotFoundError(f"{self.path.parent} holds no {name} weights")
        files = _Files(folder)
        return Checkpoint(name, files.manifest.epoch, files.tensors(WEIGHTS), files.config())

    def load_training(self, folder_name: str) -> TrainingCheckpoint:
        """Return all of `last` or `previous`.

        Raises:
            NotFoundError: a file of it is missing.
            CheckFailedError: a file of it is not what was saved, or holds more than data.
        """
        files = _Files(self.path / folder_name)
        if TRAINING not in files.manifest.files:
            raise NotFoundError(
                f"{files.folder} holds only weights, and training cannot resume from them",
                "begin a new run",
            )
        raw = files.tensors(RAW_WEIGHTS) if RAW_WEIGHTS in files.manifest.files else None
        return TrainingCheckpoint(
            "last",
            files.manifest.epoch,
            files.tensors(WEIGHTS),
            files.config(),
            files.state(),
            raw,
            files.manifest.step,
        )

    def set_last_aside(self) -> None:
        """Mark the newest checkpoint as damaged, so that it does not replace the previous one.

        Raises:
            UnavailableError: it cannot be renamed.
        """
        try:
            remove_tree(self.path / DAMAGED)
            (self.path / "last").rename(self.path / DAMAGED)
            flush_folder(self.path)
        except OSError as error:
            raise explain_os_error(error, f"rename {self.path / 'last'}") from error

    def best_stands(self, epoch: int, at_epoch: int) -> bool:
        """Return whether the best weights of `epoch` are there for a run at `at_epoch`.

        Best weights of a later epoch than the run is at do as well: the run comes by there again.
        """
        try:
            best = self.load("best")
        except CnnkitError:
            folder = self.find("best")
            with suppress(CnnkitError):  # a manifest that is damaged as well names no epoch
                return folder is not None and _Files(folder).manifest.epoch > at_epoch
            return False
        return best.epoch == epoch or best.epoch > at_epoch

    def _write(self, folder: Path, checkpoint: Checkpoint) -> None:
        import torch

        remove_tree(folder)
        folder.mkdir(parents=True)
        entries: dict[str, SavedFile] = {}
        best = self.path / "best" / WEIGHTS
        is_training = isinstance(checkpoint, TrainingCheckpoint)
        contents = [(WEIGHTS, _as_safetensors(checkpoint.weights))]
        if checkpoint.config is not None:
            text = json.dumps(checkpoint.config, indent=2, ensure_ascii=False)
            contents.append((CONFIG, f"{text}\n".encode()))
        step = 0
        if isinstance(checkpoint, TrainingCheckpoint):
            if checkpoint.raw_weights is not None:
                contents.append((RAW_WEIGHTS, _as_safetensors(checkpoint.raw_weights)))
            buffer = io.BytesIO()
            torch.save(dict(checkpoint.state), buffer)
            contents.append((TRAINING, buffer.getvalue()))
            step = checkpoint.step
        for name, content in contents:
            digest = hashlib.sha256(content).hexdigest()
            entries[name] = SavedFile(bytes=len(content), sha256=digest)
            # The last weights are often the best ones: a link to them needs no room.
            if name == WEIGHTS and is_training and self._is_file_of_best(digest):
                with suppress(OSError):  # not every disk can
                    os.link(best, folder / name)
                    continue
            _write_through(folder / name, content)
        manifest = Manifest(epoch=checkpoint.epoch, step=step, files=entries)
        _write_through(folder / MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode())
        flush_folder(folder)

    def _is_file_of_best(self, digest: str) -> bool:
        try:
            return _Files(self.path / "best").manifest.files[WEIGHTS].sha256 == digest
        except (CnnkitError, KeyError):
            return False  # none, or damaged: then it is written

    def _put_in_place(self, folder: Path, name: str) -> None:
        target = self.path / name
        earlier = self.path / (PREVIOUS if name == "last" else f".{name}-old")
        if target.is_dir():
            remove_tree(earlier)
            target.rename(earlier)
        folder.rename(target)
        flush_folder(self.path)
        if name != "last":
            remove_tree(earlier)


class _Files:
    """The files of a checkpoint, each read against the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.manifest = Manifest.from_json(self._read(MANIFEST, MOST_MANIFEST_BYTES))
        except (ValueError, TooLargeError) as error:
            raise CheckFailedError(
                f"{folder / MANIFEST} is damaged: {error}", _restore()
            ) from error

    def tensors(self, name: str) -> "dict[str, Tensor]":
        """Return the tensors of a safetensors file."""
        from safetensors.torch import load

        content = self._checked(name)
        try:
            check_safetensors(content[:8], len(content))
            return load(content)
        except Exception as error:  # a file that was made to harm may raise anything
            raise CheckFailedError(
                f"{self.folder / name} is not a safetensors file: {in_a_line(error)}", _restore()
            ) from error

    def config(self) -> dict[str, Any] | None:
        """Return what `config.json` holds; None where there is none."""
        if CONFIG not in self.manifest.files:
            return None
        if self.manifest.files[CONFIG].bytes > MOST_CONFIG_BYTES:
            raise CheckFailedError(f"{self.folder / CONFIG} is too large", _restore())
        try:
            config = parse_json(self._checked(CONFIG))
        except ValueError as error:
            raise CheckFailedError(
                f"{self.folder / CONFIG} is damaged: {error}", _restore()
            ) from error
        if not isinstance(config, dict):
            raise CheckFailedError(f"{self.folder / CONFIG} is damaged", _restore())
        return config

    def state(self) -> dict[str, Any]:
        """Return what `training.pt` holds; nothing in it is ever executed."""
        content = self._checked(TRAINING)
        state = read_data(
            content, self.folder / TRAINING, "use no checkpoint that you do not trust"
        )
        if not isinstance(state, dict):
            raise CheckFailedError(f"{self.folder / TRAINING} holds no training state")
        return state

    def _checked(self, name: str) -> bytes:
        saved = self.manifest.files.get(name)
        if saved is None:
            raise CheckFailedError(f"{self.folder / MANIFEST} does not name {name}", _restore())
        try:
            content = self._read(name, saved.bytes)
        except TooLargeError as error:
            raise self._altered(name) from error
        if hashlib.sha256(content).hexdigest() != saved.sha256:
            raise self._altered(name)
        return content

    def _read(self, name: str, most_bytes: int) -> bytes:
        """Return the content of a file.

        Raises:
            TooLargeError: it has more bytes.
            NotFoundError, UnavailableError: it is not there, or cannot be read.
        """
        try:
            return read_regular(self.folder / name, most_bytes)
        except TooLargeError:
            raise
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.folder} is incomplete: {name} is missing") from error
        except OSError as error:
            raise explain_os_error(error, f"read {self.folder / name}") from error
        except MemoryError as error:
            raise UnavailableError(
                f"there is not enough memory for {self.folder / name}", "free some"
            ) from error

    def _altered(self, name: str) -> CheckFailedError:
        return CheckFailedError(
            f"{self.folder / name} is not what was saved: its SHA-256 differs from the manifest's",
            _restore(),
        )


def _write_through(path: Path, content: bytes) -> None:
    """Write a file, and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _as_safetensors(weights: "Mapping[str, Tensor]") -> bytes:
    """Return weights as a file; other libraries read in its metadata for whom it was written."""
    from safetensors.torch import save

    return save(_separate(weights), {"format": "pt"})


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


@dataclass(frozen=True)
class Checkpointing:
    """When the state of a training is written, beside the end of every epoch.

    Attributes:
        minutes: interval in minutes; 0 for never.
        steps: interval in steps, counted from the first of the run; None for never.
    """

    minutes: float = 10.0
    steps: int | None = None

    @classmethod
    def of(cls, minutes: float, steps: int | None) -> "Checkpointing":
        """Return these settings.

        Raises:
            UsageError: one of them is out of range.
        """
        if not 0 <= minutes < math.inf:
            raise UsageError(
                f"{setting('checkpoint_minutes')} must be at least 0, not {minutes:g}",
                "0 means never",
            )
        if steps is not None and steps < 1:
            raise UsageError(f"{setting('checkpoint_steps')} must be at least 1, not {steps}")
        return cls(float(minutes), steps)


def _restore() -> str:
    return f"restore the file, choose another {setting('checkpoint')}, or train again"
