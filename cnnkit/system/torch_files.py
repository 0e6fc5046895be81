"""Files of `torch.save`, read as data: nothing in them is executed, and each part is checked.

Measured with torch 2.14 on the files of `tests/weight_bombs.py`: `torch.load` with
`weights_only=True` and `mmap=True` notices no flipped bit, ran for more than 20 seconds on two
files of some kilobytes, took 1.8 GB for a third, and crashed on a fourth. `torch.serialization.
get_unsafe_globals_in_checkpoint` names nothing in files of torch before 1.6, in a bare pickle, and
in pickles of protocol 4 and 5; here the names come with the reading.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cnnkit.errors import CheckFailedError, CnnkitError, UnavailableError
from cnnkit.registry import some_of
from cnnkit.system.files import explain_os_error
from cnnkit.system.pickles import Made, Name, PickleError, PickleReader
from cnnkit.system.torch_parts import Archive, OldFile, Parts, RefusedError, Storage, is_archive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST_HEADER_BYTES = 2**23  # of safetensors; a tensor takes 100
MOST_DIMENSIONS = 64
MOST_NUMBERS = 2**62  # of a tensor
MOST_DEPTH = 100  # of lists in lists

MOST_SAID = 200  # characters of another library

_KINDS = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
    "Bool": "bool", "ComplexDouble": "complex128", "ComplexFloat": "complex64",
}  # fmt: skip
_STORAGES = {
    **{f"torch.{kind}Storage": dtype for kind, dtype in _KINDS.items()},
    **{f"torch.cuda.{kind}Storage": dtype for kind, dtype in _KINDS.items()},
    "torch.storage.UntypedStorage": "uint8",
}
_OLD_TENSORS = {  # of torch before 0.2: made empty, and given their numbers as a state
    f"torch.{place}{kind}Tensor" for place in ("", "cuda.") for kind in ("", *_KINDS)
}
_TENSORS = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
}
_PARAMETERS = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
}
_BESIDE = {  # data that may be beside weights; nothing of it is made
    "collections.OrderedDict", "collections.Counter", "builtins.set", "__builtin__.set",
    "builtins.complex", "__builtin__.complex", "builtins.bytearray", "__builtin__.bytearray",
    "_codecs.encode", "torch.Size", "torch.device", "torch.serialization._get_layout",
    "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_nested_tensor", "torch._utils._rebuild_meta_tensor_no_storage",
}  # fmt: skip
_DATA = {*_STORAGES, *_OLD_TENSORS, *_TENSORS, *_PARAMETERS, *_BESIDE}


@dataclass(eq=False)
class StoredTensor:
    """A tensor in a file; its numbers are read when they are asked for.

    Attributes:
        shape: its sizes.
        read: returns it, on the CPU; raises CheckFailedError where the file is damaged.
    """

    shape: tuple[int, ...]
    read: "Callable[[], Tensor]" = field(repr=False)


def read_data(content: bytes, path: Path, way_out: str) -> Any:
    """Return what a file holds: tensors, numbers, texts, and lists and dictionaries of them.

    Args:
        content: of the file.
        path: of the file, for the message.
        way_out: what the user can do where it is refused.

    Raises:
        CheckFailedError: it is damaged, no such file, larger unpacked than such a file is, or asks
            Python for more, which is named.
        UnavailableError: there is not enough memory.
    """
    found = look_into(BytesIO(content), path, way_out)
    with _explained(path, way_out):
        return _whole(found, {})


def look_into(file: BinaryIO, path: Path, way_out: str) -> Any:
    """Return what `read_data` does, with a `StoredTensor` in place of every tensor.

    Args:
        file: the file, which stays open for as long as tensors are read.
        path: of the file, for the message.
        way_out: what the user can do where it is refused.

    Raises:
        CheckFailedError, UnavailableError: as `read_data`.
    """
    with _explained(path, way_out):
        parts = Archive(file) if is_archive(file) else OldFile(file)
        return _Contents(parts, partial(_explained, path, way_out)).read()


def check_sums(file: BinaryIO, path: Path, way_out: str) -> None:
    """Read every part of an archive and compare its checksum (CRC-32); older files have none.

    Raises:
        CheckFailedError: one differs, or the archive is damaged otherwise.
        UnavailableError: the file cannot be read.
    """
    if is_archive(file):
        with _explained(path, way_out):
            Archive(file).check()


def check_safetensors(begin: bytes, size: int) -> None:
    """Check the length of the header of a safetensors file before the library reads it.

    Args:
        begin: the first 8 bytes of the file.
        size: how many it has.

    Raises:
        ValueError: there is no such header, or it is far longer than that of any network.
    """
    length = int.from_bytes(begin, "little")
    if len(begin) < 8 or length > size - 8:
        raise ValueError(f"its header has {length:,} bytes, and the file {size:,}")
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"its header has {length:,} bytes, more than {MOST_HEADER_BYTES:,}")


def in_a_line(error: Exception) -> str:
    """Return what a library says of a file, which may have chosen the words, in a line."""
    return _plain(" ".join(str(error).split()))[:MOST_SAID]


class _Contents:
    """What the pickle of a file holds, its tensors unread."""

    def __init__(self, parts: Parts, explained: Callable[[], AbstractContextManager[None]]) -> None:
        self._parts = parts
        self._explained = explained
        self._storages: dict[Any, Storage] = {}
        self._memories: dict[Any, bytearray] = {}

    def read(self) -> Any:
        reader = PickleReader(self._parts.pickles, self._made, self._found, self._built)
        try:
            return self._parts.contents(reader, self._storages)
        finally:  # what it asks for matters more than the damage
            if names := sorted(name for name in reader.names if not _is_data(name)):
                raise RefusedError(f"it holds more than data: it asks for {some_of(names)}")

    def _found(self, identity: Any) -> Storage:
        """Return the storage that a persistent id names."""
        kind, of, key, _device, numel, *view = identity
        if kind != "storage" or not isinstance(of, Name) or of.text not in _STORAGES:
            raise PickleError("its pickle asks for a storage of an unknown kind")
        _check_sizes([numel])
        storage = Storage(key, _dtype(_STORAGES[of.text]), numel)
        if self._storages.setdefault(key, storage) != storage:
            raise PickleError(f"storage {key} is of two kinds")
        if view and view[0] is not None:
            _, begin, size = view[0]
            _check_sizes([begin, size])
            if begin + size > numel:
                raise PickleError(f"a part of storage {key} is beyond its end")
            return Storage(key, storage.dtype, numel, begin)
        return storage

    def _made(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "torch.Size":
            return tuple(arguments[0])
        if name in _TENSORS:
            return self._tensor(*arguments)
        if name in _PARAMETERS:
            return arguments[0]
        if name in _OLD_TENSORS and not arguments:
            return StoredTensor((), _without_numbers)
        return Made(name)

    def _built(self, target: Any, state: Any) -> None:
        if isinstance(target, StoredTensor) and target.read is _without_numbers:
            made = self._tensor(*state)
            target.shape, target.read = made.shape, made.read

    def _tensor(
        self,
        storage: Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        _requires_grad: bool = False,
        _hooks: object = None,
        *further: Any,
    ) -> StoredTensor:
        """Return the tensor that a call of torch's would make, once it was found to be there."""
        dtype = storage.dtype
        if further and isinstance(further[0], Name):
            dtype = _dtype(further[0].text.removeprefix("torch."))
            further = further[1:]
        if any(further):
            raise PickleError("it has a conjugate or negative tensor, which is not supported")
        if len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS:
            raise PickleError("the sizes of a tensor do not fit")
        _check_sizes([offset, math.prod(shape), *shape, *strides])
        numel = storage.num_bytes // dtype.itemsize
        last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if math.prod(shape) and storage.begin + offset + last >= numel:
            raise PickleError(f"a tensor is beyond the end of storage {storage.key}")
        where = storage.begin + offset
        return StoredTensor(shape, partial(self._numbers, storage, dtype, shape, strides, where))

    def _numbers(
        self,
        storage: Storage,
        dtype: "torch.dtype",
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        offset: int,
    ) -> "Tensor":
        import torch

        with self._explained():
            if storage.key not in self._memories:
                self._memories[storage.key] = self._parts.memory(storage)
            memory = self._memories[storage.key]
            if not memory:
                return torch.empty(shape, dtype=dtype)
            usable = len(memory) // dtype.itemsize
            flat = torch.frombuffer(memory, dtype=dtype, count=usable)
            return flat.as_strided(shape, strides, offset)


