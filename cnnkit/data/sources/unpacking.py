"""Atomic unpacking of archives, inside their folder and up to a limit."""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit

CHUNK_BYTES = 1 << 18

OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),  # type: ignore[dict-item,return-value]  # it is one
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}

TAR_SUFFIXES = {
    ".tar": "", ".tar.gz": ".gz", ".tgz": ".gz", ".tar.bz2": ".bz2", ".tbz": ".bz2",
    ".tbz2": ".bz2", ".tar.xz": ".xz", ".txz": ".xz",
}  # fmt: skip

SMALL_BYTES = 1 << 29
"""Unpacked bytes allowed for any archive."""

MAX_RATIO = 20
"""How many times its own size a larger one may unpack to; MNIST, mostly zeros, does to 5 times."""

SMALL_MEMBERS = 100_000
"""How many files any archive may have."""

BYTES_PER_MEMBER = 1_000
"""How large a larger one has to be for each of its files."""

MAX_DEPTH = 64
"""Maximum depth of folders."""

MAX_HEADER_BYTES = 1 << 13
"""How long a tar file may make a name, and what else it says about a file."""

MAX_CHARACTERS = 80

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    RuntimeError,  # of zipfile: a password, or a kind of compression that it does not know
    ValueError,
    OverflowError,
)
_NAME_ERRORS = {
    errno.ENAMETOOLONG: "whose name is too long",
    errno.EEXIST: "that it has twice",
    errno.ENOTDIR: "that it has as a file and as a folder",
    errno.EISDIR: "that it has as a file and as a folder",
    errno.EINVAL: "whose name this system does not know",
}


class ArchiveError(ValueError):
    """Raised if an archive is refused; the message says why."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar, a zip or a single compressed file; the folder gains all of it or nothing.

    Args:
        archive: `.tar` (also compressed), `.zip`, or `.gz`, `.bz2`, `.xz` of one file.
        folder: where the content goes; existing files are kept or replaced.

    Raises:
        OSError: a file cannot be read or written, or there is no room for it.
        ArchiveError: it is damaged or not an archive; it has members other than files and folders,
            or a name that leads out of the folder; or it unpacks to more than its size admits.
    """
    suffix = archive.suffix.lower()
    is_tar = archive.name.lower().endswith(tuple(TAR_SUFFIXES))
    if not is_tar and suffix != ".zip" and suffix in OPENERS:
        decompress(archive, folder / archive.stem)
        return
    if not is_tar and suffix != ".zip":
        raise ArchiveError(f"{archive} is not an archive of a known type")
    with _Unpacking(archive, folder) as unpacking, _staged_folder(folder) as staged:
        if is_tar:
            unpacking.tar(staged)
        else:
            unpacking.zip(staged)


