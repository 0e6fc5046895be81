import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnnkit import measure_dataset
from cnnkit.data.sources.members import BrokenArchiveError, Members
from cnnkit.data.sources.shards import expand_braces
from cnnkit.errors import CnnkitError, NotFoundError, RunFailedError, UsageError
from cnnkit.events import Event, Warned, ignore
from cnnkit.results import DatasetStatistics
from tests.stats.making import encode, small_set, write_files, write_tar, write_zip

FILES = small_set()
ARCHIVES = {
    "photos.zip": "",
    "photos.tar": "w",
    "photos.tar.gz": "w:gz",
    "photos.tgz": "w:gz",
    "photos.tar.bz2": "w:bz2",
    "photos.tar.xz": "w:xz",
}
VARYING = ("dataset", "seconds", "images_per_second", "split", "bad_files")


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    if path.suffix == ".zip":
        write_zip(path, files)
    else:
        write_tar(path, files, ARCHIVES[path.name])


def integers(result: DatasetStatistics) -> dict[str, Any]:
    """Return all but what the name and the clock have a part in."""
    return {key: value for key, value in result.to_dict().items() if key not in VARYING}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "photos", FILES)
    return tmp_path / "photos"


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("above", ["", "./", "photos/"])
def test_an_archive_gives_the_integers_of_its_folder(
    folder: Path, tmp_path: Path, name: str, above: str
) -> None:
    write_archive(tmp_path / name, {above + path: content for path, content in FILES.items()})
    ours = measure_dataset(str(tmp_path / name))
    assert integers(ours) == integers(measure_dataset(str(folder)))
    assert [one.name for one in ours.classes] == ["c0", "c1", "c2"]


def test_splits_of_an_archive(tmp_path: Path) -> None:
    names = {"train/a/1.png": 1, "train/b/x/2.png": 2, "test/a/3.png": 3, "Valid/b/4.png": 4}
    files = {name: encode(Image.new("L", (value, 1), value)) for name, value in names.items()}
    for above in ("", "set/"):
        write_tar(tmp_path / "s.tar", {above + path: content for path, content in files.items()})
        spec = str(tmp_path / "s.tar")
        for split, expected, shown in (
            (None, 1 + 4, "train"), ("train", 1 + 4, "train"), ("test", 9, "test"),
            ("val", 16, "val"), ("all", 1 + 4 + 9 + 16, "all"),
        ):  # fmt: skip
            result = measure_dataset(spec, split=split)
            assert (result.channels[0].sum, result.split) == (expected, shown)
            assert {one.name for one in result.classes} <= {"a", "b"}
        with pytest.raises(UsageError, match=r"no split 'tset'; did you mean test.*, all$"):
            measure_dataset(spec, split="tset")


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_cut_short_is_listed(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / name, FILES)
    content = (tmp_path / name).read_bytes()
    if name == "photos.tar":
        content = content.rstrip(b"\0")  # blocks of zeros, which may be cut as one likes
    cut = tmp_path / f"cut_{name}"
    for share in (0.5, 0.95):
        cut.write_bytes(content[: int(len(content) * share)])
        if name in ("photos.zip", "photos.tar.bz2"):  # the index is gone; a block is not whole
            with pytest.raises(RunFailedError, match="the archive is cut short"):
                measure_dataset(str(cut))
            continue
        result = measure_dataset(str(cut))
        assert 0 < result.num_images <= len(FILES)
        assert [bad.path for bad in result.bad_files] == [str(cut)]
        assert result.bad_files[0].reason.startswith("the archive is cut short")


def test_a_tar_cut_between_two_files_is_cut_short(tmp_path: Path) -> None:
    """tarfile itself takes that for the end."""
    write_tar(tmp_path / "photos.tar", FILES)
    with tarfile.open(tmp_path / "photos.tar") as archive:
        third = archive.getmembers()[3].offset
    for length in (third, third + 100):  # before a header, and in the middle of it
        cut = tmp_path / "cut.tar"
        cut.write_bytes((tmp_path / "photos.tar").read_bytes()[:length])
        result = measure_dataset(str(cut))
        assert result.num_images == 3
        assert result.bad_files[0].reason == (
            "the archive is cut short; 3 images before that were read"
        )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.zip", b"no zip", "not a zip archive"),
        ("a.zip", b"", "not a zip archive"),
        ("a.tar", b"", "empty: 0 bytes"),
        ("a.tar", b"no tar at all" * 100, "not a tar archive"),
        ("a.tar.gz", b"\x1f\x8b\x08\x00nonsense nonsense", "not a tar archive"),
        ("a.tar.xz", b"\xfd7zXZ\0nonsense nonsense", "the archive is damaged"),
        ("a.tar.bz2", b"BZh9nonsense nonsense", "the archive is damaged"),
    ],
)
def test_files_that_are_no_archives(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunFailedError) as caught:
        measure_dataset(str(tmp_path / name))
    assert reason in caught.value.message


