"""Nothing in these tests may reach beyond this machine."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

SHARED_MNIST = Path(__file__).parents[3] / "shared" / "data" / "MNIST" / "raw"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = urllib.request.OpenerDirector.open

    def open_url(
        self: urllib.request.OpenerDirector,
        request: urllib.request.Request,
        *args: Any,
        **options: Any,
    ) -> Any:
        if request.host.startswith("127.0.0.1:"):
            return real(self, request, *args, **options)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", open_url)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the address of a server, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()
        thread.join()


@pytest.fixture
def shared_mnist(tmp_path: Path) -> Path:
    """Return a data folder with MNIST's four files as they are published."""
    if not SHARED_MNIST.is_dir():
        pytest.skip(f"MNIST's four files are not in {SHARED_MNIST}")
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in SHARED_MNIST.glob("*.gz"):
        (raw / file.name).write_bytes(file.read_bytes())
    return tmp_path / "data"
