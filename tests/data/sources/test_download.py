import bz2
import errno
import gzip
import hashlib
import io
import os
import socket
import tarfile
import zipfile
from pathlib import Path
from threading import Thread

import pytest

from cnnkit.data.sources import download
from cnnkit.data.sources.download import DownloadError, Limits, fetch
from cnnkit.data.sources.unpacking import ArchiveError, decompress, unpack
from cnnkit.events import Event, TaskAdvanced, TaskEnded, TaskStarted, handled_by

CONTENT = bytes(range(256)) * 4000


def test_a_download_arrives_whole_and_is_followed(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "a.bin").write_bytes(CONTENT)
    events: list[Event] = []
    target = tmp_path / "new" / "b.bin"
    with handled_by(events.append):
        fetch(f"{address}/a.bin", target, md5=hashlib.md5(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert events[0] == TaskStarted("download b.bin", len(CONTENT), "bytes")
    assert events[-1] == TaskEnded("download b.bin")
    steps = [event.completed for event in events if isinstance(event, TaskAdvanced)]
    assert steps == sorted(steps)
    assert steps[-1] == len(CONTENT)


def test_a_wrong_checksum_leaves_the_older_file(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "a.bin").write_bytes(CONTENT)
    target = tmp_path / "out" / "a.bin"
    target.parent.mkdir()
    target.write_bytes(b"older")
    with pytest.raises(DownloadError, match="checksum"):
        fetch(f"{address}/a.bin", target, md5="0" * 32)
    assert [(item.name, item.read_bytes()) for item in target.parent.iterdir()] == [
        ("a.bin", b"older")
    ]


def test_a_missing_file_is_told(server: tuple[str, Path], tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(DownloadError, match="answers 404"), handled_by(events.append):
        fetch(f"{server[0]}/none", tmp_path / "out" / "x")
    assert list((tmp_path / "out").iterdir()) == []
    assert events == []


def test_a_refused_connection_is_told(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*refused"):
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "out" / "x")


def answer_once(reply: bytes, wait: float = 0.0) -> str:
    """Serve one request with these bytes, and return the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(reply)
            if wait:
                connection.settimeout(wait)
                connection.recv(1)

    Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/x"


def test_a_body_cut_short_is_not_kept(tmp_path: Path) -> None:
    address = answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    with pytest.raises(DownloadError, match="stopped after 9 of 100 bytes"):
        fetch(address, tmp_path / "out" / "x", limits=Limits(wait_seconds=()))
    assert list((tmp_path / "out").iterdir()) == []


def test_silence_ends_after_the_timeout(tmp_path: Path) -> None:
    address = answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly", wait=5.0)
    with pytest.raises(DownloadError, match="timed out"):
        fetch(address, tmp_path / "out" / "x", limits=Limits(silence_seconds=0.2, wait_seconds=()))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_download_leaves_nothing(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "a.bin").write_bytes(CONTENT)
    events: list[Event] = []

    def interrupt(event: Event) -> None:
        events.append(event)
        if isinstance(event, TaskAdvanced):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), handled_by(interrupt):
        fetch(f"{address}/a.bin", tmp_path / "out" / "a.bin")
    assert list((tmp_path / "out").iterdir()) == []
    assert events[-1] == TaskEnded("download a.bin")


def make_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def make_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as pack:
        for name, content in files.items():
            pack.writestr(name, content)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.zip"])
@pytest.mark.parametrize("exists", [True, False])
def test_archives_are_merged_into_what_lies_there(tmp_path: Path, name: str, exists: bool) -> None:
    archive, folder = tmp_path / name, tmp_path / "out"
    make = make_zip if name.endswith("zip") else make_tar
    make(archive, {"set/one/1.txt": b"1", "set/two/2.txt": b"2"})
    if exists:
        (folder / "set" / "one").mkdir(parents=True)
        (folder / "set" / "one" / "0.txt").write_bytes(b"0")
    events: list[Event] = []
    with handled_by(events.append):
        unpack(archive, folder)
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == [*(["set/one/0.txt"] if exists else []), "set/one/1.txt", "set/two/2.txt"]
    assert {item.name for item in folder.iterdir()} == {"set"}
    assert events[0] == TaskStarted(f"unpack {name}", archive.stat().st_size, "bytes")
    assert events[-1] == TaskEnded(f"unpack {name}")


@pytest.mark.parametrize("exists", [True, False])
def test_interrupted_unpacking_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    archive, folder = tmp_path / "a.tar", tmp_path / "out"
    make_tar(archive, {"1.txt": b"1", "2.txt": b"2"})
    if exists:
        folder.mkdir()

    def interrupt(event: Event) -> None:
        if isinstance(event, TaskAdvanced):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), handled_by(interrupt):
        unpack(archive, folder)
    assert sorted(item.name for item in tmp_path.rglob("*")) == ["a.tar"] + ["out"] * exists


def test_single_files_are_unpacked_whole_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "b.bz2").write_bytes(bz2.compress(CONTENT))
    (tmp_path / "c.gz").write_bytes(gzip.compress(CONTENT)[:-20])
    unpack(tmp_path / "a.gz", tmp_path / "out")
    unpack(tmp_path / "b.bz2", tmp_path / "out")
    with pytest.raises(ArchiveError, match="damaged"):
        decompress(tmp_path / "c.gz", tmp_path / "out" / "c")
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert (tmp_path / "out" / "a").read_bytes() == (tmp_path / "out" / "b").read_bytes() == CONTENT


def test_an_unknown_kind_of_archive(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(ValueError, match="not an archive"):
        unpack(tmp_path / "a.rar", tmp_path / "out")


def test_members_cannot_leave_the_folder(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"../outside.txt": b"!"})
    with pytest.raises(ArchiveError, match="leads out"):
        unpack(tmp_path / "a.tar", tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "outside.txt").exists()


def test_a_full_disk_leaves_no_half_file(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    (folder / "a.bin").write_bytes(CONTENT)

    def replace(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download.os, "replace", replace)
    with pytest.raises(OSError, match="No space left"):
        fetch(f"{address}/a.bin", tmp_path / "out" / "a.bin")
    assert list((tmp_path / "out").iterdir()) == []
