"""HTTP connections with limits: no response stalls, is too slow or endless, or leaves the web."""

import http.client
import io
import socket
import time
import urllib.request
from collections.abc import Callable
from email.message import Message
from threading import Thread
from typing import IO, Any
from urllib.parse import urlsplit

MAX_OVERHEAD_BYTES = 1 << 20
"""Maximum bytes before the content of a response, or between two pieces of it."""


class RefusedRedirectError(RuntimeError):
    """Raised for a redirect that is not followed."""


class Watch:
    """Ends a response that stalls, is too slow, or sends no content.

    Args:
        silence_seconds: how long nothing may come.
        window_seconds: how long the header, and each `window_bytes` of content, may take.
        window_bytes: how much content has to come in that time.

    Attributes:
        answer: of the last address that was asked; to be closed where it is of no use, which
            urllib does not do.
    """

    answer: http.client.HTTPResponse | None = None

    def __init__(self, silence_seconds: float, window_seconds: float, window_bytes: int) -> None:
        self.silence_seconds = silence_seconds
        self._window_seconds, self._window_bytes = window_seconds, window_bytes
        self._start()

    def _start(self) -> None:
        self._deadline = time.monotonic() + self._window_seconds
        self._num_bytes = 0
        self._overhead_left = MAX_OVERHEAD_BYTES

    def content(self, num_bytes: int) -> None:
        """Count bytes of content."""
        self._num_bytes += num_bytes
        self._overhead_left = MAX_OVERHEAD_BYTES
        if self._num_bytes >= self._window_bytes:
            self._start()

    def before_receiving(self) -> float:
        """Return how many seconds the next bytes may take.

        Raises:
            TimeoutError: none are left.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(
                f"too slow: {self._num_bytes:,} bytes in {self._window_seconds:g} seconds"
            )
        return min(left, self.silence_seconds)

    def received(self, num_bytes: int) -> None:
        """Count bytes of any kind.

        Raises:
            http.client.HTTPException: more came than can be header.
        """
        self._overhead_left -= num_bytes
        if self._overhead_left < 0:
            raise http.client.HTTPException("the header does not end")


class _WatchedFile(io.RawIOBase):
    """The receiving side of a socket, watched."""

    def __init__(self, connected: socket.socket, watch: Watch) -> None:
        self._socket, self._watch = connected, watch
        self._raw = connected.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._watch.before_receiving())
        try:
            num_bytes = self._raw.readinto(buffer) or 0
        except TimeoutError:
            self._watch.before_receiving()  # which says so if it was not silent but slow
            raise
        self._watch.received(num_bytes)
        return num_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()


class _WatchedSocket:
    """The part of a socket that an answer is read through."""

    def __init__(self, connected: socket.socket, watch: Watch) -> None:
        self._file = _WatchedFile(connected, watch)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._file)


class _WatchedHandler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Opens http and https, watched."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connecting(http.client.HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connecting(http.client.HTTPSConnection), request)

    def _connecting(
        self, kind: type[http.client.HTTPConnection]
    ) -> Callable[..., http.client.HTTPConnection]:
        watch = self._watch

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
                super().__init__(_WatchedSocket(sock, watch), *args, **options)  # type: ignore[arg-type]
                watch.answer = self

        def connection(host: str, **options: Any) -> http.client.HTTPConnection:
            made = kind(host, **options)
            made.response_class = Response
            _look_up(made.host, made.port, watch.silence_seconds)
            return made

        return connection


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and to http where the first address was no better."""

    def __init__(self, url: str) -> None:
        self._schemes = ("http", "https") if urlsplit(url).scheme == "http" else ("https",)

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in self._schemes:
            fp.close()
            raise RefusedRedirectError(f"it redirects to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def opener(url: str, watch: Watch) -> urllib.request.OpenerDirector:
    """Return an opener for http and https addresses only; proxies of the environment are used.

    Args:
        url: the address.
        watch: what ends the answers.
    """
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(url),
        urllib.request.HTTPErrorProcessor(),
        _WatchedHandler(watch),
    ):
        director.add_handler(handler)
    return director


def _look_up(host: str, port: int, seconds: float) -> None:
    """Find the address of a host, in a thread: the system's search hears no Ctrl-C.

    Raises:
        OSError: there is none, or the search takes too long.
    """
    errors: list[OSError] = []

    def search() -> None:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            errors.append(error)
        except UnicodeError as error:
            errors.append(socket.gaierror(socket.EAI_NONAME, str(error)))

    thread = Thread(target=search, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    if errors:
        raise errors[0]
