"""Hashes of the bytes of image files, which identify them whatever their names are."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnnkit.data.encoded import EncodedFiles
from cnnkit.data.image_limits import BadImageError, one_image
from cnnkit.data.image_set import TensorSet
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit

HASH_BYTES = 16
HASH = np.dtype(f"S{HASH_BYTES}")
READ_AT_ONCE = 256  # files that a thread takes

Hashes = npt.NDArray[np.bytes_]


class ContentHashes:
    """The BLAKE2b hash of each file of a set, stored when the file is read.

    Thread-safe. A file that was not read yet, or is broken, has no hash.

    Args:
        number: number of files in the set.
    """

    def __init__(self, number: int) -> None:
        self._hashes: Hashes = np.zeros(number, dtype=HASH)

    def note(self, row: int, content: bytes) -> None:
        """Store the hash of a file, unless there is one."""
        if not self._hashes[row]:
            self._hashes[row] = blake2b(content, digest_size=HASH_BYTES).digest()

    @property
    def is_complete(self) -> bool:
        """Whether the hash of every file is known."""
        return bool((self._hashes != b"").all())

    @property
    def rows(self) -> Tensor:
        """The hashes as bytes, uint8 of shape (N, 16); zeros where there is none."""
        return torch.from_numpy(self._hashes.view(np.uint8).reshape(-1, HASH_BYTES))

    def add(self, rows: Tensor) -> None:
        """Add the hashes of another process, uint8 of shape (N, 16)."""
        theirs = np.ascontiguousarray(rows.numpy()).reshape(-1).view(HASH)
        self._hashes = np.where(self._hashes == b"", theirs, self._hashes)

    def known(self) -> Hashes:
        """Return the unique hashes, sorted."""
        return np.unique(self._hashes[self._hashes != b""])

    def is_among(self, known: Hashes) -> npt.NDArray[np.bool_]:
        """Return for each file whether its hash is one of these, bool of shape (N,)."""
        found: npt.NDArray[np.bool_] = np.isin(self._hashes, known) & (self._hashes != b"")
        return found

    def read_missing(self, files: EncodedFiles, num_workers: int, allow_large: bool) -> None:
        """Read and hash the files that have no hash; unreadable files stay without.

        Args:
            files: of the set.
            num_workers: number of reading threads; 0 reads in this one.
            allow_large: read files above the limit as well.
        """
        missing = np.flatnonzero(self._hashes == b"")
        if not len(missing):
            return

        def read(rows: npt.NDArray[np.intp]) -> int:
            for row in rows.tolist():
                try:
                    with one_image():
                        self.note(row, files.read(row, allow_large))
                except BadImageError:
                    continue  # it can be no image that is used
            return len(rows)

        parts = np.split(missing, range(READ_AT_ONCE, len(missing), READ_AT_ONCE))
        task, done = "read images", 0
        emit(TaskStarted(task, len(missing), "images"))
        pool = ThreadPoolExecutor(max(1, num_workers), "cnnkit-read")
        try:
            for number in pool.map(read, parts) if num_workers else map(read, parts):
                done += number
                emit(TaskAdvanced(task, done))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            emit(TaskEnded(task))


def pixel_hashes(images: TensorSet) -> Hashes:
    """Return a hash of the pixels of each image in memory."""
    shape = blake2b(repr(tuple(images.images.shape[1:])).encode(), digest_size=HASH_BYTES)
    found: Hashes = np.zeros(len(images), dtype=HASH)
    for row, pixels in enumerate(images.images.numpy()):
        one = shape.copy()
        one.update(np.ascontiguousarray(pixels).data)
        found[row] = one.digest()
    return found
