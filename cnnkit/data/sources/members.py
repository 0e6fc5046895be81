"""The files in an archive (zip, tar, tar.gz, tar.bz2, tar.xz), one after another, read in place."""

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self, cast

from cnnkit.data.image_limits import MAX_FILE_BYTES, too_large
from cnnkit.errors import setting
from cnnkit.system.files import open_regular

ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
)  # fmt: skip

BLOCK = 512  # of a tar file
READ_BYTES = 2**20
UTF_8_FLAG = 0x800
ZIP_READ_BYTES = 2**12
"""Of members that zipfile unpacks without a limit, so many packed bytes are read at once."""

MAX_UNPACKED_BYTES = 2**30
MAX_UNPACKED_RATIO = 100
"""Maximum ratio of unpacked to packed size of archives that unpack to more than that."""

MAX_INDEX_BYTES = 2**25
"""A longer index of a zip archive is refused unless allowed: 32 MiB, about 300,000 files."""

MAX_HEADER_BYTES = 2**16
"""Longer names and other headers of tar members are refused unless allowed."""

MAX_XZ_BYTES = 2**28
"""Unpacking xz may take so much memory: four times what its strongest preset takes."""


class BrokenArchiveError(Exception):
    """Raised if an archive is invalid, truncated, or too large; the message is the reason."""


# What the readers of the several kinds raise where an archive is damaged or ends too early.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    struct.error,
    ValueError,
    OverflowError,
    LookupError,
    RecursionError,
    NotImplementedError,
)
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def _broken(error: Exception) -> BrokenArchiveError:
    """Return the reason why an archive cannot be read on."""
    if isinstance(error, EOFError) or re.search("unexpected end|end of (file|data)", str(error)):
        return BrokenArchiveError("the archive is cut short")
    if isinstance(error, tarfile.TarError):
        return BrokenArchiveError(f"not a tar archive, or damaged: {error}")
    return BrokenArchiveError(f"the archive is damaged: {error}")


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: its path in the archive.
        content: its bytes; None if it was not wanted.
        reason: why it cannot be read though the archive can; empty if it can.
    """

    name: str
    content: bytes | None
    reason: str = ""


def is_archive(name: str) -> bool:
    """Return whether a name ends as those of archives do."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


class _Allowance:
    """The budget of bytes that an archive may unpack to; None for no limit."""

    def __init__(self, size: int, allow_large: bool) -> None:
        self.allow_large = allow_large
        self._limit = max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * size)
        self._spent = 0

    def spend(self, num_bytes: int) -> None:
        """Count unpacked bytes.

        Raises:
            BrokenArchiveError: they are too many.
        """
        self._spent += num_bytes
        if self._spent > self._limit and not self.allow_large:
            what = f"it unpacks to {self._spent:,} bytes or more"
            raise BrokenArchiveError(too_large(what, self._limit))


class Members:
    """The files in an archive, in its own order; links, folders and devices are left out.

    Args:
        path: the archive.
        allow_large: read what is above the limits as well.
    """

    def __init__(self, path: Path, allow_large: bool = False) -> None:
        self._path = path
        self._allow_large = allow_large
        self._links: dict[str, str] = {}

    def links(self) -> dict[str, str]:
        """Return the links that `read` has passed, and what they lead to, by normal names."""
        return self._links

    def read(self) -> Iterator["OpenMember"]:
        """Return the files, each to be read before the next is asked for.

        Raises:
            BrokenArchiveError: it is no archive, is cut short, or unpacks to too much.
            OSError: it cannot be read, or is no regular file.
        """
        with _opened(self._path) as raw:
            allowance = _Allowance(os.fstat(raw.fileno()).st_size, self._allow_large)
            self._links.clear()
            if self._path.suffix.lower() == ".zip":
                yield from _read_zip(raw, allowance, self._links)
            else:
                yield from _read_tar(raw, allowance, self._links)


def _opened(path: Path) -> IO[bytes]:
    return os.fdopen(open_regular(path), "rb")


def _read_zip(
    raw: IO[bytes], allowance: _Allowance, links: dict[str, str]
) -> Iterator["OpenMember"]:
    with _opened_zip(raw, allowance.allow_large) as archive:
        items = [item for item in archive.infolist() if not item.is_dir()]
        allowance.spend(sum(item.file_size for item in items))
        for item in items:
            name = _name_in_zip(item)
            if "/" not in name:  # Windows' own tools separate the parts of a path by backslashes
                name = name.replace("\\", "/")
            if name.endswith("/"):
                continue
            member = _ZipMember(archive, item, normal_name(name), allowance)
            if stat.S_ISLNK(item.external_attr >> 16):
                target = member.read(MAX_HEADER_BYTES).content or b""
                text = target.decode("utf-8", "surrogateescape")
                links[member.name] = _target(member.name, text)
            else:
                yield member


