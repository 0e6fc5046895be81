"""`run.json`: its checksum, what it may hold, and what is said where it holds something else."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cnnkit.errors import CheckFailedError, ExitCode, UsageError
from cnnkit.runs.folder import RunFolder
from cnnkit.runs.schema import CHECKSUM
from tests.conftest import Cnnkit
from tests.rewriting import description_of, rewrite
from tests.stopped_runs import make_probes_small, stopped_run

Description = dict[str, Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_run(tmp_path_factory.mktemp("stopped"))


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_probes_small(monkeypatch)


COMMANDS = (
    ("eval",), ("summary",), ("compare", "lenet5"), ("train", "--resume"),
    ("train", "linear", "-b", "512", "--epochs", "1", "--weights"),
    ("bench", "--device", "cpu", "--mode", "infer", "--batch", "1", "--max-seconds", "0.3"),
)  # fmt: skip
every_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def put(description: Description, name: str, value: object) -> None:
    *above, last = name.split(".")
    place: Any = description
    for part in above:
        place = place[int(part) if part.isdecimal() else part]
    place[int(last) if last.isdecimal() else last] = value


# The checksum


@every_command
def test_a_changed_digit_is_found(cnnkit: Cnnkit, run: Path, words: tuple[str, ...]) -> None:
    text = (run / "run.json").read_text()
    mean = repr(description_of(run)["setup"]["preprocessing"]["mean"][0])
    changed = f"0.{9 - int(mean[2])}{mean[3:]}"
    assert text.count(mean) == 1
    (run / "run.json").write_text(text.replace(mean, changed))
    answer = cnnkit(*words, run)
    assert answer.code == ExitCode.CHECK_FAILED
    (line,) = answer.stderr.splitlines()
    assert "run.json is not what was written: its SHA-256 differs" in line
    assert line.endswith('; restore it; if you changed it yourself, remove the line "sha256"')


@every_command
def test_without_a_checksum_there_is_one_warning(
    cnnkit: Cnnkit, run: Path, words: tuple[str, ...]
) -> None:
    description = description_of(run)
    del description[CHECKSUM]
    (run / "run.json").write_text(json.dumps(description))
    answer = cnnkit(*words, run)
    assert answer.code == ExitCode.DONE, answer.stderr
    told = " ".join(answer.stderr.split())
    assert told.count("run.json has no checksum") == ("--weights" not in words)
    if words == ("train", "--resume"):
        assert CHECKSUM in description_of(run)


def test_the_checksum_is_of_what_is_meant(run: Path) -> None:
    folder = RunFolder(run)
    description = folder.read_description()
    shuffled = dict(reversed(description.items()))
    (run / "run.json").write_text(json.dumps(shuffled, separators=(",", ":")))
    assert folder.read_description() == description
    assert description["setup"]["classes"] == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("position", range(0, 4000, 97))
def test_a_bit_that_flips_is_found_or_is_no_matter(run: Path, position: int) -> None:
    folder = RunFolder(run)
    before = folder.read_description()
    content = bytearray((run / "run.json").read_bytes())
    content[position % len(content)] ^= 1
    (run / "run.json").write_bytes(content)
    try:
        after = folder.read_description()
    except CheckFailedError:
        return
    assert {**after, CHECKSUM: ""} == {**before, CHECKSUM: ""}


# What is no description at all

TEXTS = {
    "nothing": b"",
    "a list": b"[]",
    "a number": b"5",
    "cut off": b'{"schema": "cnnkit.run/1"',
    "deep lists": b"[" * 100_000,
    "deep lists that end": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "deep objects": b'{"a":' * 100_000,
    "a long number": b'{"schema": ' + b"1" * 5000 + b"}",
    "no number": b'{"schema": "cnnkit.run/1", "setup": NaN}',
    "infinite": b'{"schema": "cnnkit.run/1", "setup": -Infinity}',
    "too large": b'{"schema": "cnnkit.run/1", "setup": 1e400}',
    "no UTF-8": b'{"schema": "\xff"}',
    "a mark of bytes": b'\xef\xbb\xbf{"schema": "cnnkit.run/1"}',
    "UTF-16": '{"schema": "cnnkit.run/1"}'.encode("utf-16"),
    "a key twice": b'{"schema": "cnnkit.run/1", "schema": "cnnkit.run/1"}',
    "no schema": b"{}",
    "a schema of another kind": b'{"schema": 5}',
    "a schema of other files": b'{"schema": "cnnkit.train/1"}',
    "a schema without number": b'{"schema": "cnnkit.run/x"}',
    "a schema of a long number": b'{"schema": "cnnkit.run/' + b"9" * 5000 + b'"}',
    "a schema of other digits": '{"schema": "cnnkit.run/²"}'.encode(),
}


@pytest.mark.parametrize("content", TEXTS.values(), ids=TEXTS)
def test_what_is_no_description(cnnkit: Cnnkit, run: Path, content: bytes) -> None:
    (run / "run.json").write_bytes(content)
    answer = cnnkit("eval", run)
    assert answer.code == ExitCode.CHECK_FAILED, answer.stderr
    (line,) = answer.stderr.splitlines()
    assert len(line) < 1000
    assert "run.json" in line


def test_a_huge_description_is_not_read(cnnkit: Cnnkit, run: Path) -> None:
    with (run / "run.json").open("wb") as file:
        file.truncate(5 * 2**30)
    start = time.perf_counter()
    answer = cnnkit("summary", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert "run.json holds more than 16,777,216 bytes" in answer.stderr
    assert time.perf_counter() - start < 5


# What makes no sense, by a checksum that is right

WRONG = [
    ("setup.model", 5), ("setup.model", None), ("setup.model", "a\0b"), ("setup.model", "a" * 5000),
    ("setup.dataset", []), ("setup.classes", 10**12), ("setup.classes", []),
    ("setup.classes.3", 3), ("setup.classes", ["x"] * 70_000),
    ("setup.in_channels", 2), ("setup.in_channels", True), ("setup.in_channels", 3),
    ("setup.image_size", [8]), ("setup.image_size", 8), ("setup.image_size.0", 10**9),
    ("setup.image_size.0", 0), ("setup.image_size.1", 8.0), ("setup.image_size.1", 9),
    ("setup.val_split", 1), ("setup.val_split", -0.1), ("setup.split_seed", -1),
    ("setup.split_seed", 10**400), ("setup.preprocessing", None),
    ("setup.preprocessing.mean", []), ("setup.preprocessing.mean", [0.1, 0.1]),
    ("setup.preprocessing.mean.0", "0.1"), ("setup.preprocessing.mean.0", 1e300),
    ("setup.preprocessing.std.0", 0), ("setup.preprocessing.std.0", -1),
    ("setup.preprocessing.height", 10**9), ("setup.preprocessing.extra", 1),
    ("setup.eval_batch_size", 0), ("setup.eval_batch_size", 10**12), ("setup.channels_last", 1),
    ("setup.model_arguments", []), ("setup.model_arguments", {"a": 1}), ("setup.tta", "all"),
    ("setup.precision", "auto"), ("setup.precision", "fp64"), ("setup.extra", 1),
    ("setup.model_sha256", "x"), ("setup.fingerprint", 5), ("network", {}), ("network", "net.py:f"),
    ("num_params", -1), ("num_params", 2**64), ("device.name", "tpu"), ("device.name", "cuda:x"),
    ("device.num_threads", 10**9), ("device.num_threads", 0), ("num_workers", 10**9),
    ("num_workers", -1), ("nproc", 0), ("nproc", 10**9), ("skip_bad", "no"),
    ("checkpointing.minutes", -1), ("checkpointing.steps", 0), ("resumed", {}), ("resumed", [1]),
    ("versions", []), ("versions.torch", 2), ("data_dir", 5), ("data_dir", "a\0"), ("id", 5),
    ("weights", 5), ("weights_sha256", "0"), ("created", []), ("decoded_once", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{n}={str(v)[:20]!r}" for n, v in WRONG])
def test_a_wrong_value_is_named(run: Path, name: str, value: object) -> None:
    rewrite(run, lambda description: put(description, name, value))
    with pytest.raises(CheckFailedError) as caught:
        RunFolder(run).read_description()
    message = caught.value.message
    assert message.startswith(f"{run}/run.json is damaged: ")
    assert name.rpartition(".")[0].split(".")[0] in message
    assert len(message) < 600
    assert message.isprintable()
    assert caught.value.hint == "restore it from a copy, or train again"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("recipe.batch_size", 0, 6), ("recipe.batch_size", 7, 6), ("recipe.batch_size", "7", 6),
        ("recipe.monitor", "test", 6), ("recipe.val_split", 0, 6), ("recipe.optimizer", "muon", 6),
        ("recipe.optimizer", "x", 6), ("recipe.schedule", "constant", 6), ("recipe.crop", 10**9, 6),
        ("recipe.seed", 5, 6), ("recipe.ema", 0.9, 6), ("recipe.cls", 1, 6), ("recipe", {}, 6),
        ("recipe", None, 6), ("recipe.epochs", 3, 6), ("recipe.lr", 0.5, 6),
        ("setup.split_seed", 9, 6), ("setup.tta", "mirror", 6), ("setup.dataset", "iris", 6),
        ("device.num_threads", 1000, 4), ("nproc", 900, 2), ("device", None, 6),
        ("setup.model", "mlp", 6), ("setup.model_arguments", {"a": "1"}, 6),
        ("setup.model", "resnet18", 6),
    ],
)  # fmt: skip
def test_what_the_run_did_not_begin_with_is_not_resumed(
    cnnkit: Cnnkit, run: Path, name: str, value: object, code: int
) -> None:
    rewrite(run, lambda description: put(description, name, value))
    answer = cnnkit("train", "--resume", run)
    assert answer.code == code, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("cnnkit: ")


@pytest.mark.parametrize("name", ["recipe.lr", "recipe.warmup_epochs", "recipe.weight_decay"])
def test_a_default_that_was_not_written_is_that_of_the_run(
    cnnkit: Cnnkit, run: Path, name: str
) -> None:
    rewrite(run, lambda description: put(description, name, None))
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.DONE, answer.stderr


@pytest.mark.parametrize("value", ["x" * 300, "é" * 200, "\udc80", "/dev/zero", "relative"])
def test_a_data_folder_that_is_none_is_not_used(cnnkit: Cnnkit, run: Path, value: str) -> None:
    rewrite(run, lambda description: put(description, "data_dir", value))
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.DONE, answer.stderr


def test_a_size_that_means_many_weights_takes_no_memory(cnnkit: Cnnkit, run: Path) -> None:
    def enlarge(description: Description) -> None:
        description["setup"]["image_size"] = [16_000, 16_000]
        description["setup"]["preprocessing"].update(height=16_000, width=16_000)
        description["setup"]["eval_batch_size"] = 1

    rewrite(run, enlarge)
    start = time.perf_counter()
    for words in (("eval",), ("train", "--resume")):
        answer = cnnkit(*words, run)
        assert answer.code == ExitCode.CHECK_FAILED, answer.stderr
    assert time.perf_counter() - start < 20


def test_a_later_version_may_say_more(cnnkit: Cnnkit, run: Path) -> None:
    rewrite(run, lambda description: description.update(weather="fine", versions={
        **description["versions"], "numpy": "2"}))  # fmt: skip
    assert cnnkit("eval", run).code == ExitCode.DONE
    rewrite(run, lambda description: description["recipe"].update(magic=True))
    assert cnnkit("eval", run).code == ExitCode.DONE
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert "recipe: unknown setting 'magic'" in answer.stderr


def test_what_only_a_resumed_run_needs_may_be_missing(cnnkit: Cnnkit, run: Path) -> None:
    for name in ("checkpointing", "recipe", "device", "versions", "num_params", "id"):
        rewrite(run, lambda description, name=name: description.pop(name))  # type: ignore[misc]
        assert cnnkit("eval", run).code == ExitCode.DONE
        answer = cnnkit("train", "--resume", run)
        assert answer.code == ExitCode.CHECK_FAILED
        assert " is missing; restore it from a copy" in answer.stderr


def test_nothing_is_written_that_could_not_be_read(run: Path) -> None:
    folder = RunFolder(run)
    description = folder.read_description()
    with pytest.raises(UsageError, match=r"the run would be invalid: num_workers .*1024"):
        folder.write_description({**description, "num_workers": 10_000})
    assert folder.read_description() == description


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b", "~", "", ".", "/dev/null"])
def test_names_that_are_no_run(cnnkit: Cnnkit, name: str) -> None:
    for words in (("eval", name), ("train", "--resume", name)):
        answer = cnnkit(*words)
        assert answer.code in (ExitCode.USAGE, ExitCode.NOT_FOUND), answer.stderr
        assert "Traceback" not in answer.stderr
