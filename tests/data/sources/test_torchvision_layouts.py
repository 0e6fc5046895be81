"""The sets made of image files, from tiny copies of their true layouts."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets as live

from cnnkit.data import DATASETS, open_dataset
from cnnkit.data.encoded import EncodedFiles
from cnnkit.data.entry import TorchvisionSource
from cnnkit.data.image_set import EncodedSet
from cnnkit.errors import UnavailableError
from cnnkit.events import Event, Warned, ignore

Samples = list[tuple[str, int]]  # paths relative to the data folder, and labels
Expected = dict[str, Samples]  # by split; `whole` where cnnkit makes the splits
Builder = Callable[[Path, pytest.MonkeyPatch], Expected]


def touch(root: Path, *names: str) -> None:
    """Write files that no image reader could make sense of: labels must not need one."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded")


def text(root: Path, name: str, content: str) -> str:
    """Write a text file, and return its checksum."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    return hashlib.md5(content.encode()).hexdigest()


def matrix(root: Path, name: str, values: dict[str, object]) -> str:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, values)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(buffer.getvalue())
    return hashlib.md5(buffer.getvalue()).hexdigest()


def class_folders(root: Path, folder: str, names: list[str], pattern: str, count: int) -> Samples:
    """Write `count` files in the first class folder, one in each of the others."""
    samples = [
        (f"{folder}/{name}/{pattern.format(index + 1, label=label)}", label)
        for label, name in enumerate(names)
        for index in range(1 if label else count)
    ]
    touch(root, *(path for path, _ in samples))
    return samples


def food101(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    expected: Expected = {}
    (root / "food-101" / "images").mkdir(parents=True)
    classes = DATASETS["food101"].classes
    for split, number in (("train", 1), ("test", 2)):
        listed = {name: [f"{name}/{number}"] for name in classes}
        text(root, f"food-101/meta/{split}.json", json.dumps(listed))
        expected[split] = [
            (f"food-101/images/{name}/{number}.jpg", label) for label, name in enumerate(classes)
        ]
    return expected


def flowers102(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = "flowers-102"
    (root / folder / "jpg").mkdir(parents=True)
    ids = {"trnid": [3, 1], "valid": [2, 5], "tstid": [4, 6, 7]}
    labels = [102, 1, 5, 7, 9, 11, 13]
    marks = matrix(root, f"{folder}/imagelabels.mat", {"labels": labels})
    parts = matrix(root, f"{folder}/setid.mat", ids)
    files = {"label": ("imagelabels.mat", marks), "setid": ("setid.mat", parts)}
    patch.setattr(live.Flowers102, "_file_dict", {**live.Flowers102._file_dict, **files})
    return {
        split: [
            (f"{folder}/jpg/image_{number:05d}.jpg", labels[number - 1] - 1) for number in ids[key]
        ]
        for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))
    }


def oxford_iiit_pet(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = "oxford-iiit-pet"
    (root / folder / "images").mkdir(parents=True)
    breeds = [name.replace(" ", "_") for name in DATASETS["oxford_iiit_pet"].classes]
    expected: Expected = {}
    for split, name, number in (("train", "trainval", 1), ("test", "test", 2)):
        lines = [f"{breed}_{number} {index + 1} 1 1" for index, breed in enumerate(breeds)]
        text(root, f"{folder}/annotations/{name}.txt", "\n".join(lines))
        expected[split] = [
            (f"{folder}/images/{breed}_{number}.jpg", index) for index, breed in enumerate(breeds)
        ]
    return expected


def dtd(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    expected: Expected = {}
    (root / "dtd/dtd/images").mkdir(parents=True)
    for split in ("train", "val", "test"):
        names = [f"{name}/{name}_{split}.jpg" for name in DATASETS["dtd"].classes]
        text(root, f"dtd/dtd/labels/{split}1.txt", "\n".join(names))
        expected[split] = [(f"dtd/dtd/images/{name}", label) for label, name in enumerate(names)]
    return expected


def eurosat(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = list(DATASETS["eurosat"].classes)
    return {"whole": class_folders(root, "eurosat/2750", names, "x_{}.jpg", 10)}


def gtsrb(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"{label:05d}" for label in range(43)]
    train = class_folders(root, "gtsrb/GTSRB/Training", names, "{:05d}.ppm", 3)
    (root / "gtsrb/GTSRB/Final_Test/Images").mkdir(parents=True)
    rows = ["Filename;Width;ClassId", "00000.ppm;53;16", "00001.ppm;42;1"]
    text(root, "gtsrb/GT-final_test.csv", "\n".join(rows))
    folder = "gtsrb/GTSRB/Final_Test/Images"
    return {"train": train, "test": [(f"{folder}/00000.ppm", 16), (f"{folder}/00001.ppm", 1)]}


def caltech101(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = "caltech101/101_ObjectCategories"
    touch(root, f"{folder}/BACKGROUND_Google/image_0001.jpg")
    names = list(DATASETS["caltech101"].classes)
    return {"whole": class_folders(root, folder, names, "image_{:04d}.jpg", 10)}


def caltech256(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = "caltech256/256_ObjectCategories"
    names = [f"{number:03d}.thing" for number in range(1, 258)]
    touch(root, f"{folder}/198.thing/RENAME2")
    return {"whole": class_folders(root, folder, names, "001_{:04d}.jpg", 10)}


def fgvc_aircraft(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = "fgvc-aircraft-2013b/data"
    names = [f"Plane {number:03d}" for number in range(100)]
    text(root, f"{folder}/variants.txt", "\n".join(names))
    expected: Expected = {}
    for split, label in (("train", 7), ("val", 8), ("test", 99)):
        text(root, f"{folder}/images_variant_{split}.txt", f"0{label} {names[label]}\n")
        expected[split] = [(f"{folder}/images/0{label}.jpg", label)]
    return expected


def stanford_cars(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    kind = np.dtype([("class", "u1"), ("fname", "O")])
    names = np.array([f"Car {number}" for number in range(196)], dtype=object)
    matrix(root, "stanford_cars/devkit/cars_meta.mat", {"class_names": names})
    expected: Expected = {}
    for split, place in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = np.array([(196, "1.jpg"), (1, "2.jpg")], dtype=kind)
        matrix(root, f"stanford_cars/{place}", {"annotations": rows})
        folder = f"stanford_cars/cars_{split}"
        touch(root, f"{folder}/1.jpg", f"{folder}/2.jpg")
        expected[split] = [(f"{folder}/1.jpg", 195), (f"{folder}/2.jpg", 0)]
    return expected


def sun397(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"{chr(97 + number // 100)}/place{number:03d}" for number in range(397)]
    text(root, "SUN397/ClassName.txt", "\n".join(f"/{name[0]}/{name[2:]}" for name in names))
    names = [f"{name[0]}/{name[2:]}" for name in names]
    return {"whole": class_folders(root, "SUN397", names, "sun_{:04d}.jpg", 10)}


def country211(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"C{number:03d}" for number in range(211)]
    return {
        split: class_folders(root, f"country211/{folder}", names, folder + "{}.jpg", 2)
        for split, folder in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def rendered_sst2(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = ["negative", "positive"]
    return {
        split: class_folders(root, f"rendered-sst2/{folder}", names, "{}.png", 2)
        for split, folder in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def omniglot(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"Alphabet{number // 40:02d}/character{number % 40:02d}" for number in range(964)]
    samples = [
        (f"{name}/{label:04d}_{index:02d}.png", label)
        for label, name in enumerate(names)
        for index in range(1 if label else 10)
    ]
    folder = root / "omniglot-py"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "images_background.zip", "w") as pack:
        for name, _ in reversed(samples):
            pack.writestr(f"images_background/{name}", b"not decoded")
    checksum = hashlib.md5((folder / "images_background.zip").read_bytes()).hexdigest()
    with zipfile.ZipFile(folder / "images_background.zip") as pack:
        pack.extractall(folder)
    patch.setattr(live.Omniglot, "zips_md5", {"images_background": checksum})
    return {"whole": [(f"omniglot-py/images_background/{name}", label) for name, label in samples]}


def clevr(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = "clevr/CLEVR_v1.0"
    expected: Expected = {}
    for split, name in (("train", "train"), ("test", "val")):
        files = [f"CLEVR_{name}_{number:06d}.png" for number in range(8)]
        touch(root, *(f"{folder}/images/{name}/{file}" for file in files))
        scenes = [
            {"image_filename": file, "objects": [{}] * (number + 3)}
            for number, file in enumerate(files)
        ]
        text(root, f"{folder}/scenes/CLEVR_{name}_scenes.json", json.dumps({"scenes": scenes}))
        expected[split] = [(f"{folder}/images/{name}/{file}", n) for n, file in enumerate(files)]
    return expected


def imagenette(folder: str) -> Builder:
    def build(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        names = sorted(live.Imagenette._WNID_TO_CLASS)
        return {
            split: class_folders(root, f"{folder}/{name}", names, name + "_{}.JPEG", 2)
            for split, name in (("train", "train"), ("test", "val"))
        }

    return build


def imagenet(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"n{number:08d}" for number in range(1000)]
    expected = {
        split: class_folders(root, f"imagenet/{name}", names, name + "_{}.JPEG", 2)
        for split, name in (("train", "train"), ("test", "val"))
    }
    meanings = {name: (f"thing {name}", "another word") for name in names}
    torch.save((meanings, names), root / "imagenet" / "meta.bin")
    return expected


def places365(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"/{chr(97 + number // 20)}/place{number:03d}" for number in range(365)]
    lines = [f"{name} {number}" for number, name in enumerate(names)]
    categories = text(root, "places365/categories_places365.txt", "\n".join(lines))
    train = text(
        root, "places365/places365_train_standard.txt", "/a/place000/1.jpg 0\n/s/p/2.jpg 364"
    )
    val = text(root, "places365/places365_val.txt", "Places365_val_1.jpg 165")
    patch.setattr(live.Places365, "_CATEGORIES_META", ("categories_places365.txt", categories))
    lists = {
        "train-standard": ("places365_train_standard.txt", train),
        "val": ("places365_val.txt", val),
    }
    patch.setattr(live.Places365, "_FILE_LIST_META", lists)
    folder = "places365/data_256_standard"
    return {
        "train": [(f"{folder}/a/place000/1.jpg", 0), (f"{folder}/s/p/2.jpg", 364)],
        "test": [("places365/val_256/Places365_val_1.jpg", 165)],
    }


def inaturalist(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    names = [f"{number:05d}_k_p_c_o_f_g_s{number}" for number in range(10_000)]
    return {
        split: class_folders(root, f"inaturalist/{folder}", names, "{}.jpg", 3)
        for split, folder in (("train", "2021_train"), ("test", "2021_valid"))
    }


def inaturalist_competition(year: int, num_classes: int) -> Builder:
    def build(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        if year == 2017:  # named; in later years numbered
            names = [f"{'AB'[n * 2 // num_classes]}/species {n:04d}" for n in range(num_classes)]
        else:
            names = [f"{'BA'[n * 2 // num_classes]}/{n}" for n in range(num_classes)]
        return {"whole": class_folders(root, f"inaturalist/{year}", names, "{}.jpg", 10)}

    return build


BUILDERS: dict[str, Builder] = {
    "food101": food101,
    "flowers102": flowers102,
    "oxford_iiit_pet": oxford_iiit_pet,
    "dtd": dtd,
    "eurosat": eurosat,
    "gtsrb": gtsrb,
    "caltech101": caltech101,
    "caltech256": caltech256,
    "fgvc_aircraft": fgvc_aircraft,
    "stanford_cars": stanford_cars,
    "sun397": sun397,
    "country211": country211,
    "rendered_sst2": rendered_sst2,
    "omniglot": omniglot,
    "clevr": clevr,
    "imagenette": imagenette("imagenette2"),
    "imagenette_320": imagenette("imagenette2-320"),
    "imagenette_160": imagenette("imagenette2-160"),
    "imagenet": imagenet,
    "places365": places365,
    "inaturalist": inaturalist,
    "inaturalist_2019": inaturalist_competition(2019, 1_010),
    "inaturalist_2018": inaturalist_competition(2018, 8_142),
    "inaturalist_2017": inaturalist_competition(2017, 5_089),
}


def open_files(
    name: str, split: str, root: Path, on_event: Callable[[Event], None] = ignore
) -> EncodedSet:
    opened = open_dataset(name, split, data_dir=root, on_event=on_event)
    assert isinstance(opened, EncodedSet)
    return opened


def samples_of(opened: EncodedSet, root: Path) -> Samples:
    assert isinstance(opened.files, EncodedFiles)
    paths = [Path(path).relative_to(root).as_posix() for path in opened.files.items]
    return list(zip(paths, opened.labels.tolist(), strict=True))


def test_every_set_of_files_is_tested() -> None:
    in_memory = ("arrays", "pcam", "fer2013")
    assert set(BUILDERS) == {
        entry.name
        for entry in DATASETS.values()
        if isinstance(entry.source, TorchvisionSource) and entry.source.reader not in in_memory
    }


@pytest.mark.parametrize("name", BUILDERS)
def test_paths_labels_and_splits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = BUILDERS[name](tmp_path, monkeypatch)
    entry = DATASETS[name]
    found: Expected = {}
    for split in ("train", "test") if "whole" in expected else expected:
        events: list[Event] = []
        opened = open_files(name, split, tmp_path, events.append)
        found[split] = samples_of(opened, tmp_path)
        assert opened.labels.dtype == torch.int64
        assert (opened.dataset, opened.split) == (name, split)
        assert (opened.channels, opened.size) == (entry.channels, entry.size)
        assert len(opened.classes) == entry.num_classes
        assert not entry.classes or opened.classes == entry.classes
        assert [type(event) for event in events] == [Warned]  # a tiny copy lacks images
    if "whole" in expected:
        assert sorted(found["train"] + found["test"]) == sorted(expected["whole"])
        counts = [sum(label == 0 for _, label in found[split]) for split in ("train", "test")]
        assert counts == [8, 2]
    else:
        assert found == expected
    assert capfd.readouterr() == ("", "")


def test_names_that_only_the_files_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in (
        ("imagenet", "thing n00000003"),
        ("stanford_cars", "Car 3"),
        ("sun397", "place003"),
        ("omniglot", "Alphabet00/character03"),
        ("fgvc_aircraft", "Plane 003"),
        ("places365", "/a/place003"),
        ("inaturalist_2019", "B/3"),
    ):
        BUILDERS[name](tmp_path, monkeypatch)
        assert open_files(name, "train", tmp_path).classes[3] == expected


@pytest.mark.parametrize("name", ["eurosat", "imagenette", "country211"])
def test_a_class_that_is_missing_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = BUILDERS[name](tmp_path, monkeypatch)
    path = tmp_path / next(iter(samples.values()))[-1][0]
    path.unlink()
    path.parent.rmdir()
    classes = DATASETS[name].num_classes
    with pytest.raises(UnavailableError) as caught:
        open_files(name, "train", tmp_path)
    assert f"{classes - 1} classes instead of {classes}" in caught.value.message
    assert "digits" in caught.value.hint
