"""The manual says what is so: its commands, options, links, fields and examples."""

import csv
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
import yaml
from packaging.version import Version

import cnnkit as cnnkit_package
from cnnkit.cli.app import COMMANDS as ENTRIES
from cnnkit.cli.app import app, load_command
from cnnkit.errors import ExitCode
from cnnkit.registry import Catalog
from tests.conftest import Cnnkit
from tests.results import examples

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.glob("*.md")),
]
OVERVIEW: Any = typer.main.get_command(app)
COMMANDS = {name: load_command(name) for name in ENTRIES}
HELP = {"-h", "--help"}
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@dataclass(frozen=True)
class Block:
    """A fenced block; `console run` is run and must succeed, `console fails` must fail.

    A block with the name of a file, as in `toml recipe.toml`, is that file.
    """

    language: str
    word: str
    text: str

    def commands(self) -> list[tuple[str, list[str]]]:
        """Return each command with the lines of output that stand below it."""
        if self.language == "bash":
            return [(line, []) for line in self.text.splitlines() if line]
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
        return found


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)^```$", page.read_text("utf-8"), re.MULTILINE)
    return [Block(*parts) for parts in found]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```(?:.*\n)*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE)


def shell_commands(page: Path) -> list[list[str]]:
    """Return the `cnnkit` commands of a page's console and shell blocks, word by word.

    Not those that fail, perhaps while they are parsed; they are run.
    """
    lines = [
        line
        for block in blocks(page)
        if block.language in ("console", "bash") and block.word != "fails"
        for line, _ in block.commands()
    ]
    parts = [shlex.split(part) for line in lines for part in re.split(r"&&|\|", line)]
    return [words[1:] for words in parts if words[0] == "cnnkit"]


def write_files(page: Path) -> None:
    """Put the files that a page shows into the current folder."""
    for block in blocks(page):
        if "." in block.word:
            Path(block.word).write_text(block.text, encoding="utf-8")


def without_figures(text: str) -> set[str]:
    """Return the lines of a text with `#` for every number, spaces made one."""
    text = re.sub(r"[\d.,]*\d(?:e-\d+)?", "#", re.sub(r"-\d{8}-\d{6}", "", text))
    text = re.sub(r"# (?:min # s|ms|s) on", "# s on", text)
    return {" ".join(line.split()).removesuffix(" best") for line in text.splitlines()}


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def option_names(command: Any) -> set[str]:
    options = [one for one in command.params if one.param_type_name == "option"]
    return {name for one in options for name in (*one.opts, *one.secondary_opts)}


def documented_fields(page: str, heading: str) -> set[str]:
    """Return the first column of the tables below a heading, up to the next one."""
    text = (DOCS / page).read_text("utf-8")
    section = re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def fields(value: object, below: str = "", opaque: tuple[str, ...] = ()) -> set[str]:
    """Return the names of all values in JSON: `epochs[].epoch`, `test.loss`, `confusion[][]`."""
    if isinstance(value, dict) and below not in opaque:
        return set().union(
            *(fields(item, f"{below}.{key}".lstrip("."), opaque) for key, item in value.items())
        )
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return set().union(*(fields(item, f"{below}[]", opaque) for item in value))
    return {f"{below}[]" if isinstance(value, list) and below.endswith("[]") else below}


