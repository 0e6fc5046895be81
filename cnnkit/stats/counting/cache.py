"""Cache of the results of image files, so that a second run reads only new ones.

A file is identified by its path, size and time of change; that of an archive by those of the
archive. What is kept is the histogram of each image, so the sums are the same integers.
"""

import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import PIL
from pydantic import Field

from cnnkit.data.encoded import EncodedImage, Stamp
from cnnkit.errors import UnavailableError, setting
from cnnkit.events import Warned, emit
from cnnkit.stats.counting.tally import ImageRecord
from cnnkit.system.files import opened_regular
from cnnkit.system.records import Record

VERSION = 2  # increased whenever records of the current version would be read differently
FLUSH_SECONDS = 2.0
WAIT_SECONDS = 60.0  # for another process that writes to the same cache

MOST_RECORD_BYTES = 2**20  # unpacked: three histograms of 65,536 counts take 768 kB
MOST_SIDE = 2**31

SCHEMA = """CREATE TABLE IF NOT EXISTS records (
    path BLOB NOT NULL,
    treatment TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (path, treatment)
) WITHOUT ROWID"""
_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # SQLite says damaged names in its errors
_OUT_OF_REACH = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS,
)  # fmt: skip
TABLES = "SELECT sql FROM sqlite_master"
FIND = "SELECT size, modified_ns, record FROM records WHERE path = ? AND treatment = ?"
STORE = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)"


def default_cache() -> Path:
    """Return the file of the user's cache folder that records are kept in."""
    from platformdirs import user_cache_path

    return user_cache_path("cnnkit", appauthor=False) / "stats.sqlite"


