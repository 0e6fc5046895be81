"""A shape is written in the same ways wherever a command takes one."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.conftest import Cnnkit

SPELLINGS = ("1x8x8", "1X8X8", "1,8,8", " 1 x 8, 8 ")
DATA = "fake:1x8x8:2:20"


@pytest.mark.parametrize("text", SPELLINGS)
def test_summary_compare_and_show_say_what_they_read(cnnkit: Cnnkit, text: str) -> None:
    for command in (["summary", "linear"], ["compare", "linear"], ["show", DATA]):
        answer = cnnkit(*command, "--input", text, "--json")
        assert (answer.code, answer.json["input"]) == (0, "1x8x8"), command


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_fake_set_has_one_name(cnnkit: Cnnkit, text: str) -> None:
    answer = cnnkit("stats", f"fake:{text}:2:20", "--json")
    assert (answer.code, answer.json["dataset"]) == (0, DATA)


@pytest.mark.parametrize("text", ["3x5", "3X5", "3,5", " 3 , 5"])
def test_sizes_of_conv(cnnkit: Cnnkit, text: str) -> None:
    answer = cnnkit("conv", "9x9", "--kernel", text, "--padding", "0,1", "--json")
    assert answer.code == 0
    assert (
        answer.stdout
        == cnnkit("conv", "9x9", "--kernel", "3x5", "--padding", "0x1", "--json").stdout
    )


@pytest.mark.parametrize("text", ["6x4", "6X4", "6 x 4"])
def test_sizes_of_a_transform(cnnkit: Cnnkit, text: str) -> None:
    wanted = cnnkit("stats", DATA, "--transform", "resize=6x4", "--json")
    answer = cnnkit("stats", DATA, "--transform", f"resize={text}", "--json")
    assert answer.code == 0
    assert answer.json["transform"] == wanted.json["transform"]
    assert answer.json["channels"] == wanted.json["channels"]


@pytest.mark.parametrize("place", ["option", "config", "recipe"])
def test_train_reads_it_from_the_command_line_and_from_files(
    cnnkit: Cnnkit, tmp_path: Path, place: str
) -> None:
    (tmp_path / "settings.toml").write_text('input = "3,8, 8"\nepochs = 1\n')
    given = {
        "option": ("--input", "3,8, 8", "--epochs", "1"),
        "config": ("-c", "settings.toml"),
        "recipe": ("--recipe", "settings.toml"),
    }[place]
    answer = cnnkit("train", "linear", DATA, *given, "--device", "cpu", "--json")
    assert answer.code == 0, answer.stderr
    setup = json.loads((tmp_path / answer.json["run"] / "run.json").read_text())["setup"]
    assert (setup["in_channels"], setup["image_size"]) == (3, [8, 8])


def test_what_a_dry_run_writes_can_be_read(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "linear", DATA, "--input", "1,8,8", "--dry-run")
    assert tomllib.loads(answer.stdout)["input"] == "1,8,8"


def test_bench_with_and_without_data(cnnkit: Cnnkit) -> None:
    for more in ((), ("--data", DATA)):
        answer = cnnkit(
            "bench", "linear", *more, "--input", "3,8,8", "-b", "2", "--mode", "infer",
            "--device", "cpu", "--max-seconds", "0.05", "--json",
        )  # fmt: skip
        assert answer.code == 0, answer.stderr


@pytest.mark.parametrize(
    "command", ["summary linear", "compare linear", "bench linear", f"bench linear --data {DATA}",
                f"train linear {DATA}", f"show {DATA}"],
)  # fmt: skip
@pytest.mark.parametrize("text", ["1x8x", "8.5", "1x8;8", "", "9" * 5000])
def test_what_is_no_shape_is_refused_alike(cnnkit: Cnnkit, command: str, text: str) -> None:
    answer = cnnkit(*command.split(), "--input", text)
    assert answer.code == 2
    assert answer.stderr.splitlines()[-1].startswith(
        f"cnnkit: --input {text!r} is not a shape; write"
    )


@pytest.mark.parametrize("text", ["1x8", "1x8x", "8", "1x8x8x8", "axbxc", "9" * 5000])
def test_what_is_no_shape_of_a_fake_set(cnnkit: Cnnkit, text: str) -> None:
    answer = cnnkit("stats", f"fake:{text}:2:20")
    assert answer.code == 2
    assert "is not a fake set; the form is fake:CxHxW:classes:images" in answer.stderr


def test_a_recipe_says_where(cnnkit: Cnnkit, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('input = "3x8"\n')
    answer = cnnkit("train", "linear", DATA, "--recipe", "r.toml")
    assert answer.code == 2
    assert "the recipe r.toml: input '3x8' is not a shape; write CxHxW" in answer.stderr
