"""The files in an archive (zip, tar, tar.gz, tar.bz2, tar.xz), one after another, read in place."""

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
)  # fmt: skip

BLOCK = 512  # of a tar file
READ_BYTES = 2**20


class BrokenArchiveError(Exception):
    """An archive that is none, or ends too early; the message is the reason, for a list."""


# What the readers of the several kinds raise where an archive is damaged or ends too early.
_DAMAGE = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)


def _broken(error: Exception) -> BrokenArchiveError:
    """Return the reason why an archive cannot be read on."""
    if isinstance(error, EOFError) or re.search("unexpected end|end of (file|data)", str(error)):
        return BrokenArchiveError("the archive is cut short")
    if isinstance(error, tarfile.TarError):
        return BrokenArchiveError(f"no tar archive, or damaged: {error}")
    return BrokenArchiveError(f"the archive is damaged: {error}")


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path in the archive.
        content: its bytes; None where it was not wanted.
        reason: why it cannot be read though the archive can; empty if it can.
    """

    name: str
    content: bytes | None
    reason: str = ""


def is_archive(name: str) -> bool:
    """Return whether a name ends as those of archives do."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


class Members:
    """The files in an archive, in its own order; links, folders and devices are left out.

    Args:
        path: the archive.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str] | None:
        """Return the names of all files, where the archive has an index of them.

        Raises:
            BrokenArchiveError: it is no archive, or is cut short.
            OSError: it cannot be read.
        """
        if self._path.suffix.lower() != ".zip":
            return None
        with _opened_zip(self._path) as archive:
            return [item.filename for item in archive.infolist() if not item.is_dir()]

    def read(self) -> Iterator["OpenMember"]:
        """Return the files, each to be read before the next is asked for.

        Raises:
            BrokenArchiveError: it is no archive, or is cut short.
            OSError: it cannot be read.
        """
        if self._path.suffix.lower() == ".zip":
            yield from self._read_zip()
        else:
            yield from self._read_tar()

    def _read_zip(self) -> Iterator["OpenMember"]:
        with _opened_zip(self._path) as archive:
            for item in archive.infolist():
                if not item.is_dir():
                    yield _ZipMember(archive, item)

    def _read_tar(self) -> Iterator["OpenMember"]:
        try:
            with self._path.open("rb") as raw, _decompressed(self._path, raw) as stream:
                watched = _Watched(stream)
                with tarfile.open(fileobj=watched, mode="r|") as archive:  # type: ignore[call-overload]
                    while (item := archive.next()) is not None:
                        archive.members.clear()  # else it would remember every member
                        if item.isreg():
                            yield _TarMember(archive, item)
                watched.drain()
        except _DAMAGE as error:
            raise _broken(error) from error
        except OSError as error:
            if error.errno is None:  # bz2 says so of data that is none of its own
                raise _broken(error) from error
            raise
        # tarfile takes any end for the end; a whole archive closes with blocks of zeros.
        if watched.last_block.strip(b"\0") or len(watched.last_block) < BLOCK:
            raise BrokenArchiveError("the archive is cut short")


class OpenMember:
    """A file in an archive that is being read.

    Attributes:
        name: its path in the archive.
    """

    name: str

    def read(self) -> Member:
        """Return the file with its bytes, or with the reason why they cannot be had.

        Raises:
            BrokenArchiveError: the archive ends in the middle of it.
        """
        raise NotImplementedError


class _ZipMember(OpenMember):
    def __init__(self, archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> None:
        self.name = item.filename
        self._archive, self._item = archive, item

    def read(self) -> Member:
        try:
            return Member(self.name, self._archive.read(self._item))
        except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
            return Member(self.name, None, f"damaged in the archive: {error}")
        except NotImplementedError as error:
            return Member(self.name, None, f"packed in an unknown way: {error}")
        except RuntimeError as error:
            if "password" in str(error):
                return Member(self.name, None, "encrypted")
            raise


class _TarMember(OpenMember):
    def __init__(self, archive: tarfile.TarFile, item: tarfile.TarInfo) -> None:
        self.name = item.name
        self._archive, self._item = archive, item

    def read(self) -> Member:
        file = self._archive.extractfile(self._item)
        assert file is not None  # it is a regular file
        try:
            content = file.read()
        except _DAMAGE as error:
            raise _broken(error) from error
        if len(content) < self._item.size:
            raise BrokenArchiveError("the archive is cut short")
        return Member(self.name, content)


def _opened_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            begins_well = file.read(4) == b"PK\3\4"
        reason = "the archive is cut short" if begins_well else "no zip archive"
        raise BrokenArchiveError(reason) from error


def _decompressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """Return the tar file inside, told by its first bytes, whatever the name says."""
    start = raw.read(6)
    raw.seek(0)
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # it is one
    if start == b"\xfd7zXZ\0":
        return lzma.LZMAFile(raw)
    if start[:3] == b"BZh":
        return bz2.BZ2File(raw)
    if not start:
        raise BrokenArchiveError("empty: 0 bytes")
    return raw


class _Watched:
    """A stream that remembers the last block that was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last_block = b""

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self.last_block = (self.last_block + content[-BLOCK:])[-BLOCK:]
        return content

    def drain(self) -> None:
        """Read to the end, which a compressed stream is checked at."""
        while self.read(READ_BYTES):
            pass
