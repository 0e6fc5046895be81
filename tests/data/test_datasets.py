import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torchvision.datasets as live
from torchvision.datasets.folder import IMG_EXTENSIONS

from cnnkit.data import DATASETS, DatasetEntry
from cnnkit.data.datasets import CLASS_NAMES, FILE, read_datasets
from cnnkit.data.entry import Published, Split, TorchvisionSource
from cnnkit.data.image_files import IMAGE_SUFFIXES
from tests.field_types import check_fields

TORCHVISION = [
    (entry, entry.source)
    for entry in DATASETS.values()
    if isinstance(entry.source, TorchvisionSource)
]
TORCHVISION_IDS = [entry.name for entry, _ in TORCHVISION]

OTHER_KINDS = {
    "segmentation, detection, captions, matching": (
        "CocoCaptions CocoDetection Cityscapes Flickr30k Flickr8k Kitti SBDataset SBU "
        "VOCDetection VOCSegmentation WIDERFace PhotoTour"
    ),
    "optical flow and stereo": (
        "CREStereo CarlaStereo ETH3DStereo FallingThingsStereo FlyingChairs FlyingThings3D HD1K "
        "InStereo2k Kitti2012Stereo Kitti2015Stereo KittiFlow Middlebury2014Stereo "
        "SceneFlowStereo Sintel SintelStereo"
    ),
    "video": "HMDB51 Kinetics MovingMNIST UCF101",
    "no set of its own": "DatasetFolder FakeData ImageFolder VisionDataset",
    "forty attributes an image, and no single label": "CelebA",
    "test shows other people than train": "LFWPeople LFWPairs",
    "databases that need the package lmdb": "LSUN LSUNClass",
}


ROW = """
[bars]
title = "Bars"
task = "which way bars lie"
channels = 1
size = [4, 6]
num_classes = 2
classes = "bars"
splits = {{ train = 8, test = 4 }}
official_names = {{ test = "val" }}
homepage = "https://example.org"
{more}
[bars.published]
mean = [0.5]
std = [0.25]
source = "here"
[bars.torchvision]
class_name = "FakeData"
arguments = {{ train = {{ size = 8 }}, test = {{ size = 4 }} }}
layout = ["bars.zip"]
"""


@pytest.mark.parametrize("entry", DATASETS.values(), ids=list(DATASETS))
def test_every_field_is_of_its_type(entry: DatasetEntry) -> None:
    check_fields(entry)


def test_a_dataset_is_a_table_and_perhaps_a_file_of_class_names(tmp_path: Path) -> None:
    (tmp_path / CLASS_NAMES).mkdir()
    (tmp_path / CLASS_NAMES / "bars.txt").write_text("lying\nupright, à peu près\n", "utf-8")
    file = tmp_path / "datasets.toml"
    file.write_text(ROW.format(more=""))
    [entry] = read_datasets(file)
    assert (entry.name, entry.size, entry.classes) == (
        "bars", (4, 6), ("lying", "upright, à peu près")
    )  # fmt: skip
    assert entry.splits == {"train": Split(8), "test": Split(4, official_name="val")}
    assert entry.published == Published((0.5,), (0.25,), "here")
    assert entry.source == TorchvisionSource(
        "FakeData", {"train": {"size": 8}, "test": {"size": 4}}, ("bars.zip",)
    )
    file.write_text(ROW.format(more='tilte = "x"'))
    with pytest.raises(TypeError, match="tilte"):
        list(read_datasets(file))


def test_every_file_of_class_names_is_used() -> None:
    files = {path.stem for path in (FILE.parent / CLASS_NAMES).iterdir()}
    read = tomllib.loads(FILE.read_text("utf-8"))
    named = (one.get("classes") for one in read.values())
    assert files == {one for one in named if isinstance(one, str)}


def test_the_head_of_the_file_explains_every_key() -> None:
    text = FILE.read_text("utf-8")
    explained = set(re.findall(r"^#   (\w+)", text, re.MULTILINE))
    assert {key for one in tomllib.loads(text).values() for key in one} == explained | {
        "published", "torchvision"
    }  # fmt: skip


