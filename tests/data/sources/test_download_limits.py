"""Servers that break off, are slow, lie or never end."""

import errno
import hashlib
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnkit.data.sources import connections, download
from cnnkit.data.sources.download import DownloadError, Limits, fetch
from cnnkit.events import Event, Note, TaskAdvanced, TaskEnded, TaskStarted, handled_by

CONTENT = os.urandom(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
ETAG = 'ETag: "one"'
QUICK = Limits(
    max_bytes=400_000,
    silence_seconds=0.3,
    window_seconds=0.6,
    window_bytes=1000,
    wait_seconds=(0.01, 0.01, 0.01),
    max_wait_seconds=0.3,
)

Reply = Callable[[socket.socket, str], None]


class Server:
    """Answers the first request with the first reply, and so on; the last is given again."""

    def __init__(self, *replies: Reply | bytes) -> None:
        self._replies = replies
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/x.bin"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            number = min(len(self.requests), len(self._replies) - 1)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            self.requests.append(request.decode())
            threading.Thread(
                target=self._answer, args=(self._replies[number], connection), daemon=True
            ).start()

    def _answer(self, reply: Reply | bytes, connection: socket.socket) -> None:
        with connection:
            try:
                if isinstance(reply, bytes):
                    connection.sendall(reply)
                else:
                    reply(connection, self.requests[-1])
            except OSError:
                pass  # the client has closed, as it should

    def close(self) -> None:
        self._listener.close()

    def offsets(self) -> list[int | None]:
        """Return where each request wanted the file from."""
        found = [re.search(r"Range: bytes=(\d+)-", request) for request in self.requests]
        return [int(one[1]) if one else None for one in found]


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*replies: Reply | bytes) -> Server:
        servers.append(Server(*replies))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[..., Server]


def head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def whole(content: bytes = CONTENT, *lines: str, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return head("200 OK", f"Content-Length: {size}", *lines) + content


def rest(*lines: str, content: bytes = CONTENT) -> Reply:
    """Answer a request for the rest of a file."""

    def reply(connection: socket.socket, request: str) -> None:
        found = re.search(r"Range: bytes=(\d+)-", request)
        start = int(found[1]) if found else 0
        named = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}"
        size = f"Content-Length: {len(content) - start}"
        connection.sendall(head("206 Partial Content", named, size, *lines) + content[start:])

    return reply


def reset_after(sent: bytes) -> Reply:
    """Send this, and break the connection off."""

    def reply(connection: socket.socket, request: str) -> None:
        connection.sendall(sent)
        time.sleep(0.05)  # a reset throws away what was not read yet
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return reply


def for_ever(start: bytes, piece: bytes, pause: float = 0.0) -> Reply:
    def reply(connection: socket.socket, request: str) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return reply


