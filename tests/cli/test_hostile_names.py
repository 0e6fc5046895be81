"""Folders, files, layers and archives with hostile names, through whole commands."""

import csv
import io
import json
import os
import re
import sys
import unicodedata
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.cli.app import run
from cnnkit.errors import CnnkitError, UnavailableError
from cnnkit.render import visible
from cnnkit.render.safe_text import csv_text
from tests.conftest import Cnnkit
from tests.hostile import NAMES, TEXTS, commands_in
from tests.render.test_safe_text import read_latex, read_markdown

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux takes any bytes in the name of a file"
)

CLASSES = tuple(sorted({*NAMES, *TEXTS, "b"}))
ROOT = "data \x1b[31m\n=1"  # the folder of them all
BROKEN = (b"bad\x1b[2J\nx.png", b"=1+1.png", b"\xff\xfe.png")
FORMATS = {
    "table": ".txt", "json": ".json", "csv": ".csv", "markdown": ".md", "latex": ".tex",
    "html": ".html",
}  # fmt: skip


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a class of each name, and broken images in the first."""
    root = tmp_path_factory.mktemp("hostile") / ROOT
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for index, file in enumerate((b"0.png", b"\xe9\x1b.png", b"=2.png")):
            (root / name / os.fsdecode(file)).write_bytes(picture(3 * number + index))
    for file in BROKEN:
        (root / CLASSES[0] / os.fsdecode(file)).write_bytes(b"no")
    return root


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on that folder."""
    runs = tmp_path_factory.mktemp("runs")
    code = run(
        ["train", "linear", str(folder), "--epochs", "1", "--device", "cpu", "--skip-bad",
         "--runs-dir", str(runs), "-q", "-o", str(runs / "train.txt")]
    )  # fmt: skip
    assert code == 0
    (path,) = [path for path in runs.iterdir() if path.is_dir()]
    return path


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data != "\n":
            self.rows[-1][-1] += data


def cells_of(text: str, form: str) -> set[str]:
    """Return every cell that a strict reader of the format finds, without spaces at its ends."""
    rows: list[list[str]] = []
    match form:
        case "csv":
            rows = list(csv.reader(io.StringIO(text, newline="")))
        case "markdown":
            rows, _ = read_markdown(text)
        case "latex":
            lines = [line for line in text.splitlines() if line.endswith(r" \\")]
            rows = [[read_latex(cell) for cell in line[:-3].split(" & ")] for line in lines]
        case "html":
            reader = _Cells()
            reader.feed(text)
            assert reader.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
            rows = reader.rows
    return {cell.strip() for row in rows for cell in row}


def expected(name: str, form: str) -> str:
    name = unicodedata.normalize("NFC", name)  # classes are the same in either form
    return (csv_text(name) if form == "csv" else visible(name)).strip()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", ["stats", "show", "eval", "train"])
def test_a_folder(
    command: str, form: str, folder: Path, trained: Path, cnnkit: Cnnkit, tmp_path: Path
) -> None:
    arguments: list[str | Path] = {
        "stats": ["stats", folder],
        "show": ["show", folder, "--split", "all", "-n", "1000"],
        "eval": ["eval", trained, "--skip-bad", "--device", "cpu"],
        "train": ["train", "linear", folder, "--epochs", "1", "--device", "cpu", "--skip-bad"],
    }[command]  # type: ignore[assignment]
    told = cnnkit(*arguments, "--format", form)
    assert told.code == 0, told.stderr
    assert not commands_in(told.stdout)
    assert not commands_in(told.stderr)
    path = tmp_path / f"x{FORMATS[form]}"
    assert cnnkit(*arguments, "-o", path).code == 0
    text = path.read_bytes().decode()  # valid text, whatever the names are
    assert not commands_in(text)
    if command == "train":
        return  # its tables have no names
    if form == "json":
        assert text.isascii()
        document = json.loads(text)
        found = {
            "stats": lambda: {one["name"] for one in document["classes"]},
            "show": lambda: {one["label"] for one in document["samples"]},
            "eval": lambda: {one["name"] for one in document["per_class"]},
        }[command]()
        assert found == {unicodedata.normalize("NFC", name) for name in CLASSES}
    elif form != "table":
        cells = {cell.strip() for cell in cells_of(text, form)}
        if command == "show" or (command == "eval" and form == "csv"):
            assert {expected(name, form) for name in CLASSES} <= cells
        if command == "show":
            paths = [f"{folder}/{CLASSES[0]}/" + os.fsdecode(one) for one in BROKEN]
            assert {expected(path, form) for path in paths} <= cells


def test_the_files_of_a_run_are_text(trained: Path) -> None:
    assert trained.name.isprintable()
    for path in trained.rglob("*"):
        assert path.name.isprintable()
        if path.suffix in (".json", ".csv"):
            assert not commands_in(path.read_bytes().decode().replace("\r\n", "\n"))
    with Image.open(trained / "curves.png") as curves:
        curves.load()


