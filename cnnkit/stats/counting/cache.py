"""What was found in image files, kept so that a second run reads only what is new.

A file is known again by its path, size and time of change; that of an archive by those of the
archive. What is kept is the histogram of each image, so the sums are the same integers.
"""

import contextlib
import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL

from cnnkit.data.sources.streams import EncodedImage, Stamp
from cnnkit.errors import UnavailableError
from cnnkit.stats.counting.tally import ImageRecord

VERSION = 2  # grows whenever a record of today would be read otherwise
FLUSH_SECONDS = 2.0
WAIT_SECONDS = 60.0  # for another process that writes to the same cache

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    path BLOB NOT NULL,
    treatment TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (path, treatment)
) WITHOUT ROWID
"""
FIND = "SELECT size, modified_ns, record FROM records WHERE path = ? AND treatment = ?"
STORE = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)"


def default_cache() -> Path:
    """Return the file of the user's cache folder that records are kept in."""
    from platformdirs import user_cache_path

    return user_cache_path("cnnkit", appauthor=False) / "stats.sqlite"


class RecordCache:
    """Records of image files in an SQLite database; used from one thread.

    Args:
        path: the database; made where there is none.
        treatment: how images were treated; others' records are not taken.

    Attributes:
        num_known: how many files were known.
    """

    def __init__(self, path: Path, treatment: str) -> None:
        self.path = path
        self.num_known = 0
        # Another version of the decoder may give other integers.
        self._treatment = f"{VERSION} Pillow {PIL.__version__} {treatment}"
        self._news: list[tuple[bytes, str, int, int, bytes]] = []
        self._last_flush = time.monotonic()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=WAIT_SECONDS)
            self._database.execute(SCHEMA)
            self._database.commit()

    def look_up(
        self, images: Sequence[EncodedImage]
    ) -> tuple[list[ImageRecord], list[EncodedImage]]:
        """Return the records of the images that are known and unchanged, and the other images."""
        known, unknown = [], []
        with self._explained():
            for image in images:
                record = self._find(image)
                if record is None:
                    unknown.append(image)
                else:
                    known.append(record)
        self.num_known += len(known)
        return known, unknown

    def keep(self, news: Sequence[tuple[EncodedImage, ImageRecord]]) -> None:
        """Remember records of images, and write them now and then."""
        for image, record in news:
            stamp = None if image.reason else image.stamp()
            if stamp is None or record.counts is None:
                continue  # what is bad is looked at again: the reason may have gone
            self._news.append(
                (stamp.key, self._treatment, stamp.size, stamp.modified_ns, _pack(record))
            )
        if time.monotonic() - self._last_flush > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        with self._explained():
            self._database.executemany(STORE, self._news)
            self._database.commit()
        self._news.clear()
        self._last_flush = time.monotonic()

    def close(self) -> None:
        """Write what is new, and close the database."""
        try:
            self.flush()
        finally:
            self._database.close()

    def _find(self, image: EncodedImage) -> ImageRecord | None:
        stamp = None if image.reason else image.stamp()
        if stamp is None:
            return None
        row = self._database.execute(FIND, (stamp.key, self._treatment)).fetchone()
        if row is None or Stamp(stamp.key, row[0], row[1]) != stamp:
            return None
        with contextlib.suppress(zlib.error, ValueError, KeyError, TypeError):  # then it is read
            return _unpack(row[2], image)
        return None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(
                f"the cache {self.path} cannot be used: {error}",
                "remove it, or leave --cache out",
            ) from error


def _pack(record: ImageRecord) -> bytes:
    assert record.counts is not None
    head = {
        "shape": record.counts.shape,
        "image": (record.width, record.height, record.mode, record.form, record.num_bytes),
        "is_oriented": record.is_oriented,
        "changes": record.changes,
    }
    counts = record.counts.astype("<u4").tobytes()
    return zlib.compress(json.dumps(head).encode() + b"\0" + counts, level=1)


def _unpack(packed: bytes, image: EncodedImage) -> ImageRecord:
    head, _, counts = zlib.decompress(packed).partition(b"\0")
    fields = json.loads(head)
    width, height, mode, form, num_bytes = fields["image"]
    return ImageRecord(
        name=image.name,
        class_name=image.class_name,
        counts=np.frombuffer(counts, dtype="<u4").astype(np.int64).reshape(fields["shape"]),
        width=width,
        height=height,
        mode=mode,
        form=form,
        num_bytes=num_bytes,
        is_oriented=fields["is_oriented"],
        changes=tuple(fields["changes"]),
    )
