import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision.datasets as live
from torchvision.datasets.folder import IMG_EXTENSIONS

from cnnkit.data import DATASETS, DatasetEntry
from cnnkit.data.decode import IMAGE_SUFFIXES
from cnnkit.data.entry import TorchvisionSource

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