def test_the_reference_is_current() -> None:
    assert (DOCS / "reference.md").read_text("utf-8") == generator().reference(), (
        "run `python docs/generate.py`"
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_page_with_its_options_and_an_example(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text("utf-8")
    output = (DOCS / "output.md").read_text("utf-8")
    assert "(output.md)" in page
    for option in option_names(COMMANDS[name]) - HELP:
        assert f"`{option}" in page or f"`{option}" in output, option
    assert any(words[0] == name for words in shell_commands(DOCS / f"{name}.md"))
    assert any(words[0] == name for words in shell_commands(ROOT / "README.md"))
    assert f"({name}.md)" in (DOCS / "index.md").read_text("utf-8")
    assert f"(docs/{name}.md)" in (ROOT / "README.md").read_text("utf-8")


def test_environment_variables_are_told() -> None:
    told = (DOCS / "config.md").read_text("utf-8")
    for command in COMMANDS.values():
        for one in command.params:
            if one.envvar:
                assert f"| `{one.envvar}` | `{one.opts[-1]}` |" in told


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles]
            assert anchor in anchors, target


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index


@by_page
def test_commands_of_blocks_parse(page: Path) -> None:
    write_files(page)
    for name, *words in shell_commands(page):
        command = COMMANDS[name]
        assert {w.partition("=")[0] for w in words if w.startswith("-")} <= option_names(command)
        command.make_context(name, list(words))  # checks the values as well


@by_page
def test_commands_and_options_in_sentences_are_there(page: Path) -> None:
    everywhere = HELP.union(
        option_names(OVERVIEW), *(option_names(one) for one in COMMANDS.values())
    )
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page)):
        words = " ".join(code.split()).replace("\\|", "|").split(" ")
        if words[0] == "cnnkit" and words[1:] and not words[1].startswith("-"):
            if words[1] == "COMMAND":
                continue
            known = option_names(COMMANDS[words[1]]) | HELP
        elif words[0] == "cnnkit" or words[0].startswith("-"):
            known = everywhere
        else:
            continue
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known, code


