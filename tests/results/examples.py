"""Results with every corner, for the tests of results and renderers."""

from cnnkit.results import (
    ClassMetrics,
    DatasetList,
    DatasetRow,
    DoctorReport,
    EpochMetrics,
    EvalResult,
    Finding,
    Metrics,
    ModelList,
    ModelRow,
    Sample,
    SampleList,
    TrainResult,
)
from cnnkit.results.samples import Normalization, Picture

METRICS = Metrics(0.05123, 0.9875, 0.98512, 0.98951, 10_000, 0.9999)

TRAINED = TrainResult(
    run="runs/lenet5-mnist-20261120-120000",
    model="lenet5",
    dataset="mnist",
    device="cpu",
    num_params=61_706,
    num_train_images=54_000,
    num_val_images=6_000,
    epochs=(
        EpochMetrics(1, 0.31234, 0.90512, 0.10123, 0.9695, 0.002, 3.512, 15_375.6),
        EpochMetrics(2, 0.09876, 0.9701, 0.06543, 0.98, 0.0001, 65.25, 827.6),
    ),
    best_epoch=2,
    test=METRICS,
    num_skipped=1,
    seconds=71.25,
)

MONITORED = TrainResult(
    run="runs/x",
    model="lenet5",
    dataset="mnist",
    device="cuda",
    num_params=61_706,
    num_train_images=60_000,
    num_val_images=0,
    epochs=(EpochMetrics(1, 2.2817, 0.1416, None, None, 0.001, 9.5, 6315.8, 2.254, 0.3411),),
    best_epoch=1,
    test=None,
    num_skipped=0,
    seconds=10.0,
)

EVALUATED = EvalResult(
    run="runs/x",
    checkpoint="best",
    epoch=2,
    model="lenet5",
    dataset="pets",
    split="test",
    device="cpu",
    metrics=Metrics(0.5, 0.75, 0.3006, 0.9544, 4, None),
    per_class=(
        ClassMetrics("[bold]cat|dog", 3, 1.0, 2 / 3, 0.8),
        ClassMetrics("100 % äpfel & <b>", 1, 0.5, 1.0, 2 / 3),
        ClassMetrics("never", 0, None, None, None),
    ),
    confusion=((2, 1, 0), (0, 1, 0), (0, 0, 0)),
    num_skipped=0,
    seconds=0.5,
    images_per_second=8.0,
)

MODELS = ModelList(
    (
        ModelRow(
            "vgg16", "VGG", 2014, "3x224x224", 32, 138_357_544, 15_470_264_320,
            0.71592, "ImageNet-1K", "stacks of 3x3 convolutions", "Simonyan and Zisserman, 2014",
        ),
        ModelRow("linear", "MLP", 1958, "1x28x28", 1, 7_850, None, None, None, "one layer", "-"),
    )
)  # fmt: skip

DATASETS = DatasetList(
    (
        DatasetRow(
            "cifar10", "CIFAR-10", "objects", 3, "32x32", 10, {"train": 50_000, "test": 10_000},
            "download", "", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "computed", "https",
        ),
        DatasetRow(
            "imagenet", "ImageNet", "objects", 3, None, 1000, {"train": 1_281_167, "test": None},
            "by hand", "a licence", None, None, None, "https",
        ),
    )
)  # fmt: skip

DOCTOR = DoctorReport(
    (
        Finding("versions", "torch", "2.15.0"),
        Finding("versions", "Python", "3.11.7"),
        Finding("extras", "timm", "no", "pip install 'cnnkit[timm]'"),
    )
)

GREY = Picture(2, 3, 1, bytes([0, 50, 100, 150, 200, 255]))
COLOR = Picture(1, 1, 3, bytes([255, 0, 10]))

SHOWN = SampleList(
    dataset="photos",
    split="train",
    num_images=12_000,
    num_candidates=700,
    seed=3,
    input="3x8x8",
    normalization=Normalization((0.5,), (0.25,), "published", -2.0, 2.0, 0.75, 0.125),
    titles=("as stored", "brought to 3x8x8", "normalised, clipped", "normalised, stretched"),
    samples=(
        Sample(11_999, "[bold]cat|dog", 2, 3, "L", "photos/a.png", None, (GREY,) * 4),
        Sample(0, "100 % äpfel & <b>", 1, 1, "RGB", "photos/b.jpg", None, (COLOR,) * 4),
        Sample(7, None, None, None, None, "photos/c.jpg", "cut short", None),
    ),
)

NAMED = SampleList(
    dataset="digits",
    split="all",
    num_images=1797,
    num_candidates=1797,
    seed=None,
    input=None,
    normalization=None,
    titles=("as stored",),
    samples=(Sample(99, "2", 2, 3, "L", None, None, (GREY,)),),
)

ALL = {
    "train": TRAINED,
    "monitored": MONITORED,
    "eval": EVALUATED,
    "models": MODELS,
    "datasets": DATASETS,
    "doctor": DOCTOR,
    "show": SHOWN,
    "named": NAMED,
}
