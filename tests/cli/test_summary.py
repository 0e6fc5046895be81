"""`cnnkit summary` through its front door: views, exports, sources of networks, bad input."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer, Cnnkit

NETWORKS = """
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 3)

    def forward(self, image, ids):
        return image.mean(dim=(2, 3)) + self.embedding(ids).sum(dim=1)


class Asking(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        if x.sum() > 0:
            return self.conv(x) * 2
        return self.conv(x)


class Fourier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.fft.fft2(self.conv(x)).real


class Sorted(nn.Module):
    def forward(self, x):
        return x.sort(dim=1).values


class Broken(nn.Module):
    def forward(self, x):
        raise ValueError("it was\\nnever ready")


class Loud(nn.Conv2d):
    def __init__(self):
        print("made")
        super().__init__(3, 4, 3)

    def forward(self, x):
        print("run")
        return super().forward(x)


def norm():
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4))


def vector():
    return nn.Linear(7, 3)


def nothing():
    return None


def number():
    return 7


def failing():
    raise RuntimeError("no such luck")
"""


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORKS)
    return tmp_path


def succeeded(answer: Answer) -> str:
    assert answer.code == 0, answer.stderr
    return answer.stdout


def refused(answer: Answer, code: int) -> str:
    assert answer.code == code, answer.stdout + answer.stderr
    assert answer.stdout == ""
    (message,) = answer.stderr.splitlines()
    assert message.startswith("cnnkit: ")
    return message


JSON_FIELDS = {
    *("model", "input", "totals", "complete", "uncounted", "layers"),
}
TOTAL_FIELDS = {
    *("params", "trainable_params", "weight_bytes", "macs", "flops", "other_flops"),
    *("activation_bytes", "inference_bytes", "training_bytes", "saved_bytes"),
}
LAYER_FIELDS = {
    *("name", "type", "depth", "count", "input_shape", "output_shape", "kernel_size", "stride"),
    *("padding", "dilation", "groups", "params", "macs", "flops", "activation_bytes"),
    *("receptive_field", "jump", "trainable"),
}


def test_json_has_the_fields_that_others_rely_on(cnnkit: Cnnkit) -> None:
    plain = cnnkit("summary", "vgg16", "--input", "3x224x224", "--json").json
    assert plain["schema"] == "cnnkit.summary/1"
    assert set(plain) >= JSON_FIELDS
    assert set(plain["totals"]) == TOTAL_FIELDS
    assert all(set(layer) >= LAYER_FIELDS for layer in plain["layers"])
    assert (plain["model"], plain["input"], plain["complete"]) == ("vgg16", "3x224x224", True)
    assert plain["uncounted"] == []
    assert plain["totals"]["params"] == 138_357_544
    assert plain["totals"]["macs"] == 15_470_264_320
    first = plain["layers"][2]
    assert (first["name"], first["input_shape"]) == ("features.0", [1, 3, 224, 224])
    assert (first["kernel_size"], first["padding"]) == ([3, 3], [1, 1])
    assert plain["layers"][0]["kernel_size"] is None


def test_the_view_changes_nothing_in_the_json(cnnkit: Cnnkit) -> None:
    bare = succeeded(cnnkit("summary", "resnet20", "--json"))
    for options in (
        ("--sort", "macs", "--top", "3", "--columns", "macs"),
        ("--depth", "1", "--no-fold"),
    ):
        assert succeeded(cnnkit("summary", "resnet20", "--json", *options)) == bare
    assert succeeded(cnnkit("summary", "resnet20", "--json", "--view", "structure")) == bare


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_the_numbers_of_the_json(cnnkit: Cnnkit) -> None:
    """All of them where every layer is asked for; every column adds up to its total exactly."""
    plain: Any = cnnkit("summary", "resnet50", "--json").json
    text = succeeded(cnnkit("summary", "resnet50", "--format", "csv", "--no-fold", "--depth", "99"))
    rows = csv_rows(text)
    layers = [layer for layer in plain["layers"] if layer["name"]]
    assert [row["name"] for row in rows] == [layer["name"] for layer in layers]
    for row, layer in zip(rows, layers, strict=True):
        for field in row:
            value = layer[field]
            told = "x".join(map(str, value)) if isinstance(value, list) else value
            assert row[field] == ("" if told is None else str(told)), field
    for options in ((), ("--depth", "1"), ("--no-fold",), ("--no-fold", "--depth", "99")):
        rows = csv_rows(succeeded(cnnkit("summary", "resnet50", "--format", "csv", *options)))
        for figure in ("params", "macs", "flops", "other_flops", "activation_bytes"):
            assert sum(int(row[figure]) for row in rows) == plain["totals"][figure]


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
@pytest.mark.parametrize("options", [(), ("--view", "structure"), ("--top", "5")])
def test_exports_for_documents(cnnkit: Cnnkit, form: str, options: tuple[str, ...]) -> None:
    text = succeeded(cnnkit("summary", "resnet18", "--format", form, *options))
    assert text.startswith({"markdown": "**", "latex": r"\begin{tabular}", "html": "<table"}[form])
    tables = 1 if "structure" in options else 2
    sign = {"markdown": "| ---", "latex": r"\toprule", "html": "<table"}[form]
    found = len(re.findall(r"^\|[ :|-]+\|$", text, re.M)) if form == "markdown" else None
    assert (text.count(sign) if found is None else found) == tables
    if "structure" in options:
        assert "11,689,512" in text


@pytest.mark.parametrize(
    "options", [(), ("--view", "structure"), ("--cross-check",), ("--sort", "params")]
)
def test_latex_compiles(cnnkit: Cnnkit, tmp_path: Path, options: tuple[str, ...]) -> None:
    text = succeeded(cnnkit("summary", "resnet20", "--format", "latex", *options))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") > 0
    assert text.count(r"\toprule") == text.count(r"\bottomrule")
    compiler = shutil.which("tectonic") or shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("neither tectonic nor pdflatex is installed")
    (tmp_path / "x.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}" + text + r"\end{document}"
    )
    subprocess.run([compiler, "x.tex"], cwd=tmp_path, check=True, capture_output=True)


# Views


def layer_names(text: str) -> list[str]:
    """Return the first column of the first table, without the total."""
    lines = text.splitlines()[3:]
    names = [re.split(r"\s{2,}", line.strip())[0] for line in lines[: lines.index("")]]
    return [name for name in names if name]


def test_folding_and_its_opposite(cnnkit: Cnnkit) -> None:
    folded = succeeded(cnnkit("summary", "resnet50"))
    assert re.search(r"^ +1-5 +Bottleneck x 5 ", folded, re.M)
    plain = succeeded(cnnkit("summary", "resnet50", "--no-fold"))
    assert "Bottleneck x" not in plain
    assert len(layer_names(plain)) > len(layer_names(folded))


def test_depth(cnnkit: Cnnkit) -> None:
    text = succeeded(cnnkit("summary", "resnet18", "--depth", "1"))
    assert layer_names(text) == [
        *("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
        *("avgpool", "fc"),
    ]
    assert "--depth 4 shows all of it" in text
    deep = succeeded(cnnkit("summary", "resnet18", "--depth", "4", "--no-fold"))
    assert "shows all of it" not in deep


@pytest.mark.parametrize("sort", ["params", "macs", "activation"])
def test_sorting_and_the_largest(cnnkit: Cnnkit, sort: str) -> None:
    rows = csv_rows(
        succeeded(cnnkit("summary", "vgg16", "--sort", sort, "--top", "4", "--format", "csv"))
    )
    field = {"activation": "activation_bytes"}.get(sort, sort)
    values = [int(row[field]) for row in rows]
    assert len(rows) == 4
    assert values == sorted(values, reverse=True)
    layers = cnnkit("summary", "vgg16", "--json").json["layers"]
    assert values == sorted((layer[field] for layer in layers), reverse=True)[:4]
    alone = succeeded(cnnkit("summary", "vgg16", "--sort", sort, "--format", "csv"))
    assert csv_rows(alone)[:4] == rows
    text = succeeded(cnnkit("summary", "vgg16", "--sort", sort, "--top", "4"))
    assert re.search(r"^\d+ more layers have ", text, re.M)


def test_the_largest_are_those_of_most_macs(cnnkit: Cnnkit) -> None:
    by_default = succeeded(cnnkit("summary", "vgg16", "--top", "3", "--format", "csv"))
    by_macs = cnnkit("summary", "vgg16", "--top", "3", "--sort", "macs", "--format", "csv")
    assert by_default == by_macs.stdout


def test_columns_are_those_asked_for_in_that_order(cnnkit: Cnnkit) -> None:
    text = succeeded(cnnkit("summary", "resnet20", "--columns", "jump, field,macs"))
    assert text.splitlines()[1].split() == ["layer", "jump", "field", "MACs"]


ALL_COLUMNS = (
    "type,count,input,output,kernel,params,trainable,macs,share,flops,other,activation,field,jump"
)


@pytest.mark.parametrize("width", ["80", "120", "200"])
def test_no_figure_is_cut_short_however_many_columns_are_asked_for(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    """A figure without its unit would be another figure."""
    monkeypatch.setenv("COLUMNS", "400")
    whole = succeeded(cnnkit("summary", "alexnet_2012", "--columns", ALL_COLUMNS))
    monkeypatch.setenv("COLUMNS", width)
    text = succeeded(cnnkit("summary", "alexnet_2012", "--columns", ALL_COLUMNS))
    figures = re.compile(r"\d[\d.,]* ?(?:[kMG]|[KM]iB|%)?(?=\s|$)")
    known = {figure.strip() for figure in figures.findall(whole)}
    for line in text.splitlines():
        for figure in figures.findall(line):
            assert figure.strip() in known, line


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("vit_b_16",),
        ("resnet18", "--cross-check"),
        ("vgg16", "--view", "structure"),
        ("googlenet", "--top", "9"),
        ("resnet20", "--batch", "100000", "--depth", "9", "--no-fold"),
    ],
)
def test_tables_fit_the_terminal(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    text = succeeded(cnnkit("summary", *arguments))
    assert max(map(len, text.splitlines())) <= int(width)


def test_the_structure_names_what_is_printed_wrong(cnnkit: Cnnkit) -> None:
    text = succeeded(cnnkit("summary", "vgg16", "--view", "structure"))
    assert "equal to the table printed in the lectures in 286 of 288 cells" in text
    assert "printed 65,664, here 0: pooling has no parameters" in text


def test_second_opinions(cnnkit: Cnnkit) -> None:
    text = succeeded(cnnkit("summary", "resnet18", "--cross-check"))
    for words in (
        "torchinfo",
        "fvcore",
        "torchvision",
        "biases counted +1,000",
        "calls them flops",
    ):
        assert words in " ".join(text.split())
    below = succeeded(cnnkit("summary", "lenet5", "--cross-check", "--view", "structure"))
    assert "second opinions" in below


def test_costs_are_for_the_batch_the_dtype_and_the_optimizer(cnnkit: Cnnkit) -> None:
    one = cnnkit("summary", "resnet20", "--json").json
    options = ("-b", "4", "--dtype", "float16", "--optimizer", "sgd", "--num-classes", "3")
    many = cnnkit("summary", "resnet20", "--json", *options).json
    assert (many["batch_size"], many["dtype"], many["optimizer"]) == (4, "float16", "sgd")
    assert many["totals"]["params"] == one["totals"]["params"] - 7 * 65
    assert many["layers"][0]["output_shape"] == [4, 3]
    assert many["optimizer_bytes"] == many["gradient_bytes"] == 2 * many["totals"]["params"]


def test_arguments_of_the_network(cnnkit: Cnnkit) -> None:
    plain = cnnkit("summary", "alexnet_2012", "--model-arg", "groups=2", "--json").json
    assert plain["totals"]["params"] == 60_965_224


# Where networks come from


def test_a_run(cnnkit: Cnnkit) -> None:
    trained = cnnkit("train", "resnet20", "digits", "--epochs", "1", "--json")
    run = trained.json["run"]
    plain = cnnkit("summary", run, "--json").json
    assert plain["totals"]["params"] == trained.json["num_params"]
    assert plain["input"] == "1x8x8"
    assert plain["layers"][0]["output_shape"] == [1, 10]
    by_name = cnnkit("summary", Path(run).name, "--json").json
    assert by_name == plain
    assert cnnkit("summary", run, "--input", "16", "--json").json["input"] == "1x16x16"


def test_timm(cnnkit: Cnnkit) -> None:
    timm = pytest.importorskip("timm")
    plain = cnnkit("summary", "timm:mobilenetv3_small_050", "--json").json
    network = timm.create_model("mobilenetv3_small_050")
    assert plain["totals"]["params"] == sum(one.numel() for one in network.parameters())
    assert plain["complete"]


def test_several_inputs(cnnkit: Cnnkit, networks: Path) -> None:
    by_name = cnnkit(
        "summary", "net.py:Two", "--input", "image=3x8x8", "--input", "ids=16:int64", "--json"
    ).json  # fmt: skip
    assert by_name["input"] == "image=3x8x8 ids=16:int64"
    assert by_name["layers"][1]["input_shape"] == [1, 16]
    by_place = cnnkit("summary", "net.py:Two", "--input", "3x8x8", "--input", "16:int64", "--json")
    assert by_place.json["totals"] == by_name["totals"]


def test_a_network_that_needs_values(cnnkit: Cnnkit, networks: Path) -> None:
    answer = cnnkit("summary", "net.py:Asking", "--input", "3x8x8")
    assert "computed with real tensors because net.py:Asking needs their values" in answer.stdout
    assert "computed with real tensors" in answer.stderr
    plain = cnnkit("summary", "net.py:Asking", "--input", "3x8x8", "--json", "-q").json
    assert plain["device"] == "cpu"
    assert plain["totals"]["macs"] == 3 * 4 * 9 * 36


def test_what_a_network_prints_is_no_part_of_the_answer(cnnkit: Cnnkit, networks: Path) -> None:
    answer = cnnkit("summary", "net.py:Loud", "--input", "3x8x8", "--json")
    assert answer.json["totals"]["params"] == 112
    assert "run" in answer.stderr


def test_a_batch_of_one_that_does_not_train(cnnkit: Cnnkit, networks: Path) -> None:
    answer = cnnkit("summary", "net.py:norm", "--input", "3x8x8", "--json")
    assert answer.json["totals"]["training_bytes"] is None
    (remark,) = answer.json["remarks"]
    assert "give a --batch-size of 2 or more" in remark


# What was not counted


def test_uncounted_work_is_named_and_strict_refuses_it(cnnkit: Cnnkit, networks: Path) -> None:
    heavy = ("summary", "net.py:Fourier", "--input", "3x8x8")
    text = succeeded(cnnkit(*heavy))
    assert re.search(r"^MACs +at least 3,888 ", text, re.M)
    assert re.search(r"^FLOPs +at least 7,776 ", text, re.M)
    assert re.search(r"^not counted: _?fft\w*, once$", text, re.M)
    strict = cnnkit(*heavy, "--strict")
    assert strict.code == 6
    assert "leave out" in strict.stderr
    assert "at least" in strict.stdout
    light = ("summary", "net.py:Sorted", "--input", "3x8x8", "--strict")
    assert "not counted, light: sort, once" in succeeded(cnnkit(*light))
    assert "at least" not in cnnkit(*light).stdout


def test_strict_writes_one_document(cnnkit: Cnnkit, networks: Path) -> None:
    answer = cnnkit("summary", "net.py:Fourier", "--input", "3x8x8", "--strict", "--json")
    assert answer.code == 6
    assert json.loads(answer.stdout)["complete"] is False


# Bad input

BAD = [
    # An input that the network cannot take
    ("resnet18 --input 5x224x224", 2, "resnet18 takes images of 3 channels, not 5", "3 channels"),
    ("net.py:norm --input 4x8x8", 2, "0 (Conv2d) got 4x8x8 but expects 3 channels", ""),
    ("alexnet_2012 --input 224", 2, "fc6 (Linear) got 6400 but expects 9216 features",
     "the smallest square that works is 3x227x227"),
    ("vgg16 --input 16", 2, "features.30 (MaxPool2d) got 512x1x1, which is too small for its 2x2",
     "the smallest square that works is 3x32x32"),
    ("vit_b_16 --input 256", 2, "vit_b_16 cannot take 3x256x256", "3x224x224 works"),
    ("lenet5 --input 1x20x20", 2, "lenet5 cannot take 1x20x20", "1x32x32"),
    ("net.py:norm --input 3x4x4", 2, "got 3x4x4, which is too small for its 8x8 window", "3x8x8"),
    ("net.py:Broken --input 3x8x8", 2, "net.py:Broken cannot take 3x8x8", "it was never ready"),
    ("net.py:vector --input 3:float32", 2, "but expects 7 features", ""),
    # A forward of another form
    ("net.py:Two --input 3x8x8", 2, "missing a required argument: 'ids'", "image, ids"),
    ("net.py:norm --input 3x8x8 --input 3x8x8", 2, "too many", "its forward takes input"),
    ("net.py:norm --input x=3x8x8", 2, "missing a required argument: 'input'", "takes input"),
    ("net.py:norm --input 3x8x8 --input y=3x8x8", 2, "unexpected keyword argument 'y'", "input"),
    # Nonsense in --input
    ("lenet5 --input 3x", 2, "--input '3x' is not a shape", "3x224x224"),
    ("lenet5 --input axb", 2, "--input 'axb' is not a shape", "ids=16:int64"),
    ("lenet5 --input 3x0x3", 2, "--input '3x0x3' has a size below 1", "1 or more"),
    ("lenet5 --input 3x-4x3", 2, "--input '3x-4x3' has a size below 1", "1 or more"),
    ("lenet5 --input 3.5", 2, "--input '3.5' is not a shape", ""),
    ("lenet5 --input x=3x3:int99", 2, "'int99' is not a dtype", "did you mean int"),
    ("lenet5 --input 3x3:", 2, "'' is not a dtype", "float32"),
    ("lenet5 --input =3", 2, "'' is not an argument name", "NAME=SHAPE"),
    ("lenet5 --input 3a=3", 2, "'3a' is not an argument name", "NAME=SHAPE"),
    ("lenet5 --input a=3 --input a=4", 2, "--input a is given twice", "leave one out"),
    ("net.py:norm", 2, "the input shape of net.py:norm is unknown", "--input"),
    ("net.py:norm --input 8", 2, "the number of channels of net.py:norm is unknown", "3x8x8"),
    # Networks that are none
    ("net.py:nothing --input 3x8x8", 2, "net.py:nothing returned a NoneType", "torch.nn.Module"),
    ("net.py:number --input 3x8x8", 2, "returned an int", "torch.nn.Module"),
    ("net.py:failing --input 3x8x8", 2, "no such luck", ""),
    ("net.py:missing --input 3x8x8", 3, "net.py has no 'missing'", ""),
    ("nofile.py:f", 3, "no file 'nofile.py'", ""),
    ("resnet81", 3, "unknown model 'resnet81'", "did you mean resnet"),
    ("alexnet_2012 --model-arg grops=2", 2, "grops", ""),
    # Options
    ("lenet5 --columns foo", 2, "there is no column 'foo'", "the columns are type, count, input"),
    ("lenet5 --columns macss", 2, "there is no column 'macss'", "did you mean macs?"),
    ("lenet5 --columns ,", 2, "there is no column ''", "the columns are"),
    ("lenet5 --top 0", 2, "--top must be at least 1, not 0", "--help"),
    ("lenet5 --depth 0", 2, "--depth must be at least 1, not 0", "--help"),
    ("lenet5 --batch 0", 2, "--batch-size must be at least 1, not 0", "--help"),
    ("lenet5 --view structure --depth 3", 2, "--depth and --view structure contradict", "leave"),
    ("lenet5 --view structure --fold", 2, "--fold and --view structure contradict", "leave"),
    ("lenet5 --view structure --no-fold", 2, "--no-fold and --view structure", "leave"),
    ("lenet5 --view structure --sort macs", 2, "--sort and --view structure", "leave"),
    ("lenet5 --view structure --top 3", 2, "--top and --view structure contradict", "leave"),
    ("lenet5 --view structure --columns macs", 2, "--columns and --view structure", "leave"),
    ("lenet5 --sort macs --depth 2", 2, "--depth and --sort contradict each other", "leave"),
    ("lenet5 --top 3 --no-fold", 2, "--no-fold and --top contradict each other", "leave"),
    ("lenet5 --sort size", 2, "'size' is not one of", "--help"),
    ("lenet5 --view list", 2, "'list' is not one of", "--help"),
    ("lenet5 --dtype fp99", 2, "--dtype 'fp99' is not a dtype of weights", "float16"),
    ("lenet5 --dtype int64", 2, "--dtype 'int64' is not a dtype of weights", "float32"),
    ("lenet5 --optimizer adamm", 2, "--optimizer 'adamm' is unknown", "did you mean adam"),
    ("lenet5 --num-classes 0", 2, "--num-classes must be at least 1, not 0", "--help"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "says", "hint"), BAD, ids=[line for line, *_ in BAD])
def test_bad_input(
    cnnkit: Cnnkit, networks: Path, line: str, code: int, says: str, hint: str
) -> None:
    message = refused(cnnkit("summary", *line.split()), code)
    assert says in message
    assert hint in message
    assert len(message) < 500


def test_errors_as_json(cnnkit: Cnnkit) -> None:
    answer = cnnkit("summary", "vgg16", "--input", "16", "--json")
    assert answer.code == 2
    assert answer.json["error"] == "usage"
    assert answer.json["hint"] == "the smallest square that works is 3x32x32"


def test_in_a_process_of_its_own_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        textwrap.dedent(
            """
            from torch import nn

            def even():  # torch warns of it
                return nn.Conv2d(3, 4, 4, padding="same")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", "summary", "net.py:even", "--input", "3x8x8", "--json"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["totals"]["macs"] == 3 * 4 * 16 * 64
    assert "Traceback" not in done.stderr
