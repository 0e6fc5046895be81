"""The datasets that cnnkit knows by name: plain data, importing neither torch nor torchvision.

Sizes are those of the files that torchvision opens. Where publishers give away only one labelled
set beside the training images and call it validation set, it is `test` here: it is what published
accuracies were measured on, and cnnkit chooses on a part of the training images instead.
"""

from collections.abc import Mapping

from cnnkit.data import class_names
from cnnkit.data.entry import DatasetEntry, EmbeddedSource, Published, Split, TorchvisionSource
from cnnkit.registry import Catalogue

Arguments = Mapping[str, Mapping[str, object]]

BY_TRAIN: Arguments = {"train": {"train": True}, "test": {"train": False}}
WHOLE: Arguments = {"train": {}}


def _by(argument: str, **values: str) -> Arguments:
    """Return constructor arguments by split: what `argument` is called with for each."""
    return {split: {argument: value} for split, value in values.items()}


def _sizes(**num_images: int | None) -> dict[str, Split]:
    """Return official splits by name."""
    return {name: Split(count) for name, count in num_images.items()}


def _derived(train: int | None = None, test: int | None = None) -> dict[str, Split]:
    """Return the two splits that cnnkit makes of a set without any."""
    return {"train": Split(train, derived=True), "test": Split(test, derived=True)}


def _validated(train: int, val: int) -> dict[str, Split]:
    """Return the splits of a set whose only labelled held-out images are called `val`."""
    return {"train": Split(train), "test": Split(val, official_name="val")}


def _idx_files(folder: str) -> tuple[str, ...]:
    """Return the layout of the sets that come as MNIST's four files."""
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(f"{folder}/raw/{part}-ubyte.gz" for part in parts)


EMBEDDED = (
    DatasetEntry(
        name="digits",
        title="Optical Recognition of Handwritten Digits (test part)",
        task="handwritten digits",
        channels=1,
        size=(8, 8),
        num_classes=10,
        classes=class_names.DIGITS,
        splits=_derived(1_438, 359),
        source=EmbeddedSource("digits"),
        homepage="https://archive.ics.uci.edu/dataset/80",
        note="values 0..16, scaled to 0..255",
    ),
    DatasetEntry(
        name="iris",
        title="Iris",
        task="species of iris, from four lengths",
        channels=1,
        size=(1, 4),
        num_classes=3,
        classes=("setosa", "versicolor", "virginica"),
        splits=_derived(120, 30),
        source=EmbeddedSource("iris"),
        homepage="https://archive.ics.uci.edu/dataset/53",
        note="not pictures: sepal length and width, petal length and width in millimetres, "
        "as one row of four pixels",
    ),
)

MNIST_FAMILY = (
    DatasetEntry(
        name="mnist",
        title="MNIST",
        task="handwritten digits",
        channels=1,
        size=(28, 28),
        num_classes=10,
        classes=class_names.DIGITS,
        splits=_sizes(train=60_000, test=10_000),
        source=TorchvisionSource("MNIST", BY_TRAIN, _idx_files("MNIST")),
        homepage="http://yann.lecun.com/exdb/mnist/",
        published=Published(
            (0.1307,), (0.3081,), "pytorch/examples, mnist/main.py; all training pixels"
        ),
    ),
    DatasetEntry(
        name="fashion_mnist",
        title="Fashion-MNIST",
        task="articles of clothing",
        channels=1,
        size=(28, 28),
        num_classes=10,
        classes=class_names.FASHION_MNIST,
        splits=_sizes(train=60_000, test=10_000),
        source=TorchvisionSource("FashionMNIST", BY_TRAIN, _idx_files("FashionMNIST")),
        homepage="https://github.com/zalandoresearch/fashion-mnist",
    ),
    DatasetEntry(
        name="kmnist",
        title="Kuzushiji-MNIST",
        task="cursive Japanese characters",
        channels=1,
        size=(28, 28),
        num_classes=10,
        classes=class_names.KMNIST,
        splits=_sizes(train=60_000, test=10_000),
        source=TorchvisionSource("KMNIST", BY_TRAIN, _idx_files("KMNIST")),
        homepage="https://github.com/rois-codh/kmnist",
    ),
    DatasetEntry(
        name="qmnist",
        title="QMNIST",
        task="handwritten digits",
        channels=1,
        size=(28, 28),
        num_classes=10,
        classes=class_names.DIGITS,
        splits=_sizes(train=60_000, test=60_000, test10k=10_000, test50k=50_000, nist=402_953),
        source=TorchvisionSource(
            "QMNIST",
            _by(
                "what",
                train="train",
                test="test",
                test10k="test10k",
                test50k="test50k",
                nist="nist",
            ),
            (
                "QMNIST/raw/qmnist-train-images-idx3-ubyte.gz",
                "QMNIST/raw/qmnist-train-labels-idx2-int.gz",
                "QMNIST/raw/qmnist-test-images-idx3-ubyte.gz",
                "QMNIST/raw/qmnist-test-labels-idx2-int.gz",
                "QMNIST/raw/xnist-images-idx3-ubyte.xz",
                "QMNIST/raw/xnist-labels-idx2-int.xz",
            ),
        ),
        homepage="https://github.com/facebookresearch/qmnist",
        note="test10k and test50k are the two parts of test; nist contains train and test",
    ),
)


