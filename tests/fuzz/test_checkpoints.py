"""Altered checkpoints and weights: each is taken, or refused in a line, and nothing else."""

import copy
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from cnnkit import Recipe
from cnnkit.runs.checkpoints import CheckpointFolder, Manifest, SavedFile, TrainingCheckpoint
from cnnkit.runs.folder import RunFolder
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.network.weights_file import open_weights
from cnnkit.training.steps.progress import Progress
from cnnkit.training.steps.record import Record
from cnnkit.training.steps.stepping import NotFiniteError, Stepper
from tests.fuzz.altered import ODD, altered_bytes, altered_documents
from tests.fuzz.test_json_files import refused_or_read

NUMBER = 120
STEPS = 5  # an epoch

ODD_TENSORS = (
    torch.ones(()), torch.ones(1), torch.ones(3, 2), torch.tensor(float("nan")),
    torch.ones(1).expand(6, 4), torch.ones(6, 4, dtype=torch.int64), torch.ones(6, 4).to_sparse(),
    torch.zeros(5056, dtype=torch.uint8), torch.ones(6, 4, dtype=torch.complex64),
    torch.ones(0), -torch.ones(()), (1, 2), (torch.ones(1),),
)  # fmt: skip


class Training:
    """A small training, as far as its state goes: networks, optimizer, schedule and record."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 3))
        recipe = Recipe.of(**{"epochs": 4, "lr": 0.01, **settings}).resolved()
        self.stepper = Stepper(network, recipe, STEPS, torch.device("cpu"))
        batches: Any = SimpleNamespace(num_batches=STEPS, skipped=set())
        self.record = Record(
            RunFolder(path), "id", {"epochs": 4}, Checkpointing(), self.stepper, [batches] * 2, 0.0
        )

    def step(self) -> None:
        """Take a step."""
        self.stepper.take(torch.ones(4, 4), torch.tensor([0, 1, 2, 0]))


def replaced(folder: Path, name: str, content: bytes) -> None:
    """Write a file of a checkpoint, and what its manifest says of it."""
    manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    saved = SavedFile(bytes=len(content), sha256=sha256(content).hexdigest())
    (folder / name).write_bytes(content)
    files = {**manifest.files, name: saved}
    made = Manifest(epoch=manifest.epoch, step=manifest.step, files=files)
    (folder / "manifest.json").write_text(made.model_dump_json())


def pickled(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def repacked(content: bytes, number: int) -> Iterator[bytes]:
    """Yield archives of torch whose pickle has other bytes, under its right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (pickle,) = [name for name in parts if name.endswith("data.pkl")]
    for altered in altered_bytes(parts[pickle], number):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, altered if name == pickle else part)
        yield buffer.getvalue()


RECIPES = {
    "adam": {"optimizer": "adam", "ema": 0.9, "schedule": "onecycle"},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "schedule": "constant", "warmup_epochs": 0},
    "muon": {"optimizer": "muon", "schedule": "cosine", "warmup_epochs": 1},
}


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
def test_the_state_of_a_training(tmp_path: Path, settings: dict[str, Any]) -> None:
    first = Training(tmp_path, settings)
    for _ in range(3):
        first.step()
    first.record.save(Progress(epoch=1, step=3))
    folder = tmp_path / "checkpoints" / "last"
    content = (folder / "training.pt").read_bytes()
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    state = copy.deepcopy(dict(checkpoints.load_training("last").state))

    def go_on() -> None:
        again = Training(tmp_path, settings)
        again.record.restore(checkpoints.load_training("last"))
        for _ in range(2):
            try:
                again.step()
            except NotFiniteError:
                return  # as a training says by itself
        torch.save(again.stepper.state(), io.BytesIO())

    assert refused_or_read(go_on)
    taken = 0
    for altered in altered_documents(state, NUMBER, (*ODD, *ODD_TENSORS)):
        replaced(folder, "training.pt", pickled(altered))
        taken += refused_or_read(go_on)
    assert 0 < taken < NUMBER
    for altered in (*repacked(content, NUMBER // 2), *altered_bytes(content, NUMBER // 2)):
        replaced(folder, "training.pt", altered)
        refused_or_read(go_on)
    for altered in altered_bytes(content, NUMBER // 4):  # the manifest is not
        replaced(folder, "training.pt", content)
        (folder / "training.pt").write_bytes(altered)
        assert altered == content or not refused_or_read(go_on)


def test_weights_of_a_checkpoint(tmp_path: Path) -> None:
    weights = {"a.weight": torch.ones(3, 2), "b": torch.arange(4)}
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(TrainingCheckpoint("best", 1, weights, {}))
    for altered in altered_bytes(save(weights), 2 * NUMBER):
        replaced(tmp_path / "best", "model.safetensors", altered)
        refused_or_read(lambda: checkpoints.load("best"))


KINDS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {
    "w.pt": pickled,
    "old.pth": lambda state: old(state),
    "w.safetensors": save,
}


def old(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("name", KINDS)
def test_files_of_weights(tmp_path: Path, name: str) -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    content = KINDS[name](network.state_dict())
    contents = [*altered_bytes(content, 2 * NUMBER)]
    if name == "w.pt":
        contents += [*repacked(content, 2 * NUMBER)]
        chance = random.Random(0)
        for altered in altered_documents(dict(network.state_dict()), NUMBER, ODD_TENSORS):
            contents.append(pickled({chance.choice(("net", "model", "x")): altered}))
    file = tmp_path / name

    def begin() -> None:
        open_weights(str(file), tmp_path).load_into(network)

    for altered in contents:
        file.write_bytes(altered)
        refused_or_read(begin)
    file.write_bytes(content)
    assert refused_or_read(begin)
