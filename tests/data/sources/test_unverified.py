"""Files of named sets that are hostile: nothing of them runs, and none fills the memory."""

import bz2
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets as live

from cnnkit.data import DATASETS, open_dataset
from cnnkit.data.entry import TorchvisionSource
from cnnkit.data.sources import unverified
from cnnkit.errors import UnavailableError
from tests.data.sources.test_torchvision_layouts import BUILDERS as LAYOUTS
from tests.data.sources.test_torchvision_memory import BUILDERS, h5_bytes


def refused(name: str, split: str, root: Path) -> str:
    with pytest.raises(UnavailableError) as caught:
        open_dataset(name, split, data_dir=root, download=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Hostile:
    """A pickle of it makes a folder where it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


# ------------------------------------------------------------------ code


PICKLES = [
    (
        "cifar10",
        "cifar-10-batches-py",
        ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"],
    ),
    ("cifar100", "cifar-100-python", ["train", "test", "meta"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "folder", "files"), PICKLES)
def test_a_pickle_is_read_only_where_its_checksum_is_right(
    name: str, folder: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, ran = tmp_path / "data", tmp_path / "ran"
    data.mkdir()
    BUILDERS[name](data, monkeypatch)
    archive = data / getattr(live, DATASETS[name].source.class_name).filename  # type: ignore[union-attr]
    open_dataset(name, "train", data_dir=data)  # which unpacks the archive
    archive.unlink()
    for file in files:
        path = data / folder / file
        original = path.read_bytes()
        path.write_bytes(pickle.dumps(Hostile(ran)))
        for split in ("train", "test"):
            refused(name, split, data)
        assert not ran.exists(), f"{file} was executed"
        path.write_bytes(original)
        open_dataset(name, "test", data_dir=data)
    pickle.loads(pickle.dumps(Hostile(ran)))
    assert ran.exists()  # it does run where it is let


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "emnist", "qmnist"])
def test_the_files_of_old_versions_run_nothing(name: str, tmp_path: Path) -> None:
    """Torchvision still reads them where they lie there."""
    source = DATASETS[name].source
    assert isinstance(source, TorchvisionSource)
    folder = tmp_path / source.class_name / "processed"
    folder.mkdir(parents=True)
    ran = tmp_path / "ran"
    names = ["training.pt", "test.pt", "train.pt", "training_balanced.pt", "test_balanced.pt"]
    for file in names:
        torch.save((Hostile(ran), torch.zeros(3)), folder / file)
    for split in ("train", "test"):
        refused(name, split, tmp_path)
    for file in names:
        (folder / file).write_bytes(pickle.dumps(Hostile(ran)))
    for split in ("train", "test"):
        refused(name, split, tmp_path)
    assert not ran.exists()


def test_the_list_of_imagenet_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "imagenet" / "train" / "n0").mkdir(parents=True)
    torch.save(({"n0": Hostile(ran)}, ["n0"]), tmp_path / "imagenet" / "meta.bin")
    refused("imagenet", "train", tmp_path)
    (tmp_path / "imagenet" / "meta.bin").write_bytes(pickle.dumps(Hostile(ran)))
    refused("imagenet", "train", tmp_path)
    assert not ran.exists()


def test_no_array_of_objects_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's own files may hold pickles; torchvision has other readers for those of its sets."""
    ran = tmp_path / "ran"
    buffer = io.BytesIO()
    np.save(buffer, np.array([Hostile(ran)], dtype=object), allow_pickle=True)
    for name in ("svhn", "stl10", "semeion"):
        data = tmp_path / name
        data.mkdir()
        BUILDERS[name](data, monkeypatch)
        open_dataset(name, "train", data_dir=data)
        for path in [path for path in data.rglob("*") if path.suffix in (".mat", ".bin", ".data")]:
            path.write_bytes(buffer.getvalue())
        for archive in data.glob("*.tar.gz"):
            archive.unlink()
        refused(name, "train", data)
    assert not ran.exists()


# ------------------------------------------------------------------ too much


def sparse(path: Path, num_bytes: int) -> None:
    """Make a file that takes no room on the disk, but does in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(num_bytes)


PLACES = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
    "fashion_mnist": "FashionMNIST/raw/t10k-labels-idx1-ubyte",
    "kmnist": "KMNIST/processed/training.pt",
    "qmnist": "QMNIST/raw/qmnist-train-labels-idx2-int",
    "emnist": "EMNIST/raw/emnist-balanced-train-images-idx3-ubyte",
    "usps": "usps.bz2",
    "stanford_cars": "stanford_cars/devkit/cars_meta.mat",
    "imagenet": "imagenet/meta.bin",
    "food101": "food-101/meta/train.json",
    "oxford_iiit_pet": "oxford-iiit-pet/annotations/trainval.txt",
    "dtd": "dtd/dtd/labels/train1.txt",
    "gtsrb": "gtsrb/GT-final_test.csv",
    "fgvc_aircraft": "fgvc-aircraft-2013b/data/variants.txt",
    "sun397": "SUN397/ClassName.txt",
    "clevr": "clevr/CLEVR_v1.0/scenes/CLEVR_train_scenes.json",
}


def test_every_limit_has_its_set() -> None:
    classes = {DATASETS[name].source.class_name for name in PLACES}  # type: ignore[union-attr]
    assert classes == set(unverified.LIMITS)


@pytest.mark.parametrize("name", PLACES)
def test_a_file_that_is_too_large_is_not_read(name: str, tmp_path: Path) -> None:
    sparse(tmp_path / PLACES[name], 2_000_000_000)
    text = refused(name, "train", tmp_path)
    assert f"{PLACES[name]} takes more than" in text
    assert "MB, unlike the published file" in text


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder"])
def test_what_is_no_file_is_not_opened(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / PLACES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert f"{PLACES[name]} is not a file" in refused(name, "train", tmp_path)


def test_a_link_to_a_file_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUILDERS["usps"](tmp_path, monkeypatch)
    (tmp_path / "usps.bz2").rename(tmp_path / "elsewhere")
    (tmp_path / "usps.bz2").symlink_to(tmp_path / "elsewhere")
    assert len(open_dataset("usps", "train", data_dir=tmp_path)) == 30


def test_other_bombs(tmp_path: Path) -> None:
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(bytes(1 << 20)) * 70)
    assert "usps.bz2 takes more than 64 MB" in refused("usps", "train", tmp_path)
    (tmp_path / "imagenet").mkdir()
    with zipfile.ZipFile(tmp_path / "imagenet" / "meta.bin", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(100 << 20))
    assert "meta.bin takes more than 64 MB" in refused("imagenet", "train", tmp_path)


@pytest.mark.parametrize("name", ["stanford_cars", "usps", "food101", "clevr", "gtsrb"])
def test_damaged_files_are_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchvision raises anything from them."""
    build = BUILDERS.get(name) or LAYOUTS[name]
    build(tmp_path, monkeypatch)
    random = np.random.default_rng(0)
    place = "stanford_cars/devkit/cars_train_annos.mat" if "cars" in name else PLACES[name]
    path = tmp_path / place
    original = path.read_bytes()
    for _ in range(40):
        content = bytearray(original[: random.integers(1, len(original))])
        for at in random.integers(0, len(content), 3):
            content[at] = random.integers(256)
        path.write_bytes(content)
        try:
            open_dataset(
                name, "test" if name == "gtsrb" else "train", data_dir=tmp_path, download=False
            )
        except UnavailableError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_the_checksum_is_that_of_every_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SVHN, STL-10 and SEMEION too are read by readers of numbers, and checked each time."""
    for name, file in (("svhn", "train_32x32.mat"), ("semeion", "semeion.data")):
        data = tmp_path / name
        data.mkdir()
        BUILDERS[name](data, monkeypatch)
        open_dataset(name, "train", data_dir=data)
        content = bytearray((data / file).read_bytes())
        checksum = hashlib.md5(content).hexdigest()
        content[-1] ^= 1
        (data / file).write_bytes(content)
        assert hashlib.md5(content).hexdigest() != checksum
        assert "not the published file" in refused(name, "train", data)


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("x", (9, 96, 96, 1)),
        ("x", (9, 960, 96, 3)),
        ("x", (8, 96, 96, 3)),
        ("x", (9,)),
        ("y", (300_000, 1)),
        ("y", (10,)),
        ("y", ()),
    ],
)
def test_pcam_of_another_shape(
    part: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BUILDERS["pcam"](tmp_path, monkeypatch)
    path = tmp_path / "pcam" / f"camelyonpatch_level_2_split_train_{part}.h5"
    path.write_bytes(h5_bytes(part, np.zeros(shape, dtype=np.uint8)))
    assert f"of shape {shape}" in refused("pcam", "train", tmp_path) or part == "y"
