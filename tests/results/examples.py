"""Results with every corner, for the tests of results and renderers."""

from dataclasses import replace

from cnnkit.architecture.conv import conv
from cnnkit.render import ShownStats
from cnnkit.results import (
    ClassMetrics,
    ComparedModel,
    ComparisonResult,
    DatasetList,
    DatasetRow,
    DatasetStatistics,
    Difference,
    DoctorReport,
    EpochMetrics,
    EvalResult,
    Finding,
    LearningRatePoint,
    LearningRateSearch,
    Metrics,
    ModelList,
    ModelRow,
    PrintedCount,
    RecipeList,
    RecipeRow,
    SampleList,
    Totals,
    TrainResult,
)
from cnnkit.results.inspection import (
    DuplicateGroup,
    DuplicateImage,
    Duplicates,
    ImageIssue,
    ImageIssues,
    ImageQuality,
)
from cnnkit.results.show import Normalization, Picture, Sample
from cnnkit.results.stats import (
    BadFile,
    ChannelStats,
    ClassStats,
    Comparison,
    PublishedStats,
    Quartiles,
    SizeStats,
)
from tests.results import bench_examples, summary_examples

CONV = conv(227, kernel=11, stride=4, in_channels=3, out_channels=96)
CONV_UNEVEN = conv(
    (224, 30), kernel=(11, 4), stride=(4, 7), padding=(2, 0), dilation=(1, 2),
    in_channels=64, out_channels=128, groups=32, bias=False,
)  # fmt: skip
CONV_SAME = conv(28, kernel=4, same=True)
CONV_POOLED = conv(kernel=2, pool="max", stride=3, padding=1, ceil=True, image=[[1, -2]] * 5)
CONV_TRANSPOSED = conv(
    14, kernel=2, stride=3, transposed=True, output_padding=1, in_channels=16, out_channels=8
)
CONV_SHOWN = conv(
    image="60 113 56 139; 73 121 54 84; 131 99 70 129; 80 57 115 69; 104 126 123 95",
    weight="0 -1 0; -1 5 -1; 0 -1/3 0",
    padding=1,
    show=True,
)
CONV_STACK = conv(224, stack="7s2,3d2,4", padding=1, in_channels=3, out_channels=64)
CONV_STACK_BARE = conv(stack="3,3,3")

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