def _name_in_zip(item: zipfile.ZipInfo) -> str:
    """Return the name of a member; that of macOS is UTF-8 without the flag that says so."""
    if not item.flag_bits & UTF_8_FLAG and not item.filename.isascii():
        with suppress(UnicodeError):
            return item.filename.encode("cp437").decode("utf-8")
    return item.filename


def normal_name(name: str) -> str:
    """Return the path of a member without empty parts, `.` and `..`."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _target(name: str, text: str) -> str:
    """Return what a symbolic link leads to, from the top of the archive; "" for what is outside."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), text))
    return "" if target.startswith(("/", "..")) else normal_name(target)


def _read_tar(
    raw: IO[bytes], allowance: _Allowance, links: dict[str, str]
) -> Iterator["OpenMember"]:
    header = tarfile.TarInfo if allowance.allow_large else _ShortHeader
    try:
        with _decompressed(raw, allowance.allow_large) as stream:
            is_packed = stream is not raw
            watched = _Watched(stream, allowance) if is_packed else None
            given: Any = watched or raw
            mode: Any = "r|" if is_packed else "r:"
            archive: Any
            with tarfile.open(fileobj=given, mode=mode, tarinfo=header) as archive:
                while (item := archive.next()) is not None:
                    archive.members.clear()  # else it would remember every member
                    archive.pax_headers.clear()  # and every global header
                    if item.isreg():
                        yield _TarMember(archive, item, allowance, not is_packed)
                    elif item.islnk():
                        links[normal_name(item.name)] = normal_name(item.linkname)
                    elif item.issym():
                        name = normal_name(item.name)
                        links[name] = _target(name, item.linkname)
            last_block = watched.drain() if watched is not None else _last_block(raw)
    except _DAMAGE as error:
        raise _broken(error) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of data that is none of its own
            raise _broken(error) from error
        raise
    # tarfile takes any end for the end; a complete archive ends with blocks of zeros.
    if last_block.strip(b"\0") or len(last_block) < BLOCK:
        raise BrokenArchiveError("the archive is cut short")


def _last_block(raw: IO[bytes]) -> bytes:
    raw.seek(max(0, raw.seek(0, os.SEEK_END) - BLOCK))
    return raw.read()


class _ShortHeader(tarfile.TarInfo):
    """The header of a member; a name or another header before it must not be very long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block.

        Raises:
            BrokenArchiveError: what follows it is a header as well, and very long.
        """
        item = super().frombuf(buf, encoding, errors)
        if item.type in _LONG_HEADERS and item.size > MAX_HEADER_BYTES:
            raise BrokenArchiveError(
                too_large(f"a header of {item.size:,} bytes", MAX_HEADER_BYTES)
            )
        return item


class OpenMember:
    """A file in an archive that is being read.

    Attributes:
        name: its path in the archive, without empty parts, `.` and `..`.
        size: in bytes, as the archive says.
        start: where its bytes are in a tar file that is not packed; the index entry in a zip
            archive; None where it can only be read now.
    """

    name: str
    size: int
    start: "int | zipfile.ZipInfo | None"

    def read(self, max_bytes: int = MAX_FILE_BYTES) -> Member:
        """Return the file with its bytes, or with the reason why they cannot be read.

        Args:
            max_bytes: more are refused, unless large ones are allowed.

        Raises:
            BrokenArchiveError: the archive ends in the middle of it, or unpacks to too much.
        """
        raise NotImplementedError


class _ZipMember(OpenMember):
    def __init__(
        self, archive: zipfile.ZipFile, item: zipfile.ZipInfo, name: str, allowance: _Allowance
    ) -> None:
        self.name, self.size, self.start = name, item.file_size, item
        self._archive, self._item, self._allowance = archive, item, allowance

    def read(self, max_bytes: int = MAX_FILE_BYTES) -> Member:
        if self._item.file_size > max_bytes and not self._allowance.allow_large:
            return _too_long(self.name, self._item.file_size, max_bytes)
        return read_zip_member(self._archive, self._item)


