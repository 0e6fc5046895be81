"""Loading the trained network of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnkit.data.image_files import read_image_file
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.errors import BrokenImageError, CheckFailedError
from cnnkit.events import OnEvent, Warned, emit, takes_on_event
from cnnkit.runs.checkpoints import Checkpoint
from cnnkit.runs.code import Trusted, described_by, network_of
from cnnkit.runs.folder import RunFolder, open_run
from cnnkit.runs.model_and_data import ModelAndData, check_fits
from cnnkit.system.device import choose_device, memory_format


@dataclass(frozen=True)
class LoadedRun:
    """A trained network, in evaluation mode.

    Attributes:
        network: takes (N, C, H, W), returns logits of shape (N, classes).
        classes: their names, in the order of the logits.
        preprocessing: how an image becomes an input.
        setup: network and data, as `run.json` has them.
        folder: the folder of the run.
        checkpoint: `best` or `last`.
        epoch: after which the weights were saved, from 1.
        device: where the network is.
    """

    network: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    setup: ModelAndData
    folder: RunFolder
    checkpoint: str
    epoch: int
    device: torch.device

    def read(self, paths: Sequence[str | Path]) -> Tensor:
        """Return image files as an input of the network, of shape (N, C, H, W), on its device.

        Raises:
            BrokenImageError: a file cannot be read, is not an image, is broken, or is too large.
        """
        pixels = torch.stack([self._pixels(path) for path in paths])
        return self.preprocessing.normalize(pixels.to(self.device))

    def _pixels(self, path: str | Path) -> Tensor:
        try:
            return self.preprocessing.decode(read_image_file(path, self.preprocessing.allow_large))
        except BadImageError as error:
            raise BrokenImageError(f"broken image {path}: {error}", "leave it out") from error


@takes_on_event
def load(
    run: str | Path,
    checkpoint: str | None = None,
    *,
    device: str = "auto",
    runs_dir: str | Path = "runs",
    network: str | None = None,
    trust_code: bool = False,
    on_event: OnEvent | None = None,
) -> LoadedRun:
    """Return the network of a run with its trained weights.

        loaded = cnnkit.load("runs/lenet5-mnist-20261128-101500")
        logits = loaded.network(loaded.read(["seven.png"]))
        print(loaded.classes[logits.argmax()])

    Args:
        run: the folder of the run, or its name in `runs_dir`.
        checkpoint: `best` or `last`; the best by default, where there is one.
        device: see `choose_device`.
        runs_dir: where runs are kept.
        network: `FILE.py:FACTORY`, the user's file of the network, to be used instead of the copy
            in the run folder.
        trust_code: let the code run that the run folder brings, though this user has not trained
            with it.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such run, or it holds no weights.
        CheckFailedError: the weights are not those that were saved, or do not fit the network;
            `run.json` is damaged, or the run brings code that the user does not trust.
        UnavailableError: the device is unavailable, or the run is of a newer version.
    """
    folder = open_run(str(run), Path(runs_dir))
    setup = setup_of(folder, folder.read_description(), Trusted(network, trust_code))
    weights = read_weights(folder, checkpoint)
    return loaded(folder, setup, weights, choose_device(device))


def setup_of(folder: RunFolder, description: Mapping[str, Any], trusted: Trusted) -> ModelAndData:
    """Return network and data of a run, whose code may run.

    Args:
        folder: of the run.
        description: what `read_description` returned.
        trusted: what the user trusts.

    Raises:
        CheckFailedError: `run.json` is damaged, or the user does not trust the code.
    """
    return ModelAndData.from_dict(description["setup"], network_of(folder, description, trusted))


def read_weights(folder: RunFolder, checkpoint: str | None) -> Checkpoint:
    """Return the weights of a run, by default the best; warn where no epoch is the best.

    Raises:
        NotFoundError: it holds none.
        CheckFailedError: they are not those that were saved.
    """
    weights = folder.load_checkpoint(checkpoint)
    if weights.name == "last" and checkpoint is None:
        emit(Warned("this run has no best epoch; its last weights are used"))
    return weights


def loaded(
    folder: RunFolder, setup: ModelAndData, weights: Checkpoint, device: torch.device
) -> LoadedRun:
    """Build the network of a run with its weights, on a device.

    Raises:
        CheckFailedError: the weights do not fit the network.
    """
    check_fits(setup, weights.weights, folder)
    with described_by(folder, setup.spec):
        network = setup.build()
    try:
        network.load_state_dict(weights.weights)
    except RuntimeError as error:
        raise CheckFailedError(
            f"the weights of {folder.path} do not fit the network {setup.model}",
            "was its file changed since?" if setup.model_sha256 else "train again",
        ) from error
    network = network.to(device).to(memory_format=memory_format(device, setup.channels_last))
    return LoadedRun(
        network.eval(), setup.classes, setup.preprocessing, setup, folder,
        weights.name, weights.epoch, device,
    )  # fmt: skip
