"""Files of initial weights of a network; its last layer may be initialized again."""

import hashlib
import math
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from cnnkit.errors import CheckFailedError, NotFoundError, UsageError, setting
from cnnkit.events import handled_by, ignore
from cnnkit.models.layer_kinds import WEIGHTED_LAYERS
from cnnkit.registry import some_of
from cnnkit.runs.checkpoints import WEIGHTS
from cnnkit.runs.folder import RunFolder, open_run
from cnnkit.system.compat import layer_versions, set_layer_versions
from cnnkit.system.files import explain_os_error, opened_regular
from cnnkit.system.pickles import Made
from cnnkit.system.torch_files import (
    StoredTensor,
    check_safetensors,
    check_sums,
    in_a_line,
    look_into,
)
from cnnkit.system.torch_parts import is_torch_file

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pt", ".pth")  # of what is no run, even where it is not there
MOST_BYTES = 2**36  # of a file
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")  # where others keep a state_dict
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile, before every name

_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
_COUNTER = ".num_batches_tracked"  # of batch norm; old files have none, and may do without
_SAVE = "save only `network.state_dict()`"


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights by name.

    Attributes:
        name: what `run.json` calls them: the path, or torchvision's name.
        path: of the file.
        sha256: of the file.
        is_published: they are torchvision's, and the last layer is always initialized again.
    """

    name: str
    path: Path
    sha256: str
    is_published: bool = False

    def check(self) -> None:
        """Read what the file says of its tensors, and compare its checksums where it has some.

        Raises:
            NotFoundError, UnavailableError: the file is gone, or cannot be read.
            UsageError: it is called otherwise, and begins otherwise, than files of weights.
            CheckFailedError: it is not what it was, or holds something else.
        """
        with _opened(self.path) as file:
            is_known = self.path.suffix.lower() in SUFFIXES or self._is_safetensors(file)
            if not is_known and not is_torch_file(file):
                raise UsageError(
                    f"{self.path} does not have the name of a weights file",
                    f"cnnkit reads {', '.join(SUFFIXES)}, and files that begin as these do",
                )
        with self._stored():
            pass
        with _opened(self.path) as file:
            if not self._is_safetensors(file):
                check_sums(file, self.path, self._way_out(_SAVE))

    def read(self) -> dict[str, Tensor]:
        """Return the tensors by name, on the CPU; nothing in the file is ever executed.

        Raises:
            NotFoundError, UnavailableError, CheckFailedError: as `check`.
        """
        with self._stored() as stored:
            return {name: one.read() for name, one in stored.items()}

    def load_into(self, network: nn.Module) -> str:
        """Put the weights into a network, and return a line that says so.

        The last layer takes its weights where they fit, and stays as it is where they do not. Only
        what fits into the network is read.

        Raises:
            NotFoundError, UnavailableError: the file is gone, or cannot be read.
            CheckFailedError: it is not what it was, does not hold the weights of the network, or
                holds some that are not finite.
        """
        own = network.state_dict()
        head = last_layer(network)
        with self._stored() as stored:
            fitting = _as_the_network_has_it(stored, own)
            misfit = _misfit(fitting, own, head)
            begins_anew = self.is_published or bool(misfit)
            if begins_anew:
                for name in [name for name in fitting if _is_in(head, name)]:
                    del fitting[name]
            self._check_sizes(fitting, own)
            state = OrderedDict((name, one.read()) for name, one in fitting.items())
            set_layer_versions(state, layer_versions(fitting))
            try:
                missing, unexpected = network.load_state_dict(state, strict=False)
            except Exception as error:  # a kind of tensor, or a network's code, may raise anything
                raise self._no_fit(in_a_line(error)) from error
        missing = [
            name
            for name in missing
            if not name.endswith(_COUNTER) and not (begins_anew and _is_in(head, name))
        ]
        strange = [f"has {some_of(unexpected)}, which the network lacks"] if unexpected else []
        strange += [f"lacks {some_of(missing)}"] if missing else []
        if strange:
            raise self._no_fit(f"it {'; it '.join(strange)}")
        self._check_finite(network, state)
        if self.is_published:
            return f"starts from {self.name} of torchvision, with a new last layer"
        note = f"; the last layer is initialized again: {misfit}" if misfit else ""
        return f"starts from the weights of {self.path}{note}"

    @contextmanager
    def _stored(self) -> Iterator[Mapping[str, StoredTensor]]:
        """Give the tensors by name, to be read while the context lasts."""
        with _opened(self.path) as file:
            if self.sha256 and _sha256(file) != self.sha256:
                raise CheckFailedError(
                    f"{self.path} is not what it was: its SHA-256 is no longer {self.sha256[:8]}…",
                    self._way_out("restore it, or begin a new run"),
                )
            if self._is_safetensors(file):
                yield self._look_into_safetensors(file)
            else:
                yield self._state_dict(look_into(file, self.path, self._way_out(_SAVE)))

    def _is_safetensors(self, file: BinaryIO) -> bool:
        """Return whether the file is one of safetensors, by its name or by how it begins."""
        file.seek(0)
        begin = file.read(9)
        length = int.from_bytes(begin[:8], "little")
        return self.path.suffix.lower() == SAFETENSORS or (
            begin[8:] == b"{" and length <= file.seek(0, os.SEEK_END) - 8
        )

    def _look_into_safetensors(self, file: BinaryIO) -> dict[str, StoredTensor]:
        from safetensors import safe_open

        try:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            check_safetensors(file.read(8), size)
            opened: Any = safe_open(self.path, framework="pt")
            return {
                name: StoredTensor(
                    tuple(opened.get_slice(name).get_shape()), partial(opened.get_tensor, name)
                )
                for name in opened.keys()  # noqa: SIM118 - it is no dictionary
            }
        except Exception as error:  # what is damaged, and kinds of numbers that torch does not have
            raise CheckFailedError(
                f"{self.path} is refused: it is damaged, or not a safetensors file: "
                f"{in_a_line(error)}",
                "restore it",
            ) from error

    def _state_dict(self, found: Any) -> dict[str, StoredTensor]:
        """Return the weights in what a file of torch holds."""
        if isinstance(found, dict):
            wrapped = [found[key] for key in WRAPPERS if isinstance(found.get(key), dict)]
            found = wrapped[0] if wrapped else found
        others = (
            [
                f"{name} ({value.by})" if isinstance(value, Made) else str(name)
                for name, value in found.items()
                if not (isinstance(name, str) and isinstance(value, StoredTensor))
            ]
            if isinstance(found, dict)
            else [found.by if isinstance(found, Made) else type(found).__name__]
        )
        if others:
            raise CheckFailedError(
                f"{self.path} does not hold weights by name, but {some_of(others)}",
                self._way_out(f"{_SAVE}, or under one of {', '.join(WRAPPERS)}"),
            )
        state: dict[str, StoredTensor] = found
        return state

    def _check_sizes(self, fitting: Mapping[str, StoredTensor], own: Mapping[str, Tensor]) -> None:
        """Refuse tensors of other sizes before any of them is read."""
        for name, one in fitting.items():
            if name in own and one.shape != own[name].shape:
                raise self._no_fit(
                    f"{name} is {_sizes(one)} in the file, {_sizes(own[name])} in the network"
                )
        # Some layers know old names of their weights, so what has another name is no error yet.
        others = {name: one.shape for name, one in fitting.items() if name not in own}
        if sum(map(math.prod, others.values())) > sum(one.numel() for one in own.values()):
            raise self._no_fit(f"it has {some_of(others)}, which the network lacks")

    def _check_finite(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Refuse NaN, and infinities but in buffers, where a mask may have some."""
        parameters = {name for name, _ in network.named_parameters()}
        bad = []
        for name, value in network.state_dict().items():
            if name in state and value.is_floating_point() and value.numel():
                ends = torch.stack(value.aminmax())  # far faster than to ask every number
                if not (ends.isfinite() if name in parameters else ~ends.isnan()).all():
                    bad.append(name)
        if bad:
            raise CheckFailedError(
                f"{self.path} holds weights that are not finite (NaN or infinity): {some_of(bad)}",
                self._way_out("name a file that was saved before the training diverged"),
            )

    def _no_fit(self, reason: str) -> CheckFailedError:
        return CheckFailedError(
            f"{self.path} does not hold the weights of the network: {reason}",
            self._way_out(
                f"name the network, {setting('input')} and {setting('model_arguments')} that "
                "they were trained with"
            ),
        )

    def _way_out(self, of_own: str) -> str:
        return "remove it, and it is downloaded again" if self.is_published else of_own


