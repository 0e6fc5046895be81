"""What happens when files are missing, damaged, or cannot be written."""

import errno
import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision.datasets as live
from torchvision.datasets import pcam, svhn, utils

from cnnkit.data import DATASETS, open_dataset
from cnnkit.data.entry import TorchvisionSource
from cnnkit.data.sources import torchvision_files
from cnnkit.errors import ExitCode, UnavailableError
from cnnkit.events import Event, Note, TaskAdvanced, TaskEnded, TaskStarted, Warned, ignore

TORCHVISION = [
    name for name, entry in DATASETS.items() if isinstance(entry.source, TorchvisionSource)
]


def fails(
    name: str,
    root: Path,
    *,
    split: str = "train",
    download: bool = True,
    on_event: Callable[[Event], None] = ignore,
) -> str:
    with pytest.raises(UnavailableError) as caught:
        open_dataset(name, split, data_dir=root, download=download, on_event=on_event)
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mnist_files(folder: Path) -> list[tuple[str, str]]:
    """Write MNIST's four files with ten images each, and return names and checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    resources = []
    for part in ("train", "t10k"):
        images = bytes([0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(7840)
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 10, *range(10)])
        for name, content in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels)):
            packed = gzip.compress(content)
            (folder / f"{name}-ubyte.gz").write_bytes(packed)
            resources.append((f"{name}-ubyte.gz", hashlib.md5(packed).hexdigest()))
    return resources


def all_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("download", [True, False])
def test_a_set_that_cannot_be_had(
    name: str,
    download: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("cnnkit.data.sources.torchvision_sets.find_spec", lambda name: object())
    if name == "pcam":
        monkeypatch.setitem(__import__("sys").modules, "h5py", object())
    events: list[Event] = []
    root = tmp_path / "data"
    text = fails(name, root, download=download, on_event=events.append)
    source = DATASETS[name].source
    assert isinstance(source, TorchvisionSource)
    assert text.startswith(f"{name} ")
    assert str(root) in text
    assert all(place in text for place in source.layout)
    assert "`digits` needs no download" in text
    assert ("no network in tests" in text) == (download and source.downloads)
    assert ("downloading is disabled" in text) == (not download and source.downloads)
    assert ("cannot be downloaded" in text) == (not source.downloads)
    assert events == []
    assert not root.exists()
    assert capfd.readouterr() == ("", "")


def test_a_download_is_followed_and_mirrors_are_tried(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, folder = server
    monkeypatch.setattr(live.MNIST, "resources", mnist_files(folder / "second"))
    monkeypatch.setattr(live.MNIST, "mirrors", [f"{address}/first/", f"{address}/second/"])
    events: list[Event] = []
    root = tmp_path / "data"
    opened = open_dataset("mnist", "test", data_dir=root, on_event=events.append)
    assert opened.labels.tolist() == list(range(10))
    started = [event for event in events if isinstance(event, TaskStarted)]
    ended = [event.task for event in events if isinstance(event, TaskEnded)]
    assert [event.task for event in started] == ended
    assert sum(event.task.startswith("download ") for event in started) == 4
    assert {event.unit for event in started} == {"bytes"}
    assert [type(event) for event in events[-1:]] == [Warned]
    assert len(all_files(root / "MNIST" / "raw")) == 8
    assert capfd.readouterr() == ("", "")
    # What lies there needs no network any more.
    monkeypatch.setattr(live.MNIST, "mirrors", [])
    assert len(open_dataset("mnist", "train", data_dir=root, download=False)) == 10


def test_what_is_missing_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:  # two mirrors have it
        open_dataset("mnist", "train", data_dir=tmp_path, download=False)
    assert caught.value.message.count("train-images-idx3-ubyte.gz is missing") == 1


def test_an_interrupted_download_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    address, folder = server
    monkeypatch.setattr(live.MNIST, "resources", mnist_files(folder))
    monkeypatch.setattr(live.MNIST, "mirrors", [f"{address}/"])
    originals = (utils.download_url, svhn.download_url, utils.extract_archive, pcam._decompress)

    def interrupt(event: Event) -> None:
        if isinstance(event, TaskAdvanced):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_dataset("mnist", "test", data_dir=tmp_path / "data", on_event=interrupt)
    assert not (tmp_path / "data").exists()
    after = (utils.download_url, svhn.download_url, utils.extract_archive, pcam._decompress)
    assert after == originals


def test_a_wrong_file_from_every_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    address, folder = server
    resources = mnist_files(folder)
    (folder / resources[0][0]).write_bytes(b"something else")
    monkeypatch.setattr(live.MNIST, "resources", resources)
    monkeypatch.setattr(live.MNIST, "mirrors", [f"{address}/"])
    assert "wrong checksum" in fails("mnist", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_damaged_file_that_was_placed_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    resources = mnist_files(raw)
    monkeypatch.setattr(live.MNIST, "resources", resources)
    (raw / resources[0][0]).write_bytes(b"half a file")
    before = all_files(tmp_path)
    text = fails("mnist", tmp_path)
    assert f"{raw / resources[0][0]} is not the published file" in text
    assert "no network in tests" in text
    assert all_files(tmp_path) == before


def test_a_damaged_file_that_was_unpacked_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.MNIST, "resources", mnist_files(tmp_path / "MNIST" / "raw"))
    open_dataset("mnist", "train", data_dir=tmp_path)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:1000])
    assert "files of mnist in" in fails("mnist", tmp_path)


def refuse_to_unpack(monkeypatch: pytest.MonkeyPatch, root: Path, number: int) -> None:
    """Let every unpacking below `root` end in this error of the operating system."""
    real = torchvision_files.unpack

    def unpack(archive: Path, folder: Path) -> None:
        if folder.is_relative_to(root):
            raise OSError(number, os.strerror(number), str(folder))
        real(archive, folder)

    monkeypatch.setattr(torchvision_files, "unpack", unpack)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_to_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(live.MNIST, "resources", mnist_files(tmp_path / "MNIST" / "raw"))
    refuse_to_unpack(monkeypatch, tmp_path, number)
    before = all_files(tmp_path)
    events: list[Event] = []
    opened = open_dataset("mnist", "train", data_dir=tmp_path, on_event=events.append)
    assert len(opened) == 10
    assert any(isinstance(event, Note) and "cannot be written to" in event.text for event in events)
    assert all_files(tmp_path) == before


def test_no_permission_and_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: str, *args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "makedirs", mkdir)
    text = fails("mnist", tmp_path)
    assert text.startswith(f"no permission to use {tmp_path}")
    assert "data_dir" in text


def test_image_files_need_a_folder_to_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dtd").mkdir()
    archive = tmp_path / "dtd" / "dtd-r1.0.1.tar.gz"
    archive.write_bytes(b"an archive")
    monkeypatch.setattr(live.DTD, "_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    refuse_to_unpack(monkeypatch, tmp_path, errno.EACCES)
    assert fails("dtd", tmp_path).startswith("no permission to use")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.MNIST, "resources", mnist_files(tmp_path / "MNIST" / "raw"))
    refuse_to_unpack(monkeypatch, tmp_path, errno.ENOSPC)
    text = fails("mnist", tmp_path)
    assert text.startswith("no space left on the disk")
    assert "data_dir" in text


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "Not a directory" in fails("mnist", tmp_path / "data")


def test_a_split_that_does_not_fit_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(live.MNIST, "resources", mnist_files(tmp_path / "MNIST" / "raw"))
    monkeypatch.setattr(live.MNIST, "_load_data", read)
    assert "mnist train does not fit in memory" in fails("mnist", tmp_path)
