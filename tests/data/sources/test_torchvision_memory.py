"""The sets that live in memory, from tiny files in their true formats."""

import bz2
import gzip
import hashlib
import io
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets as live
from torch import Tensor

from cnnkit.data import DATASETS, open_dataset
from cnnkit.data.entry import TorchvisionSource
from cnnkit.data.image_set import TensorSet
from cnnkit.data.sources.torchvision_files import FileService
from cnnkit.errors import UnavailableError
from cnnkit.events import Event, Warned, ignore

Expected = dict[str, tuple[np.ndarray, list[int]]]  # by split: images (N, C, H, W), and labels


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """Return an array in the format of MNIST's files."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


def write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5(content)


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def mnist_like(dataset_class: Any, root: Path, patch: pytest.MonkeyPatch) -> Expected:
    resources, expected = [], {}
    for split, part, count in (("train", "train", 30), ("test", "t10k", 12)):
        images = pixels(count, count, 28, 28)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels)):
            place = root / dataset_class.__name__ / "raw" / f"{name}-ubyte.gz"
            resources.append((place.name, write(place, gzip.compress(idx(array)))))
        expected[split] = (images[:, None], labels.tolist())
    patch.setattr(dataset_class, "resources", resources)
    return expected


def emnist(variant: str, num_classes: int, first: int) -> Callable[..., Expected]:
    def build(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        expected: Expected = {}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as pack:
            for split, count in (("train", 2 * num_classes), ("test", num_classes)):
                upright = pixels(count, count, 28, 28)
                labels = np.arange(count, dtype=np.uint8) % num_classes
                parts = {
                    "images-idx3": upright.transpose(0, 2, 1).copy(),
                    "labels-idx1": labels + first,
                }
                for part, array in parts.items():
                    name = f"gzip/emnist-{variant}-{split}-{part}-ubyte.gz"
                    pack.writestr(name, gzip.compress(idx(array.astype(np.uint8))))
                expected[split] = (upright[:, None], labels.tolist())
        patch.setattr(
            live.EMNIST, "md5", write(root / "EMNIST" / "raw" / "gzip.zip", buffer.getvalue())
        )
        return expected

    return build


def qmnist(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    expected: Expected = {}
    resources = {}
    for subset, count in (("train", 20), ("test", 10_010)):
        images = np.broadcast_to(pixels(count, 10, 28, 28), (count // 10, 10, 28, 28))
        images = images.reshape(count, 28, 28)
        labels = np.full((count, 8), 77, dtype=">i4")
        labels[:, 0] = np.arange(count) % 10
        pairs = []
        for name, array, kind in (
            ("images-idx3-ubyte", images, 8),
            ("labels-idx2-int", labels, 12),
        ):
            place = root / "QMNIST" / "raw" / f"qmnist-{subset}-{name}.gz"
            pairs.append((f"https://x/{place.name}", write(place, gzip.compress(idx(array, kind)))))
        resources[subset] = pairs
        expected[subset] = (images[:, None], labels[:, 0].tolist())
    images, digits = expected["test"]
    expected["test10k"] = (images[:10_000], digits[:10_000])
    expected["test50k"] = (images[10_000:], digits[10_000:])
    patch.setattr(live.QMNIST, "resources", {**resources, "nist": resources["train"]})
    return expected


def usps(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    expected: Expected = {}
    for split, name, count in (("train", "usps.bz2", 30), ("test", "usps.t.bz2", 10)):
        images = pixels(count, count, 256) // 255 * 255  # the extremes alone come back exactly
        labels = [index % 10 for index in range(count)]
        lines = [
            " ".join([str(label + 1), *(f"{i + 1}:{v / 255 * 2 - 1}" for i, v in enumerate(row))])
            for label, row in zip(labels, images, strict=True)
        ]
        write(root / name, bz2.compress("\n".join(lines).encode()))
        expected[split] = (images.reshape(-1, 1, 16, 16), labels)
    return expected


def semeion(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    images = pixels(1, 50, 256) // 128
    labels = [index % 10 for index in range(50)]
    table = np.hstack([images, np.eye(10, dtype=int)[labels]])
    content = "\n".join(" ".join(f"{value:.4f}" for value in row) for row in table).encode()
    patch.setattr(live.SEMEION, "md5_checksum", write(root / "semeion.data", content))
    return {"whole": (images.reshape(-1, 1, 16, 16) * 255, labels)}


def cifar(dataset_class: Any, num_classes: int, key: str) -> Callable[..., Expected]:
    def build(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        expected: Expected = {}
        files: dict[str, bytes] = {}
        for split, names in (
            ("train", dataset_class.train_list),
            ("test", dataset_class.test_list),
        ):
            images = pixels(len(names), len(names), num_classes, 3 * 32 * 32)
            labels = list(range(num_classes))
            for (name, _), part in zip(names, images, strict=True):
                files[name] = pickle.dumps({"data": part, key: labels})
            expected[split] = (images.reshape(-1, 3, 32, 32), labels * len(names))
        meta = dataset_class.meta
        files[meta["filename"]] = pickle.dumps({meta["key"]: ["?"] * num_classes})
        archive = tar_of(
            {f"{dataset_class.base_folder}/{name}": data for name, data in files.items()}
        )
        patch.setattr(dataset_class, "tgz_md5", write(root / dataset_class.filename, archive))
        patch.setattr(dataset_class, "meta", {**meta, "md5": md5(files[meta["filename"]])})
        for attribute in ("train_list", "test_list"):
            names = [[name, md5(files[name])] for name, _ in getattr(dataset_class, attribute)]
            patch.setattr(dataset_class, attribute, names)
        return expected

    return build


def svhn(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    expected: Expected = {}
    splits = {}
    for split, (url, name, _) in live.SVHN.split_list.items():
        images = pixels(len(split), 20, 3, 32, 32)
        labels = np.arange(20) % 10
        buffer = io.BytesIO()
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        scipy.io.savemat(buffer, {"X": images.transpose(2, 3, 1, 0), "y": stored})
        splits[split] = [url, name, write(root / name, buffer.getvalue())]
        expected[split] = (images, labels.tolist())
    patch.setattr(live.SVHN, "split_list", splits)
    return expected


def stl10(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    expected: Expected = {}
    files = {"unlabeled_X.bin": b"", "class_names.txt": b"airplane\nbird\n"}
    for split in ("train", "test"):
        images = pixels(len(split), 12, 3, 96, 96)
        labels = [index % 10 for index in range(12)]
        files[f"{split}_X.bin"] = images.transpose(0, 1, 3, 2).tobytes()  # column by column
        files[f"{split}_y.bin"] = bytes(label + 1 for label in labels)
        expected[split] = (images, labels)
    archive = tar_of({f"stl10_binary/{name}": content for name, content in files.items()})
    patch.setattr(live.STL10, "tgz_md5", write(root / live.STL10.filename, archive))
    for attribute in ("train_list", "test_list"):
        names = [[name, md5(files[name])] for name, _ in getattr(live.STL10, attribute)]
        patch.setattr(live.STL10, attribute, names)
    return expected


def fer2013(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    images = pixels(5, 21, 48 * 48)
    usage = ["Training", "PublicTest", "PrivateTest"] * 7
    labels = [index % 7 for index in range(21)]
    lines = ["emotion,pixels,Usage"] + [
        f"{label},{' '.join(map(str, row))},{part}"
        for label, row, part in zip(labels, images, usage, strict=True)
    ]
    checksum = write(root / "fer2013" / "fer2013.csv", "\n".join(lines).encode())
    resources = {**live.FER2013._RESOURCES, "fer": ("fer2013.csv", checksum)}
    patch.setattr(live.FER2013, "_RESOURCES", resources)
    whole = images.reshape(-1, 1, 48, 48)
    return {
        split: (whole[chosen], [labels[index] for index in chosen])
        for split, chosen in (
            ("train", [i for i, part in enumerate(usage) if part == "Training"]),
            ("test", [i for i, part in enumerate(usage) if part != "Training"]),
        )
    }


def pretend_h5py(patch: pytest.MonkeyPatch) -> None:
    """Stand in for h5py: files of NumPy's own format, opened the same way."""

    class File(dict[str, np.ndarray]):
        def __init__(self, path: Path, mode: str) -> None:
            super().__init__(np.load(path))

        def __enter__(self) -> "File":
            return self

        def __exit__(self, *error: object) -> None: ...

    module = ModuleType("h5py")
    module.__spec__ = ModuleSpec("h5py", None)
    module.File = File  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "h5py", module)