def test_a_damaged_file_in_a_zip_is_listed_alone(tmp_path: Path) -> None:
    write_zip(tmp_path / "photos.zip", FILES)
    content = bytearray((tmp_path / "photos.zip").read_bytes())
    start = content.index(b"c1/001.png") + len(b"c1/001.png")
    content[start + 5] ^= 255
    (tmp_path / "photos.zip").write_bytes(content)
    result = measure_dataset(str(tmp_path / "photos.zip"))
    assert result.num_images == len(FILES) - 1
    (bad,) = result.bad_files
    assert bad.path.endswith("photos.zip/c1/001.png")
    assert "damaged" in bad.reason


def test_members_are_forgotten_as_they_are_read(tmp_path: Path) -> None:
    """A tar with a million files must not keep a million descriptions."""
    write_tar(tmp_path / "photos.tar", FILES)
    for number, member in enumerate(Members(tmp_path / "photos.tar").read()):
        assert len(member._archive.members) == 0, number  # type: ignore[attr-defined]


def test_an_empty_archive(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"notes.txt": b"hello"})
    with pytest.raises(UsageError, match="has no images"):
        measure_dataset(str(tmp_path / "a.tar"))
    with pytest.raises(BrokenArchiveError):
        list(Members(tmp_path / "a.tar.gz").read() if _touch(tmp_path / "a.tar.gz") else [])


def _touch(path: Path) -> bool:
    path.write_bytes(b"")
    return True


def shard_files(first: int, number: int, label: str = "cls") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for index, (name, content) in enumerate(sorted(FILES.items())[first : first + number]):
        key = f"{first + index:06d}"
        class_name = name.split("/")[0]
        files[f"{key}.png"] = content
        if label == "cls":
            files[f"{key}.cls"] = class_name.removeprefix("c").encode() + b"\n"
        elif label == "json":
            files[f"{key}.json"] = json.dumps({"label": class_name, "other": 1}).encode()
    return files


def test_shards_give_the_integers_of_the_folder(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        write_tar(tmp_path / f"data-{number:03d}.tar", shard_files(10 * number, 10))
    spec = str(tmp_path / "data-{000..003}.tar")
    ours, theirs = measure_dataset(spec), measure_dataset(str(folder))
    assert [one.name for one in ours.classes] == ["0", "1", "2"]
    assert [one.num_images for one in ours.classes] == [one.num_images for one in theirs.classes]
    assert integers(ours) | {"classes": 0} == integers(theirs) | {"classes": 0}
    assert measure_dataset(str(tmp_path / "data-001.tar")).num_images == 10  # a single one
    labels = measure_dataset(spec, labels_only=True)
    assert [(one.name, one.num_images) for one in labels.classes] == [
        (one.name, one.num_images) for one in ours.classes
    ]


def test_labels_of_shards_in_json(tmp_path: Path) -> None:
    write_tar(tmp_path / "data-0.tar", shard_files(0, 10, "json"))
    result = measure_dataset(str(tmp_path / "data-{0..0}.tar"))
    assert [one.name for one in result.classes] == ["c0"]


def test_a_shard_without_labels_is_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "data-0.tar", shard_files(0, 3))
    write_tar(tmp_path / "data-1.tar", shard_files(3, 4, ""))
    events: list[Event] = []
    result = measure_dataset(str(tmp_path / "data-{0,1}.tar"), on_event=events.append)
    assert result.num_images == 7
    assert sum(one.num_images for one in result.classes) == 3
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert warned == [
        "4 images have no label: neither .cls, nor .json with one of class_name, label_name, cls, "
        "label, class, class_id, target"
    ]