def _emnist(
    name: str, variant: str, task: str, classes: tuple[str, ...], train: int, test: int, note: str
) -> DatasetEntry:
    """Return one of EMNIST's six ways to cut the same images."""
    return DatasetEntry(
        name=name,
        title=f"EMNIST {variant}",
        task=task,
        channels=1,
        size=(28, 28),
        num_classes=len(classes),
        classes=classes,
        splits=_sizes(train=train, test=test),
        source=TorchvisionSource(
            "EMNIST",
            {split: {**BY_TRAIN[split], "split": variant} for split in BY_TRAIN},
            ("EMNIST/raw/gzip.zip",),
            axes="NWH",
            first_label=1 if variant == "letters" else 0,
        ),
        homepage="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        note=f"{note}; stored lying on its side, turned upright here",
    )


EMNIST = (
    _emnist(
        "emnist",
        "balanced",
        "handwritten digits and letters",
        class_names.EMNIST_MERGED,
        112_800,
        18_800,
        "as many images of each class; capitals stand for both where the small letter looks alike",
    ),
    _emnist(
        "emnist_byclass",
        "byclass",
        "handwritten digits and letters",
        class_names.EMNIST_BY_CLASS,
        697_932,
        116_323,
        "digits, capitals and small letters as they occurred",
    ),
    _emnist(
        "emnist_bymerge",
        "bymerge",
        "handwritten digits and letters",
        class_names.EMNIST_MERGED,
        697_932,
        116_323,
        "as byclass, capitals standing for both where the small letter looks alike",
    ),
    _emnist(
        "emnist_letters",
        "letters",
        "handwritten letters",
        class_names.LETTERS,
        124_800,
        20_800,
        "capital and small letters are one class",
    ),
    _emnist(
        "emnist_digits",
        "digits",
        "handwritten digits",
        class_names.DIGITS,
        240_000,
        40_000,
        "as many images of each digit",
    ),
    _emnist(
        "emnist_mnist",
        "mnist",
        "handwritten digits",
        class_names.DIGITS,
        60_000,
        10_000,
        "digits cut to the size of MNIST",
    ),
)

