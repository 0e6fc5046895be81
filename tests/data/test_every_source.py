"""The same pictures as folder, zip, tar, shards and table: the same numbers from every verb."""

import csv
import io
import shutil
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import cnnkit as package
from cnnkit.data import find_dataset, open_dataset, open_images
from cnnkit.errors import CnnkitError, NotFoundError, UsageError
from cnnkit.events import Event, Warned, handled_by
from tests.conftest import Cnnkit

CLASSES = ("cat", "dog", "eel")
NUM_EACH = 12


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of small pictures, a little different by class."""
    stream = np.random.default_rng(5)
    for label, name in enumerate(CLASSES):
        for number in range(NUM_EACH):
            pixels = stream.integers(0, 120, (10, 12, 3)) + 60 * label
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
            yield f"{name}/{number:02}.png", file.getvalue()


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """Return what each form of the pictures is called."""
    root = tmp_path / "photos"
    for path, content in pictures():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        for path, content in reversed(list(pictures())):
            pack.writestr(f"photos/{path}", content)
    for suffix, mode in ((".tar", "w"), (".tar.xz", "w:xz")):
        with tarfile.open(tmp_path / f"photos{suffix}", mode) as tar:  # type: ignore[call-overload]
            tar.add(root, "photos")
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as tar:
            for number, (path, content) in enumerate(list(pictures())[shard::2]):
                add(tar, f"{number:04}.png", content)
                add(tar, f"{number:04}.cls", path.partition("/")[0].encode())
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows((f"photos/{path}", path.partition("/")[0]) for path, _ in pictures())
    return {
        "folder": str(root),
        "zip": str(tmp_path / "photos.zip"),
        "tar": str(tmp_path / "photos.tar"),
        "tar.xz": str(tmp_path / "photos.tar.xz"),
        "table": str(tmp_path / "labels.csv"),
        "shards": str(tmp_path / "shard-{0..1}.tar"),
    }


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    item = tarfile.TarInfo(name)
    item.size = len(content)
    tar.addfile(item, io.BytesIO(content))


def test_stats_gives_the_same_integers(sources: dict[str, str]) -> None:
    whole = np.stack([np.asarray(Image.open(io.BytesIO(one))) for _, one in pictures()])
    by_hand = whole.astype(np.int64).sum((0, 1, 2)).tolist()
    for kind, spec in sources.items():
        found = package.measure_dataset(spec)
        assert [channel.sum for channel in found.channels] == by_hand, kind
        assert found.num_images == len(whole)
        assert [(one.name, one.num_images) for one in found.classes] == [
            (name, NUM_EACH) for name in CLASSES
        ]
        assert package.measure_dataset(spec, labels_only=True).classes[0].num_images == NUM_EACH


def test_train_gives_the_same_weights_and_eval_and_bench_take_each(
    sources: dict[str, str], cnnkit: Cnnkit
) -> None:
    weights, accuracies = {}, {}
    for kind, spec in sources.items():
        answer = cnnkit(
            "train", "linear", spec, "--epochs", 2, "-b", 8, "--runs-dir", kind,
            "--input", "3x10x12", "--json",
        )  # fmt: skip
        assert answer.code == 0, answer.stderr
        run = Path(answer.json["run"])
        weights[kind] = load_file(run / "checkpoints" / "last" / "model.safetensors")
        again = cnnkit("eval", run, "--json")
        assert again.code == 0, again.stderr
        accuracies[kind] = again.json["accuracy"]
        assert accuracies[kind] == answer.json["test"]["accuracy"]
        looked = cnnkit("show", spec, "-n", 3, "-o", f"{kind}.png")
        assert looked.code == 0, looked.stderr
    for kind in ("zip", "tar", "tar.xz", "table"):
        for name, value in weights["folder"].items():
            assert torch.equal(weights[kind][name], value), (kind, name)
    for spec in (*sources.values(), f"{sources['zip']}:cat,eel"):
        timed = cnnkit(
            "bench", "linear", "--data", spec, "--input", "3x10x12", "--max-seconds", 0.3
        )
        assert timed.code == 0, timed.stderr


def test_a_run_is_evaluated_on_every_source_alike(
    sources: dict[str, str], tmp_path: Path, cnnkit: Cnnkit
) -> None:
    """Of copies of its own images the test images are left, whatever they come in."""
    trained = cnnkit("train", "linear", sources["folder"], "--epochs", 1, "--json").json
    for kind, spec in sources.items():
        if kind != "folder":
            found = cnnkit("eval", trained["run"], spec, "--json").json
            assert found["num_images"] == trained["test"]["num_images"], kind
            assert found["accuracy"] == trained["test"]["accuracy"]
            assert found["loss"] == pytest.approx(trained["test"]["loss"], rel=1e-6)
        some = cnnkit("eval", trained["run"], f"{spec}:cat,eel", "--split", "all", "--json")
        assert [row["num_images"] for row in some.json["per_class"]] == [2, 0, 2], kind
        assert "evaluated 2 of the 3 classes" in " ".join(some.stderr.split())


def test_images_are_had_from_python(sources: dict[str, str]) -> None:
    by_name = dict(pictures())
    for kind, spec in sources.items():
        images = open_images(spec, None)
        assert len(images) == len(by_name)
        pixels, label = images[14]
        assert pixels.dtype == torch.uint8
        assert tuple(pixels.shape) == (3, 10, 12)
        assert images.classes[label] == "dog"
        if kind != "shards":
            expected = np.asarray(Image.open(io.BytesIO(by_name["dog/02.png"])))
            assert (pixels.permute(1, 2, 0).numpy() == expected).all()
    digits = open_dataset("digits", "train")
    pixels, label = digits[3]
    assert (tuple(pixels.shape), label) == ((1, 8, 8), int(digits.labels[3]))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "table", "shards"])
def test_some_classes_of_any_source(sources: dict[str, str], kind: str) -> None:
    spec = f"{sources[kind]}:eel,cat"
    entry = find_dataset(spec)
    assert (entry.classes, entry.num_classes) == (("cat", "eel"), 2)
    whole = package.measure_dataset(sources[kind])
    part = package.measure_dataset(spec)
    assert part.num_images == 2 * NUM_EACH
    assert part.classes == (whole.classes[0], whole.classes[2])
    train = open_dataset(spec, "train")
    assert train.classes == ("cat", "eel")
    assert train.labels.bincount().tolist() == [10, 10]
    all_train = open_dataset(sources[kind], "train")
    assert train.labels.bincount().sum() == (all_train.labels != 1).sum()


def test_shards_may_be_named_by_a_star(
    sources: dict[str, str], tmp_path: Path, cnnkit: Cnnkit
) -> None:
    braces, star = sources["shards"], str(tmp_path / "shard-*.tar")
    assert package.measure_dataset(star).channels == package.measure_dataset(braces).channels
    assert package.measure_dataset(f"{star}:eel,cat").num_images == 2 * NUM_EACH
    shutil.copy(tmp_path / "shard-0.tar", tmp_path / "shard-2.tar")
    assert package.measure_dataset(star).num_images == 4.5 * NUM_EACH
    none = cnnkit("stats", tmp_path / "no-*.tar")
    assert (none.code, "there are no shards" in " ".join(none.stderr.split())) == (3, True)


def test_labels_are_the_same_in_either_form_of_unicode_and_in_order(tmp_path: Path) -> None:
    content = next(pictures())[1]
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    long = "9" * 5000  # Python makes no number of so many digits
    labels = (apart, "10", "2", composed, "02", long)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for number, label in enumerate(labels):
            add(tar, f"{number:04}.png", content)
            add(tar, f"{number:04}.cls", label.encode())
    found = open_images(str(tmp_path / "shard.tar"), None)
    assert found.classes == ("02", "2", "10", long, composed)
    assert len(open_images(f"{tmp_path / 'shard.tar'}:{apart}", None)) == 2


def test_some_classes_of_named_and_made_up_sets(cnnkit: Cnnkit) -> None:
    digits = open_dataset("digits:7,1", "test")
    whole = open_dataset("digits", "test")
    kept = (whole.labels == 1) | (whole.labels == 7)
    assert digits.classes == ("1", "7")
    assert torch.equal(digits.images, whole.images[kept])  # type: ignore[union-attr]
    assert torch.equal(digits.labels, (whole.labels[kept] == 7).long())
    assert open_dataset("fake:1x8x8:4:40:class 0,class 2", "train").classes == (
        "class 0",
        "class 2",
    )
    answer = cnnkit("train", "linear", "digits:0,1", "--epochs", 1, "--json")
    assert answer.code == 0, answer.stderr
    assert cnnkit("eval", answer.json["run"], "--json").json["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        ("digits:0,12", NotFoundError, "digits has no class '12'"),
        ("digits:0", UsageError, "names a single class"),
        ("digits:", UsageError, "names no class after the colon"),
        ("digits: ,", UsageError, "names no class after the colon"),
        ("cifar10:bird,airplan", NotFoundError, "no class 'airplan'; did you mean airplane"),
    ],
)
def test_bad_subsets(spec: str, kind: type[CnnkitError], words: str) -> None:
    with pytest.raises(kind, match=words):
        find_dataset(spec)


def test_splits_as_they_are_found_in_the_web(
    sources: dict[str, str], tmp_path: Path, cnnkit: Cnnkit
) -> None:
    brain = tmp_path / "brain"
    for name in CLASSES:
        for split, start in (("Training", 0), ("Testing", 8)):
            (brain / split / name).mkdir(parents=True)
            for path in sorted((tmp_path / "photos" / name).iterdir())[start : start + 8]:
                shutil.copy(path, brain / split / name)
    entry = find_dataset(str(brain))
    assert entry.classes == CLASSES
    assert not entry.splits["test"].derived
    assert len(open_dataset(str(brain), "train")) == 24
    assert len(open_dataset(str(brain), "test")) == 12
    shutil.make_archive(str(brain), "zip", tmp_path, "brain")
    assert len(open_dataset(f"{brain}.zip", "test")) == 12
    told = cnnkit("train", "linear", brain, "--epochs", 1, "--input", "3x10x12").stderr
    assert "Training is train, Testing is test" in " ".join(told.split())
    as_classes = open_images(f"{brain}:Training,Testing", "all")
    assert as_classes.classes == ("Testing", "Training")
    assert as_classes.labels.bincount().tolist() == [12, 24]


def test_splits_of_a_table(sources: dict[str, str], tmp_path: Path) -> None:
    lines = [
        f"photos/{path};{path.partition('/')[0]};{('train', 'dev', 'test')[number % 3]}"
        for number, (path, _) in enumerate(pictures())
    ]
    (tmp_path / "split.csv").write_text("\n".join(["file;class;split", *lines]))
    spec = str(tmp_path / "split.csv")
    assert list(find_dataset(spec).splits) == ["train", "val", "test"]
    assert [len(open_dataset(spec, split)) for split in ("train", "val", "test")] == [12, 12, 12]
    assert package.measure_dataset(spec).num_images == 12
    assert package.measure_dataset(spec, split="all").num_images == 36


def test_archives_that_differ_from_their_folders(sources: dict[str, str], tmp_path: Path) -> None:
    files = dict(pictures())
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        add(tar, "cat/a.png", files["cat/00.png"])
        add(tar, "dog/b.png", files["dog/00.png"])
        for name, kind, target in (
            ("dog/c.png", tarfile.LNKTYPE, "cat/a.png"),
            ("dog/d.png", tarfile.SYMTYPE, "b.png"),
            ("dog/e.png", tarfile.SYMTYPE, "../cat/a.png"),
            ("dog/f.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("dog/g.png", tarfile.SYMTYPE, "/cat/a.png"),  # not of the archive
            ("dog/h.png", tarfile.SYMTYPE, "../../cat/a.png"),
            ("dog/i.png", tarfile.SYMTYPE, "i.png"),
            ("dog/all", tarfile.SYMTYPE, "../cat"),
        ):
            item = tarfile.TarInfo(name)
            item.type, item.linkname = kind, target
            tar.addfile(item)
    events: list[Event] = []
    with handled_by(events.append):
        found = open_images(str(tmp_path / "links.tar"), None)
    said = " ".join(event.text for event in events if isinstance(event, Warned))
    assert "do not lead to an image of the archive left out: 4, such as dog/f.png" in said
    assert "links to folders of the set itself left out: 1" in said
    assert found.labels.bincount().tolist() == [1, 4]
    expected = sum(
        np.asarray(Image.open(io.BytesIO(files[name]))).astype(np.int64).sum((0, 1))
        for name in ("cat/00.png", "cat/00.png", "cat/00.png", "dog/00.png", "dog/00.png")
    )
    measured = package.measure_dataset(str(tmp_path / "links.tar"))
    assert [channel.sum for channel in measured.channels] == expected.tolist()

    # links to links, before and behind what they lead to, as the folder that is packed
    packed = tmp_path / "packed"
    for name in ("cat", "dog"):
        (packed / name).mkdir(parents=True)
        (packed / name / "m.png").write_bytes(files[f"{name}/00.png"])
    (packed / "cat" / "a.png").symlink_to("z.png")
    (packed / "cat" / "z.png").symlink_to("../dog/m.png")
    (packed / "dog" / "hard.png").hardlink_to(packed / "cat" / "m.png")
    whole = package.measure_dataset(str(packed))
    assert [one.num_images for one in whole.classes] == [3, 2]
    for mode, suffix in (("w", ".tar"), ("w:gz", ".tar.gz")):
        with tarfile.open(tmp_path / f"packed{suffix}", mode) as tar:  # type: ignore[call-overload]
            tar.add(packed, "packed")
        part = package.measure_dataset(str(tmp_path / f"packed{suffix}"))
        assert part.channels == whole.channels
        assert part.classes == whole.classes

    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as pack:
        for name in ("set/cat/", "set/cat/00.png", "set/dog/00.png", "about/it.txt"):
            item = zipfile.ZipInfo("x")
            item.filename = name.replace("/", "\\") if "set" in name else name
            pack.writestr(item, files.get(name.removeprefix("set/"), b""))
    assert open_images(str(tmp_path / "windows.zip"), None).classes == ("cat", "dog")
    entry = find_dataset(str(tmp_path / "windows.zip"))
    assert entry.classes == ("cat", "dog")

    # macOS writes UTF-8, in its decomposed form, without the flag that says so
    decomposed = "A\u0308pfel".encode()
    with zipfile.ZipFile(tmp_path / "finder.zip", "w") as pack:
        for name in ("x" * len(decomposed), "Birnen"):
            pack.writestr(f"{name}/1.png", files["cat/00.png"])
    content = (tmp_path / "finder.zip").read_bytes()
    (tmp_path / "finder.zip").write_bytes(content.replace(b"x" * len(decomposed), decomposed))
    assert open_images(str(tmp_path / "finder.zip"), None).classes == ("Birnen", "\u00c4pfel")


def test_a_copy_of_the_set_inside_trains_no_class(
    sources: dict[str, str], tmp_path: Path, cnnkit: Cnnkit
) -> None:
    root = tmp_path / "photos"
    shutil.copytree(root, tmp_path / "other")
    shutil.move(tmp_path / "other", root / "photos")
    with zipfile.ZipFile(tmp_path / "photos.zip", "a") as pack:
        for path, content in pictures():
            pack.writestr(f"photos/photos/{path}", content)
    for spec in (sources["folder"], sources["zip"]):
        assert find_dataset(spec).classes == CLASSES
        told = cnnkit("stats", spec)
        assert "are ignored: photos" in " ".join(told.stderr.split())
        assert len(open_images(f"{spec}:photos", None)) == 3 * NUM_EACH


def test_shards_made_on_macos_and_with_masks(tmp_path: Path) -> None:
    files = dict(pictures())
    with tarfile.open(tmp_path / "mac.tar", "w") as tar:
        for number, label in enumerate(("cat", "dog", "cat")):
            add(tar, f"._{number:04}.png", b"\0\5\x16\7")
            add(tar, f"{number:04}.mask.png", files["eel/00.png"])
            add(tar, f"{number:04}.png", files[f"{label}/00.png"])
            add(tar, f"._{number:04}.cls", b"\0\5\x16\7")
            add(tar, f"{number:04}.cls", label.encode())
    found = open_images(str(tmp_path / "mac.tar"), None)
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [0, 0, 1])
    measured = package.measure_dataset(str(tmp_path / "mac.tar"))
    by_hand = [
        np.asarray(Image.open(io.BytesIO(files[f"{n}/00.png"]))) for n in ("cat", "cat", "dog")
    ]
    assert measured.channels[0].sum == int(np.stack(by_hand)[..., 0].astype(np.int64).sum())


def test_folders_of_systems_and_links_back_are_no_classes(
    sources: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    for name in ("@eaDir", "$RECYCLE.BIN", "lost+found"):
        shutil.copytree(root / "cat", root / name)
    shutil.copytree(root / "cat", root / "dog" / "@eaDir")
    (root / "cat" / "up").symlink_to("..")
    found = open_images(str(root), None)
    assert found.classes == CLASSES
    assert found.labels.bincount().tolist() == [NUM_EACH] * 3


def oversized() -> bytes:
    """Return a PNG file of nothing but a header, of 3.6 billion pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    start, checksum = b"\x89PNG\r\n\x1a\n\0\0\0\r", struct.pack(">I", zlib.crc32(header))
    return start + header + checksum + b"\0\0\0\0IEND\xaeB`\x82"


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no image", "not an image in a format that cnnkit reads"),
        (b"", "empty: 0 bytes"),
        (oversized(), "refused: 3,600,000,000 pixels"),
    ],
)
def test_an_image_that_cannot_be_read_is_found_before_the_training(
    sources: dict[str, str],
    tmp_path: Path,
    cnnkit: Cnnkit,
    content: bytes,
    reason: str,
    split: str,
    form: str,
) -> None:
    for name in ("train", "val", "test"):
        shutil.copytree(tmp_path / "photos", tmp_path / "parts" / name)
    (tmp_path / "parts" / split / "dog" / "03.png").write_bytes(content)
    spec = tmp_path / "parts"
    if form == "zip":
        spec = Path(shutil.make_archive(str(spec), "zip", spec))
    given = ("train", "linear", spec, "--epochs", 2, "--input", "3x10x12")
    answer = cnnkit(*given)
    assert answer.code == 5
    assert f"{split}/dog/03.png: {reason}" in " ".join(answer.stderr.split())
    assert "1/2" not in answer.stderr  # not an epoch
    assert not list(tmp_path.glob("runs/*/metrics.csv"))
    assert cnnkit(*given, "--skip-bad").code == 0


def test_archives_above_the_limits_are_read_where_that_is_allowed(
    sources: dict[str, str], cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnkit.data.sources.members.MAX_UNPACKED_BYTES", 2000)
    monkeypatch.setattr("cnnkit.data.sources.members.MAX_UNPACKED_RATIO", 0)
    spec = sources["tar.xz"]
    given = ("train", "linear", spec, "--epochs", 1, "--input", "3x10x12")
    answer = cnnkit(*given)
    assert answer.code == 5
    assert "--allow-large reads it" in " ".join(answer.stderr.split())
    trained = cnnkit(*given, "--allow-large", "--json")
    assert trained.code == 0, trained.stderr
    assert cnnkit("eval", trained.json["run"]).code == 0