def read_zip_member(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> Member:
    """Return a file of a zip archive, checked against its CRC."""
    is_limited = item.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    try:
        with archive.open(item) as file:
            return Member(
                item.filename,
                _read_in_parts(file, None, READ_BYTES if is_limited else ZIP_READ_BYTES),
            )
    except NotImplementedError as error:
        return Member(item.filename, None, f"packed in an unknown way: {error}")
    except RuntimeError as error:
        if "password" in str(error):
            return Member(item.filename, None, "encrypted")
        return Member(item.filename, None, f"damaged in the archive: {error}")
    except _DAMAGE as error:
        return Member(item.filename, None, f"damaged in the archive: {error}")
    except MemoryError:
        return Member(item.filename, None, "does not fit in memory")


class _TarMember(OpenMember):
    def __init__(
        self,
        archive: tarfile.TarFile,
        item: tarfile.TarInfo,
        allowance: _Allowance,
        is_seekable: bool,
    ) -> None:
        self.name, self.size = normal_name(item.name), item.size
        self.start = item.offset_data if is_seekable and not item.issparse() else None
        self._archive, self._item, self._allowance = archive, item, allowance

    def read(self, max_bytes: int = MAX_FILE_BYTES) -> Member:
        if self._item.size > max_bytes and not self._allowance.allow_large:
            return _too_long(self.name, self._item.size, max_bytes)
        file = self._archive.extractfile(self._item)
        assert file is not None  # it is a regular file
        try:
            # A sparse member has more bytes than its archive; those of others are counted there.
            allowance = self._allowance if self._item.issparse() else None
            content = _read_in_parts(file, allowance, READ_BYTES)
        except _DAMAGE as error:
            raise _broken(error) from error
        except MemoryError:
            return Member(self.name, None, "does not fit in memory")
        if len(content) < self._item.size:
            raise BrokenArchiveError("the archive is cut short")
        return Member(self.name, content)


def _too_long(name: str, size: int, max_bytes: int) -> Member:
    return Member(name, None, too_large(f"{size:,} bytes", max_bytes))


def _read_in_parts(file: IO[bytes], allowance: _Allowance | None, number: int) -> bytes:
    """Return all of a member; in parts, so that it can be interrupted and stopped."""
    whole = io.BytesIO()
    while part := file.read(number):
        if allowance is not None:
            allowance.spend(len(part))
        whole.write(part)
    return whole.getvalue()


class _ShortIndex:
    """A zip archive while its index is read, which must not be very long."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.is_checked = True

    def read(self, size: int = -1) -> bytes:
        if self.is_checked and size > MAX_INDEX_BYTES:
            raise BrokenArchiveError(too_large(f"an index of {size:,} bytes", MAX_INDEX_BYTES))
        return self._raw.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True


def _opened_zip(raw: IO[bytes], allow_large: bool) -> zipfile.ZipFile:
    file = _ShortIndex(raw)
    file.is_checked = not allow_large
    try:
        archive = zipfile.ZipFile(cast("IO[bytes]", file))
    except _DAMAGE as error:
        raw.seek(0)
        begins_well = raw.read(4) == b"PK\3\4"
        if not begins_well:
            raise BrokenArchiveError("not a zip archive") from error
        if isinstance(error, zipfile.BadZipFile):
            raise BrokenArchiveError("the archive is cut short") from error
        raise _broken(error) from error
    file.is_checked = False
    return archive


def _decompressed(raw: IO[bytes], allow_large: bool) -> IO[bytes]:
    """Return the tar file inside, recognized by its first bytes, not its name."""
    start = raw.read(6)
    raw.seek(0)
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # it is one
    if start == b"\xfd7zXZ\0":
        return cast("IO[bytes]", io.BufferedReader(_XzStream(raw, allow_large), READ_BYTES))
    if start[:3] == b"BZh":
        return bz2.BZ2File(raw)
    if not start:
        raise BrokenArchiveError("empty: 0 bytes")
    return raw


class _XzStream(io.RawIOBase):
    """The unpacked content of an xz file; LZMAFile would take as much memory as the file says."""

    def __init__(self, raw: IO[bytes], allow_large: bool) -> None:
        self._raw = raw
        self._limit = None if allow_large else MAX_XZ_BYTES
        self._packed = b""
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=self._limit)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, and return the number of bytes; 0 at the end."""
        unpacked = b""
        while not unpacked:
            if self._unpacker.eof and not self._begin_next():
                return 0
            if self._unpacker.needs_input and not self._packed:
                self._packed = self._raw.read(READ_BYTES)
                if not self._packed:
                    raise EOFError("unexpected end of the xz stream")
            packed, self._packed = self._packed, b""
            unpacked = self._unpack(packed, len(buffer))
        buffer[: len(unpacked)] = unpacked
        return len(unpacked)

    def _unpack(self, packed: bytes, number: int) -> bytes:
        try:
            return self._unpacker.decompress(packed, number)
        except lzma.LZMAError as error:
            if "limit" not in str(error).lower():
                raise
            what = f"refused: it takes more than {MAX_XZ_BYTES:,} bytes of memory to unpack"
            raise BrokenArchiveError(f"{what}; {setting('allow_large')} reads it") from error

    def _begin_next(self) -> bool:
        """Begin the next of several streams, with zeros between them; false where there is none."""
        self._packed = self._unpacker.unused_data.lstrip(b"\0")
        while not self._packed:
            more = self._raw.read(READ_BYTES)
            if not more:
                return False
            self._packed = more.lstrip(b"\0")
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=self._limit)
        return True


class _Watched:
    """A stream that remembers the last block read, and counts the unpacked bytes."""

    def __init__(self, stream: IO[bytes], allowance: _Allowance) -> None:
        self._stream = stream
        self._allowance = allowance
        self.last_block = b""

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._allowance.spend(len(content))
        self.last_block = (self.last_block + content[-BLOCK:])[-BLOCK:]
        return content

    def drain(self) -> bytes:
        """Read to the end, which a compressed stream is checked at, and return the last block."""
        while self.read(READ_BYTES):
            pass
        return self.last_block