IN_MEMORY = (
    DatasetEntry(
        name="usps",
        title="USPS",
        task="handwritten digits",
        channels=1,
        size=(16, 16),
        num_classes=10,
        classes=class_names.DIGITS,
        splits=_sizes(train=7_291, test=2_007),
        source=TorchvisionSource("USPS", BY_TRAIN, ("usps.bz2", "usps.t.bz2")),
        homepage="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
    ),
    DatasetEntry(
        name="semeion",
        title="Semeion Handwritten Digit",
        task="handwritten digits",
        channels=1,
        size=(16, 16),
        num_classes=10,
        classes=class_names.DIGITS,
        splits=_derived(),
        source=TorchvisionSource("SEMEION", WHOLE, ("semeion.data",), labels="labels"),
        homepage="https://archive.ics.uci.edu/dataset/178",
        num_images=1_593,
    ),
    DatasetEntry(
        name="cifar10",
        title="CIFAR-10",
        task="objects",
        channels=3,
        size=(32, 32),
        num_classes=10,
        classes=class_names.CIFAR10,
        splits=_sizes(train=50_000, test=10_000),
        source=TorchvisionSource("CIFAR10", BY_TRAIN, ("cifar-10-python.tar.gz",), axes="NHWC"),
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        published=Published(
            (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "all training pixels, exact"
        ),
    ),
    DatasetEntry(
        name="cifar100",
        title="CIFAR-100",
        task="objects",
        channels=3,
        size=(32, 32),
        num_classes=100,
        classes=class_names.CIFAR100,
        splits=_sizes(train=50_000, test=10_000),
        source=TorchvisionSource("CIFAR100", BY_TRAIN, ("cifar-100-python.tar.gz",), axes="NHWC"),
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        published=Published(
            (0.5071, 0.4865, 0.4409),
            (0.2673, 0.2564, 0.2762),
            "weiaicunzai/pytorch-cifar100, conf/global_settings.py; all training pixels",
        ),
    ),
    DatasetEntry(
        name="svhn",
        title="Street View House Numbers (cropped digits)",
        task="digits of house numbers",
        channels=3,
        size=(32, 32),
        num_classes=10,
        classes=class_names.DIGITS,
        splits=_sizes(train=73_257, test=26_032, extra=531_131),
        source=TorchvisionSource(
            "SVHN",
            _by("split", train="train", test="test", extra="extra"),
            ("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"),
            labels="labels",
            axes="NCHW",
        ),
        homepage="http://ufldl.stanford.edu/housenumbers/",
        asks="non-commercial use",
    ),
    DatasetEntry(
        name="stl10",
        title="STL-10",
        task="objects",
        channels=3,
        size=(96, 96),
        num_classes=10,
        classes=class_names.STL10,
        splits=_sizes(train=5_000, test=8_000),
        source=TorchvisionSource(
            "STL10",
            _by("split", train="train", test="test"),
            ("stl10_binary.tar.gz",),
            labels="labels",
            axes="NCHW",
        ),
        homepage="https://cs.stanford.edu/~acoates/stl10/",
        asks="a download of 2.6 GB",
        note="the 100,000 unlabelled images are left out",
    ),
    DatasetEntry(
        name="pcam",
        title="PatchCamelyon",
        task="tumour in sections of lymph nodes",
        channels=3,
        size=(96, 96),
        num_classes=2,
        classes=("normal", "tumour"),
        splits=_sizes(train=262_144, val=32_768, test=32_768),
        source=TorchvisionSource(
            "PCAM",
            _by("split", train="train", val="val", test="test"),
            tuple(
                f"pcam/camelyonpatch_level_2_split_{split}_{part}.h5"
                for split in ("train", "valid", "test")
                for part in "xy"
            ),
            reader="pcam",
            drive_mirror="https://zenodo.org/records/2546921/files/",
            modules=("h5py",),
        ),
        homepage="https://github.com/basveeling/pcam",
        asks="the package h5py, and 7.2 GB of memory for the training split",
    ),
    DatasetEntry(
        name="fer2013",
        title="FER-2013",
        task="facial expressions",
        channels=1,
        size=(48, 48),
        num_classes=7,
        classes=class_names.FER2013,
        splits=_sizes(train=28_709, test=7_178),
        source=TorchvisionSource(
            "FER2013",
            _by("split", train="train", test="test"),
            ("fer2013/fer2013.csv",),
            reader="fer2013",
            downloads=False,
        ),
        homepage="https://www.kaggle.com/c/challenges-in-representation-learning-facial-"
        "expression-recognition-challenge",
        asks="an account at kaggle.com, and fer2013.csv (or icml_face_data.csv) placed by hand",
        note="test is the public and the private test set together",
    ),
)

FILES = (
    DatasetEntry(
        name="food101",
        title="Food-101",
        task="dishes",
        channels=3,
        size=None,
        num_classes=101,
        classes=class_names.FOOD101,
        splits=_sizes(train=75_750, test=25_250),
        source=TorchvisionSource(
            "Food101",
            _by("split", train="train", test="test"),
            ("food-101.tar.gz",),
            reader="paths",
            images="_image_files",
            labels="_labels",
            classes="classes",
        ),
        homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        asks="a download of 5 GB",
    ),
    DatasetEntry(
        name="flowers102",
        title="Oxford 102 Flower",
        task="flowers",
        channels=3,
        size=None,
        num_classes=102,
        classes=class_names.FLOWERS102,
        splits=_sizes(train=1_020, val=1_020, test=6_149),
        source=TorchvisionSource(
            "Flowers102",
            _by("split", train="train", val="val", test="test"),
            (
                "flowers-102/102flowers.tgz",
                "flowers-102/imagelabels.mat",
                "flowers-102/setid.mat",
            ),
            reader="paths",
            images="_image_files",
            labels="_labels",
            classes="classes",
        ),
        homepage="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    ),
    DatasetEntry(
        name="oxford_iiit_pet",
        title="Oxford-IIIT Pet",
        task="breeds of cats and dogs",
        channels=3,
        size=None,
        num_classes=37,
        classes=class_names.OXFORD_IIIT_PET,
        splits={"train": Split(3_680, official_name="trainval"), "test": Split(3_669)},
        source=TorchvisionSource(
            "OxfordIIITPet",
            _by("split", train="trainval", test="test"),
            ("oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz"),
            reader="paths",
            images="_images",
            labels="_labels",
            classes="classes",
        ),
        homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        asks="CC BY-SA 4.0",
    ),
    DatasetEntry(
        name="dtd",
        title="Describable Textures",
        task="textures",
        channels=3,
        size=None,
        num_classes=47,
        classes=class_names.DTD,
        splits=_sizes(train=1_880, val=1_880, test=1_880),
        source=TorchvisionSource(
            "DTD",
            _by("split", train="train", val="val", test="test"),
            ("dtd/dtd-r1.0.1.tar.gz",),
            reader="paths",
            images="_image_files",
            labels="_labels",
            classes="classes",
        ),
        homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        note="the first of its ten partitions",
    ),
    DatasetEntry(
        name="eurosat",
        title="EuroSAT (RGB)",
        task="land use in satellite images",
        channels=3,
        size=(64, 64),
        num_classes=10,
        classes=class_names.EUROSAT,
        splits=_derived(21_600, 5_400),
        source=TorchvisionSource(
            "EuroSAT",
            WHOLE,
            ("eurosat/EuroSAT.zip",),
            reader="samples",
            images="samples",
            classes="classes",
        ),
        homepage="https://github.com/phelber/EuroSAT",
    ),
    DatasetEntry(
        name="gtsrb",
        title="German Traffic Sign Recognition Benchmark",
        task="traffic signs",
        channels=3,
        size=None,
        num_classes=43,
        classes=class_names.GTSRB,
        splits=_sizes(train=26_640, test=12_630),
        source=TorchvisionSource(
            "GTSRB",
            _by("split", train="train", test="test"),
            (
                "gtsrb/GTSRB-Training_fixed.zip",
                "gtsrb/GTSRB_Final_Test_Images.zip",
                "gtsrb/GTSRB_Final_Test_GT.zip",
            ),
            reader="samples",
            images="_samples",
        ),
        homepage="https://benchmark.ini.rub.de/",
        note="the training images of the first round; the final round had 39,209",
    ),
    DatasetEntry(
        name="caltech101",
        title="Caltech 101",
        task="objects",
        channels=3,
        size=None,
        num_classes=101,
        classes=class_names.CALTECH101,
        splits=_derived(),
        source=TorchvisionSource(
            "Caltech101",
            WHOLE,
            ("caltech101/caltech-101.zip",),
            reader="caltech",
            classes="categories",
        ),
        homepage="https://data.caltech.edu/records/20086",
        num_images=8_677,
        note="without the background images; some images are grey",
    ),
    DatasetEntry(
        name="caltech256",
        title="Caltech 256",
        task="objects",
        channels=3,
        size=None,
        num_classes=257,
        classes=(),
        splits=_derived(),
        source=TorchvisionSource(
            "Caltech256",
            WHOLE,
            ("caltech256/256_ObjectCategories.tar",),
            reader="caltech",
            classes="categories",
        ),
        homepage="https://data.caltech.edu/records/20087",
        num_images=30_607,
        note="the last class is clutter; some images are grey",
    ),
    DatasetEntry(
        name="fgvc_aircraft",
        title="FGVC-Aircraft",
        task="variants of aircraft",
        channels=3,
        size=None,
        num_classes=100,
        classes=(),
        splits=_sizes(train=3_334, val=3_333, test=3_333),
        source=TorchvisionSource(
            "FGVCAircraft",
            _by("split", train="train", val="val", test="test"),
            ("fgvc-aircraft-2013b.tar.gz",),
            reader="paths",
            images="_image_files",
            labels="_labels",
            classes="classes",
        ),
        homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        asks="non-commercial research",
    ),
    DatasetEntry(
        name="stanford_cars",
        title="Stanford Cars",
        task="models of cars",
        channels=3,
        size=None,
        num_classes=196,
        classes=(),
        splits=_sizes(train=8_144, test=8_041),
        source=TorchvisionSource(
            "StanfordCars",
            _by("split", train="train", test="test"),
            (
                "stanford_cars/devkit/cars_meta.mat",
                "stanford_cars/devkit/cars_train_annos.mat",
                "stanford_cars/cars_test_annos_withlabels.mat",
                "stanford_cars/cars_train/*.jpg",
                "stanford_cars/cars_test/*.jpg",
            ),
            reader="samples",
            images="_samples",
            classes="classes",
            downloads=False,
        ),
        homepage="https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset",
        asks="files placed by hand: its own address is dead",
    ),
    DatasetEntry(
        name="sun397",
        title="SUN397",
        task="scenes",
        channels=3,
        size=None,
        num_classes=397,
        classes=(),
        splits=_derived(),
        source=TorchvisionSource(
            "SUN397",
            WHOLE,
            ("SUN397.tar.gz",),
            max_download_gb=64,
            reader="paths",
            images="_image_files",
            labels="_labels",
            classes="classes",
            unordered=True,
        ),
        homepage="https://vision.princeton.edu/projects/2010/SUN/",
        asks="a download of 37 GB",
        num_images=108_754,
        note="the publishers' ten partitions are not what torchvision opens",
    ),
    DatasetEntry(
        name="country211",
        title="Country211",
        task="the country of a photograph",
        channels=3,
        size=None,
        num_classes=211,
        classes=(),
        splits={
            "train": Split(31_650),
            "val": Split(10_550, official_name="valid"),
            "test": Split(21_100),
        },
        source=TorchvisionSource(
            "Country211",
            _by("split", train="train", val="valid", test="test"),
            ("country211.tgz",),
            reader="samples",
            images="samples",
            classes="classes",
        ),
        homepage="https://github.com/openai/CLIP/blob/main/data/country211.md",
        asks="a download of 11 GB",
    ),
    DatasetEntry(
        name="rendered_sst2",
        title="Rendered SST2",
        task="mood of a film review, printed as a picture",
        channels=3,
        size=(448, 448),
        num_classes=2,
        classes=("negative", "positive"),
        splits=_sizes(train=6_920, val=872, test=1_821),
        source=TorchvisionSource(
            "RenderedSST2",
            _by("split", train="train", val="val", test="test"),
            ("rendered-sst2.tgz",),
            reader="samples",
            images="_samples",
            classes="classes",
        ),
        homepage="https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md",
    ),
    DatasetEntry(
        name="omniglot",
        title="Omniglot (background set)",
        task="characters of thirty alphabets",
        channels=1,
        size=(105, 105),
        num_classes=964,
        classes=(),
        splits=_derived(15_424, 3_856),
        source=TorchvisionSource(
            "Omniglot",
            {"train": {"background": True}},
            ("omniglot-py/images_background.zip",),
            reader="omniglot",
            classes="_characters",
        ),
        homepage="https://github.com/brendenlake/omniglot",
        note="twenty drawings of each character; the evaluation set has other characters, "
        "so it is no test split",
    ),
    DatasetEntry(
        name="clevr",
        title="CLEVR",
        task="how many objects there are",
        channels=3,
        size=(320, 480),
        num_classes=8,
        classes=("3", "4", "5", "6", "7", "8", "9", "10"),
        splits=_validated(70_000, 15_000),
        source=TorchvisionSource(
            "CLEVRClassification",
            _by("split", train="train", test="val"),
            ("clevr/CLEVR_v1.0.zip",),
            max_download_gb=32,
            reader="paths",
            images="_image_files",
            labels="_labels",
            first_label=3,
        ),
        homepage="https://cs.stanford.edu/people/jcjohns/clevr/",
        asks="a download of 18 GB",
    ),
)


def _imagenette(name: str, size: str, archive: str, asks: str) -> DatasetEntry:
    """Return one of the three sizes in which Imagenette is given away."""
    return DatasetEntry(
        name=name,
        title=f"Imagenette ({'full size' if size == 'full' else f'shorter side {size}'})",
        task="ten classes of ImageNet",
        channels=3,
        size=None,
        num_classes=10,
        classes=class_names.IMAGENETTE,
        splits=_validated(9_469, 3_925),
        source=TorchvisionSource(
            "Imagenette",
            {"train": {"split": "train", "size": size}, "test": {"split": "val", "size": size}},
            (archive,),
            reader="samples",
            images="_samples",
            classes="classes",
        ),
        homepage="https://github.com/fastai/imagenette",
        asks=asks,
    )


def _inaturalist_competition(year: int, num_classes: int, num_images: int) -> DatasetEntry:
    """Return one of the earlier competitions, which come as one folder of labelled images."""
    return DatasetEntry(
        name=f"inaturalist_{year}",
        title=f"iNaturalist {year}",
        task="species",
        channels=3,
        size=None,
        num_classes=num_classes,
        classes=(),
        splits=_derived(),
        source=TorchvisionSource(
            "INaturalist",
            {"train": {"version": str(year)}},
            (f"inaturalist/{year}.tgz",),
            max_download_gb=400,
            reader="inaturalist",
            classes="all_categories",
            folder="inaturalist",
            unordered=True,
        ),
        homepage="https://github.com/visipedia/inat_comp",
        asks="non-commercial use, and a very large download",
        num_images=num_images,
        note="the publishers' training and validation images come mixed",
    )


LARGE = (
    _imagenette("imagenette", "full", "imagenette2.tgz", "a download of 1.5 GB"),
    _imagenette("imagenette_320", "320px", "imagenette2-320.tgz", ""),
    _imagenette("imagenette_160", "160px", "imagenette2-160.tgz", ""),
    DatasetEntry(
        name="imagenet",
        title="ImageNet (ILSVRC 2012)",
        task="objects",
        channels=3,
        size=None,
        num_classes=1000,
        classes=(),
        splits=_validated(1_281_167, 50_000),
        source=TorchvisionSource(
            "ImageNet",
            _by("split", train="train", test="val"),
            (
                "imagenet/ILSVRC2012_devkit_t12.tar.gz",
                "imagenet/ILSVRC2012_img_train.tar",
                "imagenet/ILSVRC2012_img_val.tar",
            ),
            reader="samples",
            images="samples",
            classes="classes",
            folder="imagenet",
            downloads=False,
        ),
        homepage="https://image-net.org/download.php",
        asks="an account at image-net.org (research and teaching only), "
        "and three archives placed by hand",
        published=Published(
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
            "torchvision's reference training; resized and cropped training images",
        ),
    ),
    DatasetEntry(
        name="places365",
        title="Places365-Standard (256x256)",
        task="scenes",
        channels=3,
        size=(256, 256),
        num_classes=365,
        classes=(),
        splits=_validated(1_803_460, 36_500),
        source=TorchvisionSource(
            "Places365",
            {
                "train": {"split": "train-standard", "small": True},
                "test": {"split": "val", "small": True},
            },
            (
                "places365/filelist_places365-standard.tar",
                "places365/train_256_places365standard.tar",
                "places365/val_256.tar",
            ),
            max_download_gb=64,
            reader="samples",
            images="imgs",
            classes="classes",
            folder="places365",
        ),
        homepage="http://places2.csail.mit.edu/",
        asks="research and teaching only, and a download of 24 GB",
    ),
    DatasetEntry(
        name="inaturalist",
        title="iNaturalist 2021",
        task="species",
        channels=3,
        size=None,
        num_classes=10_000,
        classes=(),
        splits={
            **_validated(2_686_843, 100_000),
            "train_mini": Split(500_000),
        },
        source=TorchvisionSource(
            "INaturalist",
            _by("version", train="2021_train", test="2021_valid", train_mini="2021_train_mini"),
            (
                "inaturalist/2021_train.tgz",
                "inaturalist/2021_valid.tgz",
                "inaturalist/2021_train_mini.tgz",
            ),
            max_download_gb=400,
            reader="inaturalist",
            classes="all_categories",
            folder="inaturalist",
            unordered=True,
        ),
        homepage="https://github.com/visipedia/inat_comp/tree/master/2021",
        asks="non-commercial use, and a download of 224 GB (train_mini: 42 GB)",
    ),
    _inaturalist_competition(2019, 1_010, 268_243),
    _inaturalist_competition(2018, 8_142, 461_939),
    _inaturalist_competition(2017, 5_089, 675_170),
)

DATASETS: Catalogue[DatasetEntry] = Catalogue(
    "dataset", (*EMBEDDED, *MNIST_FAMILY, *EMNIST, *IN_MEMORY, *FILES, *LARGE)
)
"""Every dataset that has a name of its own."""
