"""What all tests share."""

import json
import os

# Several tests run at once: a second thread each would wait for a core more than it works. This
# has to be said before torch is imported, and holds for the processes that tests start as well.
os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from cnnkit.cli.app import run
from tests.audit.watching import VARIABLE, watch

# No process may be started by reading data: this one, the workers of xdist, and the processes that
# tests start all look, and write to the same file.
if "watching" not in sys.modules:  # a worker has loaded it when it started
    sys.addaudithook(watch)
if VARIABLE not in os.environ:
    os.environ[VARIABLE] = str(Path(tempfile.mkdtemp(prefix="cnnkit-audit-"), "started"))
AUDIT_FOLDER = str(Path(__file__).parent / "audit")
if AUDIT_FOLDER not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    paths = (AUDIT_FOLDER, os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
AUDIT_FILE = Path(os.environ[VARIABLE])

# CI tries the same examples every time; by hand there are new ones at each run.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
if "CI" in os.environ:
    hypothesis.settings.load_profile("ci")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Cnnkit = Callable[..., Answer]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the outside gets in, and nothing is written outside of tmp_path."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CNNKIT_DEVICE", "CNNKIT_RUNS_DIR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CNNKIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cnnkit(capsys: pytest.CaptureFixture[str]) -> Cnnkit:
    """Run a command in this process: `cnnkit("train", "lenet5")`."""

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(int(code), captured.out, captured.err)

    return call


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run where reading data started a process."""
    if hasattr(session.config, "workerinput"):
        return  # the process that started the workers looks once, at the end
    if AUDIT_FILE.exists():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the processes that reading data started."""
    if AUDIT_FILE.exists():
        terminalreporter.section("processes that were started by reading data")
        terminalreporter.write(AUDIT_FILE.read_text())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(AUDIT_FILE.parent, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the golden tables anew")


@pytest.fixture(scope="session")
def mnist_files() -> Path:
    """The folder with MNIST's four original files."""
    folder = SHARED_DATA / "MNIST" / "raw"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("MNIST's files are not beside the project")
    return folder


@pytest.fixture(scope="session")
def mnist_data(mnist_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with MNIST; its own, for torchvision unpacks files beside themselves."""
    raw = tmp_path_factory.mktemp("data") / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in mnist_files.glob("*.gz"):
        shutil.copy(file, raw)
    return raw.parents[1]


@pytest.fixture(scope="session")
def cifar_archive() -> Path:
    archive = SHARED_DATA / "cifar10-jpeg.tar.xz"
    if not archive.exists():
        pytest.skip("the JPEG CIFAR-10 is not beside the project")
    return archive
