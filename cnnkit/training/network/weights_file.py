"""Files of weights that a network begins with; its last layer may begin anew."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cnnkit.checkpoints import WEIGHTS
from cnnkit.compat import layer_versions, set_layer_versions
from cnnkit.errors import CheckFailedError, NotFoundError, UsageError
from cnnkit.files import explain_os_error
from cnnkit.runs import RunFolder, open_run
from cnnkit.torch_files import read_data, some_of
from cnnkit.training.steps.muon import LAYERS

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pt", ".pth")
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")  # where others keep a state_dict
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile, before every name

_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
_COUNTER = ".num_batches_tracked"  # of batch norm; old files have none, and may do without
_SAVE = "save `network.state_dict()` alone"


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights by name.

    Attributes:
        name: what `run.json` calls them: the path, or torchvision's name.
        path: of the file.
        sha256: of the file.
        is_published: they are torchvision's, and the last layer begins anew in any case.
    """

    name: str
    path: Path
    sha256: str
    is_published: bool = False

    def read(self) -> dict[str, Tensor]:
        """Return the tensors by name, on the CPU; nothing in the file is ever executed.

        Raises:
            NotFoundError, UnavailableError: the file is gone, or cannot be read.
            CheckFailedError: it is not what it was, or holds something else.
        """
        content = _content(self.path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise CheckFailedError(
                f"{self.path} is not what it was: its SHA-256 is no longer {self.sha256[:8]}…",
                self._way_out("restore it, or begin a new run"),
            )
        if self.path.suffix.lower() == SAFETENSORS:
            return self._read_safetensors(content)
        return self._state_dict(read_data(content, self.path, self._way_out(_SAVE)))

    def load_into(self, network: nn.Module) -> str:
        """Put the weights into a network, and return a line that says so.

        The last layer takes its weights where they fit, and stays as it is where they do not.

        Raises:
            NotFoundError, UnavailableError: the file is gone, or cannot be read.
            CheckFailedError: it is not what it was, or does not hold the weights of the network.
        """
        own = network.state_dict()
        state = _as_the_network_has_it(self.read(), own)
        head = last_layer(network)
        misfit = _misfit(state, own, head)
        begins_anew = self.is_published or bool(misfit)
        if begins_anew:
            for name in [name for name in state if _is_in(head, name)]:
                del state[name]
        for name, value in state.items():
            if name in own and value.shape != own[name].shape:
                raise self._no_fit(f"{name} is {_sizes(value)} there and {_sizes(own[name])} here")
        try:
            missing, unexpected = network.load_state_dict(state, strict=False)
        except Exception as error:  # a kind of tensor, or a network's own code, may raise anything
            raise self._no_fit(" ".join(str(error).split())[:200]) from error
        missing = [
            name
            for name in missing
            if not name.endswith(_COUNTER) and not (begins_anew and _is_in(head, name))
        ]
        strange = [f"has {some_of(unexpected)}, and the network not"] if unexpected else []
        strange += [f"lacks {some_of(missing)}"] if missing else []
        if strange:
            raise self._no_fit(f"it {'; it '.join(strange)}")
        if self.is_published:
            return f"begins with {self.name} of torchvision, and a new last layer"
        anew = f"; the last layer begins anew, for {misfit}" if misfit else ""
        return f"begins with the weights of {self.path}{anew}"

    def _read_safetensors(self, content: bytes) -> dict[str, Tensor]:
        from safetensors.torch import load

        try:
            return load(content)
        except Exception as error:  # what is damaged, and kinds of numbers that torch does not have
            raise CheckFailedError(
                f"{self.path} is refused, for it is damaged, or no file of safetensors: "
                f"{' '.join(str(error).split())[:200]}",
                "restore it",
            ) from error

    def _state_dict(self, found: Any) -> dict[str, Tensor]:
        """Return the weights in what a file of torch holds."""
        if isinstance(found, dict):
            wrapped = [found[key] for key in WRAPPERS if isinstance(found.get(key), dict)]
            found = wrapped[0] if wrapped else found
        others = (
            [
                str(name)
                for name, value in found.items()
                if not (isinstance(name, str) and isinstance(value, Tensor))
            ]
            if isinstance(found, dict)
            else [type(found).__name__]
        )
        if others:
            raise CheckFailedError(
                f"{self.path} does not hold weights by name, but {some_of(others)}",
                self._way_out(f"{_SAVE}, or under one of {', '.join(WRAPPERS)}"),
            )
        state: dict[str, Tensor] = found
        return state

    def _no_fit(self, reason: str) -> CheckFailedError:
        return CheckFailedError(
            f"{self.path} does not hold the weights of the network: {reason}",
            self._way_out("name the network, --input and --model-arg that they were trained with"),
        )

    def _way_out(self, of_own: str) -> str:
        return "remove it, and it is downloaded anew" if self.is_published else of_own


def open_weights(wanted: str, runs_dir: Path) -> WeightsFile:
    """Return the file of weights that a user names, once it has been read.

    Args:
        wanted: a file, or a run by its folder or its name in `runs_dir`, whose best weights count.
        runs_dir: where runs are kept.

    Raises:
        NotFoundError: there is no such file or run, or it has no weights yet.
        UsageError: the suffix is none of those that are read.
        UnavailableError: the file cannot be read.
        CheckFailedError: it does not hold tensors by name, and nothing else.
    """
    path = Path(wanted).expanduser()
    if path.is_dir():
        path = _of_run(RunFolder(path))
    elif path.suffix.lower() not in SUFFIXES:
        if path.is_file():
            raise UsageError(
                f"{path} is no file of weights by its name",
                f"those that are read end in {', '.join(SUFFIXES)}",
            )
        try:
            run = open_run(wanted, runs_dir)
        except NotFoundError as error:
            raise NotFoundError(f"there is no file and no run {wanted!r}", error.hint) from error
        path = _of_run(run)
    file = weights_file(path.absolute())
    file.read()
    return file


def weights_file(path: Path) -> WeightsFile:
    """Return a user's file as it is now, unread.

    Raises:
        NotFoundError, UnavailableError: it is not there, or cannot be read.
    """
    return WeightsFile(str(path), path, hashlib.sha256(_content(path)).hexdigest())


def last_layer(network: nn.Module) -> str:
    """Return the name of the layer that was defined last, whose outputs are the classes.

    Raises:
        UsageError: there is no layer with classes for outputs.
    """
    names = [str(name) for name, layer in network.named_modules() if isinstance(layer, LAYERS)]
    if not names:
        raise UsageError("the network has no linear layer or convolution to be its last layer")
    return names[-1]


def _of_run(run: RunFolder) -> Path:
    run.read_description()
    checkpoint = run.load_checkpoint()  # which checks the file
    folder = run.checkpoints.find(checkpoint.name)
    assert folder is not None
    return folder / WEIGHTS


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise explain_os_error(error, f"read the weights {path}") from error


def _as_the_network_has_it(
    read: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> "OrderedDict[str, Tensor]":
    """Return weights under the names that a network has for them.

    Prefixes that all names of the file have go, unless all of the network have them too. Of
    torchvision, DenseNets had other names once, and some networks have heads for training alone.
    """
    prefix = ""
    while read and (
        longer := [one for one in PREFIXES if all(name.startswith(prefix + one) for name in read)]
    ):
        prefix += longer[0]
    if all(name.startswith(prefix) for name in own):
        prefix = ""
    state: OrderedDict[str, Tensor] = OrderedDict()
    for given, value in read.items():
        name = given.removeprefix(prefix)
        if name not in own and "denselayer" in name:
            name = re.sub(r"(norm|conv)\.([12])\.", r"\1\2.", name)
        if name in own or not name.startswith(_AUXILIARY_HEADS):
            state[name] = value
    # The versions of the layers, by which some of them bring old names up to date.
    versions = layer_versions(read)
    if versions is not None:
        versions = {f"{name}.".removeprefix(prefix)[:-1]: one for name, one in versions.items()}
    set_layer_versions(state, versions or layer_versions(own))
    return state


def _misfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], head: str) -> str:
    """Return why the weights of the last layer do not fit; nothing where they do."""
    for name, value in own.items():
        if _is_in(head, name) and name not in state:
            return f"{name} is not there"
        if _is_in(head, name) and state[name].shape != value.shape:
            return f"{name} is {_sizes(state[name])} there and {_sizes(value)} here"
    return ""


def _is_in(layer: str, name: str) -> bool:
    return not layer or name.startswith(f"{layer}.")


def _sizes(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
