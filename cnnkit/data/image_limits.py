"""Why an image file is bad, how large one may be, and the memory that large ones share."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cnnkit.errors import setting

MAX_PIXELS = 89_478_485
"""Maximum number of pixels in one image unless allowed: Pillow's own limit, a quarter of 1 GiB."""

MAX_DECODING_BYTES = 8 * MAX_PIXELS
"""Maximum memory for decoding: enough for a color image of `MAX_PIXELS`, converted once."""

MAX_FILE_BYTES = 2**27
"""Maximum size of an image file or archive member unless allowed: 128 MiB."""

UNCOUNTED_BYTES = 2**23
"""Images below this are decoded by any number of threads at once."""


class BadImageError(Exception):
    """A file that is no image, is damaged, or is too large; the message is the reason."""


class StoppedError(Exception):
    """Raised in a thread whose result is no longer wanted."""


def too_large(what: str, limit: int | str) -> str:
    """Return the reason of what is above a limit: what it has, the limit, and the option."""
    shown = f"{limit:,}" if isinstance(limit, int) else limit
    return f"refused: {what}, more than {shown}; {setting('allow_large')} reads it"


def check_file_size(size: int) -> None:
    """Refuse an image file of so many bytes.

    Raises:
        BadImageError: they are more than `MAX_FILE_BYTES`.
    """
    if size > MAX_FILE_BYTES:
        raise BadImageError(too_large(f"{size:,} bytes", MAX_FILE_BYTES))


def check_size(size: tuple[int, int], num_bytes: int) -> None:
    """Refuse an image of this width and height, which takes so many bytes to decode.

    Raises:
        BadImageError: it has more than `MAX_PIXELS`, or takes more than `MAX_DECODING_BYTES`.
    """
    if math.prod(size) > MAX_PIXELS:
        raise BadImageError(too_large(f"{_by(size)} pixels", MAX_PIXELS))
    if num_bytes > MAX_DECODING_BYTES:
        taken = f"{_by(size)} pixels take {num_bytes:,} bytes to decode"
        raise BadImageError(too_large(taken, MAX_DECODING_BYTES))


def check_resized(
    size: tuple[int, int], new_size: tuple[int, int], allow_large: bool, weight: int = 1
) -> None:
    """Refuse to resize an image to more pixels than one may have; its own count half.

    Args:
        size: width and height.
        new_size: width and height that it would have.
        allow_large: refuse nothing.
        weight: how often a new pixel counts.

    Raises:
        BadImageError: they are more than `MAX_PIXELS`.
    """
    if not allow_large and weight * math.prod(new_size) + math.prod(size) // 2 > MAX_PIXELS:
        resized = f"{_by(size)} pixels, resized to {_by(new_size)}"
        raise BadImageError(too_large(resized, MAX_PIXELS))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"


class _Room:
    """Memory budgets that large images of all threads share.

    Each takes from a room once, and from that of files before that of pixels, so that no two wait
    for each other. One that needs all of a room, or more, waits until there are no others.
    """

    def __init__(self, num_bytes: int) -> None:
        self._freed = threading.Condition()
        self._size = num_bytes
        self._taken = 0

    def take(self, num_bytes: int) -> None:
        with self._freed:
            while self._taken and self._taken + num_bytes > self._size:
                self._freed.wait()
            self._taken += num_bytes

    def give_back(self, num_bytes: int) -> None:
        with self._freed:
            self._taken -= num_bytes
            self._freed.notify_all()


_FILES, _PIXELS = _Room(MAX_FILE_BYTES), _Room(MAX_DECODING_BYTES)
_of_thread = threading.local()


@contextmanager
def one_image() -> Iterator[None]:
    """Read and decode one image in the block; where it is large, other threads wait with theirs."""
    taken: dict[_Room, int] = {}
    _of_thread.taken = taken
    try:
        yield
    finally:
        _of_thread.taken = None
        for room, num_bytes in taken.items():
            room.give_back(num_bytes)


def reserve_file(num_bytes: int) -> None:
    """Wait until there is room for the bytes of a large file; `one_image` gives it back."""
    _take(_FILES, num_bytes)


def reserve(num_bytes: int) -> None:
    """Wait until there is room to decode a large image; `one_image` gives it back at its end."""
    _take(_PIXELS, num_bytes)


def _take(room: _Room, num_bytes: int) -> None:
    taken = getattr(_of_thread, "taken", None)
    if num_bytes > UNCOUNTED_BYTES and taken is not None and room not in taken:
        room.take(num_bytes)
        taken[room] = num_bytes


def stop_with(stopped: threading.Event) -> None:
    """Let this thread end what it decodes once the event is set; it is a pool's initializer."""
    _of_thread.stopped = stopped


def check_stopped() -> None:
    """End what this thread does, if it is not wanted any more.

    Raises:
        StoppedError: the event of `stop_with` is set.
    """
    stopped = getattr(_of_thread, "stopped", None)
    if stopped is not None and stopped.is_set():
        raise StoppedError