def open_weights(wanted: str, runs_dir: Path) -> WeightsFile:
    """Return the file of weights that a user names, once it has been read.

    Args:
        wanted: a file, or a run by its folder or its name in `runs_dir`, whose best weights count.
        runs_dir: where runs are kept.

    Raises:
        NotFoundError: there is no such file or run, or it has no weights yet.
        UsageError: neither its name nor its first bytes are those of a weights file.
        UnavailableError: the file cannot be read.
        CheckFailedError: it does not hold tensors by name, and nothing else.
    """
    path = Path(wanted).expanduser()
    if path.is_dir():
        path = _of_run(RunFolder(path))
    elif not path.exists() and path.suffix.lower() not in SUFFIXES:
        try:
            run = open_run(wanted, runs_dir)
        except NotFoundError as error:
            raise NotFoundError(f"there is no file and no run {wanted!r}", error.hint) from error
        path = _of_run(run)
    path = path.absolute()
    WeightsFile(str(path), path, sha256="").check()
    return weights_file(path)


def weights_file(path: Path) -> WeightsFile:
    """Return a user's file as it is now, unread.

    Raises:
        NotFoundError, UnavailableError: it is not there, or cannot be read.
    """
    with _opened(path) as file:
        return WeightsFile(str(path), path, _sha256(file))