def h5_bytes(key: str, array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{key: array})
    return buffer.getvalue()


def pcam(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    pretend_h5py(patch)
    expected: Expected = {}
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        images = pixels(len(name), 9, 3, 96, 96)
        labels = [index % 2 for index in range(9)]
        stem = root / "pcam" / f"camelyonpatch_level_2_split_{name}"
        write(Path(f"{stem}_x.h5"), h5_bytes("x", images.transpose(0, 2, 3, 1)))
        write(Path(f"{stem}_y.h5"), h5_bytes("y", np.array(labels).reshape(-1, 1, 1, 1)))
        expected[split] = (images, labels)
    return expected


BUILDERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Expected]] = {
    "mnist": lambda root, patch: mnist_like(live.MNIST, root, patch),
    "fashion_mnist": lambda root, patch: mnist_like(live.FashionMNIST, root, patch),
    "kmnist": lambda root, patch: mnist_like(live.KMNIST, root, patch),
    "qmnist": qmnist,
    "emnist": emnist("balanced", 47, 0),
    "emnist_byclass": emnist("byclass", 62, 0),
    "emnist_bymerge": emnist("bymerge", 47, 0),
    "emnist_letters": emnist("letters", 26, 1),
    "emnist_digits": emnist("digits", 10, 0),
    "emnist_mnist": emnist("mnist", 10, 0),
    "usps": usps,
    "semeion": semeion,
    "cifar10": cifar(live.CIFAR10, 10, "labels"),
    "cifar100": cifar(live.CIFAR100, 100, "fine_labels"),
    "svhn": svhn,
    "stl10": stl10,
    "pcam": pcam,
    "fer2013": fer2013,
}