@contextmanager
def _explained(path: Path, way_out: str) -> Iterator[None]:
    """Turn whatever a file that was made to harm may raise into one line."""
    try:
        yield
    except CnnkitError:
        raise
    except MemoryError as error:
        raise UnavailableError(f"there is not enough memory for {path}", "free some") from error
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error
    except Exception as error:
        reason = "torch finds no data in it: it is damaged, or of another kind"
        if isinstance(error, RefusedError):
            reason = _plain(str(error))
        elif isinstance(error, PickleError):
            reason += f" ({in_a_line(error)})"
        raise CheckFailedError(
            f"{path} is refused: {reason}", f"nothing in it was executed; {way_out}"
        ) from error


def _plain(text: str) -> str:
    """Return a text that a file may have chosen without anything that a terminal obeys."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _whole(value: Any, known: dict[int, Any], depth: int = 0) -> Any:
    """Return a value with every tensor read; what occurs several times is read once.

    Args:
        value: what the pickle holds.
        known: what was made so far, by the id of what it was made of.
        depth: in how many lists the value is nested.
    """
    if depth > MOST_DEPTH:
        raise PickleError(f"it has lists in lists, more than {MOST_DEPTH} deep")
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, StoredTensor):
        known[id(value)] = value.read()
    elif isinstance(value, tuple):
        known[id(value)] = tuple(_whole(one, known, depth + 1) for one in value)
    elif isinstance(value, list | dict):
        known[id(value)] = value
        for key, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
            value[key] = _whole(one, known, depth + 1)
    else:
        return value
    return known[id(value)]


def _is_data(name: str) -> bool:
    import torch

    of_torch = name.removeprefix("torch.")
    return name in _DATA or (
        of_torch != name and isinstance(getattr(torch, of_torch, None), torch.dtype)
    )


def _dtype(name: str) -> "torch.dtype":
    import torch

    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise PickleError("a tensor has an unknown dtype")
    return dtype


def _check_sizes(sizes: Sequence[Any]) -> None:
    if not all(type(one) is int and 0 <= one <= MOST_NUMBERS for one in sizes):
        raise PickleError("the shape of a tensor is invalid")


def _without_numbers() -> "Tensor":
    raise PickleError("it has a tensor without numbers")
