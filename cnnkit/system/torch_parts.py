"""The parts of a file of `torch.save`: its pickles, and what its storages hold, within limits."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from cnnkit.system.pickles import PickleReader

if TYPE_CHECKING:
    import torch

MOST_PICKLE_BYTES = 2**24  # that are not numbers of tensors; a thousand tensors take 200 kB
MOST_DIRECTORY_BYTES = 2**23  # of an archive; a tensor takes 80
MOST_TIMES = 4  # the parts may be so many times as large as the file; torch.save does not compress
CHUNK_BYTES = 2**20

_ARCHIVE_BEGINS = b"PK\x03\x04"
_OLD_BEGINS = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number, pickled
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # of the files of torch before 1.6
_PROTOCOL_VERSION = 1001


class RefusedError(Exception):
    """What is wrong with a file, as the second half of a sentence."""


@dataclass(frozen=True)
class Storage:
    """Numbers in a file that tensors are views of.

    Attributes:
        key: by which the file calls them.
        dtype: of each.
        numel: how many there are.
        begin: which is the first that is meant.
    """

    key: str | int
    dtype: "torch.dtype"
    numel: int
    begin: int = 0

    @property
    def num_bytes(self) -> int:
        """How much room they take."""
        return self.numel * self.dtype.itemsize


class Parts(Protocol):
    """The pickles of a file, and what its storages hold."""

    pickles: BytesIO

    def contents(self, reader: PickleReader, storages: dict[Any, Storage]) -> Any:
        """Return what the pickle of the contents holds; `storages` is filled meanwhile."""

    def memory(self, storage: Storage) -> bytearray:
        """Return all bytes of a storage."""


class Archive:
    """A zip archive, as torch writes them since 1.6; see `Parts`.

    Args:
        file: which stays open for as long as it is read.

    Raises:
        RefusedError, zipfile.BadZipFile: it is none, or more than one of its size can be.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(_Cautious(file))
        self._size = file.seek(0, 2)
        unpacked = sum(one.file_size for one in self._zip.infolist())
        if unpacked > MOST_TIMES * self._size:
            raise RefusedError(
                f"it has {unpacked:,} bytes unpacked, more than {MOST_TIMES} times the "
                f"{self._size:,} of the file, as none has that `torch.save` wrote"
            )
        pickles = [name for name in self._zip.namelist() if f"/{name}".endswith("/data.pkl")]
        if len(pickles) != 1:
            raise RefusedError(f"it has {len(pickles)} pickles called data.pkl, and not one")
        self._folder = pickles[0].removesuffix("data.pkl")
        self.pickles = BytesIO(self._read("data.pkl", MOST_PICKLE_BYTES))
        order = f"{self._folder}byteorder"
        if order in self._zip.namelist() and self._read("byteorder", 16) != b"little":
            raise RefusedError("its numbers are not of a little-endian machine")

    def contents(self, reader: PickleReader, storages: dict[Any, Storage]) -> Any:
        """Return what `data.pkl` holds, once every storage was found to be there."""
        found = reader.read()
        for storage in storages.values():
            part = self._zip.getinfo(f"{self._folder}data/{storage.key}")
            if part.file_size != storage.num_bytes:
                raise RefusedError(
                    f"{part.filename} has {part.file_size:,} bytes, not {storage.num_bytes:,}"
                )
        return found

    def memory(self, storage: Storage) -> bytearray:
        """Return all bytes of a storage, once their checksum was compared."""
        return self._read(f"data/{storage.key}", storage.num_bytes)

    def check(self) -> None:
        """Read every part and compare its checksum.

        Raises:
            RefusedError: one differs.
        """
        for one in self._zip.infolist():
            for _ in self._chunks(one):
                pass

    def _read(self, name: str, most_bytes: int) -> bytearray:
        part = self._zip.getinfo(self._folder + name)
        if part.file_size > most_bytes:
            raise RefusedError(
                f"{part.filename} has {part.file_size:,} bytes, more than {most_bytes:,}"
            )
        content, done = bytearray(part.file_size), 0
        for chunk in self._chunks(part):
            content[done : done + len(chunk)] = chunk
            done += len(chunk)
        if done != part.file_size:
            raise RefusedError(f"it is damaged: {name} ends after {done:,} bytes")
        return content

    def _chunks(self, part: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield what a part holds; zipfile compares its checksum at the end."""
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedError(f"{part.filename} is compressed in a way that is not read")
        try:
            with self._zip.open(part) as opened:
                while chunk := opened.read(CHUNK_BYTES):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise RefusedError(f"it is damaged: {error}") from error


class OldFile:
    """Pickles one after another and then the numbers, as torch wrote them before 1.6; see `Parts`.

    Args:
        file: which stays open for as long as it is read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        self.pickles = BytesIO(file.read(MOST_PICKLE_BYTES))
        self._offsets: dict[Any, int] = {}

    def contents(self, reader: PickleReader, storages: dict[Any, Storage]) -> Any:
        """Return what the fourth pickle holds, once every storage was found to be there."""
        if reader.read() != _MAGIC_NUMBER or reader.read() != _PROTOCOL_VERSION:
            raise RefusedError("it does not begin as one")
        system = reader.read()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise RefusedError("its numbers are not of a little-endian machine")
        found, keys = reader.read(), reader.read()
        if not isinstance(keys, list) or len(keys) != len(storages):
            raise RefusedError("its storages are not those of its tensors")
        offset = self.pickles.tell()
        for key in keys:
            storage = storages[key]
            self._file.seek(offset)
            if self._file.read(8) != struct.pack("<q", storage.numel):
                raise RefusedError(f"storage {key} has not the {storage.numel:,} numbers it names")
            self._offsets[key] = offset + 8
            offset += 8 + storage.num_bytes
        if offset > self._size:
            raise RefusedError(f"it has {self._size:,} bytes, not {offset:,}")
        return found

    def memory(self, storage: Storage) -> bytearray:
        """Return all bytes of a storage."""
        self._file.seek(self._offsets[storage.key])
        return bytearray(self._file.read(storage.num_bytes))


def is_torch_file(file: BinaryIO) -> bool:
    """Return whether a file begins as `torch.save` lets files begin."""
    file.seek(0)
    return file.read(len(_OLD_BEGINS)).startswith((_ARCHIVE_BEGINS, _OLD_BEGINS))


def is_archive(file: BinaryIO) -> bool:
    """Return whether a file begins as an archive does."""
    file.seek(0)
    return file.read(len(_ARCHIVE_BEGINS)) == _ARCHIVE_BEGINS


class _Cautious:
    """A file of which zipfile reads no more at once than a directory may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, number: int = -1) -> bytes:
        if number > MOST_DIRECTORY_BYTES:
            raise RefusedError(
                f"its directory has {number:,} bytes, more than {MOST_DIRECTORY_BYTES:,}"
            )
        return self._file.read(number if number >= 0 else MOST_DIRECTORY_BYTES)
