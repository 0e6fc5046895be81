"""`run.json`, altered 2,000 times: every answer is one line and an exit code, and comes at once."""

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from cnnkit.errors import CnnkitError, ExitCode
from cnnkit.runs.code import Trusted, described_by, network_of
from cnnkit.runs.folder import open_run
from cnnkit.runs.model_and_data import ModelAndData, check_fits
from cnnkit.runs.resume_settings import settle
from tests.conftest import Cnnkit
from tests.fuzz.altering import Altered, alterations
from tests.stopped_runs import make_probes_small, stopped_run

NUM_READ = 2000
NUM_COMMANDS = 100
MOST_SECONDS = 20.0


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_run(tmp_path_factory.mktemp("stopped"))


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_probes_small(monkeypatch)


def set_up(run: Path) -> None:
    """Do what every command that takes a run does before it opens the data."""
    folder = open_run(str(run), Path("runs"))
    description = folder.read_description()
    settle(description, {}, folder.path)
    setup = ModelAndData.from_dict(description["setup"], network_of(folder, description, Trusted()))
    check_fits(setup, folder.load_checkpoint().weights, folder)
    with described_by(folder, setup.spec):
        setup.build()


def test_two_thousand_altered_descriptions_are_read(stopped: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    original = (run / "run.json").read_bytes()
    codes: Counter[str] = Counter()
    for altered in alterations(original, NUM_READ):
        (run / "run.json").write_bytes(altered.content)
        start = time.perf_counter()
        error: BaseException | None = None
        try:
            set_up(run)
        except BaseException as caught:
            error = caught
        if error is not None and not isinstance(error, CnnkitError):
            raise AssertionError(altered.what) from error
        if isinstance(error, CnnkitError):
            assert error.exit_code is not ExitCode.BUG, altered.what
            assert "\n" not in str(error), altered.what
            assert len(str(error)) < 10_000, altered.what
        assert time.perf_counter() - start < MOST_SECONDS, altered.what
        codes[type(error).__name__] += 1
    # A value that makes no sense is one kind of error.
    assert codes["CheckFailedError"] > 0.7 * NUM_READ, codes
    assert codes["UsageError"] == 0, codes


def trains_for_long(altered: Altered) -> bool:
    """Return whether a run that is resumed would rightly train for very many epochs."""
    return altered.changed[:2] == ("recipe", "epochs")


def test_commands_on_altered_descriptions(cnnkit: Cnnkit, stopped: Path, tmp_path: Path) -> None:
    commands: list[tuple[str, ...]] = [
        ("eval",), ("summary",), ("compare", "lenet5"), ("train", "--resume"),
        ("bench", "--device", "cpu", "--mode", "infer", "--batch", "1", "--max-seconds", "0.3"),
    ]  # fmt: skip
    original = (stopped / "run.json").read_bytes()
    run = tmp_path / "run"
    codes: Counter[int] = Counter()
    for number, altered in enumerate(alterations(original, NUM_COMMANDS, seed=1)):
        words = commands[number % len(commands)]
        if words[-1] == "--resume" and trains_for_long(altered):
            continue
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(stopped, run)
        (run / "run.json").write_bytes(altered.content)
        start = time.perf_counter()
        answer = cnnkit(*words, run)
        what = f"{' '.join(words)}: {altered.what}: {answer.stderr[-300:]}"
        assert answer.code in {*ExitCode} - {ExitCode.BUG, ExitCode.INTERRUPTED}, what
        assert "Traceback" not in answer.stderr, what
        assert time.perf_counter() - start < MOST_SECONDS, what
        codes[answer.code] += 1
    assert codes[ExitCode.CHECK_FAILED] > 0.5 * NUM_COMMANDS, codes
    assert codes[ExitCode.DONE] > 0, codes


def test_the_original_is_read(stopped: Path) -> None:
    set_up(stopped)
