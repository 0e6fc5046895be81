"""The code of a run's network runs only where the user named it, said so, or trusts it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cnnkit as api
from cnnkit.errors import CnnkitError, ExitCode, UsageError
from cnnkit.events import Event, Warned, handled_by
from cnnkit.system.trust import call_sha256, is_trusted, trust
from tests.conftest import Answer, Cnnkit
from tests.rewriting import description_of, rewrite
from tests.stopped_runs import make_probes_small, stopped_run

ROOT = Path(__file__).parents[2]
RAN = "ran"  # the file that the code of the network makes in the current folder

NET = """
from pathlib import Path
from torch import nn
from helper import WIDTH
from blocks.linear import linear

Path("ran").touch()

def make(num_classes, width: int = 3):
    size = width * WIDTH
    return nn.Sequential(nn.Flatten(), linear(64, size), linear(size, num_classes))

def other(num_classes, width: int = 3):
    Path("ran").touch()
    return make(num_classes, width)
"""
FILES = {
    "net.py": NET,
    "helper.py": "WIDTH = 2\n",
    "blocks/linear.py": "from torch import nn\ndef linear(a, b): return nn.Linear(a, b)\n",
    "unused.py": "raise SystemExit\n",
}

COMMANDS: dict[str, Callable[[Path], tuple[str | Path, ...]]] = {
    "eval": lambda run: ("eval", run),
    "summary": lambda run: ("summary", run),
    "compare": lambda run: ("compare", "lenet5", run),
    "bench": lambda run: (
        "bench", run, "--device", "cpu", "--mode", "infer", "--batch", "1",
        "--max-seconds", "0.3",
    ),
    "train --resume": lambda run: ("train", "--resume", run),
}  # fmt: skip

every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@dataclass(frozen=True)
class Trained:
    """A run that was stopped, of a network of somebody's own.

    Attributes:
        run: the folder.
        source: the folder of the network's file.
        state: where the list of trusted code of this somebody lies.
    """

    run: Path
    source: Path
    state: Path


def write_source(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_probes_small(monkeypatch)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("own")
    source = write_source(folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        run = stopped_run(
            folder / "runs", "source/net.py:make", 256, model_arguments={"width": "4"}
        )
    return Trained(run, source, folder / "state")


@pytest.fixture
def trained(original: Trained, tmp_path: Path) -> Trained:
    """A copy of it; the file that it was trained with is gone."""
    run = tmp_path / "moved" / original.run.name
    shutil.copytree(original.run, run)
    return Trained(run, tmp_path / "gone", original.state)


@pytest.fixture
def trusting(trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trained:
    """The same for whoever trained it."""
    shutil.copytree(trained.state, tmp_path / "its-state")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "its-state"))
    return trained


def refused(answer: Answer, says: str = "--trust-code") -> None:
    assert answer.code == ExitCode.CHECK_FAILED, answer.stderr
    assert says in answer.stderr
    assert answer.stderr.count("cnnkit: ") == 1
    assert "Traceback" not in answer.stderr
    assert not Path(RAN).exists()


def name_old(folder: Path, spec: str) -> Callable[[dict[str, Any]], None]:
    """Return what makes a run one of before code was kept, whose hash is that of the file."""
    digest = hashlib.sha256((folder / "net.py").read_bytes()).hexdigest()

    def change(description: dict[str, Any]) -> None:
        del description["network"]
        description["setup"]["model"] = spec
        description["setup"]["model_sha256"] = digest

    return change


def test_a_run_keeps_the_code_that_its_network_was_made_from(original: Trained) -> None:
    kept = {
        path.relative_to(original.run / "network").as_posix(): path.read_text()
        for path in (original.run / "network").rglob("*")
        if path.is_file()
    }
    assert kept == {name: text for name, text in FILES.items() if name != "unused.py"}
    description = description_of(original.run)
    assert description["network"]["entry"] == "net.py:make"
    assert description["setup"]["model"] == f"{original.source}/net.py:make"


@every_command
def test_code_of_somebody_else_does_not_run(
    cnnkit: Cnnkit, trained: Trained, command: Callable[[Path], tuple[str | Path, ...]]
) -> None:
    answer = cnnkit(*command(trained.run))
    refused(answer, f"{trained.run}/network/net.py:make; look at it, then add --trust-code")


@every_command
@pytest.mark.parametrize("kind", ["absolute", "relative", "inside"])
def test_code_that_an_old_run_names_does_not_run(
    cnnkit: Cnnkit,
    trained: Trained,
    tmp_path: Path,
    command: Callable[[Path], tuple[str | Path, ...]],
    kind: str,
) -> None:
    folder = write_source(trained.run if kind == "inside" else tmp_path)
    spec = "net.py:make" if kind == "relative" else f"{folder}/net.py:make"
    rewrite(trained.run, name_old(folder, spec))
    refused(cnnkit(*command(trained.run)), f"names {spec}; look at that file and add --trust-code")
    answer = cnnkit(*command(trained.run), "--trust-code")
    assert answer.code == ExitCode.DONE, answer.stderr
    assert Path(RAN).exists()


@every_command
def test_it_runs_where_the_user_says_so(
    cnnkit: Cnnkit, trained: Trained, command: Callable[[Path], tuple[str | Path, ...]]
) -> None:
    answer = cnnkit(*command(trained.run), "--trust-code")
    assert answer.code == ExitCode.DONE, answer.stderr
    assert Path(RAN).exists()
    assert not list(trained.run.rglob("__pycache__"))  # every file there counts
    Path(RAN).unlink()
    refused(cnnkit(*COMMANDS["eval"](trained.run)))  # it was said for that command only


@every_command
def test_it_runs_for_whoever_trained_it_wherever_the_run_is_moved(
    cnnkit: Cnnkit, trusting: Trained, command: Callable[[Path], tuple[str | Path, ...]]
) -> None:
    answer = cnnkit(*command(trusting.run))
    assert answer.code == ExitCode.DONE, answer.stderr
    assert Path(RAN).exists()


def test_the_network_looked_at_is_the_one_that_was_trained(trusting: Trained) -> None:
    summed = api.summary(str(trusting.run))
    assert summed.model == "net.py:make"
    assert summed.totals.params == description_of(trusting.run)["num_params"]


def added_module(run: Path) -> None:
    (run / "network" / "random.py").write_text("from pathlib import Path\nPath('ran').touch()\n")


def bytecode(run: Path) -> None:
    folder = run / "network" / "__pycache__"
    folder.mkdir()
    (folder / f"helper.{sys.implementation.cache_tag}.pyc").write_bytes(b"x")


ALTERATIONS: dict[str, Callable[[Path], object]] = {
    "changed": lambda run: (run / "network" / "net.py").write_text(NET + "# changed\n"),
    "changed beside": lambda run: (run / "network" / "helper.py").write_text("WIDTH = 3\n"),
    "added": added_module,
    "added deeper": lambda run: (run / "network" / "blocks" / "__init__.py").write_text(""),
    "bytecode": bytecode,
    "removed": lambda run: (run / "network" / "helper.py").unlink(),
    "all removed": lambda run: shutil.rmtree(run / "network"),
    "swapped": lambda run: (run / "network" / "helper.py").rename(run / "network" / "helped.py"),
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS)
def test_a_copy_that_was_altered_is_no_longer_trusted(
    cnnkit: Cnnkit, trusting: Trained, alter: Callable[[Path], object]
) -> None:
    alter(trusting.run)
    refused(cnnkit("eval", trusting.run), "is not what the run kept")


@every_command
def test_every_command_refuses_a_copy_that_was_altered(
    cnnkit: Cnnkit, trusting: Trained, command: Callable[[Path], tuple[str | Path, ...]]
) -> None:
    added_module(trusting.run)
    refused(cnnkit(*command(trusting.run)), "is not what the run kept")


def test_an_altered_copy_with_its_hash_in_run_json_is_not_trusted_either(
    cnnkit: Cnnkit, trusting: Trained
) -> None:
    from cnnkit.system.trust import files_sha256

    folder = trusting.run / "network"
    (folder / "helper.py").write_text("WIDTH = 2  # mine\n")
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    rewrite(
        trusting.run, lambda description: description["network"].update(sha256=files_sha256(files))
    )
    refused(cnnkit("eval", trusting.run), "brings code that you have not trusted")


@pytest.mark.parametrize(
    "change",
    [
        lambda description: description["network"].update(entry="net.py:other"),
        lambda description: description["network"].update(entry="helper.py:make"),
        lambda description: description["setup"]["model_arguments"].update(width="5"),
        lambda description: description["setup"].update(model_arguments={}),
    ],
    ids=["function", "file", "argument", "no argument"],
)
def test_trust_is_for_a_function_and_its_arguments(
    cnnkit: Cnnkit, trusting: Trained, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(trusting.run, change)
    refused(cnnkit("summary", trusting.run), "brings code that you have not trusted")


@pytest.mark.parametrize(
    "entry",
    ["../../net.py:make", "/net.py:make", "net.py", "a/net.py:make", "net:make", "net.py:a:b"],
)
def test_an_entry_names_a_file_in_the_copy(cnnkit: Cnnkit, trained: Trained, entry: str) -> None:
    rewrite(trained.run, lambda description: description["network"].update(entry=entry))
    refused(cnnkit("eval", trained.run, "--trust-code"), "damaged: network.entry")


def test_the_code_of_a_network_of_the_zoo_is_not_looked_at(
    cnnkit: Cnnkit, trained: Trained
) -> None:
    rewrite(trained.run, lambda description: description["setup"].update(model="mlp"))
    rewrite(trained.run, lambda description: description["setup"].update(model_arguments={}))
    assert cnnkit("summary", trained.run).code == ExitCode.DONE
    refused(cnnkit("eval", trained.run), "do not fit the network mlp")


@pytest.mark.parametrize("name", ["hf_hub:timm/resnet18", "local-dir:{}", "hf-hub:x", "nowhere"])
def test_a_name_of_timm_loads_nothing(cnnkit: Cnnkit, trained: Trained, name: str) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    spec = f"timm:{name.format(trained.run)}"
    rewrite(trained.run, lambda description: description["setup"].update(model=spec))
    answer = cnnkit("eval", trained.run, "--trust-code")
    assert answer.code == ExitCode.NOT_FOUND
    assert "timm has no model" in answer.stderr


def test_a_file_that_the_user_names_is_taken_instead(
    cnnkit: Cnnkit, trained: Trained, tmp_path: Path
) -> None:
    shutil.rmtree(trained.run / "network")
    named = f"{write_source(tmp_path / 'mine')}/net.py:make"
    for name in ("eval", "summary"):
        answer = cnnkit(*COMMANDS[name](trained.run), "--model", named)
        assert answer.code == ExitCode.DONE, answer.stderr
    answer = cnnkit("train", "--resume", trained.run, "--model", named)
    assert answer.code == ExitCode.CHECK_FAILED
    assert "is not the code that the run" in answer.stderr  # its copy is gone, so nobody knows


def test_weights_that_do_not_fit_the_file_that_is_named(
    cnnkit: Cnnkit, trained: Trained, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "mine")
    (source / "helper.py").write_text("WIDTH = 9\n")
    answer = cnnkit("eval", trained.run, "--model", f"{source}/net.py:make")
    assert answer.code == ExitCode.CHECK_FAILED
    assert "do not fit the network" in answer.stderr


def test_only_code_can_be_named_instead(cnnkit: Cnnkit, trained: Trained) -> None:
    answer = cnnkit("eval", trained.run, "--model", "lenet5")
    assert answer.code == ExitCode.USAGE
    assert "'lenet5' is no FILE.py:FACTORY" in answer.stderr
    for words in (
        ("train", "lenet5", "--model", "net.py:f"),
        ("summary", "lenet5", "--model", "x"),
    ):
        assert cnnkit(*words).code == ExitCode.USAGE


@pytest.mark.parametrize("option", ["argument", "--model"])
def test_a_run_is_resumed_with_the_file_that_the_user_names(
    cnnkit: Cnnkit, trained: Trained, tmp_path: Path, option: str
) -> None:
    source = write_source(tmp_path / "mine")
    words = [f"{source}/net.py:make"] if option == "argument" else [option, f"{source}/net.py:make"]
    (source / "helper.py").write_text("WIDTH = 2  # changed\n")
    answer = cnnkit("train", *words, "--resume", trained.run)
    refused(answer, "is not the code that the run of")
    (source / "helper.py").write_text(FILES["helper.py"])
    answer = cnnkit("train", *words, "--resume", trained.run)
    assert answer.code == ExitCode.DONE, answer.stderr


def test_code_that_was_named_to_train_is_trusted_afterwards(cnnkit: Cnnkit, tmp_path: Path) -> None:
    write_source(tmp_path / "mine")
    words = ("train", "mine/net.py:make", "digits", "--epochs", "1", "-b", "512", "--json")
    run = cnnkit(*words).json["run"]
    file = tmp_path / "state" / "cnnkit" / "trusted.json"
    assert file.stat().st_mode & 0o777 == 0o600
    shutil.rmtree("mine")
    assert cnnkit("eval", run).code == ExitCode.DONE
    file.unlink()
    Path(RAN).unlink()
    refused(cnnkit("eval", run))


DAMAGE = {
    "text": b"garbage",
    "nothing": b"",
    "list": b"[]",
    "keys": b'{"schema": "cnnkit.trusted/1"}',
    "kinds": b'{"schema": "cnnkit.trusted/1", "sha256": {"x": 1}}',
    "type": b'{"schema": "cnnkit.trusted/1", "sha256": 5}',
    "deep": b"[" * 100_000,
    "no UTF-8": b"\xff\xfe\xfa",
    "number": b"1" * 5000,
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_list_is_an_empty_one(
    cnnkit: Cnnkit, trusting: Trained, content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "its-state" / "cnnkit" / "trusted.json"
    file.write_bytes(content)
    answer = cnnkit("eval", trusting.run)
    refused(answer)
    assert "your list of trusted code, is not used: it is damaged" in " ".join(
        answer.stderr.split()
    )


def test_a_list_that_others_can_write_to_is_not_used(
    cnnkit: Cnnkit, trusting: Trained, tmp_path: Path
) -> None:
    file = tmp_path / "its-state" / "cnnkit" / "trusted.json"
    file.chmod(0o622)
    refused(cnnkit("eval", trusting.run))
    file.chmod(0o600)
    assert cnnkit("eval", trusting.run).code == ExitCode.DONE


def test_a_list_that_is_a_folder_or_cannot_be_made_leaves_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "cnnkit" / "trusted.json").mkdir(parents=True)
    write_source(tmp_path / "mine")
    for name in ("file", "folder"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
        events: list[Event] = []
        recipe = api.Recipe.of(epochs=1, batch_size=512)
        api.train("mine/net.py:make", "digits", recipe, on_event=events.append)
        warnings = [event.text for event in events if isinstance(event, Warned)]
        assert any("does not remember that you trust" in text for text in warnings), warnings


def test_several_processes_add_to_the_list_and_nothing_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from cnnkit.system.trust import trust\n"
        "for i in range(5): trust(f'{int(sys.argv[1]) * 5 + i:064x}', 'x')"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(number)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in range(4)
    ]
    assert [one.wait() for one in started] == [0] * 4
    content = json.loads((tmp_path / "state" / "cnnkit" / "trusted.json").read_text())
    assert len(content["sha256"]) == 20


def test_what_is_trusted_cannot_be_shifted_between_its_parts() -> None:
    digests = {
        call_sha256("0" * 64, "a.py:f", {"x": "1"}),
        call_sha256("0" * 64, "a.py:f", {"x1": ""}),
        call_sha256("0" * 64, "a.py:fx", {"": "1"}),
        call_sha256("0" * 64, "a.py:f", {}),
        call_sha256("1" * 64, "a.py:f", {}),
    }
    assert len(digests) == 5


def test_trust_is_of_this_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    with handled_by(events.append):
        trust("0" * 64, "x")
        assert is_trusted("0" * 64)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    with handled_by(events.append):
        assert not is_trusted("0" * 64)
    assert events == []


# Files of settings


def settings_file(tmp_path: Path, *lines: str) -> Path:
    write_source(tmp_path)
    path = tmp_path / "theirs.toml"
    text = ('model = "net.py:make"', 'dataset = "digits"', "epochs = 1", "batch_size = 512")
    path.write_text("\n".join((*text, *lines)) + "\n")
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("train", "-c", "theirs.toml"),
        ("train", "-c", "theirs.toml", "--dry-run"),
        ("train", "-c", "theirs.toml", "--lr-find"),
        ("train", "--recipe", "theirs.toml"),
        ("train", "--recipe", "./theirs.toml", "--dry-run"),
        ("bench", "--time-to", "0.01", "--recipe", "theirs.toml", "--runs", "3", "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_code_that_a_file_of_settings_names_runs_only_where_the_user_says_so(
    cnnkit: Cnnkit, tmp_path: Path, words: tuple[str, ...]
) -> None:
    settings_file(tmp_path)
    refused(cnnkit(*words), "names code, net.py:make")
    answer = cnnkit(*words, "--trust-code")
    assert answer.code == ExitCode.DONE, answer.stderr
    assert Path(RAN).exists()


def test_code_that_the_user_names_beside_a_file_of_settings(cnnkit: Cnnkit, tmp_path: Path) -> None:
    settings_file(tmp_path)
    for words in (("-c", "theirs.toml"), ("--recipe", "theirs.toml")):
        answer = cnnkit("train", "net.py:make", *words, "--dry-run")
        assert answer.code == ExitCode.DONE, answer.stderr


def test_a_file_of_settings_cannot_say_that_code_is_trusted(cnnkit: Cnnkit, tmp_path: Path) -> None:
    for line in ("trust-code = true", "trust_code = true", "own_network = 'net.py:make'"):
        settings_file(tmp_path, line)
        answer = cnnkit("train", "-c", "theirs.toml")
        assert answer.code == ExitCode.USAGE, answer.stderr
        assert "unknown key" in answer.stderr
        assert not Path(RAN).exists()


def test_a_file_of_settings_names_no_network_of_a_run(
    cnnkit: Cnnkit, tmp_path: Path, trained: Trained
) -> None:
    settings_file(tmp_path)
    refused(cnnkit("train", "-c", "theirs.toml", "--resume", trained.run), "names code")


# The library, and several processes


def test_the_library_asks_as_the_commands_do(trained: Trained) -> None:
    calls: list[Callable[..., object]] = [
        lambda **given: api.evaluate(trained.run, **given),
        lambda **given: api.summary(str(trained.run), **given),
        lambda **given: api.compare(["lenet5", str(trained.run)], **given),
        lambda **given: api.resume(trained.run, **given),
    ]
    for call in calls:
        with pytest.raises(CnnkitError, match="you have not trusted"):
            call()
        assert not Path(RAN).exists()
    for call in calls:
        call(trust_code=True)
    assert Path(RAN).exists()


def test_processes_of_a_resumed_run_are_given_the_decision(trained: Trained) -> None:
    shutil.rmtree(trained.run / "checkpoints")  # it was stopped before the first
    rewrite(trained.run, lambda description: description.update(nproc=2))
    # A module that a folder brings is not imported because the command is called there.
    (trained.run / "torch.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    (trained.run / "start").write_text("from cnnkit.__main__ import main\nmain()\n")

    def resumed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "start", "train", "--resume", ".", *words],
            cwd=trained.run,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CNNKIT_DEVICE": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = resumed()
    assert done.returncode == ExitCode.CHECK_FAILED, done.stderr
    assert "--trust-code" in done.stderr
    assert not (trained.run / RAN).exists()
    (trained.run / "network" / "net.py").write_text(NET.replace("ran", "its"))
    done = resumed("--trust-code")
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "has changed since the run began" in done.stderr
    (trained.run / "network" / "net.py").write_text(NET)
    done = resumed("--trust-code")
    assert done.returncode == 0, done.stderr
    assert "it was stopped before its first checkpoint" in done.stderr


def test_a_run_of_very_many_processes_does_not_start_them(cnnkit: Cnnkit, trained: Trained) -> None:
    rewrite(trained.run, lambda description: description.update(nproc=900))
    rewrite(trained.run, lambda description: description["recipe"].update(batch_size=4000))
    answer = cnnkit("train", "--resume", trained.run, "--trust-code")
    assert answer.code == ExitCode.USAGE
    assert "the run uses 900 processes, and this machine has" in answer.stderr


def test_a_helper_that_is_written_again_is_imported_again(tmp_path: Path) -> None:
    write_source(tmp_path)
    first = api.build_model("net.py:make", num_classes=2)
    (tmp_path / "helper.py").write_text("WIDTH = 11\n")
    second = api.build_model("net.py:make", num_classes=2)
    sizes = [sum(one.numel() for one in net.parameters()) for net in (first, second)]
    assert sizes[0] != sizes[1]
    with pytest.raises(UsageError):
        api.build_model("net.py", num_classes=2)