def open_in_memory(
    name: str, split: str, root: Path, on_event: Callable[[Event], None] = ignore
) -> TensorSet:
    opened = open_dataset(name, split, data_dir=root, on_event=on_event)
    assert isinstance(opened, TensorSet)
    return opened


def test_every_set_in_memory_is_tested() -> None:
    readers = ("arrays", "pcam", "fer2013")
    assert set(BUILDERS) == {
        entry.name
        for entry in DATASETS.values()
        if isinstance(entry.source, TorchvisionSource) and entry.source.reader in readers
    }


@pytest.mark.parametrize("name", BUILDERS)
def test_images_and_labels_are_those_of_the_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = BUILDERS[name](tmp_path, monkeypatch)
    entry = DATASETS[name]
    for split, (images, labels) in expected.items():
        if split == "whole":
            continue
        events: list[Event] = []
        opened = open_in_memory(name, split, tmp_path, events.append)
        assert torch.equal(opened.images, torch.from_numpy(images.copy()))
        assert opened.labels.tolist() == labels
        check_form(opened)
        assert (opened.dataset, opened.split, opened.classes) == (name, split, entry.classes)
        assert (opened.channels, opened.size) == (entry.channels, entry.size)
        warned = [event.text for event in events if isinstance(event, Warned)]
        assert len(warned) == (len(labels) != entry.splits[split].num_images)
    assert capfd.readouterr() == ("", "")


def check_form(opened: TensorSet) -> None:
    assert opened.images.dtype == torch.uint8
    assert opened.labels.dtype == torch.int64
    assert opened.images.is_contiguous()
    assert opened.labels.is_contiguous()


def test_semeion_is_split_by_a_fifth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = semeion(tmp_path, monkeypatch)["whole"]
    train, test = (open_in_memory("semeion", split, tmp_path) for split in ("train", "test"))
    assert train.labels.bincount().tolist() == [4] * 10
    assert test.labels.bincount().tolist() == [1] * 10

    def rows(images: Tensor, labels: list[int]) -> list[tuple[int, ...]]:
        pairs = zip(images.flatten(1).tolist(), labels, strict=True)
        return [(label, *row) for row, label in pairs]

    both = rows(train.images, train.labels.tolist()) + rows(test.images, test.labels.tolist())
    assert sorted(both) == sorted(rows(torch.from_numpy(images), labels))


def test_mnist_is_mnist(shared_mnist: Path) -> None:
    train = open_in_memory("mnist", "train", shared_mnist)
    test = open_in_memory("mnist", "test", shared_mnist)
    assert train.images.numel() == 47_040_000
    assert int(train.images.sum(dtype=torch.int64)) == 1_567_298_545
    mean = int(test.images.sum(dtype=torch.int64)) / test.images.numel() / 255
    assert mean == pytest.approx(0.13251461, abs=5e-9)
    assert train.labels.bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip


def test_fer2013_without_labels_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = " ".join(["7"] * 48 * 48)
    checksum = write(tmp_path / "fer2013" / "test.csv", f"pixels\n{row}\n".encode())
    resources = {**live.FER2013._RESOURCES, "test": ("test.csv", checksum)}
    monkeypatch.setattr(live.FER2013, "_RESOURCES", resources)
    with pytest.raises(UnavailableError, match=r"test\.csv has no labels"):
        open_in_memory("fer2013", "test", tmp_path)


def test_pcam_comes_from_its_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    pretend_h5py(monkeypatch)
    address, folder = server
    images = pixels(3, 4, 96, 96, 3)
    contents = {"images": h5_bytes("x", images), "targets": h5_bytes("y", np.array([0, 1, 1, 0]))}
    files = {}
    for part, (name, file_id, _) in live.PCAM._FILES["val"].items():
        files[part] = (name, file_id, write(folder / f"{name}.gz", gzip.compress(contents[part])))
    monkeypatch.setattr(live.PCAM, "_FILES", {"val": files})
    source = DATASETS["pcam"].source
    assert isinstance(source, TorchvisionSource)
    monkeypatch.setattr(
        "cnnkit.data.sources.torchvision_sets.FileService",
        lambda drive_mirror, **options: FileService(drive_mirror=f"{address}/", **options),
    )
    opened = open_in_memory("pcam", "val", tmp_path / "data")
    assert torch.equal(opened.images, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert opened.labels.tolist() == [0, 1, 1, 0]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.sources.torchvision_sets.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pcam needs the package h5py; `pip install h5py`"):
        open_in_memory("pcam", "train", tmp_path)