@by_page
def test_examples_marked_so_are_run(
    page: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNKIT_DEVICE", "cpu")
    write_files(page)
    for block in blocks(page):
        if block.language != "console" or block.word not in ("run", "fails"):
            continue
        for line, shown in block.commands():
            words = shlex.split(line)[1:]
            answer = cnnkit(*words)
            if block.word == "fails":
                assert answer.code not in (ExitCode.DONE, ExitCode.BUG)
                assert answer.stderr.splitlines() == shown
                continue
            assert answer.code == ExitCode.DONE, answer.stderr
            if words[0] in ("models", "recipes", "datasets", "stats", "conv", "compare", "summary"):
                assert set(shown) - {"…"} <= set(answer.stdout.splitlines()), line
            elif words[0] == "train":  # its figures hang on the machine
                printed = without_figures(answer.stdout + answer.stderr)
                assert without_figures("\n".join(shown)) - {"…"} <= printed, line


@dataclass(frozen=True)
class Row:
    """A row of a table of commands: the command, and what the row says is in its output."""

    command: str
    shown: tuple[str, ...]


def rows(page: str) -> list[Row]:
    """Return the rows of a page's tables that have a command, which must be all of them."""
    found = []
    for line in (DOCS / page).read_text("utf-8").splitlines():
        if not line.startswith("|") or "---" in line or "`" not in line:
            continue
        codes = re.findall(r"`([^`]+)`", line)
        at = [number for number, code in enumerate(codes) if code.startswith("cnnkit ")]
        assert len(at) == 1, line
        found.append(Row(codes[at[0]], tuple(codes[at[0] + 1 :])))
    return found


def names_given(value: object) -> list[str]:
    """Return the names among the value of an argument: none, one, or several."""
    return [value] if isinstance(value, str) else [*value] if isinstance(value, list) else []


COMMAND_TABLES = ("lectures.md", "glossary.md")
ROWS = [(page, row) for page in COMMAND_TABLES for row in rows(page)]


@pytest.mark.parametrize("page", COMMAND_TABLES)
def test_every_row_of_a_table_of_commands_has_one(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    headings = [line for line in tables if re.match(r"\| (?:section|term|---) ", line)]
    assert len(rows(page)) == len(tables) - len(headings) > 50
    assert not re.search(r"/work|\bshared/", text)


@pytest.mark.parametrize(("page", "row"), ROWS)
def test_commands_of_tables_parse(page: str, row: Row) -> None:
    from cnnkit.data import DATASETS
    from cnnkit.models import MODELS

    name, *words = shlex.split(row.command)[1:]
    command = COMMANDS[name]
    assert {w.partition("=")[0] for w in words if re.match(r"--?[a-z]", w)} <= option_names(command)
    given = command.make_context(name, list(words)).params
    for key in ("model", "models"):
        for model in names_given(given.get(key)):
            assert model in MODELS or model.endswith(".py:Net"), row.command
    for dataset in names_given(given.get("dataset")):
        assert dataset.partition(":")[0] in DATASETS or dataset.startswith("./"), row.command


def test_recipes_of_tables_are_there(cnnkit: Cnnkit) -> None:
    known = {one["name"] for one in cnnkit("recipes", "--json").json["recipes"]}
    for _, row in ROWS:
        for recipe in re.findall(r"(?:--recipe|--augmented|cnnkit recipes) (\S+)", row.command):
            assert recipe in known, row.command


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param(command, shown, id=command)
        for command in dict.fromkeys(row.command for _, row in ROWS)
        if (shown := {one for _, row in ROWS if row.command == command for one in row.shown})
    ],
)
def test_results_in_tables_are_printed(
    command: str, shown: set[str], cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNKIT_DEVICE", "cpu")
    answer = cnnkit(*shlex.split(command)[1:])
    assert answer.code == ExitCode.DONE, answer.stderr
    printed = " ".join(answer.stdout.split())
    for text in shown:
        assert re.search(rf"(?<![\w.,]){re.escape(text)}(?!\w|[.,]\d)", printed), text


def test_the_glossary_is_in_alphabetical_order() -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    terms = re.findall(r"^\| ([^|-][^|]*) \|", text, re.MULTILINE)[1:]
    assert terms == sorted(terms, key=str.casefold)
    assert len(terms) == len(set(terms)) > 50


def test_lines_of_examples_have_the_form_of_today(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNKIT_DEVICE", "cpu")
    trained = cnnkit("train", "mlp", "digits", "--epochs", 1)
    evaluated = cnnkit("eval", trained.stdout.split()[-1])
    few_classes = cnnkit("train", "linear", "fake:1x8x8:2:40", "--epochs", 1)
    measured = cnnkit("stats", "digits")
    answers = (trained, evaluated, few_classes, measured)
    printed = "\n".join(text for one in answers for text in (one.stderr, one.stdout))
    heading = next(line for line in trained.stderr.splitlines() if "train loss" in line)
    line = re.compile(
        r"^(?: *\d+/\d+ |(?:test: )?accuracy |weights: |(?:best|last) weights|[\d,]+ images"
        r"|[\d.]+ [kM] parameters|lenet5 on the ).*$"
    )
    today = without_figures(printed.replace("mlp on", "lenet5 on"))
    found = 0
    for page in PAGES:
        for block in blocks(page):
            for shown in block.text.splitlines():
                if "train loss" in shown:
                    assert shown == heading
                elif line.match(shown):
                    found += 1
                    without_dataset = shown.replace("images of mnist", "images of digits")
                    assert without_figures(without_dataset) <= today, shown
    assert found > 20


@by_page
def test_python_marked_so_is_run(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    for block in blocks(page):
        if block.language == "python" and block.word == "run":
            capsys.readouterr()
            exec(compile(block.text, page.name, "exec"), namespace)
            printed = capsys.readouterr().out.splitlines()
            for told in re.findall(r"^(?: *print\(.*)?\)  # (.*)$", block.text, re.MULTILINE):
                assert told in printed


def test_the_two_lines_of_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [b.text for b in blocks(ROOT / "README.md") if b.language == "bash"][:2]
    assert lines == [
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && "
        "cnnkit train lenet5 digits\n",
        "pytest -n 2\n",
    ]
    assert project["requires-python"] == ">=3.11"
    assert any(one.startswith("pytest-xdist") for one in project["optional-dependencies"]["dev"])
    assert "cnnkit" in project["scripts"]
    assert ".venv/" in (ROOT / ".gitignore").read_text("utf-8")


def test_the_oldest_environment_is_that_of_the_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    floors = dict(one.split(">=") for one in project["dependencies"])
    pins = (ROOT / "tests" / "compat" / "oldest.txt").read_text("utf-8").splitlines()
    oldest = dict(one.split("==") for one in pins if "#" not in one)
    assert {"torch", "torchvision", "typer"} <= set(oldest)
    for name, version in oldest.items():
        assert Version(version) == Version(floors[name]), name
    versions = (DOCS / "versions.md").read_text("utf-8")
    for name in ("torch", "torchvision", "typer"):
        assert f"| {name} | {oldest[name]} |" in versions


def test_the_citation_is_that_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # what version 1.2.0 of the format requires, and what we say beyond it
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["title"].startswith("cnnkit")
    assert citation["type"] == "software"
    assert citation["version"] == cnnkit_package.__version__
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"] == project["maintainers"]
    assert citation["keywords"] == project["keywords"]


def test_the_readme_counts_right() -> None:
    from cnnkit.data import DATASETS
    from cnnkit.models import MODELS

    readme = (ROOT / "README.md").read_text("utf-8")
    catalogs: list[tuple[Catalog[Any], str]] = [(MODELS, "networks"), (DATASETS, "datasets")]
    for catalog, noun in catalogs:
        assert f"lists {len(catalog)} {noun}" in readme


OPAQUE = (
    "datasets[].splits", "printed[].arguments", "weight_bytes_by_dtype", "channels[].percentiles",
    "modes", "formats", "changes", "sizes.width", "sizes.height", "sizes.aspect",
    "machine.devices", "machine.versions", "changes[].cell",
)  # fmt: skip
"""Objects whose keys are data, or are told in one line."""


@pytest.mark.parametrize(
    "name",
    [
        *("train", "lr_find", "eval", "stats", "show", "summary", "compare", "conv"),
        *("bench", "bench_compare", "bench_data", "bench_time_to"),
        *("models", "recipes", "datasets", "doctor"),
    ],
)
def test_json_fields_are_told(name: str) -> None:
    """The examples together have every field, those that only some results have included."""
    schema = examples.ALL[name].schema
    many: list[Any] = [one for one in examples.ALL.values() if one.schema == schema]
    if name == "eval":
        many.append(replace(many[0], metrics=examples.METRICS))  # more than five classes
    others = {"bench": ("against",), "bench_data": ("machine",), "bench_time_to": ("machine",)}
    opaque = (*OPAQUE, *others.get(name, ()))  # they have the fields of another
    found = set().union(*(fields(one.to_dict(), opaque=opaque) for one in many))
    if name == "train":
        assert "test" in found  # null without a test set
    assert found == documented_fields("output.md", f"### {schema}")


def test_fields_of_an_error_are_told(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "lennet", "--json")
    assert fields(answer.json) == documented_fields("output.md", "### cnnkit.error/1")


def test_exit_codes_are_told() -> None:
    rows = re.findall(
        r"^\| (\d+) \| (?:`(\w+)`)? ?\|", (DOCS / "output.md").read_text("utf-8"), re.M
    )
    told = {int(code): name for code, name in rows}
    assert told == {int(code): code.name.lower() if code else "" for code in ExitCode}


def test_files_of_a_run_are_told(cnnkit: Cnnkit) -> None:
    run = Path(cnnkit("train", "mlp", "digits", "--epochs", 1, "--json").json["run"])
    description = json.loads((run / "run.json").read_text("utf-8"))
    told = documented_fields("runs.md", "## run.json")
    assert fields(description, opaque=("setup.model_arguments",)) == told
    manifest = json.loads((run / "checkpoints" / "best" / "manifest.json").read_text("utf-8"))
    assert set(manifest) == documented_fields("runs.md", "## checkpoints")
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        heading = next(csv.reader(file))
    text = (DOCS / "runs.md").read_text("utf-8")
    for name in (*heading, *(path.name for path in run.iterdir())):
        assert name in text, name