@pytest.mark.parametrize("entry", DATASETS.values(), ids=list(DATASETS))
def test_an_entry_agrees_with_itself(entry: DatasetEntry) -> None:
    assert not entry.classes or len(entry.classes) == entry.num_classes
    assert len(set(entry.classes)) == len(entry.classes)
    assert entry.channels in (1, 3)
    assert next(iter(entry.splits)) == "train"
    assert "test" in entry.splits
    assert entry.homepage.startswith("http")
    assert entry.title
    assert entry.task
    if entry.published is not None:
        assert len(entry.published.mean) == len(entry.published.std) == entry.channels
        assert entry.published.source
    derived = [split.derived for split in entry.splits.values()]
    assert all(derived) or not any(derived)
    if all(derived):
        assert list(entry.splits) == ["train", "test"]


@pytest.mark.parametrize(("entry", "source"), TORCHVISION, ids=TORCHVISION_IDS)
def test_the_constructor_takes_the_arguments(
    entry: DatasetEntry, source: TorchvisionSource
) -> None:
    dataset_class = getattr(live, source.class_name)
    official = {name for name, split in entry.splits.items() if not split.derived} or {"train"}
    assert set(source.arguments) == official
    names = {
        name
        for base in inspect.getmro(dataset_class)
        if "__init__" in vars(base)
        for name in inspect.signature(base.__init__).parameters
    }
    for arguments in source.arguments.values():
        assert set(arguments) <= names
    assert source.downloads == ("download" in names and source.class_name != "StanfordCars")
    assert source.layout
    assert all(not place.startswith("/") for place in source.layout)


def test_every_classification_set_of_torchvision_is_here() -> None:
    ours = {source.class_name for _, source in TORCHVISION}
    others = {name for names in OTHER_KINDS.values() for name in names.split()}
    classes = {name for name in live.__all__ if inspect.isclass(getattr(live, name))}
    assert ours.isdisjoint(others)
    assert ours | others == classes


def test_classes_are_those_of_torchvision() -> None:
    for name, dataset_class in (("fashion_mnist", live.FashionMNIST), ("kmnist", live.KMNIST)):
        assert list(DATASETS[name].classes) == dataset_class.classes
    assert list(DATASETS["flowers102"].classes) == live.Flowers102.classes
    assert [f"{name} - " for name in DATASETS["mnist"].classes] == [
        name[:4] for name in live.MNIST.classes
    ]
    for variant, classes in live.EMNIST.classes_split_dict.items():
        name = "emnist" if variant == "balanced" else f"emnist_{variant}"
        assert list(DATASETS[name].classes) == [item for item in classes if item != "N/A"]
    names = live.Imagenette._WNID_TO_CLASS
    assert list(DATASETS["imagenette"].classes) == [names[wnid][0] for wnid in sorted(names)]


def test_classes_that_come_from_folders_are_sorted() -> None:
    for name in ("food101", "dtd", "caltech101", "eurosat", "oxford_iiit_pet", "cifar100"):
        assert list(DATASETS[name].classes) == sorted(DATASETS[name].classes)


def test_sizes_that_are_sums() -> None:
    def total(name: str) -> int:
        return sum(split.num_images or 0 for split in DATASETS[name].splits.values())

    assert total("food101") == 101 * 1000
    assert total("dtd") == 47 * 120
    assert total("fgvc_aircraft") == 100 * 100
    assert total("flowers102") == 8_189
    assert total("oxford_iiit_pet") == 7_349
    assert total("stanford_cars") == 16_185
    assert total("country211") == 211 * 300
    assert total("rendered_sst2") == 9_613
    assert total("fer2013") == 35_887
    assert total("imagenette") == 13_394
    assert total("eurosat") == 27_000
    assert total("omniglot") == 964 * 20
    assert total("pcam") == 327_680
    assert total("emnist_byclass") == total("emnist_bymerge") == 814_255
    assert total("emnist") == 131_600


def test_extensions_are_those_of_torchvision() -> None:
    assert set(IMAGE_SUFFIXES) >= set(IMG_EXTENSIONS)


def test_looking_up_imports_nothing_heavy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    code = (
        "import sys; from cnnkit.data import *; find_dataset('mnist'); find_dataset(sys.argv[1]);"
        "find_dataset('fake:1x8x8:2:10'); default_data_dir();"
        "print([name for name in ('torch', 'torchvision', 'numpy', 'sklearn', 'PIL', 'scipy')"
        " if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