def fails(url: str, path: Path, limits: Limits = QUICK, md5: str | None = None) -> str:
    """Return why a download fails; it must do so soon, and leave nothing."""
    start = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        fetch(url, path, limits=limits, md5=md5)
    assert time.monotonic() - start < 5
    assert list(path.parent.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "x.bin"


# ------------------------------------------------------------------ what never ends


ENDLESS = {
    "body": (for_ever(head("200 OK"), bytes(50_000)), "the limit is 50,000"),
    "chunks": (
        for_ever(
            head("200 OK", "Transfer-Encoding: chunked"), b"4000\r\n" + bytes(0x4000) + b"\r\n"
        ),
        "the limit is 50,000",
    ),
    "tiny chunks": (
        for_ever(head("200 OK", "Transfer-Encoding: chunked"), b"1;e=123456789\r\nx\r\n" * 4000),
        "the limit is 50,000",
    ),
    "negative chunks": (
        for_ever(head("200 OK", "Transfer-Encoding: chunked"), b"-5\r\n" * 4000),
        "the limit is 50,000",
    ),
    "chunk extensions": (
        for_ever(head("200 OK", "Transfer-Encoding: chunked") + b"1;", b"x" * 4000),
        "",
    ),
    "trailers": (
        for_ever(head("200 OK", "Transfer-Encoding: chunked") + b"0\r\n", b"a: b\r\n" * 4000),
        "the header does not end|too slow",
    ),
    "headers": (for_ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000), "more than 100 headers"),
    "a header": (for_ever(b"HTTP/1.1 200 OK\r\na:", b"b" * 1000), "header line"),
    "continues": (
        for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), "the header does not end|too slow"
    ),
    "body of a redirect": (
        for_ever(head("302 Found", "Location: /elsewhere"), bytes(50_000)),
        "the header does not end|too slow",
    ),
    "body of an error": (for_ever(head("404 Not Found"), bytes(50_000)), "404 Not Found"),
    "redirects": (head("302 Found", "Location: /x.bin"), "infinite loop"),
    "dripping body": (
        for_ever(head("200 OK", "Content-Length: 40000"), b"x", 0.05), "too slow"
    ),
    "dripping chunks": (
        for_ever(head("200 OK", "Transfer-Encoding: chunked"), b"1\r\nx\r\n", 0.05), "too slow"
    ),
    "dripping header": (for_ever(b"HTTP/1.1 200 OK\r\n", b"a", 0.05), "too slow"),
    "dripping trailer": (
        for_ever(head("200 OK", "Transfer-Encoding: chunked") + b"0\r\n", b"a", 0.05), "too slow"
    ),
    "silence": (for_ever(b"", b"", 0.05), "timed out"),
    "silence in the header": (for_ever(b"HTTP/1.1 200 OK\r\n", b"", 0.05), "timed out"),
    "silence in the body": (for_ever(whole(CONTENT[:9], length=40_000), b"", 0.05), "timed out"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_given_up(name: str, serve: Serve, path: Path) -> None:
    reply, reason = ENDLESS[name]
    limits = replace(QUICK, max_bytes=50_000, wait_seconds=(0.01,))
    assert re.search(reason, fails(serve(reply).url, path, limits))


def test_a_limit_says_what_to_do(serve: Serve, path: Path) -> None:
    server = serve(whole(length=400_001))
    text = fails(server.url, path)
    assert "sends 400,001 bytes or more but the limit is 400,000" in text
    assert f"download it yourself to {path}" in text
    assert len(server.requests) == 1


# ------------------------------------------------------------------ what may pass


def test_a_broken_download_continues(serve: Serve, path: Path) -> None:
    first = reset_after(whole(CONTENT[:100_000], ETAG, length=len(CONTENT)))
    again = reset_after(
        head("206 Partial Content", "Content-Range: bytes 100000-299999/300000", ETAG)
        + CONTENT[100_000:150_000]
    )
    server = serve(first, again, rest(ETAG))
    events: list[Event] = []
    with handled_by(events.append):
        fetch(server.url, path, md5=MD5, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert server.offsets() == [None, 100_000, 150_000]
    assert all('If-Range: "one"' in request for request in server.requests[1:])
    steps = [event.completed for event in events if isinstance(event, TaskAdvanced)]
    assert steps == sorted(steps)
    assert {100_000, 150_000, 300_000} <= set(steps)
    assert sum(isinstance(event, TaskStarted) for event in events) == 3
    assert sum(isinstance(event, TaskEnded) for event in events) == 3
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == 2
    assert notes[0].endswith("next try in 0.01 s")


@pytest.mark.parametrize("mark", ["Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT", ETAG])
def test_an_early_end_continues(mark: str, serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT[:7], mark, length=len(CONTENT)), rest())
    fetch(server.url, path, md5=MD5, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.offsets() == [None, 7]
    assert f"If-Range: {mark.split(': ')[1]}" in server.requests[1]


def test_broken_chunks_continue(serve: Serve, path: Path) -> None:
    start = head("200 OK", "Transfer-Encoding: chunked", ETAG)
    broken = start + b"%x\r\n" % 5000 + CONTENT[:5000] + b"\r\n" + b"ffff\r\n" + CONTENT[5000:6000]
    server = serve(broken, rest(ETAG))
    fetch(server.url, path, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.offsets() == [None, 6000]


OTHERS = {
    "weak mark": ('ETag: W/"one"', rest(), None),
    "no mark": ("X: y", rest(), None),
    "no ranges": (ETAG, whole(CONTENT, ETAG), 1000),
    "another file": (ETAG, whole(CONTENT, 'ETag: "two"'), 1000),
    "another file in part": (ETAG, rest('ETag: "two"'), 1000),
    "416": (ETAG, head("416 Range Not Satisfiable", "Content-Range: bytes */5"), 1000),
    "another place": (ETAG, head("206 Partial", "Content-Range: bytes 0-8/9") + CONTENT[:9], 1000),
    "a place past the end": (ETAG, head("206 Partial", "Content-Range: bytes 1000-1/9"), 1000),
    "no place": (ETAG, head("206 Partial Content", "Content-Length: 3") + b"abc", 1000),
    "a strange place": (ETAG, head("206 Partial", "Content-Range: a\x1b[2J\x00-/٣"), 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_continued_starts_over(name: str, serve: Serve, path: Path) -> None:
    mark, second, offset = OTHERS[name]
    first = whole(b"older" * 200, mark, length=len(CONTENT))
    if offset is None:  # it is not even asked for
        second = whole()
    server = serve(first, second, whole())
    fetch(server.url, path, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.offsets()[:2] == [None, offset]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int, serve: Serve, path: Path) -> None:
    server = serve(head(f"{status} No"), head(f"{status} No"), whole())
    fetch(server.url, path, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_given_up(serve: Serve, path: Path) -> None:
    server = serve(head("503 Service Unavailable"))
    assert fails(server.url, path) == f"{server.url} answers 503 Service Unavailable"
    assert len(server.requests) == 1 + len(QUICK.wait_seconds)


def test_every_megabyte_gives_new_attempts(serve: Serve, path: Path) -> None:
    content = os.urandom(8 << 20)

    def some(connection: socket.socket, request: str) -> None:
        found = re.search(r"Range: bytes=(\d+)-", request)
        start = int(found[1]) if found else 0
        where = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}"
        lines = ["206 Partial Content", where] if found else ["200 OK"]
        length = f"Content-Length: {len(content) - start}"
        connection.sendall(head(*lines, length, ETAG) + content[start : start + (3 << 19)])

    server = serve(some)
    fetch(server.url, path, limits=replace(QUICK, max_bytes=10**9, wait_seconds=(0.01,)))
    assert path.read_bytes() == content
    assert len(server.requests) == 6


def test_a_few_bytes_each_time_are_given_up(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT[:5], length=len(CONTENT)))
    assert "stopped after 5 of 300,000 bytes" in fails(server.url, path)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("400 Bad Request", "400"),
        ("403 Forbidden", "403 Forbidden"),
        ("404 Not Found", "404"),
        ("410 Gone", "410"),
        ("204 No Content", "204 No Content"),
        ("206 Partial Content", "206 Partial Content"),
        ("302 Found", "302 Found"),
        ("999 What", "999"),
    ],
)
def test_what_will_not_pass_is_asked_once(
    status: str, reason: str, serve: Serve, path: Path
) -> None:
    server = serve(head(status, "Content-Length: 0"))
    limits = replace(QUICK, wait_seconds=() if status[0] == "9" else QUICK.wait_seconds)
    assert f"answers {reason}" in fails(server.url, path, limits)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "text",
    ["0", formatdate(time.time() - 9, usegmt=True), "soon", "-1", ""],
    ids=["none", "a date", "soon", "negative", "empty"],  # two processes must collect the same
)
def test_a_short_wait_is_waited(text: str, serve: Serve, path: Path) -> None:
    server = serve(head("429 Too Many Requests", f"Retry-After: {text}"), whole())
    fetch(server.url, path, limits=QUICK)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("as_date", [False, True])
def test_a_long_wait_is_not(as_date: bool, serve: Serve, path: Path) -> None:
    text = formatdate(time.time() + 3600, usegmt=True) if as_date else "3600"
    server = serve(head("429 Too Many Requests", f"Retry-After: {text}"))
    found = fails(server.url, path)
    assert re.search(r"429 Too Many Requests, and asks to wait 3,(600|59\d) seconds", found)
    assert len(server.requests) == 1


def test_the_wait_is_what_the_server_asks_for(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(
        download, "time", SimpleNamespace(sleep=waited.append, time=time.time)
    )  # not time.sleep itself: the server needs it
    server = serve(head("503 Busy", "Retry-After: 7"), head("503 Busy"), whole())
    fetch(server.url, path, limits=Limits())
    assert waited == [7.0, 2.0]


def test_no_network_is_said_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(connections.socket, "getaddrinfo", search)
    waited: list[float] = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=waited.append, time=time.time))
    text = fails("http://127.0.0.1:80/x.bin", path, Limits())
    assert text.endswith("no network, or none that knows 127.0.0.1")
    assert waited == []


