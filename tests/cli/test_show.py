"""`cnnkit show` through its front door."""

import csv
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Cnnkit


def test_a_table_when_piped(cnnkit: Cnnkit) -> None:
    answer = cnnkit("show", "digits", "--index", "99", "--index", "3")
    assert answer.code == 0
    assert answer.stdout.splitlines() == [
        "index  class  size  mode",
        "────────────────────────",
        "   99  " + answer.stdout.splitlines()[2][7:],
        "    3  " + answer.stdout.splitlines()[3][7:],
        "2 of the 1,797 images of digits",
    ]
    assert "8x8   L" in answer.stdout


@pytest.mark.parametrize("width", ["80", "120"])
def test_everything_fits_the_terminal(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    answer = cnnkit("show", "digits", "--normalized", "--input", "3x16x16")
    assert max(map(len, answer.stdout.splitlines())) <= int(width)
    assert "become black" in " ".join(answer.stdout.split())


def test_a_picture(cnnkit: Cnnkit, tmp_path: Path) -> None:
    answer = cnnkit("show", "digits", "--class", "3", "--num", "4", "--seed", "1", "-o", "x.png")
    assert (answer.code, answer.stdout) == (0, "")
    assert "wrote x.png" in answer.stderr
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "PNG"
        image.load()
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    assert cnnkit("show", "digits", "-o", "link.png").code == 0
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "target.png").stat().st_size > 1000


def test_signs_that_the_font_lacks_are_said(cnnkit: Cnnkit, tmp_path: Path) -> None:
    for name in ("日本", "кот"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "photos" / name / "0.png")
    told = "the font of pictures lacks 日本: each is drawn as a box"
    answer = cnnkit("show", "photos", "-o", "x.png")
    assert answer.code == 0, answer.stderr
    assert told in answer.stderr
    assert "the font" not in cnnkit("show", "photos", "--class", "кот", "-o", "y.png").stderr


def test_the_same_picture_each_time(cnnkit: Cnnkit, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        assert cnnkit("show", "digits", "--normalized", "-o", name, "-q").stderr == ""
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_json_and_csv(cnnkit: Cnnkit) -> None:
    plain = cnnkit("show", "digits", "--num", "3", "--json").json
    assert plain["schema"] == "cnnkit.show/1"
    assert len(plain["samples"]) == 3
    text = cnnkit("show", "digits", "--num", "3", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["index"]) for row in rows] == [one["index"] for one in plain["samples"]]


def test_colour_asked_for_gives_the_preview(cnnkit: Cnnkit) -> None:
    assert "▀" in cnnkit("show", "digits", "--color").stdout
    assert "▀" not in cnnkit("show", "digits", "--no-color").stdout
    assert cnnkit("show", "digits", "--color", "--json").json["dataset"] == "digits"
    assert cnnkit("show", "digits", "--color", "-o", "x.txt").code == 0
    assert "\x1b" not in Path("x.txt").read_text()


@pytest.mark.parametrize(("name", "has_preview"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_that_shows_colour_gets_the_preview(name: str, has_preview: bool) -> None:
    controller, terminal = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "COLORTERM"}
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnkit", "show", "digits", "-n", "2"],
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env=environment | {"TERM": name, "COLUMNS": "80"},
    )
    os.close(terminal)
    printed = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        printed += part
    os.close(controller)
    assert process.wait() == 0
    assert ("▀" in printed.decode()) == has_preview
    assert "2 of the 1,797 images of digits" in printed.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing-like-it"], 3, "unknown dataset 'nothing-like-it'"),
        (["digits", "--class", "eleven"], 3, "digits has no class 'eleven'"),
        (["digits", "--index", "1797"], 2, "indices are 0 to 1,796"),
        (["digits", "--index", "x"], 2, "not 'x'"),
        (["digits", "--num", "0"], 2, "0"),
        (["digits", "--seed", "-1"], 2, "-1"),
        (["digits", "--index", "1", "--class", "3"], 2, "--index and --class are both given"),
        (["digits", "--input", "2x8x8"], 2, "1 or 3 channels"),
        (["digits", "--split", "val"], 2, "digits has no split 'val'"),
        (["digits", "-o", "x.jpg"], 2, ".html, .txt or .png file"),
        (["digits", "-o", "x.png", "--format", "csv"], 2, "contradict each other"),
        (["digits", "-o", "nowhere/x.png"], 3, "does not exist"),
        (["."], 2, "has no images"),
    ],
)
def test_bad_input_is_one_line(
    cnnkit: Cnnkit, arguments: list[str], code: int, message: str
) -> None:
    answer = cnnkit("show", *arguments)
    assert answer.code == code, answer.stderr
    assert answer.stdout == ""
    assert answer.stderr.startswith("cnnkit: ")
    assert answer.stderr.count("\n") == 1
    assert message in answer.stderr
    assert not list(Path().iterdir())


def test_the_augmentation_of_a_recipe(cnnkit: Cnnkit, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('model = "lenet5"\nbatch-size = 64\ncrop = 1\nmixup = 0.2\n')
    answer = cnnkit("show", "digits", "--num", "2", "--augmented", recipe, "--json")
    assert answer.json["augmentation"] == "shifted by up to 1 pixel, mixup 0.2"
    assert cnnkit("show", "digits", "--augmented", recipe, "-o", "x.png").code == 0
    with Image.open(tmp_path / "x.png") as image:
        image.load()
    assert "▀" in cnnkit("show", "digits", "--augmented", recipe, "--color").stdout


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, 3, "cannot read the recipe recipe.toml: no such file"),
        ("crop =", 2, "the recipe recipe.toml is not TOML"),
        ("crops = 1", 2, "recipe recipe.toml has an unknown key 'crops'; did you mean crop?"),
        ("crop = -1", 2, "crop must be at least 0, not -1"),
        ("crop = true", 2, "crop must be a valid integer, not True"),
        ("epochs = 3", 2, "--augmented recipe.toml changes no training image"),
        ("crop = 8", 2, "crop 8 is too large for images of 8x8"),
    ],
)
def test_what_is_no_augmentation_is_refused(
    cnnkit: Cnnkit, tmp_path: Path, content: str | None, code: int, says: str
) -> None:
    if content is not None:
        (tmp_path / "recipe.toml").write_text(content)
    answer = cnnkit("show", "digits", "--augmented", "recipe.toml")
    assert answer.code == code
    assert says in " ".join(answer.stderr.split())
    assert len(answer.stderr.splitlines()) == 1
