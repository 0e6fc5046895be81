"""The command `compare`, from its arguments to its answer."""

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from cnnkit.cli.compare import SortKey
from cnnkit.errors import ExitCode
from cnnkit.results import COMPARE_SORT_KEYS
from tests.conftest import Cnnkit

LECTURE = ("alexnet_2012", "vgg16", "googlenet", "resnet152")


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table_of_the_lectures(
    columns: str, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    answer = cnnkit("compare", *LECTURE)
    assert answer.code == ExitCode.DONE
    lines = answer.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert [line.split()[0] for line in lines[3:7]] == list(LECTURE)
    for text in (
        "138.4 M", "15.47 G", "30.94 G", "71.59 %", "90.38 %", "527.8 MiB", "2015",
        "shortcut connections", "IMAGENET1K_V2", "1,451",
    ):  # fmt: skip
        assert text in answer.stdout, text
    words = " ".join(answer.stdout.split())
    assert (
        "the 1.5B FLOP printed in the lectures are the FLOPs of alexnet_2012 with groups=2, "
        "1,448,813,632 = 2 x 724,406,816 MACs; the 62M parameters printed there are those of "
        "alexnet_2012, which has 1,135,256,096 MACs" in words
    )
    assert (
        "the 19.6B FLOP printed in the lectures are the MACs of vgg19, 19,632,062,464; the" in words
    )
    assert "the 2B FLOP printed in the lectures come nearest to the MACs, 1,498,376,192" in words
    assert "the 11B FLOP printed in the lectures are the MACs, 11,513,626,624" in words


def test_json_and_csv_hold_the_same_figures(cnnkit: Cnnkit) -> None:
    arguments = ("compare", "lenet*", "linear", "--sort", "params", "-b", 2)
    models = cnnkit(*arguments, "--json").json["models"]
    assert [one["name"] for one in models] == ["lenet5", "lenet5_relu", "linear"]
    assert models[0]["macs"] == 2 * 416_520
    assert models[0]["pareto"] is True
    assert models[2]["top1"] is models[2]["pareto"] is None
    rows = list(csv.DictReader(io.StringIO(cnnkit(*arguments, "--format", "csv").stdout)))
    for row, one in zip(rows, models, strict=True):
        assert set(row) == set(one) - {"remarks"}
        assert {key: "" if one[key] is None else str(one[key]) for key in row} == row


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
def test_other_formats_hold_all_tables(form: str, cnnkit: Cnnkit) -> None:
    answer = cnnkit("compare", "lenet5", "mlp", "--baseline", "--format", form)
    assert answer.code == ExitCode.DONE
    for text in (
        "top-1/GMAC",
        "receptive" if form == "none" else "depth",
        "salient",
        "activations",
    ):
        assert text in answer.stdout


def test_a_baseline_and_an_order(cnnkit: Cnnkit) -> None:
    answer = cnnkit("compare", "lenet5", "convnet3", "mlp", "--baseline", "--sort", "macs")
    *_, table = answer.stdout.split("against lenet5\n")
    assert [line.split()[0] for line in table.splitlines()[2:4]] == ["convnet3", "mlp"]
    assert "x1.29" in table  # 79,510 parameters to 61,706


def test_every_sort_key_of_the_verb_is_one_of_the_command() -> None:
    assert [key.value for key in SortKey] == list(COMPARE_SORT_KEYS)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_appears_whole(suffix: str, cnnkit: Cnnkit) -> None:
    path = Path(f"plot.{suffix}")
    answer = cnnkit("compare", "lenet5", "resnet20", "mlp", "--plot", path)
    assert answer.code == ExitCode.DONE
    assert f"wrote plot.{suffix}" in answer.stderr
    assert [one.name for one in Path().iterdir()] == [path.name]
    if suffix == "png":
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 800
    else:
        assert path.read_bytes().startswith({"svg": b"<?xml", "pdf": b"%PDF-"}[suffix])


def test_a_plot_that_fails_leaves_the_earlier_one(cnnkit: Cnnkit) -> None:
    Path("plot.png").write_bytes(b"before")
    answer = cnnkit("compare", "mlp", "linear", "--plot", "plot.png")
    assert answer.code == ExitCode.USAGE
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        "cnnkit: there is nothing to plot: no published accuracy of these networks is known; leave "
        "--plot out, or add a network that has one"
    ]
    assert Path("plot.png").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), ExitCode.USAGE, "missing argument"),
        (("vgg61",), ExitCode.NOT_FOUND, "unknown model 'vgg61'; did you mean vgg19"),
        (("lenet5", "resmet*"), ExitCode.NOT_FOUND, "no model matches 'resmet*'"),
        (("lenet5", "alexnet", "--input", "3x8x8"), ExitCode.USAGE, "lenet5 cannot take 3x8x8"),
        (("alexnet", "--input", "3x8x8"), ExitCode.USAGE, "alexnet cannot take 3x8x8"),
        (("lenet5", "--sort", "mac"), ExitCode.USAGE, "'--sort'"),
        (("lenet5", "--baseline"), ExitCode.USAGE, "name a second one"),
        (
            ("lenet5", "--plot", "no/x.png"),
            ExitCode.NOT_FOUND,
            "no/x.png does not exist; create it",
        ),
        (("lenet5", "--plot", "x.jpg"), ExitCode.USAGE, ".jpg is not an image format"),
        (("lenet5", "--plot", "plot"), ExitCode.USAGE, "no suffix is not an image format"),
        (("lenet5", "--dtype", "int8"), ExitCode.USAGE, "int8"),
        (("lenet5", "--optimizer", "adan"), ExitCode.USAGE, "did you mean adam"),
        (("lenet5", "-b", "0"), ExitCode.USAGE, "--batch-size must be at least 1, not 0"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], code: ExitCode, message: str, cnnkit: Cnnkit
) -> None:
    answer = cnnkit("compare", *arguments)
    assert (answer.code, answer.stdout) == (code, "")
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_folder_is_no_plot(cnnkit: Cnnkit) -> None:
    Path("x.png").mkdir()
    answer = cnnkit("compare", "lenet5", "--plot", "x.png")
    assert answer.stderr == "cnnkit: --plot x.png is a folder; name a file\n"
    assert answer.code == ExitCode.USAGE