def test_a_search_for_a_host_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(connections.socket, "getaddrinfo", lambda *args, **options: end.wait(9))
    assert "no network" in fails("http://127.0.0.1:80/x.bin", path)
    end.set()


def test_nobody_there_is_said_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(download, "time", None)  # no wait
    assert "refused" in fails(f"http://127.0.0.1:{port}/x.bin", path, Limits())


# ------------------------------------------------------------------ lies


@pytest.mark.parametrize(
    "length", ["-1", "abc", "1e99", "9" * 5000, "٣", "", " 300000 ", "0x10", "1_0"]
)
def test_a_length_that_is_none(length: str, serve: Serve, path: Path) -> None:
    server = serve(head("200 OK", f"Content-Length: {length}") + CONTENT)
    try:
        fetch(server.url, path, limits=QUICK, md5=MD5)
    except DownloadError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert list(path.parent.iterdir()) == []
    else:
        assert path.read_bytes() == CONTENT


def test_a_length_that_is_too_short_is_found_by_the_checksum(serve: Serve, path: Path) -> None:
    server = serve(whole(length=1000))
    assert "wrong checksum" in fails(server.url, path, md5=MD5)
    assert len(server.requests) == 1


REASONS = ["a\x1b[31mred", "a\x00b", "\u202eevil", "x" * 60_000, "é", "a\tb", "<b>", "%s %d {}"]