LR_FOUND = LearningRateSearch(
    model="lenet5",
    dataset="digits",
    device="cpu",
    optimizer="sgd",
    batch_size=32,
    seed=0,
    recipe_lr=0.05,
    points=tuple(
        LearningRatePoint(step, 1e-6 * 1.1**step, 2.3 - 0.01 * step, 2.31 - 0.01 * step)
        for step in range(1, 148)
    ),
    diverged_at=1.31,
    lowest_at=0.3123,
    suggestion=0.03741,
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

RECIPES = RecipeList(
    (
        RecipeRow(
            "mnist-fast", "fast", "convnet3", "mnist", "99 % in the least time", 1, 0.99123, 10,
            0.00065, 4.25, "2 cores of a laptop",
        ),
        RecipeRow(
            "mnist-lenet5-lecture", "lecture", "lenet5", "mnist", "as in the lectures", 15, None,
            None, None, None, None,
        ),
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
        Finding("extras", "timm", "no", "pip install timm"),
    )
)


def compared_model(
    name: str,
    *,
    macs: int,
    top1: float | None = None,
    top5: float | None = None,
    dataset: str = "ImageNet-1K",
    year: int | None = 2015,
    pareto: bool | None = None,
    remarks: tuple[str, ...] = (),
) -> ComparedModel:
    """Return a network that costs so much; one without a year is not of the zoo."""
    is_known = top1 is not None or top5 is not None
    return ComparedModel(
        name=name,
        year=year,
        salient="shortcut connections" if year else None,
        input="3x224x224",
        totals=Totals(
            25_557_032, 25_557_032, 102_441_448, macs, 2 * macs, 10**8, 89_727_008, 113_482_728,
            495_302_048 if year else None, 188_612_352 if year else None,
        ),
        num_weighted_layers=50,
        receptive_field=427 if year else None,
        top1=top1,
        top5=top5,
        dataset=dataset if is_known else None,
        weights="IMAGENET1K_V2" if is_known and dataset == "ImageNet-1K" else None,
        crop=224 if is_known else None,
        source="torchvision" if is_known else None,
        top1_per_gmac=None if top1 is None else top1 / macs * 1e9,
        pareto=pareto,
        complete=year is not None,
        is_lower_bound=year is None,
        remarks=remarks,
    )  # fmt: skip


COMPARED = ComparisonResult(
    input=None,
    batch_size=1,
    dtype="float32",
    optimizer="adam",
    models=(
        compared_model("resnet50", macs=4_089_184_256, top1=0.80858, top5=0.95434, pareto=True),
        compared_model("wide_resnet101_2", macs=22_753_526_784, top1=0.70, pareto=False),
        compared_model("googlenet_plain", macs=1_582_671_872, top5=0.8993, remarks=("no heads",)),
    ),
    baseline="resnet50",
    differences=(
        Difference("resnet50", *[1.0] * 8, 0.0, 0.0),
        Difference("wide_resnet101_2", 4.97, 4.96, 5.56, 123.4, 2.0, 0.0123, 2.02, 2.3, -0.1, None),
        Difference("googlenet_plain", *[None] * 10),
    ),
    printed=(
        PrintedCount(
            "AlexNet", "alexnet_2012", "1.5B", 15 * 10**8, "alexnet_2012", {"groups": "2"}, "FLOPs",
            724_406_816, 1_448_813_632, 1_135_256_096, "62M", 62_378_344, True,
        ),
        PrintedCount(
            "Inception", "googlenet", "2B", 2 * 10**9, "googlenet", {}, "MACs",
            1_498_376_192, 1_498_376_192, 1_498_376_192, "6.4M", 6_624_904, False,
        ),
    ),
)  # fmt: skip

COMPARED_OWN = ComparisonResult(
    input="3x96x96",
    batch_size=8,
    dtype="bfloat16",
    optimizer="sgd",
    models=(compared_model("net.py:make_net", macs=10**6, year=None, remarks=("100 % of it",)),),
)

COMPARED_SETS = ComparisonResult(
    input=None,
    batch_size=1,
    dtype="float32",
    optimizer="adam",
    models=(
        compared_model("resnet50", macs=4_089_184_256, top1=0.80858, top5=0.95434, pareto=True),
        compared_model("resnet20", macs=40_551_040, top1=0.9125, dataset="CIFAR-10", pareto=True),
        compared_model("resnet18_table", macs=1_794_928_576),
    ),
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
    stages=("as stored", "brought to 3x8x8", "normalized, clipped", "normalized, stretched"),
    samples=(
        Sample(11_999, "[bold]cat|dog", 2, 3, "L", "photos/a.png", None, (GREY,) * 4),
        Sample(0, "100 % äpfel & <b>", 1, 1, "RGB", "photos/b.jpg", None, (COLOR,) * 4),
        Sample(7, None, None, None, None, "photos/c.jpg", "cut short", None),
    ),
)

MIXED = replace(
    SHOWN,
    stages=("as stored", "augmented, epoch 1"),
    normalization=None,
    samples=(
        Sample(
            3, "cat", 2, 3, "L", None, None,
            (GREY, replace(GREY, caption=("70 % cat", "30 % a dog of a very long name"))),
        ),
        Sample(7, None, None, None, None, "photos/c.jpg", "cut short", None),
    ),
    augmentation="shifted by up to 1 pixel, mixup 0.2",
)  # fmt: skip

NAMED = SampleList(
    dataset="digits",
    split="all",
    num_images=1797,
    num_candidates=1797,
    seed=None,
    input=None,
    normalization=None,
    stages=("as stored",),
    samples=(Sample(99, "2", 2, 3, "L", None, None, (GREY,)),),
)


def channel(name: str, total: int, white: float) -> ChannelStats:
    percentiles = {"1": 0.0, "5": 3.0, "25": 60.5, "75": 190.0, "95": 250.0, "99": 255.0}
    histogram = tuple((37 * index * index + total) % 1013 for index in range(256))
    return ChannelStats(
        name, 0, 255, 127.5, percentiles, 7.62, 0.0125, white, total, 9 * total, histogram
    )


MEASURED = DatasetStatistics(
    dataset="photos",
    split="train",
    num_images=1_250,
    num_pixels=75_000_000,
    mean=(0.49139968, 0.48215841, 0.44653091),
    std=(0.24703223, 0.24348513, 0.26158784),
    mean_of_image_means=(0.49, 0.48, 0.45),
    mean_of_image_stds=(0.2023, 0.1994, 0.2010),
    exact=False,
    weighting="image",
    transform="resize=256,crop=224",
    bit_depth=16,
    num_listed=50_000,
    mean_error=(0.0012, 0.0011, 0.0013),
    std_error=(0.0004, 0.0005, 0.0006),
    channels=(channel("red", 101, 0.001), channel("green", 202, 0.0), channel("blue", 303, 1.0)),
    classes=(
        ClassStats("[bold]cat|dog", 1_000, (0.5, 0.4, 0.3), (0.25, 0.24, 0.23)),
        ClassStats("100 % äpfel & <b>", 250, (0.1, 0.2, 0.3), (0.05, 0.06, 0.07)),
        ClassStats("empty", 0, None, None),
    ),
    imbalance=None,
    sizes=SizeStats(
        num_sizes=2,
        smallest=(32, 24),
        largest=(6_000, 4_000),
        width=Quartiles(32, 300, 400, 500.5, 6_000),
        height=Quartiles(24, 200, 300, 400, 4_000),
        aspect=Quartiles(4 / 3, 4 / 3, 1.5, 1.5, 1.5),
        counts={(32, 24): 5, (6_000, 4_000): 1_245},
    ),
    modes={"RGB": 1_200, "L": 40, "I;16": 10},
    formats={"JPEG": 1_200, "PNG": 50},
    num_grey=50,
    changes={"alpha dropped": 3, "palette expanded": 1},
    num_oriented=7,
    num_bytes=123_456_789,
    bad_files=(
        BadFile("photos/a/half.jpg", "cut short"),
        BadFile("photos/[bold]b/caf\\xe9.png", "damaged: its pixels cannot be decoded"),
    ),
    duplicates=Duplicates(
        num_images=4,
        num_plain=1,
        radius=10,
        groups=(
            DuplicateGroup(
                (
                    DuplicateImage("photos/a/1.jpg", "a", "train", "first"),
                    DuplicateImage("photos/b/2.jpg", "b", "test", "near"),
                ),
                3,
                0.05,
            ),
        ),
    ),
    issues=ImageIssues(
        4, (ImageIssue("photos/a/3.jpg", ("very dark",), ImageQuality(0.1, 0.05, 0, 0.15, 0.5)),)
    ),
    published=PublishedStats(
        (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "cifar10, exact", "different", 0.0123
    ),
    against=Comparison(
        "before.json", False, 1_000, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25),
        (-0.0086, -0.0178, -0.0535), (-0.003, -0.0065, 0.0116), ("new",), ("gone",), ("changed",),
    ),
    shard="3/8",
    seconds=12.5,
    images_per_second=100.0,
)  # fmt: skip

COUNTED = DatasetStatistics(
    dataset="digits",
    split="all",
    num_images=3,
    num_pixels=0,
    mean=None,
    std=None,
    mean_of_image_means=None,
    mean_of_image_stds=None,
    exact=True,
    weighting="pixel",
    transform=None,
    bit_depth=None,
    num_listed=3,
    mean_error=None,
    std_error=None,
    channels=(),
    classes=(ClassStats("0", 1, None, None), ClassStats("1", 2, None, None)),
    imbalance=2.0,
    sizes=None,
    modes={},
    formats={},
    num_grey=0,
    changes={},
    num_oriented=0,
    num_bytes=None,
    bad_files=(),
    duplicates=None,
    issues=None,
    published=None,
    against=None,
    shard=None,
    seconds=0.5,
    images_per_second=6.0,
)

ALL = {
    "stats": ShownStats(MEASURED, by_class=True),
    "counted": COUNTED,
    "train": TRAINED,
    "monitored": MONITORED,
    "lr_find": LR_FOUND,
    "eval": EVALUATED,
    "compare": COMPARED,
    "compare_own": COMPARED_OWN,
    "compare_sets": COMPARED_SETS,
    "conv": CONV,
    "conv_uneven": CONV_UNEVEN,
    "conv_same": CONV_SAME,
    "conv_pooled": CONV_POOLED,
    "conv_transposed": CONV_TRANSPOSED,
    "conv_shown": CONV_SHOWN,
    "conv_stack": CONV_STACK,
    "conv_stack_bare": CONV_STACK_BARE,
    "models": MODELS,
    "recipes": RECIPES,
    "datasets": DATASETS,
    "doctor": DOCTOR,
    **summary_examples.EXAMPLES,
    **bench_examples.EXAMPLES,
    "show": SHOWN,
    "show_augmented": MIXED,
    "named": NAMED,
}
