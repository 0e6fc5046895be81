"""A training that is settled: everything it needs beside the folder that it is kept in."""

import json
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnkit import __version__
from cnnkit.data.image_set import DecodedSet
from cnnkit.evaluation import Setup
from cnnkit.events import Note, emit
from cnnkit.runs.recipe import Recipe
from cnnkit.system.determinism import deterministic_operations
from cnnkit.system.device import AUTO, choose_precision, device_name, has_native_bf16, memory_format
from cnnkit.system.distributed import ONE, ProcessGroup
from cnnkit.system.memory import explained_out_of_memory
from cnnkit.system.randomness import own_randomness
from cnnkit.system.trust import names_code
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.data import Place, RunData
from cnnkit.training.network.adapting import adapt_network
from cnnkit.training.network.first_look import initialize_from_images
from cnnkit.training.network.network_check import check_network, forward_flops
from cnnkit.training.network.weights_file import WeightsFile
from cnnkit.training.steps.compiling import Compiled, compiled
from cnnkit.training.steps.optimizers import make_optimizer


@dataclass(frozen=True)
class Job:
    """Everything that a training needs beside the folder it is kept in.

    Attributes:
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

    setup: Setup
    recipe: Recipe
    data: RunData
    place: Place
    checkpointing: Checkpointing
    data_dir: Path
    fit: str
    weights: WeightsFile | None = None
    group: ProcessGroup = ONE
    normalization: Mapping[str, Any] | None = None

    def build(self, is_new: bool = True) -> nn.Module:
        """Return the network with its first weights, on its device, tried on an input.

        Args:
            is_new: its weights will not be read from a checkpoint, so it may look at images.

        Raises:
            UsageError: it cannot be trained on this data, or by this optimizer.
            CheckFailedError: the file of its weights holds others.
            NotFoundError: that file is gone.
            RunFailedError: an image that it looks at is broken.
            UnavailableError: `deterministic` cannot be had.
        """
        with deterministic_operations(self.setup.deterministic):
            return self._built(is_new)

    def _built(self, is_new: bool) -> nn.Module:
        device = self.place.device
        torch.manual_seed(self.recipe.seed)
        network = self.setup.build()
        if self.weights is not None:
            emit(Note(self.weights.load_into(network)))
        adapt_network(network, self.recipe, self.setup.model)
        network = network.to(device)
        network = network.to(memory_format=memory_format(device, self.setup.channels_last))
        self._check(network)
        make_optimizer(network, self.recipe)  # what it refuses is said before anything is made
        if is_new and self.weights is None:
            initialize_from_images(
                network, self.data.train, self.place, self.setup, self.recipe.seed
            )
        return network

    def in_precision(self, network: nn.Module) -> "Job":
        """Return the job in the precision of its recipe, which may depend on the network.

        Raises:
            UsageError: the network cannot be trained in it.
            UnavailableError: the device cannot.
        """
        recipe, device, flops = self.recipe, self.place.device, 0
        if recipe.precision == AUTO and has_native_bf16(device):
            num_images = max(1, recipe.batch_size // recipe.accumulate)
            flops = num_images * forward_flops(network, self.setup)
        precision = choose_precision(recipe.precision, device, flops)
        job = replace(self, setup=replace(self.setup, precision=precision))
        if precision != "fp32":
            job._check(network)
        return job

    def compiled(
        self,
        network: nn.Module,
    ) -> Compiled | None:
        """Return the network compiled for training; None where it is taken as it is.

        Raises:
            UnavailableError: there is no compiler, or torch cannot compile the network.
        """
        if not self.recipe.compile:
            return None
        return compiled(network, self.setup, self.recipe, len(self.data.train))

    def _check(self, network: nn.Module) -> None:
        with own_randomness(self.place.device):  # dropout must not draw what training will
            num_images = min(2, self.recipe.batch_size, len(self.data.train))
            check_network(network, self.setup, num_images)

    def asked(self) -> dict[str, Any]:
        """Return the settings that the state of a training is good for, as JSON has them."""
        recipe = self.recipe.model_dump()
        if self.recipe.schedule == "constant":  # then more epochs may follow
            del recipe["epochs"]
        setup = self.setup.to_dict()
        if names_code(self.setup.model):  # which is held against the copy in the run folder
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
    """Return the parts of `run.json` that tell where a run was computed."""
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


def explained(recipe: Recipe) -> AbstractContextManager[None]:
    """Return a context that tells what helps where memory runs out."""
    return explained_out_of_memory(
        f"free some, or begin with a smaller -b/--batch-size than {recipe.batch_size}, or a "
        "smaller --input"
    )
