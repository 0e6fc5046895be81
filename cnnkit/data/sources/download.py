"""Atomic downloads, which resume where they stopped."""

import email.utils
import errno
import hashlib
import http.client
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from cnnkit.data.sources.connections import RefusedRedirectError, Watch, opener
from cnnkit.events import Note, TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.system.locks import try_lock

CHUNK_BYTES = 1 << 18

KEPT_BYTES = 4 << 20
"""Minimum size at which an unfinished file is kept for the next command."""

PROGRESS_BYTES = 1 << 20
"""Bytes that an attempt has to receive to reset the count of attempts."""

BROKEN_CONNECTION = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)

MAX_CHARACTERS = 200
"""Maximum length of a server's message that is shown."""


@dataclass(frozen=True)
class Limits:
    """Limits at which a download is given up.

    Attributes:
        max_bytes: how large the file may be.
        silence_seconds: how long an address may stay silent: machines without a network should say
            so soon.
        window_seconds: how long `window_bytes` may take.
        window_bytes: how much has to come in that time.
        wait_seconds: seconds before each attempt after the first, where another one may help.
        max_wait_seconds: how many seconds a server may ask to wait.
    """

    max_bytes: int = 16 * 10**9
    silence_seconds: float = 15.0
    window_seconds: float = 30.0
    window_bytes: int = 1 << 15
    wait_seconds: tuple[float, ...] = (1.0, 2.0, 4.0)
    max_wait_seconds: float = 60.0


LIMITS = Limits()


class DownloadError(RuntimeError):
    """Raised if a file was not received completely; the message says from where and why."""


class _WrongFileError(DownloadError):
    """Raised if another file was received; nothing of it is kept."""


class _PassingError(DownloadError):
    """Raised for an error that another attempt may not have.

    Attributes:
        wait: how many seconds the server asks to wait; None where it does not.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def fetch(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    limits: Limits = LIMITS,
) -> None:
    """Download a file; it appears under its name only when complete and verified.

    What may pass, such as a connection that breaks, is tried again, and continues where it stopped
    if the server can do so and still has the same file. What came of a large file is kept beside
    it, under a hidden name, for the next call.

    Args:
        url: where it comes from: an address of http or https.
        path: where it goes; an older file of the name is replaced.
        md5: what its checksum must be; None for whatever it is.
        sha256: how its SHA-256 must begin, likewise; without either only its length is checked.
        limits: when it is given up.

    Raises:
        DownloadError: the other side does not answer, refuses, stops early, is too slow, or sends
            another file or too much.
        OSError: the file cannot be written, or there is no room for it.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url} is not an http or https address")
    path.parent.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(url, path, "sha256" if sha256 else "md5", limits)
    try:
        transfer.run()
        if not transfer.hexdigest().startswith(sha256 or md5 or ""):
            raise _WrongFileError(f"{url} sent another file than expected (wrong checksum)")
        transfer.finish()
    except (_WrongFileError, OSError):
        transfer.close(keep=False)
        raise
    except DownloadError as error:
        kept = transfer.close(keep=True)
        if kept:
            text = f"{error}; {kept:,} bytes are kept, and the next try resumes there"
            raise DownloadError(text) from error
        raise
    except BaseException:  # Ctrl-C
        transfer.close(keep=True)
        raise


