"""Downloads and archives that are there whole or not at all."""

import bz2
import gzip
import hashlib
import http.client
import lzma
import os
import shutil
import socket
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from cnnkit.events import OnEvent, TaskAdvanced, TaskEnded, TaskStarted, ignore

TIMEOUT_SECONDS = 15.0
"""How long an address may stay silent: machines without a network should say so soon."""

CHUNK_BYTES = 1 << 18

OPENERS: dict[str, Callable[[Path, str], IO[bytes]]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]  # the three know more modes than are used
    ".bz2": bz2.open,  # type: ignore[dict-item]
    ".xz": lzma.open,  # type: ignore[dict-item]
}

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")


class DownloadError(RuntimeError):
    """A file did not arrive whole; the message says from where and why."""


def fetch(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    on_event: OnEvent = ignore,
    timeout: float = TIMEOUT_SECONDS,
) -> None:
    """Download a file; under its own name it is there whole and checked, or not at all.

    Args:
        url: where it comes from.
        path: where it goes; an older file of the name is replaced.
        md5: what its checksum must be; None for whatever it is.
        sha256: how its SHA-256 must begin, likewise; without either only its length is checked.
        on_event: told how many bytes have come.
        timeout: how many seconds the other side may be silent.

    Raises:
        DownloadError: the other side does not answer, refuses, stops early, or sends another file.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    task = f"download {path.name}"
    digest = hashlib.md5(usedforsecurity=False) if sha256 is None else hashlib.sha256()
    num_bytes = 0
    with _staged(path) as partial:
        with (
            partial.open("wb") as file,
            closing(_chunks(url, task, on_event, timeout)) as chunks,
        ):
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                num_bytes += len(chunk)
                on_event(TaskAdvanced(task, num_bytes))
        if not digest.hexdigest().startswith(sha256 or md5 or ""):
            raise DownloadError(f"{url} sent another file than expected (wrong checksum)")
        os.replace(partial, path)  # noqa: PTH105  (the same call as for folders below)


def _chunks(url: str, task: str, on_event: OnEvent, timeout: float) -> Generator[bytes, None, None]:
    """Yield what an address sends, and turn all that a network does into one kind of error."""
    request = urllib.request.Request(url, headers={"User-Agent": "cnnkit"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            length = response.headers.get("Content-Length")
            total = int(length) if length is not None and length.isdecimal() else None
            on_event(TaskStarted(task, total, "bytes"))
            received = 0
            try:
                while chunk := response.read(CHUNK_BYTES):
                    received += len(chunk)
                    yield chunk
            finally:
                on_event(TaskEnded(task))
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, socket.gaierror):
            host = urllib.parse.urlsplit(url).hostname
            raise DownloadError(f"{url}: no network, or none that knows {host}") from error
        raise DownloadError(f"{url}: {str(reason) or type(reason).__name__}") from error
    if total is not None and received != total:
        raise DownloadError(f"{url} stopped after {received:,} of {total:,} bytes")


def unpack(archive: Path, folder: Path, on_event: OnEvent = ignore) -> None:
    """Unpack a tar, a zip or a single compressed file; the folder gains all of it or nothing.

    Args:
        archive: `.tar` (also compressed), `.zip`, or `.gz`, `.bz2`, `.xz` of one file.
        folder: where the content goes; what lies there already is kept or replaced.
        on_event: told how many bytes of the archive were read.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the name says no kind of archive that is known.
        tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError: it is damaged.
    """
    name = archive.name.lower()
    task = f"unpack {archive.name}"
    on_event(TaskStarted(task, archive.stat().st_size, "bytes"))
    try:
        if name.endswith(TAR_SUFFIXES):
            with _staged_folder(folder) as staged:
                _unpack_tar(archive, staged, task, on_event)
        elif name.endswith(".zip"):
            with _staged_folder(folder) as staged:
                _unpack_zip(archive, staged, task, on_event)
        elif archive.suffix.lower() in OPENERS:
            decompress(archive, folder / archive.stem)
        else:
            raise ValueError(f"{archive} is no archive of a known kind")
    finally:
        on_event(TaskEnded(task))


def decompress(archive: Path, path: Path) -> None:
    """Write the content of a `.gz`, `.bz2` or `.xz` file to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _staged(path) as partial:
        opener = OPENERS[archive.suffix.lower()]
        with opener(archive, "rb") as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
        os.replace(partial, path)  # noqa: PTH105


def _unpack_tar(archive: Path, folder: Path, task: str, on_event: OnEvent) -> None:
    # Older patch releases of Python 3.11 know no filters.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:

        def members() -> Iterator[tarfile.TarInfo]:
            for member in tar:
                yield member
                on_event(TaskAdvanced(task, raw.tell()))

        tar.extractall(folder, members=members(), **options)


def _unpack_zip(archive: Path, folder: Path, task: str, on_event: OnEvent) -> None:
    num_bytes = 0
    with zipfile.ZipFile(archive) as pack:
        for member in pack.infolist():
            pack.extract(member, folder)
            num_bytes += member.compress_size
            on_event(TaskAdvanced(task, num_bytes))


def _staging_name(path: Path) -> Path:
    """Return a hidden name beside `path`, of this process: two must not disturb each other."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Yield the name to write a file under at first; nothing is left there afterwards."""
    partial = _staging_name(path)
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


def _move_content(source: Path, target: Path) -> None:
    for item in source.iterdir():
        there = target / item.name
        if item.is_dir() and not item.is_symlink() and there.is_dir():
            _move_content(item, there)
        else:
            os.replace(item, there)  # noqa: PTH105