class RecordCache:
    """Records of image files in an SQLite database; used from one thread.

    Args:
        path: the database; created if missing.
        treatment: the preprocessing; records with another one are ignored.

    Attributes:
        num_known: number of cached files.
        num_damaged: how many records were damaged, whose images are measured again.
    """

    def __init__(self, path: Path, treatment: str) -> None:
        self.path = path
        self.num_known = 0
        self.num_damaged = 0
        self._is_ours = path == default_cache()  # another file of this name may be anything
        # Another version of the decoder may give other integers.
        self._treatment = f"{VERSION} Pillow {PIL.__version__} {treatment}"
        self._news: list[tuple[bytes, str, int, int, bytes]] = []
        self._last_flush = time.monotonic()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                opened_regular(path).close()  # SQLite would wait for a pipe
            self._database = self._opened()

    def look_up(
        self, images: Sequence[EncodedImage]
    ) -> tuple[list[ImageRecord], list[EncodedImage]]:
        """Return the records of the images that are known and unchanged, and the other images."""
        known, unknown = [], []
        with self._explained():
            for image in images:
                record = self._found(image)
                if record is None:
                    unknown.append(image)
                else:
                    known.append(record)
        self.num_known += len(known)
        return known, unknown

    def keep(self, news: Sequence[tuple[EncodedImage, ImageRecord]]) -> None:
        """Store records of images, written periodically."""
        for image, record in news:
            stamp = None if image.reason else image.stamp()
            if stamp is None or record.counts is None:
                continue  # bad files are tried again: the reason may be gone
            self._news.append(
                (stamp.key, self._treatment, stamp.size, stamp.modified_ns, _pack(record))
            )
        if time.monotonic() - self._last_flush > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write new records."""
        with self._explained():
            try:
                self._write()
            except _ERRORS as error:
                self._make_again(error)
                self._write()
        self._news.clear()
        self._last_flush = time.monotonic()

    def close(self) -> None:
        """Write new records, and close the database."""
        try:
            self.flush()
        finally:
            self._database.close()

    def _opened(self) -> sqlite3.Connection:
        """Return the database, created if missing, and recreated if it has another schema."""
        database = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        # Else a record of any size would be read; a trigger or a view may ask for any work.
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MOST_RECORD_BYTES)
        try:
            database.execute(SCHEMA)
            database.commit()
            tables = [str(row[0]).strip() for row in database.execute(TABLES)]
            if tables != [SCHEMA.replace("IF NOT EXISTS ", "")]:
                raise sqlite3.DatabaseError("it contains other tables")
            self._is_ours = True
        except _ERRORS as error:
            database.close()
            if self._is_ours and _is_damaged(error):
                return self._replaced(error)
            raise
        return database

    def _write(self) -> None:
        with self._database:
            self._database.executemany(STORE, self._news)

    def _make_again(self, error: Exception) -> None:
        """Replace a damaged database by an empty one."""
        if not _is_damaged(error):
            raise error
        self._database.close()
        self._database = self._replaced(error)

    def _replaced(self, error: Exception) -> sqlite3.Connection:
        emit(Warned(f"the cache {self.path} is damaged ({error}), and is created again"))
        self._is_ours = False  # once is enough
        for suffix in ("", "-journal", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return self._opened()

    def _found(self, image: EncodedImage) -> ImageRecord | None:
        """Return the record of an image; None if it is unknown, or has changed."""
        stamp = None if image.reason else image.stamp()
        if stamp is None:
            return None
        try:
            row = self._database.execute(FIND, (stamp.key, self._treatment)).fetchone()
        except sqlite3.DataError:  # it exceeds the maximum length
            self.num_damaged += 1
            return None
        except _ERRORS as error:
            self._make_again(error)
            return None
        if row is None or Stamp(stamp.key, row[0], row[1]) != stamp:
            return None
        try:
            return _unpack(row[2], image)
        except (zlib.error, ValueError, TypeError):
            self.num_damaged += 1
            return None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (*_ERRORS, OSError) as error:
            raise UnavailableError(
                f"the cache {self.path} cannot be used: {getattr(error, 'strerror', error)}",
                f"remove it, or leave {setting('cache')} out",
            ) from error


class _Head(Record):
    """The metadata of an image, stored beside its histogram."""

    shape: tuple[Literal[1, 3], Literal[256, 65536]]
    image: tuple[
        Annotated[int, Field(ge=1, lt=MOST_SIDE)],
        Annotated[int, Field(ge=1, lt=MOST_SIDE)],
        str,
        str,
        Annotated[int, Field(ge=0, lt=2**63)],
    ]
    is_oriented: bool
    changes: tuple[str, ...]


def _is_damaged(error: Exception) -> bool:
    """Return whether a database is invalid, and not only inaccessible."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_NOTADB)
    return code & 0xFF not in _OUT_OF_REACH


def _pack(record: ImageRecord) -> bytes:
    assert record.counts is not None
    channels, bins = record.counts.shape
    head = _Head.model_construct(
        shape=(channels, bins),
        image=(record.width, record.height, record.mode, record.form, record.num_bytes),
        is_oriented=record.is_oriented,
        changes=record.changes,
    )
    counts = record.counts.astype("<u4").tobytes()
    return zlib.compress(head.model_dump_json().encode() + b"\0" + counts, level=1)


def _unpack(packed: bytes, image: EncodedImage) -> ImageRecord:
    """Return the record that `_pack` packed.

    Raises:
        zlib.error, ValueError, TypeError: it is invalid.
    """
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(packed, MOST_RECORD_BYTES)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("it is too long, or too short")
    text, _, packed_counts = content.partition(b"\0")
    head = _Head.from_json(text)
    counts = np.frombuffer(packed_counts, dtype="<u4").astype(np.int64).reshape(head.shape)
    if not counts.sum(1).all() or len(set(counts.sum(1).tolist())) != 1:
        raise ValueError("its channels differ in the number of pixels")
    width, height, mode, form, num_bytes = head.image
    return ImageRecord(
        name=image.name,
        class_name=image.class_name,
        counts=counts,
        width=width,
        height=height,
        mode=mode,
        form=form,
        num_bytes=num_bytes,
        is_oriented=head.is_oriented,
        changes=head.changes,
    )
