"""A resolved run: recipe, model, data, device and precision, each looked up once."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from cnnkit import __version__
from cnnkit.data.image_set import DecodedSet
from cnnkit.models.description import ModelDescription
from cnnkit.runs.checkpoints import Checkpointing
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.run_data import LoaderConfig, RunData
from cnnkit.runs.weights_file import WeightsFile
from cnnkit.system.device import device_name
from cnnkit.system.distributed import ONE, ProcessGroup
from cnnkit.system.trust import names_code


@dataclass(frozen=True)
class ResolvedRun:
    """Everything that a training run needs, except its folder.

    Attributes:
        model: what is known of the network.
        setup: network and data, put together.
        recipe: every setting, resolved.
        data: the splits.
        place: where batches are made.
        checkpointing: when the state is written.
        data_dir: where datasets are looked for.
        fit: one line that says what happens to an image on its way to the network.
        weights: those that it begins with; None for fresh ones.
        group: the processes that train together.
        normalization: where mean and standard deviation come from; None for a run that is resumed,
            whose `run.json` says so already.
    """

    model: ModelDescription
    setup: ModelAndData
    recipe: Recipe
    data: RunData
    place: LoaderConfig
    checkpointing: Checkpointing
    data_dir: Path
    fit: str
    weights: WeightsFile | None = None
    group: ProcessGroup = ONE
    normalization: Mapping[str, Any] | None = None

    def asked(self) -> dict[str, Any]:
        """Return the settings that the state of a training is good for, as JSON has them."""
        recipe = self.recipe.model_dump()
        if self.recipe.schedule == "constant":  # then more epochs may follow
            del recipe["epochs"]
        setup = self.setup.to_dict()
        if names_code(self.setup.model):  # which is compared with the copy in the run folder
            del setup["model"], setup["model_sha256"]
        plain = {
            **{f"setup.{name}": value for name, value in setup.items()},
            **{f"recipe.{name}": value for name, value in recipe.items()},
        }
        found: dict[str, Any] = json.loads(json.dumps(plain))
        return found

    def describe(self, run_id: str, num_params: int) -> dict[str, Any]:
        """Return what `run.json` holds."""
        return {
            "id": run_id,
            "created": now(),
            "setup": self.setup.to_dict(),
            "recipe": self.recipe.model_dump(),
            "normalization": self.normalization,
            "weights": None if self.weights is None else self.weights.name,
            "weights_sha256": None if self.weights is None else self.weights.sha256,
            "num_params": num_params,
            **computed_on(self.place.device),
            "nproc": self.group.size,
            "num_workers": self.place.num_workers,
            "skip_bad": self.place.skip_bad,
            "val_fingerprint": self.data.val_fingerprint,
            "decoded_once": isinstance(self.data.train, DecodedSet),
            "data_dir": str(self.data_dir.resolve()),
            "checkpointing": asdict(self.checkpointing),
            "resumed": [],
        }


def now() -> str:
    """Return date and time, with the offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def computed_on(device: torch.device) -> dict[str, Any]:
    """Return the parts of `run.json` that say where a run was computed."""
    return {
        "device": {
            "name": str(device),
            "hardware": device_name(device),
            "num_threads": torch.get_num_threads(),
        },
        "versions": {
            "cnnkit": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