def decompress(archive: Path, path: Path) -> None:
    """Write the content of a `.gz`, `.bz2` or `.xz` file to `path`, atomically.

    Raises:
        OSError: a file cannot be read or written, or there is no room for it.
        ArchiveError: it is damaged, or unpacks to more than its size admits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Unpacking(archive, path.parent) as unpacking, _staged(path) as partial:
        unpacking.single(partial)
        os.replace(partial, path)  # noqa: PTH105


class _Unpacking:
    """The work on one archive: how much it has written, and how much it may.

    Args:
        archive: the file.
        folder: where it goes at last, for messages.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._raw = archive.open("rb")
        size = os.fstat(self._raw.fileno()).st_size
        self._task = f"unpack {archive.name}"
        self._max_bytes = max(SMALL_BYTES, MAX_RATIO * size)
        self._max_members = max(SMALL_MEMBERS, size // BYTES_PER_MEMBER)
        self._num_bytes = self._num_members = 0
        emit(TaskStarted(self._task, size, "bytes"))

    def __enter__(self) -> "_Unpacking":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._raw.close()
        emit(TaskEnded(self._task))
        if isinstance(error, ArchiveError):
            return
        # gzip and bz2 say so of data that is none of their own.
        if isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.errno is None):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ArchiveError(f"{self._archive} is damaged: {reason}") from error

    def single(self, path: Path) -> None:
        """Write the content of one compressed file."""
        with OPENERS[self._archive.suffix.lower()](self._raw) as source:
            self._write(source, path)

    def tar(self, folder: Path) -> None:
        """Write the files of a tar, in its own order."""
        name = self._archive.name.lower()
        kind = TAR_SUFFIXES[max((s for s in TAR_SUFFIXES if name.endswith(s)), key=len)]
        stream = OPENERS[kind](self._raw) if kind else self._raw
        guarded = _Guarded(stream)
        with stream, tarfile.open(fileobj=guarded, mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members.clear()  # else it would remember every member
                self._count_member(member.size)
                if member.isdir():
                    self._make_folder(folder, member.name)
                elif member.isreg() and not member.issparse():
                    source = tar.extractfile(member)
                    assert source is not None  # it is a regular file
                    with source, guarded.content():
                        self._write_member(source, folder, member.name)
                else:
                    raise self._refused(member.name, "which is neither a file nor a folder")
            while rest := stream.read(CHUNK_BYTES):  # to the checksum at its end
                self._count_bytes(len(rest))

    def zip(self, folder: Path) -> None:
        """Write the files of a zip, in the order of its index."""
        with zipfile.ZipFile(self._raw) as pack:
            members = pack.infolist()
            self._check_bytes(sum(member.file_size for member in members))
            for member in members:
                self._count_member(member.file_size)
                kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
                if member.is_dir():
                    self._make_folder(folder, member.filename)
                elif kind not in (0, stat.S_IFREG):
                    raise self._refused(member.filename, "which is neither a file nor a folder")
                elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # Python expands the other kinds in memory, whatever they come to.
                    raise self._refused(member.filename, "which is compressed in an unusual way")
                else:
                    with pack.open(member) as source:
                        self._write_member(source, folder, member.filename)

    def _write_member(self, source: IO[bytes], folder: Path, name: str) -> None:
        path = self._place(folder, name)
        with self._explained(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(source, path)

    def _make_folder(self, folder: Path, name: str) -> None:
        with self._explained(name):
            self._place(folder, name).mkdir(parents=True, exist_ok=True)

    def _write(self, source: IO[bytes], path: Path) -> None:
        # A name that is there is refused, be it only the same to this system (A.jpg, a.jpg).
        with path.open("xb") as target:
            while chunk := source.read(CHUNK_BYTES):
                self._count_bytes(len(chunk))
                target.write(chunk)
                emit(TaskAdvanced(self._task, self._raw.tell()))

    def _place(self, folder: Path, name: str) -> Path:
        """Return where a member goes.

        Raises:
            ArchiveError: not inside the folder.
        """
        parts = PurePosixPath(name).parts
        on_windows = PureWindowsPath(name)
        if PurePosixPath(name).is_absolute() or on_windows.anchor or ".." in on_windows.parts:
            raise self._refused(name, "which leads out of its folder")
        if len(parts) > MAX_DEPTH:
            raise self._refused(name, f"which is more than {MAX_DEPTH} folders deep")
        return folder.joinpath(*parts)

    def _count_member(self, size: int) -> None:
        self._num_members += 1
        if self._num_members > self._max_members:
            raise self._too_much(f"has more than {self._max_members:,} files")
        if size < 0:
            raise ArchiveError(f"{self._archive} is damaged: a file of {size:,} bytes")
        self._check_bytes(self._num_bytes + size)

    def _count_bytes(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if self._num_bytes > self._max_bytes:
            raise self._too_much(f"unpacks to more than {self._max_bytes:,} bytes")

    def _check_bytes(self, num_bytes: int) -> None:
        """Refuse a size that an archive announces, before anything of it is written."""
        if num_bytes > self._max_bytes:
            raise self._too_much(f"unpacks to more than {self._max_bytes:,} bytes")
        place = self._folder if self._folder.exists() else self._folder.parent
        free = shutil.disk_usage(place).free
        if num_bytes - self._num_bytes > free:
            text = f"{self._archive.name} unpacks to {num_bytes:,} bytes, and {free:,} are free"
            raise OSError(errno.ENOSPC, text, str(place))

    def _too_much(self, what: str) -> ArchiveError:
        return ArchiveError(
            f"{self._archive} {what}, the limit for an archive of its size: if that is right, "
            f"unpack it yourself into {self._folder}"
        )

    def _refused(self, name: str, why: str) -> ArchiveError:
        shown = name if len(name) <= MAX_CHARACTERS else f"{name[:MAX_CHARACTERS]}…"
        return ArchiveError(f"{self._archive} has {shown!r}, {why}: nothing of it was unpacked")

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Convert errors of a name to `ArchiveError` with the member."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            raise self._refused(name, _NAME_ERRORS[error.errno]) from error


class _Guarded:
    """What tarfile reads from: it asks for as many bytes as a header says, and for ever at the end.

    Args:
        stream: the tar file.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._num_ends = 0
        self._max_bytes = MAX_HEADER_BYTES
        self.seek, self.tell = stream.seek, stream.tell

    @contextmanager
    def content(self) -> Iterator[None]:
        """Let a file be read, as it is while there is no header."""
        self._max_bytes = CHUNK_BYTES
        try:
            yield
        finally:
            self._max_bytes = MAX_HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._max_bytes:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        content = self._stream.read(size)
        self._num_ends += not content
        if self._num_ends > 2:
            raise EOFError("it ends in a header")
        return content


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Yield the name to write a file under at first; nothing is left there afterwards."""
    partial = _staging_name(path)
    partial.unlink(missing_ok=True)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _staged_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder whose content moves into `folder` at the end, if nothing went wrong."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Inside a folder that exists, for its parent may be on another disk or not writable.
    staged = _staging_name(folder / "unpacked") if folder.exists() else _staging_name(folder)
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        yield staged
        if folder.exists():
            _move_content(staged, folder)
        else:
            os.replace(staged, folder)  # noqa: PTH105
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _staging_name(path: Path) -> Path:
    """Return a hidden name beside `path`, of this process: two must not disturb each other."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _move_content(source: Path, target: Path) -> None:
    for item in source.iterdir():
        there = target / item.name
        if item.is_dir() and there.is_dir():
            _move_content(item, there)
        else:
            os.replace(item, there)  # noqa: PTH105