@pytest.mark.parametrize("extra", [[], ["-v"], ["--json"]])
def test_a_broken_image_ends_in_one_line(extra: list[str], folder: Path, cnnkit: Cnnkit) -> None:
    told = cnnkit("train", "linear", folder, "--epochs", "1", "--device", "cpu", *extra)
    assert told.code == 5
    assert not commands_in(told.stderr)
    assert not commands_in(told.stdout)
    line = told.stderr.splitlines()[-1]
    assert line.startswith("cnnkit: broken image ")
    assert r"data \x1b[31m\n=1/" in line
    if extra == ["--json"]:
        assert "\x1b[31m\n" in told.json["message"]  # exact


def test_pictures_of_the_folder(folder: Path, cnnkit: Cnnkit, tmp_path: Path) -> None:
    for arguments in (("show", "-o"), ("stats", "--plot")):
        told = cnnkit(arguments[0], folder, arguments[1], tmp_path / "x.png")
        assert told.code == 0, told.stderr
        assert not commands_in(told.stderr)
        with Image.open(tmp_path / "x.png") as image:
            image.load()


def test_a_preview_in_colour(folder: Path, cnnkit: Cnnkit) -> None:
    told = cnnkit("show", folder, "--color")
    assert told.code == 0
    assert not commands_in(re.sub(r"\x1b\[[0-9;]*m", "", told.stdout))


def test_a_class_that_is_no_text_is_refused(cnnkit: Cnnkit, tmp_path: Path) -> None:
    for name in (b"caf\xe9\x1b", b"b"):
        (tmp_path / "d" / os.fsdecode(name)).mkdir(parents=True)
    told = cnnkit("stats", tmp_path / "d")
    assert told.code == 2
    assert not commands_in(told.stderr)


def test_members_of_an_archive(cnnkit: Cnnkit, tmp_path: Path) -> None:
    names = [name.replace("\\", "_") for name in NAMES if len(name) < 100]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(f"{name}/0\x1b[2J\n.png", picture(number))
            archive.writestr(f"{name}/bad\u202e\n.png", b"no")
    for form in FORMATS:
        for command in ("stats", "show"):
            told = cnnkit(command, tmp_path / "a.zip", "--format", form)
            assert told.code == 0, told.stderr
            assert not commands_in(told.stdout)
            assert not commands_in(told.stderr)


NETWORK = """
from torch import nn

NAMES = {names!r}

def network(num_classes=10):
    layers = nn.ModuleDict({{name.replace(".", "_"): nn.Identity() for name in NAMES}})
    layers["convolution \\x1b[31m"] = nn.Conv2d(1, 2, 3)
    layers["kind"] = type("Kind\\x1b[2J\\n|$", (nn.Sequential,), {{}})(nn.ReLU())

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            for layer in self.layers.values():
                x = layer(x)
            return x.mean((2, 3))

    return Network()
"""


@pytest.mark.parametrize("form", FORMATS)
def test_layers_of_a_network(form: str, cnnkit: Cnnkit, tmp_path: Path) -> None:
    path = tmp_path / "net\x1b[31m\n$|.py"
    path.write_text(NETWORK.format(names=[*CLASSES, "\udcff"]))
    for command in ("summary", "compare"):
        told = cnnkit(command, f"{path}:network", "--input", "1x8x8", "--format", form)
        assert told.code == 0, told.stderr
        assert not commands_in(told.stdout)
        assert not commands_in(told.stderr)
        told.stdout.encode()


MESSAGE = "the server answers 503 Busy\r\n\x1b]52;c;eA==\x07\u202e\u2028cnnkit: done\udcff"


@pytest.mark.parametrize("error", [UnavailableError, CnnkitError])
def test_any_message_is_one_line(
    error: type[CnnkitError], cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(pattern: str) -> None:
        raise error(MESSAGE, "wait\x1b[2J")

    monkeypatch.setattr("cnnkit.models.networks.list_models", fails)
    told = cnnkit("models", "--json", "-v")
    assert not commands_in(told.stderr)
    line = told.stderr.splitlines()[-1]
    assert line.startswith(r"cnnkit: the server answers 503 Busy\r\n\x1b]52;c;eA==\x07\u202e\u2028")
    assert told.json["message"] == MESSAGE
    assert told.stdout.isascii()


def test_a_recipe_of_somebody_else_is_shown_as_text(cnnkit: Cnnkit, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("epochs = 1 # \x9b31m \u202e\n")
    told = cnnkit("recipes", recipe)
    assert told.code == 0, told.stderr
    assert not commands_in(told.stdout)
    assert cnnkit("recipes", recipe, "-o", tmp_path / "copy.toml").code == 0
    assert (tmp_path / "copy.toml").read_bytes() == recipe.read_bytes()


def test_a_dry_run_reads_back_with_any_name(cnnkit: Cnnkit, tmp_path: Path) -> None:
    folder = tmp_path / "d\x1b\x9b\u202e\U000e0041\x7f\n\"'\\"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes(picture(ord(name)))
    told = cnnkit("train", "linear", folder, "--dry-run")
    assert told.code == 0, told.stderr
    assert not commands_in(told.stdout)
    (tmp_path / "c.toml").write_text(told.stdout)
    again = cnnkit("train", "-c", tmp_path / "c.toml", "--dry-run")
    assert again.stdout == told.stdout
