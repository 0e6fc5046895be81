"""`cnnkit conv` through its front door: every example by hand, every bad input."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.test_convolution import PUBLISHED
from tests.conftest import Answer, Cnnkit

CROSS = "0 1 0 0; 1 1 1 0; 0 1 0 0; 0 0 0 0"
BAR = "0 1 0; 0 1 0; 0 1 0"


def as_text(matrix: list[list[int]]) -> str:
    return "; ".join(" ".join(map(str, row)) for row in matrix)


def printed_matrix(text: str, name: str) -> list[list[float]]:
    """Return a matrix from the table that begins with its name, without the row numbers."""
    lines = text[text.index(f"{name}, ") :].splitlines()[3:]
    rows = []
    for line in lines:
        if not re.fullmatch(r"[\d. -]+", line):
            break
        rows.append([float(word) for word in line.split()[1:]])
    return rows


def succeeded(answer: Answer) -> str:
    assert answer.code == 0, answer.stderr
    assert answer.stderr == ""
    return answer.stdout


@pytest.mark.parametrize("example", PUBLISHED["convolution_sizes"]["examples"])
def test_it_prints_the_published_sizes(cnnkit: Cnnkit, example: dict[str, int]) -> None:
    options = [
        word for name in ("kernel", "stride", "padding") for word in (f"--{name}", example[name])
    ]
    text = succeeded(cnnkit("conv", str(example["in"]), *map(str, options)))
    assert PUBLISHED["convolution_sizes"]["rule"] in text.splitlines()
    numbers = (
        f"floor(({example['in']} + 2*{example['padding']} - {example['kernel']}) / "
        f"{example['stride']}) + 1 = {example['out']}"
    )
    assert numbers in text
    assert (
        cnnkit("conv", str(example["in"]), *map(str, options), "--json").json["output"]
        == (example["out"])
    )


def test_it_prints_the_published_convolutions(cnnkit: Cnnkit) -> None:
    example = PUBLISHED["convolution_by_hand"]
    image, kernel = as_text(example["image"]), as_text(example["kernel"])
    assert (image, kernel) == (CROSS, BAR)
    text = succeeded(cnnkit("conv", "--show", "--image", image, "--weight", kernel))
    assert printed_matrix(text, "output") == example["output"]
    assert printed_matrix(text, "image") == example["image"]
    assert printed_matrix(text, "kernel") == example["kernel"]
    assert "0*0 + 1*1 + 0*0 + 1*0 + 1*1 + 1*0 + 0*0 + 1*1 + 0*0 = 3" in text
    text = succeeded(
        cnnkit(
            "conv", "--show", "--image", as_text(example["sharpen_image"]),
            "--weight", as_text(example["sharpen_kernel"]),
            "--padding", str(example["sharpen_padding"]),
        )
    )  # fmt: skip
    assert printed_matrix(text, "output")[0][0] == example["sharpen_top_left"]
    assert "60*5 + 113*(-1) + 0*0 + 73*(-1) + 121*0 = 114" in " ".join(text.split())
    assert "9 more are not written out here; the JSON has all" in text


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_it_prints_the_published_poolings(cnnkit: Cnnkit, pool: str) -> None:
    example = PUBLISHED["pooling_by_hand"]
    text = succeeded(
        cnnkit(
            "conv", "--pool", pool, "--kernel", "2", "--stride", "2", "--show", "--image",
            as_text(example["image"]),
        )
    )  # fmt: skip
    assert printed_matrix(text, "output") == example[f"{pool}_2x2_stride_2"]
    assert {"max": "max(2, 2, 9, 4) = 9", "avg": "(2 + 2 + 9 + 4) / 4 = 4.25"}[pool] in text


@pytest.mark.parametrize(
    ("stack", "says"),
    [
        ("3,3", "18 weights instead of 25 of one 5x5 convolution that sees as much, 28 % fewer"),
        (
            "3,3,3",
            "27 weights instead of 49 of one 7x7 convolution that sees as much, 44.9 % fewer",
        ),
        (
            "3,3,3,3,3",
            "45 weights instead of 121 of one 11x11 convolution that sees as much, 62.8 % fewer",
        ),
        ("1,3", "10 weights instead of 9 of one 3x3 convolution that sees as much, 11.1 % more"),
    ],
)
def test_it_prints_the_published_stacks(cnnkit: Cnnkit, stack: str, says: str) -> None:
    assert says in " ".join(succeeded(cnnkit("conv", "--stack", stack)).split())


def test_it_prints_the_published_cost_of_a_fully_connected_layer(cnnkit: Cnnkit) -> None:
    large = ("conv", "1024", "--kernel", "1024", "--in-channels", "1", "--out-channels", "1024")
    text = succeeded(cnnkit(*large))
    assert "1,073,741,824" in text
    assert "4.295 GB" in text
    assert abs(cnnkit(*large, "--json").json["weights"] / 10**9 - 1) < 0.1
    small = ("conv", "32", "--kernel", "32", "--in-channels", "3", "--out-channels", "10")
    assert "3,072 inputs" in succeeded(cnnkit(*small))


def test_json_has_the_fields_that_others_rely_on(cnnkit: Cnnkit) -> None:
    bare = cnnkit("conv", "227", "--kernel", "11", "--stride", "4", "--json").json
    assert bare["schema"] == "cnnkit.conv/1"
    assert (bare["output"], bare["receptive_field"]) == (55, 11)
    assert bare["params"] is None
    assert bare["macs"] is None
    full = cnnkit(
        "conv", "227x300", "--kernel", "11x3", "--stride", "4", "--padding", "2x0",
        "--in-channels", "3", "--out-channels", "96", "--no-bias", "--json",
    ).json  # fmt: skip
    assert full["output"] == [56, 75]
    assert full["receptive_field"] == [11, 3]
    assert full["params"] == 11 * 3 * 3 * 96
    assert full["macs"] == 56 * 75 * full["params"]
    assert full["flops"] == 2 * full["macs"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("227", "--kernel", "11", "--in-channels", "3", "--out-channels", "96"),
        ("224", "--stack", "7s2,3,3d2", "--in-channels", "3"),
        ("--image", CROSS, "--weight", BAR, "--show"),
    ],
)
@pytest.mark.parametrize("form", ["json", "csv", "markdown", "latex", "html"])
def test_every_format(cnnkit: Cnnkit, form: str, arguments: tuple[str, ...]) -> None:
    text = succeeded(cnnkit("conv", *arguments, "--format", form))
    if form == "json":
        assert json.loads(text)["schema"] == "cnnkit.conv/1"
    elif form == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1
    else:
        assert text.startswith(
            {"markdown": "**", "latex": r"\begin{tabular}", "html": "<table"}[form]
        )


def test_csv_of_an_image_is_its_output(cnnkit: Cnnkit) -> None:
    text = succeeded(cnnkit("conv", "--image", CROSS, "--weight", BAR, "--format", "csv"))
    assert text == "row,0,1\n0,3,1\n1,2,1\n"


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("227x9", "--kernel", "11x3", "--in-channels", "512", "--out-channels", "512"),
        ("14x15", "--kernel", "3", "--transposed", "--stride", "2", "--output-padding", "1"),
        ("224", "--stack", "7s2,3d2,3,3,3", "--same", "--in-channels", "512"),
        ("--image", ";".join(["1.25 -2 3.125 1000"] * 9), "--weight", "1 2; 3 4", "--show"),
        ("--image", " ".join(["1000"] * 40), "--weight", "1", "--show"),
    ],
)
def test_tables_fit_the_terminal(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    if "7s2,3d2,3,3,3" in arguments:
        arguments = tuple("7,3d2,3,3,3" if word.startswith("7s2") else word for word in arguments)
    text = succeeded(cnnkit("conv", *arguments))
    assert max(map(len, text.splitlines())) <= int(width)


def test_columns_without_room_are_said_to_be_left_out(cnnkit: Cnnkit) -> None:
    text = succeeded(cnnkit("conv", "--image", " ".join(["1000"] * 40), "--weight", "1"))
    assert "columns at the right are left out where there is no room for them" in text
    csv_text = succeeded(
        cnnkit("conv", "--image", " ".join(["1000"] * 40), "--weight", "1", "--format", "csv")
    )
    assert len(csv_text.splitlines()[1].split(",")) == 41


BAD = [
    # What does not fit
    ("5 --kernel 11", "a kernel of 11 is larger than the input's height of 5",
     "the smallest padding that works is 3 or the smallest height that works is 11"),
    ("5 --kernel 11 --padding 1", "the input's height of 5, padded to 7",
     "the smallest padding that works is 3 or the smallest height that works is 9"),
    ("9x5 --kernel 6", "a kernel of 6 is larger than the input's width of 5", "width that works"),
    ("7 --kernel 3 --dilation 4", "a kernel of 3, spread to 9 by its dilation, is larger", "is 9"),
    ("2 --kernel 5 --pool max", "a kernel of 5 is larger", "the smallest padding that works is 2"),
    ("2 --kernel 5 --pool max --ceil --stride 2", "is larger", "padding that works is 1"),
    ("9 --kernel 2 --pool max --dilation 9", "is larger", "the smallest padding that works is 1"),
    ("5 --kernel 2 --pool max --dilation 9", "is larger", "works is 10"),
    ("10 --stack 7,5,3", "layer 2: a kernel of 5 is larger than the input's height of 4", "is 1"),
    ("1 --kernel 2 --transposed --padding 1", "nothing is left of the output's height",
     "the largest padding that works is 0"),
    ("5 --kernel 3 --transposed --output-padding 1", "--output-padding must be smaller", "0 to 0"),
    ("8 --kernel 5 --pool max --padding 3", "at most half its kernel, not 3", "is 2"),
    ("8 --kernel 5 --ceil --padding 3", "at most half its kernel, not 3", "is 2"),
    ("224 --kernel 3 --stride 2 --same", "no padding keeps the size at stride 2",
     "padding 1 gives ceil(224 / 2) = 112"),
    ("225 --kernel 1 --stride 2 --same", "no padding", "padding 0 gives ceil(225 / 2) = 113"),
    ("9 --stack 3s2,3 --same", "layer 1 cannot keep the size at stride 2", "--same"),
    # Numbers that make no sense
    ("0 --kernel 3", "SIZE must be at least 1, not 0", ""),
    ("5x0 --kernel 3", "SIZE must be at least 1, not 0", ""),
    ("5 --kernel 0", "--kernel must be at least 1, not 0", ""),
    ("5 --kernel -3", "--kernel must be at least 1, not -3", ""),
    ("5 --kernel 3x0", "--kernel must be at least 1, not 0", ""),
    ("5 --kernel 3 --stride 0", "--stride must be at least 1, not 0", ""),
    ("5 --kernel 3 --dilation 0", "dilation must be at least 1, not 0", ""),
    ("5 --kernel 3 --padding -1", "--padding must be at least 0, not -1", ""),
    ("5 --kernel 3 --transposed --output-padding -1", "--output-padding must be at least 0", ""),
    ("99999999999 --kernel 3", "SIZE must be at most 1,000,000,000", ""),
    ("9999999999999999 --kernel 3", "SIZE '9999999999999999' is no size", "such as 3"),
    ("abc --kernel 3", "SIZE 'abc' is no size", "HxW as 3x5"),
    ("3x227x227 --kernel 3", "SIZE '3x227x227' is no size", "HxW as 3x5"),
    ("5 --kernel 3.5", "--kernel '3.5' is no size", ""),
    ("5 --kernel 3x", "--kernel '3x' is no size", ""),
    ("5 --kernel ²", "--kernel '²' is no size", ""),
    ("5 --kernel 3 --padding same", "--padding 'same' is no size", ""),
    ("5 --kernel 3 --in-channels 0 --out-channels 4", "--in-channels must be at least 1", ""),
    ("5 --kernel 3 --in-channels 4 --out-channels -4", "--out-channels must be at least 1", ""),
    ("5 --kernel 3 --in-channels 4 --out-channels 4 --groups 0", "groups must be at least 1", ""),
    ("5 --kernel 3 --in-channels x --out-channels 4", "not 'x'", "--help"),
    ("5 --kernel 3 --in-channels 64 --out-channels 96 --groups 5",
     "--groups 5 does not divide --in-channels", "1, 2, 4, 8, 16, 32"),
    ("5 --kernel 3 --in-channels 64 --out-channels 9 --groups 2",
     "--groups 2 does not divide --out-channels 9", "both are divided by 1"),
    ("5 --kernel 3 --pool min", "'min' is not one of 'max', 'avg'", "--help"),
    ("--stack 3,x", "'x' is no layer of a stack", "3s2"),
    ("--stack 3,,3", "'' is no layer of a stack", "3,3,3"),
    ("--stack 3x5,3", "'3x5' is no layer of a stack", ""),
    ("--stack 3,0", "must be at least 1, not 0", ""),
    ("--stack 3s0", "must be at least 1, not 3s0", ""),
    # What is missing
    ("", "SIZE is missing", "such as 224"),
    ("--kernel 3", "SIZE is missing", "such as 224"),
    ("227", "--kernel is missing", "such as 3"),
    ("5 --kernel 3 --in-channels 3", "--in-channels cannot be used by itself", "--out-channels"),
    ("5 --kernel 3 --out-channels 3", "--out-channels cannot be used by itself", "--in-channels"),
    ("5 --kernel 3 --groups 1", "--groups cannot be used by itself", "--in-channels"),
    ("5 --kernel 3 --no-bias", "--no-bias cannot be used by itself", "--in-channels"),
    ("--stack 3,3 --no-bias", "--no-bias cannot be used by itself", "give --in-channels as well"),
    ("--stack 3,3 --out-channels 4", "--out-channels cannot be used by itself", "--in-channels"),
    ("5 --kernel 3 --show", "--show needs --image", "--image"),
    ("5 --weight 1", "--weight needs --image", "--image"),
    ("--kernel 3 --image 1", "--image needs --weight to slide over it, or --pool", ""),
    ("--kernel 1 --image 1 --ceil", "--image needs a named pooling", "max or avg"),
    # What contradicts
    ("5 --stack 3,3 --kernel 3", "--kernel cannot be combined with --stack", "leave one"),
    ("5 --stack 3,3 --stride 2", "--stride cannot be combined with --stack", "3s2"),
    ("5 --stack 3,3 --dilation 2", "--dilation cannot be combined with --stack", "3d2"),
    ("5 --stack 3,3 --pool max", "--pool cannot be combined with --stack", "leave one"),
    ("5 --stack 3,3 --ceil", "--ceil cannot be combined with --stack", "leave one"),
    ("5 --stack 3,3 --transposed", "--transposed cannot be combined with --stack", ""),
    ("5 --stack 3,3 --groups 1 --in-channels 1", "--groups cannot be combined with --stack", ""),
    ("5 --stack 3,3 --image 1", "--image cannot be combined with --stack", ""),
    ("5 --stack 3,3 --padding 1x2", "--padding must be an integer", ""),
    ("5 --stack 3,3 --padding 1 --same", "--padding cannot be combined with --same", ""),
    ("5 --kernel 3 --same --padding 1", "cannot be combined with --same", "leave one out"),
    ("5 --kernel 3 --same --pool max", "--same cannot be combined with --pool", ""),
    ("5 --kernel 3 --same --transposed", "--same cannot be combined with --transposed", ""),
    ("5 --kernel 3 --ceil --transposed", "cannot be combined with --ceil", "only poolings"),
    ("5 --kernel 3 --output-padding 1", "--output-padding belongs to a transposed", ""),
    ("5 --kernel 3 --pool avg --dilation 2", "cannot be combined with average pooling", ""),
    ("5 --kernel 3 --pool max --groups 1", "--groups cannot be combined with --pool", "no weights"),
    ("5 --kernel 3 --pool max --no-bias", "--no-bias cannot be combined with --pool", "no weights"),
    ("5 --kernel 3 --pool max --in-channels 3 --out-channels 4", "a pooling keeps its 3", ""),
    ("--image 1 --weight 1 --pool max", "--weight cannot be combined with --pool", "no weights"),
    ("--image 1 --weight 1 --in-channels 1 --out-channels 1", "--in-channels cannot be", "one"),
    ("3 --image 1,2 --weight 1", "SIZE 3x3 contradicts --image, which is 1x2", "leave SIZE out"),
    ("--image 1,2 --weight 1 --kernel 2", "--kernel 2x2 contradicts --weight, which is 1x1", ""),
    # Matrices that are none
    ("--image 1,2;3 --weight 1", "row 2 of image has 1 number, row 1 has 2", "equally long"),
    ("--image 1;;3 --weight 1", "row 2 of image has 0 numbers, row 1 has 1", "equally long"),
    ("--image 1 --weight 1;2,3", "row 2 of weight has 2 numbers, row 1 has 1", "equally long"),
    ("--image a,2 --weight 1", "'a' in row 1 of image is not a number", "-0.5 or 1/9"),
    ("--image 1,nan --weight 1", "'nan' in row 1 of image is not a number", ""),
    ("--image 1,inf --weight 1", "'inf' in row 1 of image is not a number", ""),
    ("--image 1/0 --weight 1", "'1/0' in row 1 of image is not a number", ""),
    ("--image 1e999999999 --weight 1", "'1e999999999' in row 1 of image is not a number", ""),
    ("--image ; --weight 1", "image is empty", "write rows"),
    ("--image 1,2;3,4 --weight 1,2,3", "a kernel of 3 is larger than the input's width of 2", "3"),
    ("--image 1 --weight 1 --padding 10000", "are too many to write out", "leave the image out"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "says", "hint"), BAD, ids=[line for line, _, _ in BAD])
def test_bad_input(cnnkit: Cnnkit, tmp_path: Path, line: str, says: str, hint: str) -> None:
    answer = cnnkit("conv", *line.split())
    assert answer.code == 2, answer.stdout + answer.stderr
    assert answer.stdout == ""
    (message,) = answer.stderr.splitlines()
    assert message.startswith("cnnkit: ")
    assert says in message
    assert hint in message
    assert not list(tmp_path.iterdir())


def test_a_negative_size_is_taken_for_an_option_and_refused(cnnkit: Cnnkit) -> None:
    answer = cnnkit("conv", "-5", "--kernel", "3")
    assert answer.code == 2
    assert "Traceback" not in answer.stderr
    assert "SIZE must be at least 1, not -5" in cnnkit("conv", "--kernel", "3", "--", "-5").stderr


def test_in_a_process_of_its_own_from_a_pipe(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", "conv", "227", "--kernel", "11", "--stride", "4"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    assert "floor((227 + 2*0 - 11) / 4) + 1 = 55" in done.stdout