@pytest.mark.parametrize("reason", REASONS)
def test_strange_reasons(reason: str, serve: Serve, path: Path) -> None:
    server = serve(head(f"404 {reason}"))
    text = fails(server.url, path)
    assert "answers 404" in text
    assert len(text) < 300


STRANGE = [
    b"", b"\n", b"\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n", b"\x16\x03\x01" * 9, b"HTTP/1.1 200 OK\r\n\xff\xfe: \x00\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 200 + b"\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 300 + b"/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:x/\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: //\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("reply", STRANGE)
def test_strange_answers(reply: bytes, serve: Serve, path: Path) -> None:
    limits = replace(QUICK, wait_seconds=(0.01,))
    try:
        fetch(serve(reply).url, path, limits=limits)
    except DownloadError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert [item for item in path.parent.iterdir() if item != path] == []


# ------------------------------------------------------------------ redirects


def test_a_redirect_is_followed(serve: Serve, path: Path) -> None:
    server = serve(head("302 Found", "Location: /other", "Content-Length: 0"), whole())
    fetch(server.url, path, limits=QUICK, md5=MD5)
    assert "GET /other" in server.requests[1]


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,hello", "gopher://x", "FILE:///x"]
)
def test_a_redirect_off_the_web_is_not(target: str, serve: Serve, path: Path) -> None:
    server = serve(head("302 Found", f"Location: {target}", "Content-Length: 0"))
    text = fails(server.url, path)
    assert "not followed" in text or "not allowed" in text
    assert len(server.requests) == 1


