"""Several networks side by side: figures of `summary`, the front, and the printed comparison."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import cnnkit
from cnnkit.architecture.compare import _with_front, compare
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.events import Event, TaskAdvanced, TaskEnded, TaskStarted
from cnnkit.models import MODELS
from cnnkit.render import build_tables
from cnnkit.results import COMPARE_SORT_KEYS, ComparedModel, ComparisonResult
from tests.results.examples import compared_model

LECTURE = ["alexnet_2012", "vgg16", "googlenet", "resnet152"]


@pytest.fixture(scope="module")
def lecture() -> ComparisonResult:
    return compare(LECTURE)


def by_name(result: ComparisonResult) -> dict[str, ComparedModel]:
    return {one.name: one for one in result.models}


def net(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.LazyLinear(10))


@pytest.mark.parametrize(
    "settings",
    [{}, {"batch_size": 3, "dtype": "bfloat16", "optimizer": "sgd"}, {"input": "3x64x64"}],
    ids=["as it is", "a batch", "another input"],
)
def test_figures_are_those_of_summary(settings: dict[str, Any]) -> None:
    result = compare(["resnet18", "mobilenet_v2"], **settings)
    for one in result.models:
        alone = cnnkit.summary(one.name, **settings)
        assert one.totals == alone.totals
        assert one.num_weighted_layers == alone.num_weighted_layers
        assert (one.input, one.complete) == (alone.input, alone.complete)


def test_what_was_published_comes_from_the_catalog(lecture: ComparisonResult) -> None:
    for one in lecture.models:
        entry = MODELS[one.name]
        said = entry.accuracy[0]
        assert (one.year, one.salient) == (entry.year, entry.salient)
        assert (one.top1, one.top5, one.dataset) == (said.top1, said.top5, said.dataset)
        assert (one.weights, one.crop) == (said.weights or None, said.crop)
        assert one.top1 is not None
        assert one.top1_per_gmac == pytest.approx(one.top1 * 1e9 / one.totals.macs)


def test_receptive_fields_of_the_papers(lecture: ComparisonResult) -> None:
    # Araujo et al. (2019), table 1: AlexNet and VGG-16; both end in the last pooling.
    found = by_name(lecture)
    assert found["alexnet_2012"].receptive_field == 195
    assert found["vgg16"].receptive_field == 212
    assert [found[name].num_weighted_layers for name in LECTURE] == [8, 16, 22, 152]


def test_a_network_that_looks_at_the_whole_image_at_once_has_no_field() -> None:
    assert compare("linear").models[0].receptive_field is None


def test_the_printed_figures_are_counted_not_copied(lecture: ComparisonResult) -> None:
    printed = {one.network: one for one in lecture.printed}
    assert {name: one.value for name, one in printed.items()} == {
        "AlexNet": 2 * 724_406_816,
        "VGGNet": 19_632_062_464,
        "Inception": 1_498_376_192,
        "ResNet-152": 11_513_626_624,
    }
    assert {name: one.unit for name, one in printed.items()} == {
        "AlexNet": "FLOPs", "VGGNet": "MACs", "Inception": "MACs", "ResNet-152": "MACs"
    }  # fmt: skip
    assert [one.params_agree for one in lecture.printed] == [True, True, False, False]
    assert printed["VGGNet"].model_macs == by_name(lecture)["vgg16"].totals.macs


def test_no_other_count_comes_nearer_to_what_is_printed(lecture: ComparisonResult) -> None:
    """Of both units, of the network that stands for the row and of the one that is named."""
    for one in lecture.printed:
        off = abs(one.value - one.printed)
        own = by_name(lecture)[one.model].totals
        others = [own.macs, own.flops, one.macs, 2 * one.macs]
        assert off == min(abs(other - one.printed) for other in others), one.network


def test_the_print_is_that_of_the_lectures(lecture: ComparisonResult) -> None:
    path = Path(__file__).parents[3] / "shared" / "published" / "comparison.csv"
    if not path.is_file():
        pytest.skip("the published tables are not beside the project")
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    assert len(lecture.printed) == len(rows)
    for one in lecture.printed:
        row = rows[one.network]
        assert (one.printed_flop, one.printed_params) == (row["flop"], row["params"])
        assert by_name(lecture)[one.model].year == int(row["year"])


def test_a_printed_number_is_a_row_and_a_table_in_any_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comparison.csv").write_text(
        "network,year,salient_feature,top5_accuracy_percent,params,flop\n"
        "LeNet-5,1998,Weights that are shared,,62k,0.42M\n"
        "Linear,1936,A layer,,7850,15.7K\n"
    )
    (tmp_path / "comparison.toml").write_text(
        '[[figure]]\nnetwork = "LeNet-5"\nmodel = "lenet5"\ncounted = "lenet5"\nunit = "MACs"\n'
        '[[figure]]\nnetwork = "Linear"\nmodel = "linear"\ncounted = "linear"\nunit = "FLOPs"\n'
    )
    monkeypatch.setattr("cnnkit.architecture.lecture_comparison._FOLDER", tmp_path)
    lenet, linear = compare(["lenet5", "linear"]).printed
    assert (lenet.printed, lenet.value, lenet.params_agree) == (420_000, 416_520, True)
    assert (linear.printed, linear.value, linear.params_agree) == (15_700, 15_680, True)


def test_footnotes_stand_below_each_row_that_was_printed_and_nowhere_else() -> None:
    assert [one.network for one in compare(["resnet18", "vgg16"]).printed] == ["VGGNet"]
    assert [one.network for one in compare("vgg16", batch_size=2).printed] == ["VGGNet"]
    assert compare("vgg16", batch_size=2).printed == compare("vgg16").printed
    assert not compare("resnet18").printed
    assert not compare("vgg16", "3x128x128").printed


def test_accuracy_belongs_to_an_input() -> None:
    assert by_name(compare("vit_b_16"))["vit_b_16"].weights == "IMAGENET1K_V1"
    larger = MODELS["regnet_y_16gf"].accuracy
    at_384 = next(one for one in larger if one.crop == 384)
    found = compare("regnet_y_16gf", 384).models[0]
    assert (found.weights, found.top1, found.crop) == (at_384.weights, at_384.top1, 384)
    nothing = compare("resnet18", 128).models[0]
    assert (nothing.top1, nothing.dataset, nothing.top1_per_gmac, nothing.pareto) == (None,) * 4
    assert "no accuracy was published at 3x128x128" in nothing.remarks


def test_accuracy_per_gmac_is_that_of_one_image() -> None:
    assert (
        compare("resnet18", batch_size=4).models[0].top1_per_gmac
        == compare("resnet18").models[0].top1_per_gmac
    )


FEW = st.integers(1, 6)


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), FEW), FEW, st.sampled_from(["ImageNet-1K", "MNIST"])),
        min_size=1,
        max_size=12,
    )
)
def test_the_front_is_what_no_other_beats(points: list[tuple[int | None, int, str]]) -> None:
    rows = [
        compared_model(
            f"n{i}", top1=None if top1 is None else top1 / 10, macs=macs, dataset=dataset
        )
        for i, (top1, macs, dataset) in enumerate(points)
    ]
    for row, (top1, macs, dataset) in zip(_with_front(rows), points, strict=True):
        if top1 is None:
            assert row.pareto is None
            continue
        better = [
            (other, cost)
            for other, cost, where in points
            if where == dataset and other is not None
            if (other > top1 and cost <= macs) or (other >= top1 and cost < macs)
        ]
        assert row.pareto is (not better)


@pytest.mark.parametrize("key", COMPARE_SORT_KEYS)
def test_sorting_puts_the_largest_first_and_the_unknown_last(
    key: str,
) -> None:
    result = compare(["lenet5", "linear", "resnet20", "resnet18"], sort=key)
    values = [one.to_dict()[COMPARE_SORT_KEYS[key]] for one in result.models]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=key != "name")
    assert values[len(known) :] == [None] * (len(values) - len(known))


def test_the_baseline_is_the_first_that_was_given_whatever_the_order() -> None:
    result = compare(["resnet18", "mobilenet_v2", "lenet5"], sort="params", baseline=True)
    assert result.baseline == "resnet18"
    assert result.differences is not None
    assert [one.name for one in result.differences] == [one.name for one in result.models]
    found, rows = by_name(result), {one.name: one for one in result.differences}
    ours, first = found["mobilenet_v2"], found["resnet18"]
    assert rows["resnet18"].macs == rows["resnet18"].receptive_field == 1
    assert rows["resnet18"].top1 == 0
    assert rows["mobilenet_v2"].params == ours.totals.params / first.totals.params
    assert rows["mobilenet_v2"].num_weighted_layers == 53 / 18
    assert ours.top1 is not None
    assert first.top1 is not None
    assert rows["mobilenet_v2"].top1 == pytest.approx(ours.top1 - first.top1)
    assert rows["lenet5"].top1 is None  # of another dataset
    shown = build_tables(result)[-1]
    assert [row[0] for row in shown.rows] == ["mobilenet_v2", "lenet5"]


def test_patterns_and_names_give_each_network_once() -> None:
    result = compare(["lenet5", "lenet*", "LeNet5", "lenet5-relu"])
    assert [one.name for one in result.models] == ["lenet5", "lenet5_relu"]


def test_modules_of_ones_own() -> None:
    first, second = net(), net(16)
    result = compare([first, second, "resnet18", first], (3, 32, 32))
    assert [one.name for one in result.models] == ["Sequential", "Sequential (2)", "resnet18"]
    own = result.models[0]
    assert own.totals.params == 3 * 9 * 8 + 8 + 10 * 8 * 30 * 30 + 10
    assert (own.year, own.salient, own.top1, own.pareto) == (None,) * 4
    assert own.receptive_field == 3
    assert result.input == "3x32x32"
    assert len(build_tables(compare([second], (3, 32, 32)))) == 2  # nothing was published


def test_a_file_and_a_run_go_by_their_own_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(
            "from torch import nn\n\ndef make():\n    return nn.Conv2d(3, 4, 3)\n"
        )
    cnnkit.train("mlp", "digits", cnnkit.Recipe.of(epochs=1), runs_dir=tmp_path / "runs")
    (run,) = (tmp_path / "runs").iterdir()
    files = [f"{tmp_path / folder / 'net.py'}:make" for folder in ("a", "b")]
    result = compare([*files, "mlp", run.name], (3, 8, 8), runs_dir=tmp_path / "runs")
    assert [one.name for one in result.models] == ["net.py:make", files[1], "mlp", run.name]
    assert result.models[3].year is None


def test_progress_is_told() -> None:
    events: list[Event] = []
    compare(["lenet5", "mlp"], on_event=events.append)
    task = "comparing"
    assert events == [
        TaskStarted(task, 2, "networks"),
        TaskAdvanced(task, 1),
        TaskAdvanced(task, 2),
        TaskEnded(task),
    ]


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        ([], {}, "nothing to compare"),
        ("lenet5", {"baseline": True}, "nothing to compare with"),
        ("lenet5", {"sort": "mac"}, "did you mean macs"),
        (["resnet18", "lenet5"], {"input": "3x4x4"}, "lenet5"),
        (["resnet18", "alexnet"], {"input": "3x8x8"}, "alexnet cannot take 3x8x8"),
        ("lenet5", {"dtype": "float31"}, "float31"),
        ("lenet5", {"input": "3xtwo"}, "3xtwo"),
    ],
)
def test_what_makes_no_sense_is_refused(
    models: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compare(models, **settings)


def test_a_wrong_name_is_told_before_the_work_begins() -> None:
    events: list[Event] = []
    for name, meant in (("vgg61", "vgg16"), ("vgq*", "no model matches")):
        with pytest.raises(NotFoundError, match=meant):
            compare(["resnet18", name], on_event=events.append)
    assert not events


def test_the_dictionary_has_the_totals_among_its_fields(lecture: ComparisonResult) -> None:
    plain = json.loads(json.dumps(lecture.to_dict(), allow_nan=False))
    assert plain["schema"] == "cnnkit.compare/1"
    for one in plain["models"]:
        assert {
            "name", "year", "top1", "top5", "weights", "pareto", "params", "trainable_params",
            "weight_bytes", "macs", "flops", "other_flops", "activation_bytes", "inference_bytes",
            "training_bytes", "saved_bytes",
        } <= set(one)  # fmt: skip
    assert plain["models"][1]["params"] == 138_357_544