def test_a_shard_cut_short_is_listed(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"d-{number}.tar", shard_files(10 * number, 10))
    content = (tmp_path / "d-0.tar").read_bytes()
    (tmp_path / "d-0.tar").write_bytes(content[: len(content) // 3])
    result = measure_dataset(str(tmp_path / "d-{0..1}.tar"))
    assert 10 < result.num_images < 20
    (bad,) = result.bad_files
    assert (bad.path, bad.reason[:24]) == (str(tmp_path / "d-0.tar"), "the archive is cut short")


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("d-{0..2}.tar", ["d-0.tar", "d-1.tar", "d-2.tar"]),
        ("d-{008..010}.tar", ["d-008.tar", "d-009.tar", "d-010.tar"]),
        ("d-{2..1}.tar", ["d-2.tar", "d-1.tar"]),
        ("{a,b}-{0,1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_braces(spec: str, names: list[str]) -> None:
    assert expand_braces(spec) == names


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("d-{0..3}.tar", NotFoundError, "2 of the 4 shards of 'd-{0..3}.tar' do not exist"),
        ("d-{}.tar", UsageError, "braces that expand to nothing"),
        ("d-{0..9999999}.tar", UsageError, "expands to 10,000,000 shards"),
        ("d-{0,0}.tar", UsageError, "names a shard twice"),
        ("nothing.zip", NotFoundError, "there is no archive 'nothing.zip'"),
        ("./nothing", NotFoundError, "there is no folder './nothing'"),
        ("file.txt", NotFoundError, "unknown dataset 'file.txt'"),
        ("./file.txt", UsageError, "is not a folder"),
        ("empty", UsageError, "'empty' has no images"),
        ("mnits", NotFoundError, "did you mean mnist"),
    ],
)
def test_names_that_are_none(
    tmp_path: Path, spec: str, error: type[CnnkitError], said: str
) -> None:
    write_tar(tmp_path / "d-0.tar", shard_files(0, 1))
    write_tar(tmp_path / "d-1.tar", shard_files(1, 1))
    write_files(tmp_path, {"file.txt": b"hello", "empty/notes.txt": b"hello"})
    with pytest.raises(error) as caught:
        measure_dataset(spec)
    assert said in str(caught.value)


def test_folders_that_could_not_be_trained_on(tmp_path: Path) -> None:
    image = encode(Image.new("L", (2, 2), 9))
    write_files(tmp_path / "flat", {"1.png": image, "2.png": image, "notes.txt": b"x"})
    write_files(tmp_path / "single", {"cat/1.png": image})
    write_files(tmp_path / "gap", {"a/1.png": image, "b/notes.txt": b"x"})
    events: list[Event] = []
    flat = measure_dataset(str(tmp_path / "flat"), on_event=events.append)
    assert (flat.num_images, flat.classes, flat.imbalance) == (2, (), None)
    assert Warned("files without an image suffix left out: 1") in events
    single = measure_dataset(str(tmp_path / "single"))
    assert [(one.name, one.num_images) for one in single.classes] == [("cat", 1)]
    events.clear()
    gap = measure_dataset(str(tmp_path / "gap"), on_event=events.append)
    assert [(one.name, one.num_images, one.mean) for one in gap.classes] == [
        ("a", 1, (9 / 255,)), ("b", 0, None),
    ]  # fmt: skip
    assert gap.imbalance is None
    assert Warned("the class folder 'b' has no images") in events


def test_splits_of_a_folder(tmp_path: Path) -> None:
    for split, value in (("train", 1), ("test", 2)):
        write_files(tmp_path, {f"{split}/a/1.png": encode(Image.new("L", (1, 1), value))})
    for split, expected in ((None, 1), ("train", 1), ("test", 2), ("all", 3)):
        assert measure_dataset(str(tmp_path), split=split).channels[0].sum == expected
    with pytest.raises(UsageError, match="has no split 'val'; it has train, test, all"):
        measure_dataset(str(tmp_path), split="val")


def test_folders_that_lead_back(folder: Path) -> None:
    before = integers(measure_dataset(str(folder)))
    (folder / "c0" / "again").symlink_to(folder / "c0")
    (folder / "c1" / "up").symlink_to(folder)
    assert measure_dataset(str(folder)).num_images >= before["num_images"]
    (folder / "c1" / "up").unlink()
    assert integers(measure_dataset(str(folder))) == before


@pytest.mark.parametrize("split", [None, "all", "train", "test"])
def test_sets_whose_splits_cnnkit_made(split: str | None) -> None:
    number = {None: 1797, "all": 1797, "train": 1438, "test": 359}[split]
    result = measure_dataset("digits", split=split, on_event=ignore)
    assert (result.num_images, result.split) == (number, split or "all")