def test_https_does_not_become_http() -> None:
    import urllib.request

    made = connections._Redirects("https://example.org/x")
    request = urllib.request.Request("https://example.org/x")
    arguments = (open(os.devnull, "rb"), 302, "Found", {})  # noqa: PTH123, SIM115
    with pytest.raises(connections.RefusedRedirectError, match="http://example"):
        made.redirect_request(request, *arguments, "http://example.org/y")
    assert made.redirect_request(request, *arguments, "https://example.org/y") is not None
    # Where the first address is no better nothing is lost.
    made = connections._Redirects("http://example.org/x")
    assert made.redirect_request(request, *arguments, "http://example.org/y") is not None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "/x", ""])
def test_only_the_web_is_asked(url: str, path: Path) -> None:
    with pytest.raises(DownloadError, match="not an http or https address"):
        fetch(url, path)


def test_a_proxy_of_the_environment_is_used(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(whole())
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/x.bin"))
    monkeypatch.delenv("no_proxy", raising=False)
    fetch("http://127.0.0.1:1/y.bin", path, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert proxy.requests[0].startswith("GET http://127.0.0.1:1/y.bin ")


# ------------------------------------------------------------------ from one command to the next


@pytest.fixture
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "KEPT_BYTES", 1000)


def interrupted(url: str, path: Path, limits: Limits = QUICK) -> None:
    """Begin a download, and stop it as Ctrl-C does once some of it has come."""

    def stop(event: Event) -> None:
        if isinstance(event, TaskAdvanced) and event.completed >= 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), handled_by(stop):
        fetch(url, path, limits=limits)
    assert not path.exists()


def part_of(path: Path) -> Path:
    (part,) = path.parent.iterdir()
    assert part.name.startswith(".x.bin.")
    assert part.name.endswith(".part")
    return part