def last_layer(network: nn.Module) -> str:
    """Return the name of the layer that was defined last, whose outputs are the classes.

    Raises:
        UsageError: there is no layer with classes for outputs.
    """
    names = [
        str(name) for name, layer in network.named_modules() if isinstance(layer, WEIGHTED_LAYERS)
    ]
    if not names:
        raise UsageError("the network has no linear layer or convolution to be its last layer")
    return names[-1]


def _of_run(run: RunFolder) -> Path:
    with handled_by(ignore):  # only its weights are used
        run.read_description()
    checkpoint = run.load_checkpoint()  # which checks the file
    folder = run.checkpoints.find(checkpoint.name)
    assert folder is not None
    return folder / WEIGHTS


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of weights.

    Raises:
        NotFoundError, UnavailableError: it is not there, cannot be read, or is no file.
        CheckFailedError: it is larger than any file of weights.
    """
    try:
        with opened_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise CheckFailedError(
                    f"{path} has {size:,} bytes, more than the {MOST_BYTES:,} of any weights", _SAVE
                )
            yield file
    except OSError as error:
        raise explain_os_error(error, f"read the weights {path}") from error


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _as_the_network_has_it(
    read: Mapping[str, StoredTensor], own: Mapping[str, Tensor]
) -> "OrderedDict[str, StoredTensor]":
    """Return weights under the names that a network has for them.

    Prefixes of all names in the file are removed, unless all names of the network have them too.
    Of torchvision, DenseNets had other names once, and some networks have heads only for training.
    """
    prefix = ""
    while read and (
        longer := [one for one in PREFIXES if all(name.startswith(prefix + one) for name in read)]
    ):
        prefix += longer[0]
    if all(name.startswith(prefix) for name in own):
        prefix = ""
    state: OrderedDict[str, StoredTensor] = OrderedDict()
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


def _misfit(state: Mapping[str, StoredTensor], own: Mapping[str, Tensor], head: str) -> str:
    """Return why the weights of the last layer do not fit; nothing where they do."""
    for name, value in own.items():
        if _is_in(head, name) and name not in state:
            return f"{name} is not in the file"
        if _is_in(head, name) and state[name].shape != value.shape:
            return f"{name} is {_sizes(state[name])} in the file, {_sizes(value)} in the network"
    return ""


def _is_in(layer: str, name: str) -> bool:
    return not layer or name.startswith(f"{layer}.")


def _sizes(tensor: Tensor | StoredTensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