class _Part:
    """A file that fills up under a hidden name, locked against other processes.

    Args:
        path: the file that it will be.
        tag: distinguishes it from the parts of other files of the same name; a part that an
            earlier process left with it is continued. None for one that nobody continues.
        algorithm: of the checksum.
    """

    def __init__(self, path: Path, tag: str | None, algorithm: str) -> None:
        self.path = path.with_name(f".{path.name}.{tag or os.getpid()}.part")
        self._algorithm = algorithm
        file = _locked(self.path) if tag else None
        if file is None:  # another process is at it: both go their own way
            tag = None
            self.path = path.with_name(f".{path.name}.{os.getpid()}.part")
            self.path.unlink(missing_ok=True)
            file = _opened(self.path)
        self.file, self.can_be_kept = file, tag is not None
        self.size = os.fstat(file.fileno()).st_size
        self.digest = hashlib.new(algorithm, usedforsecurity=False)

    def read(self, task: str) -> None:
        """Compute the checksum of what is there already."""
        num_bytes = 0
        emit(TaskStarted(task, self.size, "bytes"))
        try:
            self.file.seek(0)
            while chunk := self.file.read(CHUNK_BYTES):
                self.digest.update(chunk)
                num_bytes += len(chunk)
                emit(TaskAdvanced(task, num_bytes))
        finally:
            emit(TaskEnded(task))
        self.size = num_bytes

    def write(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)

    def clear(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size = 0
        self.digest = hashlib.new(self._algorithm, usedforsecurity=False)

    def remove(self) -> None:
        if os.name == "nt":  # where an open file cannot be removed
            self.file.close()
        self.path.unlink(missing_ok=True)
        self.file.close()

    def move_to(self, path: Path) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        if os.name == "nt":
            self.file.close()
        os.replace(self.path, path)  # noqa: PTH105
        self.file.close()


class _Transfer:
    """A download with several attempts."""

    def __init__(self, url: str, path: Path, algorithm: str, limits: Limits) -> None:
        self._url, self._path, self._algorithm = url, path, algorithm
        self._limits = limits
        self._part: _Part | None = None
        self._tag: str | None = None
        self._validator = ""
        self._was_reached = False

    def run(self) -> None:
        """Receive the complete file.

        Raises:
            DownloadError: it cannot be downloaded.
        """
        failures, furthest = 0, 0
        while True:
            try:
                self._attempt()
                return
            except _PassingError as error:
                num_bytes = self._part.size if self._part else 0
                if num_bytes >= furthest + PROGRESS_BYTES:
                    failures = 0
                furthest = max(furthest, num_bytes)
                if failures == len(self._limits.wait_seconds):
                    raise
                wait = self._limits.wait_seconds[failures] if error.wait is None else error.wait
                failures += 1
                emit(Note(f"{error}; next try in {wait:g} s"))
                time.sleep(wait)

    def hexdigest(self) -> str:
        """Return the checksum of the received bytes."""
        assert self._part is not None
        return self._part.digest.hexdigest()

    def finish(self) -> None:
        """Give the file its own name."""
        assert self._part is not None
        self._part.move_to(self._path)
        self._part = None

    def close(self, *, keep: bool) -> int:
        """Leave the unfinished file for a later call, or remove it; return how many bytes stay."""
        part, self._part = self._part, None
        if part is None:
            return 0
        if keep and part.can_be_kept and part.size >= KEPT_BYTES:
            part.file.close()
            return part.size
        part.remove()
        return 0

    def _attempt(self) -> None:
        """Ask for the file, or for the rest of it, and receive it."""
        watch = Watch(
            self._limits.silence_seconds, self._limits.window_seconds, self._limits.window_bytes
        )
        asked_from = self._part.size if self._part and self._validator else 0
        with self._ask(asked_from, watch) as answer:
            total = self._prepared(answer, asked_from)
            part = self._part
            assert part is not None
            if not part.size or asked_from or part.size == total:
                self._receive(answer, part, total, watch)
                return
        self._attempt()  # for the rest of what an earlier call has left

    def _ask(self, asked_from: int, watch: Watch) -> http.client.HTTPResponse:
        headers = {"User-Agent": "cnnkit"}
        if asked_from:
            headers |= {"Range": f"bytes={asked_from}-", "If-Range": self._validator}
        request = urllib.request.Request(self._url, headers=headers)
        director = opener(self._url, watch)
        try:
            with self._explained():
                answer: http.client.HTTPResponse = director.open(
                    request, timeout=self._limits.silence_seconds
                )
                return answer
        except DownloadError as error:
            if watch.answer is not None:
                watch.answer.close()
            cause = error.__cause__
            if asked_from and isinstance(cause, urllib.error.HTTPError) and cause.code == 416:
                self._start_over()
                raise _PassingError(str(error)) from error
            raise

    def _prepared(self, answer: http.client.HTTPResponse, asked_from: int) -> int | None:
        """Make the part fit an answer, and return how large the file will be if that is known."""
        if asked_from and answer.status == http.client.PARTIAL_CONTENT:
            return self._continued(answer, asked_from)
        self._was_reached = True
        if answer.status != http.client.OK:
            raise DownloadError(f"{self._url} answers {answer.status} {_line(answer.reason)}")
        total = answer.length
        if total is not None and total > self._limits.max_bytes:
            raise self._too_large(total)
        self._validator = _validator(answer)
        tag = _tag(self._url, self._validator, total) if self._validator else None
        if self._part is None or tag != self._tag:
            self.close(keep=False)
            self._tag = tag
            self._part = _Part(self._path, tag, self._algorithm)
            _remove_others(self._path, self._part.path)
            if self._part.size and (total is None or self._part.size <= total) and not asked_from:
                self._part.read(f"check {self._path.name}")
            else:
                self._part.clear()
        else:
            self._part.clear()
        if total is not None:
            _check_room(self._path, total - self._part.size)
        return total

    def _continued(self, answer: http.client.HTTPResponse, asked_from: int) -> int | None:
        """Return how large the file is that an answer continues.

        Raises:
            DownloadError: it continues another file, or elsewhere; the part is empty then.
        """
        named = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", named.strip())
        total = int(found[3]) if found and found[3] != "*" else None
        same = _validator(answer) in ("", self._validator)
        fits = found is not None and int(found[1]) == asked_from
        if not (same and fits) or (total is not None and total <= asked_from):
            self._start_over()
            raise _PassingError(
                f"{self._url} sent a different part than requested ({_line(named) or 'unnamed'})"
            )
        if total is not None and total > self._limits.max_bytes:
            raise self._too_large(total)
        return total

    def _start_over(self) -> None:
        if self._part is not None:
            self._part.clear()

    def _receive(
        self, answer: http.client.HTTPResponse, part: _Part, total: int | None, watch: Watch
    ) -> None:
        task = f"download {self._path.name}"
        emit(TaskStarted(task, total, "bytes"))
        try:
            if part.size:
                emit(TaskAdvanced(task, part.size))
            while part.size != total:
                with self._explained():
                    chunk = answer.read1(CHUNK_BYTES)
                if not chunk:
                    break
                part.write(chunk)
                if total is not None and part.size > total:
                    raise _WrongFileError(f"{self._url} sends more than {total:,} bytes, its size")
                if part.size > self._limits.max_bytes:
                    raise self._too_large(part.size)
                watch.content(len(chunk))
                emit(TaskAdvanced(task, part.size))
        finally:
            emit(TaskEnded(task))
        if total is not None and part.size != total:
            raise _PassingError(f"{self._url} stopped after {part.size:,} of {total:,} bytes")

    def _too_large(self, num_bytes: int) -> DownloadError:
        return _WrongFileError(
            f"{self._url} sends {num_bytes:,} bytes or more but the limit is "
            f"{self._limits.max_bytes:,}: if that is right, download it yourself to {self._path}"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Convert network errors to `DownloadError`."""
        try:
            yield
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refused(error) from error
        except (OSError, http.client.HTTPException, ValueError, RefusedRedirectError) as error:
            raise self._broken(error) from error

    def _refused(self, error: urllib.error.HTTPError) -> DownloadError:
        self._was_reached = True
        text = f"{self._url} answers {error.code} {_line(str(error.reason))}"
        if error.code not in (408, 429) and error.code < 500:
            return DownloadError(text)
        wait = _seconds_to_wait(error.headers.get("Retry-After", ""))
        if wait is not None and wait > self._limits.max_wait_seconds:
            return DownloadError(f"{text}, and asks to wait {wait:,.0f} seconds")
        return _PassingError(text, wait)

    def _broken(self, error: Exception) -> DownloadError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, socket.gaierror):
            host = urlsplit(self._url).hostname
            text = f"{self._url}: no network, or none that knows {host}"
        elif isinstance(reason, http.client.IncompleteRead):
            text = f"{self._url} stopped early"
        else:
            text = f"{self._url}: {_line(str(reason)) or type(reason).__name__}"
        # A host that cannot be reached at all will not be reachable in a second either.
        if self._was_reached or not isinstance(error, (urllib.error.URLError, socket.gaierror)):
            passes = isinstance(reason, (OSError, http.client.IncompleteRead))
        else:
            passes = isinstance(reason, BROKEN_CONNECTION)
        return (_PassingError if passes else DownloadError)(text)


def _line(text: str) -> str:
    """Return a server's message as one line, shortened."""
    return " ".join(text.split())[:MAX_CHARACTERS]


def _validator(answer: http.client.HTTPResponse) -> str:
    """Return the ETag of the content, if there is one."""
    etag: str = answer.headers.get("ETag", "").strip()
    modified: str = answer.headers.get("Last-Modified", "").strip()
    found = modified if etag.startswith("W/") or not etag else etag
    return found if found.isascii() and found.isprintable() else ""


def _tag(url: str, validator: str, total: int | None) -> str:
    return hashlib.sha256(f"{url}\n{validator}\n{total}".encode()).hexdigest()[:16]


def _seconds_to_wait(text: str) -> float | None:
    """Return the seconds of a Retry-After header: a number of seconds or a date."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _check_room(path: Path, num_bytes: int) -> None:
    """Raise if the disk has too little space.

    Raises:
        OSError: it has not so many bytes.
    """
    free = shutil.disk_usage(path.parent).free
    if num_bytes > free:
        text = f"{path.name} needs {num_bytes:,} bytes, and {free:,} are free"
        raise OSError(errno.ENOSPC, text, str(path))


def _opened(path: Path) -> BinaryIO:
    """Open a file to read and write, and no link to one."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.unlink()
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o666), "r+b")  # noqa: PTH123


def _locked(path: Path) -> BinaryIO | None:
    """Open and lock a file; None where another process has done so, or the disk cannot."""
    file = _opened(path)
    try:
        # The process that locked it may have renamed it since it was opened here.
        if try_lock(file.fileno()) and os.path.samestat(os.fstat(file.fileno()), path.lstat()):
            return file
    except OSError:
        pass
    file.close()
    return None


def _remove_others(path: Path, part: Path) -> None:
    """Remove what is left of earlier files of the same name, unless a process is at it."""
    tagged = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{16}\.part")
    with suppress(OSError):  # they take room, and do no other harm
        for other in path.parent.iterdir():
            if tagged.fullmatch(other.name) and other != part:
                file = _locked(other)
                if file is not None:
                    other.unlink()
                    file.close()