@pytest.mark.usefixtures("_kept")
def test_the_next_command_continues(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT, ETAG), whole(CONTENT, ETAG), rest(ETAG))
    interrupted(server.url, path)
    part = part_of(path)
    size = part.stat().st_size
    assert CONTENT.startswith(part.read_bytes())
    events: list[Event] = []
    with handled_by(events.append):
        fetch(server.url, path, md5=MD5, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert server.offsets() == [None, None, size]
    assert TaskStarted("check x.bin", size, "bytes") in events
    assert TaskAdvanced("download x.bin", size) in events


@pytest.mark.usefixtures("_kept")
def test_a_failed_download_says_that_it_continues(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT[:2000], ETAG, length=len(CONTENT)), head("404 Not Found"))
    with pytest.raises(DownloadError, match=r"404.*; 2,000 bytes are kept, and the next try"):
        fetch(server.url, path, limits=QUICK)
    assert part_of(path).stat().st_size == 2000


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("mark", ['ETag: "two"', "X: none", 'ETag: W/"one"'])
def test_the_next_command_does_not_continue_another_file(
    mark: str, serve: Serve, path: Path
) -> None:
    server = serve(whole(bytes(300_000), ETAG), whole(CONTENT, mark))
    interrupted(server.url, path)
    fetch(server.url, path, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.offsets() == [None, None]
    assert list(path.parent.iterdir()) == [path]  # the older part is gone too


@pytest.mark.usefixtures("_kept")
def test_nor_that_of_another_address(serve: Serve, path: Path) -> None:
    interrupted(serve(whole(bytes(300_000), ETAG)).url, path)
    fetch(serve(whole(CONTENT, ETAG)).url, path, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("_kept")
def test_a_server_that_cannot_continue_sends_all_of_it(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT, ETAG))
    interrupted(server.url, path)
    fetch(server.url, path, limits=QUICK, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.usefixtures("_kept")
def test_a_part_that_is_complete_needs_no_more(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT, ETAG))
    interrupted(server.url, path)
    part_of(path).write_bytes(CONTENT)
    fetch(server.url, path, limits=QUICK, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.usefixtures("_kept")
def test_a_part_that_is_too_long_starts_over(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT, ETAG))
    interrupted(server.url, path)
    part_of(path).write_bytes(CONTENT + b"more")
    fetch(server.url, path, limits=QUICK, md5=MD5)
    assert path.read_bytes() == CONTENT


@pytest.mark.usefixtures("_kept")
def test_a_damaged_part_is_found_by_the_checksum_and_removed(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT, ETAG), whole(CONTENT, ETAG), rest(ETAG), whole(CONTENT, ETAG))
    interrupted(server.url, path)
    part = part_of(path)
    part.write_bytes(bytes(part.stat().st_size))
    assert "wrong checksum" in fails(server.url, path, md5=MD5)
    fetch(server.url, path, limits=QUICK, md5=MD5)
    assert path.read_bytes() == CONTENT


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_part_that_is_no_file_is_not_written_through(
    kind: str, serve: Serve, path: Path, tmp_path: Path
) -> None:
    server = serve(whole(CONTENT, ETAG))
    interrupted(server.url, path)
    part = part_of(path)
    part.unlink()
    other = tmp_path / "mine"
    other.write_bytes(b"mine")
    if kind == "link":
        part.symlink_to(other)
    else:
        os.mkfifo(part)
    fetch(server.url, path, limits=QUICK, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()
    assert other.read_bytes() == b"mine"


def test_a_link_at_the_name_itself_is_replaced(serve: Serve, path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    path.symlink_to(tmp_path / "mine")
    fetch(serve(whole()).url, path, limits=QUICK, md5=MD5)
    assert not path.is_symlink()
    assert (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.usefixtures("_kept")
def test_two_processes_do_not_disturb_each_other(serve: Serve, path: Path) -> None:
    """Each has its own file, or one lock; the file handles here are as separate as theirs."""
    server = serve(whole(CONTENT, ETAG))
    halfway, done = threading.Event(), threading.Event()

    def pause(event: Event) -> None:
        if isinstance(event, TaskAdvanced) and not halfway.is_set():
            halfway.set()
            assert done.wait(5)

    slow = Limits(max_bytes=10**9)

    def fetch_slowly() -> None:
        with handled_by(pause):
            fetch(server.url, path, md5=MD5, limits=slow)

    first = threading.Thread(target=fetch_slowly)
    first.start()
    assert halfway.wait(5)
    fetch(server.url, path, md5=MD5, limits=slow)
    assert path.read_bytes() == CONTENT
    done.set()
    first.join(5)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_little_is_not_kept(serve: Serve, path: Path) -> None:
    server = serve(whole(CONTENT, ETAG))
    interrupted(server.url, path)
    assert list(path.parent.iterdir()) == []


def test_an_interrupt_in_the_wait_ends_it(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=sleep, time=time.time))
    with pytest.raises(KeyboardInterrupt):
        fetch(serve(head("503 Busy")).url, path)
    assert list(path.parent.iterdir()) == []


STATES: dict[str, Reply | bytes] = {
    "waiting for the next try": head("503 Busy", "Retry-After: 50"),
    "in a silent header": for_ever(b"HTTP/1.1 200 OK\r\n", b"", 0.05),
    "in a silent body": for_ever(whole(CONTENT[:5000], length=10_000), b"", 0.05),
    "in a slow body": for_ever(whole(CONTENT[:5000], length=90_000), b"x", 0.01),
    "in a fast body": for_ever(head("200 OK"), bytes(50_000)),
    "looking for the host": b"",
}


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_is_heard(
    state: str, serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(STATES[state])
    if state == "looking for the host":
        end = threading.Event()
        monkeypatch.setattr(connections.socket, "getaddrinfo", lambda *args, **options: end.wait(9))
    main = threading.main_thread().ident
    assert main is not None
    press = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    press.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url, path, limits=Limits(max_bytes=10**12))
    assert time.monotonic() - start < 5
    assert list(path.parent.iterdir()) == []


# ------------------------------------------------------------------ the disk


def test_a_file_that_does_not_fit_is_not_begun(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"x\.bin needs 300,000 bytes, and 1,000 are free") as caught:
        fetch(serve(whole()).url, path, limits=QUICK)
    assert caught.value.errno == errno.ENOSPC
    assert list(path.parent.iterdir()) == []
