import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from cnnkit import measure_dataset
from cnnkit.data import find_dataset, open_dataset
from cnnkit.data.encoded import EncodedFiles
from cnnkit.data.image_set import EncodedSet
from cnnkit.data.sources import file_listing, file_sets
from cnnkit.data.sources.file_listing import list_files
from cnnkit.errors import CnnkitError, NotFoundError, UnavailableError, UsageError
from cnnkit.events import Event, Note, TaskEnded, TaskStarted, handled_by, ignore
from tests.tiffs import BLACK_IS_ZERO, tiff


def make(root: Path, *names: str, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> None:
    """Write images of this mode and (width, height)."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(root / name)


def open_at(root: Path, split: str, on_event: list[Event] | None = None) -> EncodedSet:
    opened = open_dataset(
        str(root),
        split,
        data_dir=Path("nowhere"),
        on_event=ignore if on_event is None else on_event.append,
    )
    assert isinstance(opened, EncodedSet)
    return opened


def names_of(opened: EncodedSet, root: Path) -> list[str]:
    names = [opened.files.name(index) for index in range(len(opened))]
    return [str(Path(name).relative_to(root)) for name in names]


def listed(root: Path) -> list[str]:
    """Return the paths of the images of a folder, class by class."""
    (by_class,) = list_files(str(root)).files.values()
    items = [item for name in sorted(by_class) for item in by_class[name]]
    assert all(isinstance(item, str) for item in items)
    return [str(item) for item in items]


def test_a_plain_folder_is_split_by_a_fifth(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}/{index}.png" for name in ("dog", "cat") for index in range(10)))
    train, test = open_at(tmp_path, "train"), open_at(tmp_path, "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert train.labels.bincount().tolist() == [8, 8]
    assert test.labels.bincount().tolist() == [2, 2]
    assert (train.channels, train.size) == (3, (4, 6))
    assert (train.dataset, train.split, test.split) == (str(tmp_path), "train", "test")
    both = [*names_of(train, tmp_path), *names_of(test, tmp_path)]
    assert len(set(both)) == 20
    assert all(
        name.startswith("cat") == (label == 0)
        for name, label in zip(both, [*train.labels.tolist(), *test.labels.tolist()], strict=True)
    )
    assert names_of(open_at(tmp_path, "test"), tmp_path) == names_of(test, tmp_path)
    assert train.files.read(0) == Path(train.files.name(0)).read_bytes()
    entry = find_dataset(str(tmp_path))
    assert entry.splits["test"].derived
    assert list(entry.splits) == ["train", "test"]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_folders_of_splits(tmp_path: Path, val: str) -> None:
    for part, count in (("train", 3), (val, 2), ("test", 1)):
        make(tmp_path, *(f"{part}/{name}/{index}.png" for name in "ab" for index in range(count)))
    assert list(find_dataset(str(tmp_path)).splits) == ["train", "val", "test"]
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        assert open_at(tmp_path, split).labels.bincount().tolist() == [count, count]


def test_train_and_val_without_test(tmp_path: Path) -> None:
    make(tmp_path, *(f"train/{name}/{index}.png" for name in "ab" for index in range(10)))
    make(tmp_path, "val/a/1.png", "val/b/1.png")
    assert [len(open_at(tmp_path, split)) for split in ("train", "val", "test")] == [16, 2, 4]


def test_only_a_test_folder(tmp_path: Path) -> None:
    make(tmp_path, "test/a/1.png", "test/b/1.png")
    assert len(open_at(tmp_path, "test")) == 2
    with pytest.raises(UsageError, match=r"has no split 'train'.*it has test"):
        open_at(tmp_path, "train")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    make(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert find_dataset(str(tmp_path)).classes == ("bus", "car", "train")


def test_the_order_is_that_of_torchvision(tmp_path: Path) -> None:
    make(tmp_path, "a/z.png", "a/b/1.PNG", "a/b/c/2.jpg", "a/b.png", "a/B/3.Jpeg", "b/1.webp")
    make(tmp_path, *(f"{name}/{index}.bmp" for name in "ab" for index in range(12)))
    expected = [path for path, _ in ImageFolder(str(tmp_path)).samples]
    assert listed(tmp_path) == expected


def test_what_is_no_image_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "loose.png", ".hidden/1.png")
    make(tmp_path, "a/._1.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / "folder.jpg").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    events: list[Event] = []
    train, test = open_at(tmp_path, "train", events), open_at(tmp_path, "test")
    assert train.classes == ("a", "b")
    assert sorted(names_of(train, tmp_path) + names_of(test, tmp_path)) == [
        "a/1.png",
        "a/2.png",
        "b/1.png",
        "b/2.png",
    ]
    assert events == [
        Note("files without an image suffix left out: 1"),
        Note(f"{tmp_path}: 1 images outside the class folders are left out"),
    ]


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "here").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "a" / "self.png").symlink_to(tmp_path / "a" / "self.png")
    paths = [str(Path(path).relative_to(tmp_path)) for path in listed(tmp_path)]
    assert paths == ["a/1.png", "a/2.png", "a/self.png", "b/1.png", "b/2.png"]
    assert "links to folders of the set itself left out: 2" in list_files(str(tmp_path)).remarks


def test_grey_needs_every_sampled_image(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/1.png", mode="L")
    make(tmp_path, "a/2.png", mode="I;16")
    make(tmp_path, "b/2.png", mode="1")
    make(tmp_path, "b/4.png", "b/5.tif", mode="LA")
    (tmp_path / "b" / "6.tif").write_bytes(
        tiff(np.zeros((4, 6, 2), np.uint16), BLACK_IS_ZERO, extra=2)
    )
    assert open_at(tmp_path, "train").channels == 1
    assert len(measure_dataset(str(tmp_path)).channels) == 1
    make(tmp_path, "b/3.png", mode="RGB")
    assert open_at(tmp_path, "train").channels == 3
    assert open_at(tmp_path, "test").channels == 3


def test_channels_are_the_same_in_every_split(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.png", "train/b/1.png", mode="L")
    make(tmp_path, "test/a/1.png", "test/b/1.png", mode="RGB")
    assert open_at(tmp_path, "train").channels == open_at(tmp_path, "test").channels == 3


def test_one_size_only_if_every_image_has_it(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}/{index:03}.png" for name in "ab" for index in range(200)))
    events: list[Event] = []
    files = EncodedFiles(tuple(listed(tmp_path)))
    with handled_by(events.append):
        assert file_sets.common_size(files) == (4, 6)
    assert events[0] == TaskStarted("read image sizes", 400, "files")
    assert events[-1] == TaskEnded("read image sizes")
    sampled = set(file_sets._sample(len(files)))
    unsampled = next(index for index in range(len(files)) if index not in sampled)
    Image.new("RGB", (6, 5)).save(files.name(unsampled))
    assert file_sets.common_size(files) is None


def test_headers_that_cannot_be_read_do_no_harm(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/1.png", "b/2.png", mode="L")
    (tmp_path / "a" / "2.png").write_bytes(b"")
    (tmp_path / "a" / "3.jpg").write_bytes(b"no image at all")
    (tmp_path / "b" / "4.png").symlink_to(tmp_path / "gone.png")
    train = open_at(tmp_path, "train")
    assert (train.channels, train.size) == (1, (4, 6))
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        (tmp_path / name).write_bytes(b"")
    train = open_at(tmp_path, "train")
    assert (train.channels, train.size) == (3, None)


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/1.png")
    os.rename(tmp_path / "a" / "1.png", os.fsencode(tmp_path / "a") + b"/\xff.png")  # noqa: PTH104
    train = open_at(tmp_path, "train")
    assert len(train.files.read(0)) > 0
    assert train.labels.dtype == torch.int64


def fails(root: Path | str, kind: type[CnnkitError], split: str = "train") -> str:
    with pytest.raises(kind) as caught:
        open_dataset(str(root), split, data_dir=Path("nowhere"))
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_folders(tmp_path: Path) -> None:
    assert "there is no folder" in fails(tmp_path / "none", NotFoundError)
    assert "did you mean cifar10" in fails(f"{tmp_path}/cifar1", NotFoundError)
    assert "no class folders; expected class folders" in fails(tmp_path, UsageError)
    (tmp_path / "file").write_text("")
    assert "is not a folder" in fails(tmp_path / "file", UsageError)
    make(tmp_path, "1.png", "2.png")
    assert "2 images but no class folders" in fails(tmp_path, UsageError)
    make(tmp_path, "a/1.png")
    assert "a single class folder, 'a'" in fails(tmp_path, UsageError)
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    assert "have no images: 'b', 'c'" in fails(tmp_path, UsageError)
    (tmp_path / "a" / "1.png").unlink()
    assert "has no images; expected" in fails(tmp_path, UsageError)


def test_bad_splits(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert "has no images" in fails(tmp_path, UsageError)
    make(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png")
    assert "train and test" in fails(tmp_path, UsageError)
    assert "differ: 'b', 'c'" in fails(tmp_path, UsageError)
    make(tmp_path, "train/c/1.png")
    (tmp_path / "test" / "b").mkdir()
    assert "have no images: 'b'" in fails(tmp_path, UsageError, "test")
    make(tmp_path, "val/a/1.png", "valid/a/1.png")
    assert "both val and valid" in fails(tmp_path, UsageError)


def test_a_folder_that_must_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1.png", "b/1.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(file_listing.os, "scandir", scandir)
    assert "permission denied" in fails(tmp_path, UnavailableError)
