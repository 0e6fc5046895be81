"""The rules of the house, held against the imports."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnkit

PACKAGE = Path(cnnkit.__file__).parent

# From top to bottom: a part may import only those of lower rank.
RANKS = {
    "__main__": 12,
    "cli": 11,
    "render": 10,
    "doctor": 9,
    "bench": 9,
    "training": 8,
    "evaluation": 7,
    "architecture": 6,
    "stats": 6,
    "runs": 5,
    "models": 4,
    "data": 4,
    "system": 3,
    "results": 2,
    "registry": 1,
    "events": 1,
    "errors": 0,
}
# `print(result)` shows tables, and `to_pandas` needs pandas: the one file that looks upwards, and
# only when it is asked.
EXCEPTIONS = {("results/base.py", "render"), ("results/base.py", "pandas")}
STANDARD_LIBRARY_ALONE = ("results", "errors", "events", "registry")


def part_of(module: str) -> str:
    """Return the part of the house that `cnnkit.part.module` belongs to."""
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[str]:
    """Return every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            found.add(module)
            if module == "cnnkit":
                found |= {f"cnnkit.{alias.name}" for alias in node.names}
    return found


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports_of(path):
        if not module.startswith("cnnkit."):
            continue
        other = part_of(module)
        if other in (part, "__version__"):
            continue
        if (path.relative_to(PACKAGE).as_posix(), other) in EXCEPTIONS:
            continue
        assert RANKS[other] < RANKS[part], f"{part} must not import {other}"


def test_models_and_data_do_not_know_each_other() -> None:
    for part, other in (("models", "data"), ("data", "models")):
        for path in (PACKAGE / part).rglob("*.py"):
            assert not any(m.startswith(f"cnnkit.{other}") for m in imports_of(path)), path


def test_stats_does_not_know_of_runs() -> None:
    for path in (PACKAGE / "stats").rglob("*.py"):
        assert not any(m.startswith("cnnkit.runs") for m in imports_of(path)), path


def test_render_sees_results_events_and_errors_only() -> None:
    for path in (PACKAGE / "render").rglob("*.py"):
        own = {part_of(m) for m in imports_of(path) if m.startswith("cnnkit")}
        assert own <= {"render", "results", "events", "errors"}, path


@pytest.mark.parametrize("part", STANDARD_LIBRARY_ALONE)
def test_the_bottom_needs_the_standard_library_alone(part: str) -> None:
    paths = list((PACKAGE / part).rglob("*.py")) or [PACKAGE / f"{part}.py"]
    for path in paths:
        for module in imports_of(path):
            top = module.split(".")[0]
            if (path.relative_to(PACKAGE).as_posix(), top) in EXCEPTIONS:
                continue
            assert top == "cnnkit" or top in sys.stdlib_module_names, f"{path} imports {module}"


def test_nothing_below_the_command_line_prints_exits_or_reads_the_environment() -> None:
    for path in FILES:
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part in ("cli", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Attribute) else ""
            reads = () if path == PACKAGE / "data" / "opening.py" else ("os.environ",)
            assert not text.startswith(
                ("print(", "sys.exit", "sys.stdout", "sys.stderr.", *reads)
            ), f"{path}: {text}"
            assert not text.startswith("os.getenv"), f"{path}: {text}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["compare", "--help"],
        ["stats", "--help"],
        ["models"],
        ["datasets"],
        ["recipes"],
        ["conv", "227", "--kernel", "11", "--stride", "4", "--json"],
        ["conv", "--stack", "3,3"],
        ["conv", "--image", "1 2", "--weight", "1/3", "--show"],
        ["--version"],
    ],
)
def test_looking_around_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "torchvision", "pandas", "matplotlib", "numpy", "sklearn")
    code = (
        "import sys; from cnnkit.cli.app import run; "
        f"code = run({arguments!r}); "
        f"sys.exit(code or ','.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def own_strings(path: Path) -> list[str]:
    """Return every text of a file, docstrings too, without the command lines of cnnkit in it."""
    nodes = ast.walk(ast.parse(path.read_text()))
    texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [re.sub(r"`cnnkit [^`]*(`|$)", "", text) for text in texts]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_names_settings_and_the_command_line_names_flags(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in ("cli", "__main__", "errors"):  # errors.py explains `setting` by an example
        return
    flags = [text for text in own_strings(path) if re.search(r"(?<![\w-])--[a-z]", text)]
    assert not flags, "name the setting by cnnkit.errors.setting"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            assert "setting(" not in ast.unparse(node), "its name is known when the text is made"


def test_progress_is_emitted_not_passed() -> None:
    lines = [
        line
        for path in FILES
        if path.relative_to(PACKAGE).parts[0] not in ("cli", "events.py")
        for line in path.read_text().splitlines()
        if "on_event" in line
    ]
    assert len(lines) <= 60
    assert not any("on_event=" in line for line in lines if "on_event=watch" not in line)


def test_no_file_name_occurs_twice() -> None:
    """`__init__.py` and the verbs' own files in cli, results and render/tables aside."""
    aside = ("cli", "results", "render/tables")
    names = [
        path.name
        for path in FILES
        if path.name != "__init__.py"
        and not path.relative_to(PACKAGE).as_posix().startswith(tuple(f"{one}/" for one in aside))
    ]
    assert sorted(names) == sorted(set(names))


def test_modules_import_each_other_in_no_circle() -> None:
    """Imports of a module as it is loaded; those inside functions come later."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
    }
    graph: dict[str, set[str]] = {}
    for path in FILES:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        graph[name.removesuffix(".__init__")] = {
            f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in names else node.module
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "cnnkit"
            for alias in node.names
        } & names
    assert len(tuple(graphlib.TopologicalSorter(graph).static_order())) == len(names)
