import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cnnkit as package
from cnnkit.cli import app as app_module
from cnnkit.cli.app import COMMANDS, command_function, load_command
from tests.conftest import Cnnkit


def process(*arguments: str, **options: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cnnkit", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,  # type: ignore[call-overload]
    )  # fmt: skip


def test_version(cnnkit: Cnnkit) -> None:
    assert cnnkit("--version").stdout == f"cnnkit {package.__version__}\n"


def test_alone_it_shows_its_help(cnnkit: Cnnkit) -> None:
    answer = cnnkit()
    assert answer.code == 0
    for command in COMMANDS:
        assert command in answer.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_shared_options(cnnkit: Cnnkit, command: str) -> None:
    answer = cnnkit(command, "--help")
    assert answer.code == 0
    for option in ("--format", "--json", "--output", "--color", "--quiet", "--verbose"):
        assert option in answer.stdout


def test_the_help_shows_no_value_where_none_is_taken(cnnkit: Cnnkit) -> None:
    for command in ((), *((one,) for one in COMMANDS)):
        shown = cnnkit(*command, "--help").stdout
        assert "<bool>" not in shown
        assert "--help" in shown
    assert "--epochs" in cnnkit("train", "--help").stdout
    assert "<int|none>" in cnnkit("train", "--help").stdout


def test_as_a_module_in_a_process_of_its_own() -> None:
    running = process("models", "lenet5", "--json")
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 0
    assert [row["name"] for row in json.loads(stdout)["models"]] == ["lenet5", "lenet5_relu"]
    assert stderr == ""


def test_an_error_in_json_is_one_document_too(cnnkit: Cnnkit) -> None:
    for arguments in (
        ("train", "lenet55", "--json"),
        ("train", "lenet55", "--format", "json"),
        ("train", "lenet55", "--format=json"),
    ):
        answer = cnnkit(*arguments)
        assert answer.code == 3
        assert answer.json == {
            "schema": "cnnkit.error/1",
            "error": "not_found",
            "exit_code": 3,
            "message": "unknown model 'lenet55'",
            "hint": answer.json["hint"],
        }
        assert "did you mean lenet5" in answer.json["hint"]
    assert cnnkit("train", "--json", "--epochs", "x").json["exit_code"] == 2


def test_a_bug_of_ours_says_so_and_shows_where(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(pattern: str) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("cnnkit.models.networks.list_models", broken)
    answer = cnnkit("models")
    assert answer.code == 1
    assert "ZeroDivisionError: oops" in answer.stderr
    assert "this is a bug in cnnkit" in answer.stderr


def test_verbose_shows_the_traceback_of_an_error(cnnkit: Cnnkit) -> None:
    assert "Traceback" in cnnkit("train", "lenet55", "-v").stderr
    assert "Traceback" not in cnnkit("train", "lenet55").stderr


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m cnnkit models | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize(
    ("environment", "arguments", "colored"),
    [
        ({}, [], False),
        ({"FORCE_COLOR": "1"}, [], True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": "1"}, ["--color"], True),
        ({"FORCE_COLOR": "1"}, ["--no-color"], False),
    ],
)
def test_color(environment: dict[str, str], arguments: list[str], colored: bool) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    for command in (["models", "lenet5"], ["models", "--help"]):
        running = process(*command, *arguments, env=clean | environment)
        stdout, _ = running.communicate(timeout=60)
        if command[-1] == "--help" and arguments == ["--color"]:
            continue  # the help is written before options are read
        assert ("\x1b" in stdout) == colored, command


def test_a_terminal_that_lacks_signs_gets_question_marks() -> None:
    running = process("models", "maxvit*", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "maxvit_t" in stdout
    assert stderr == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cnnkit train lenet", {"lenet5", "lenet5_relu"}),
        ("cnnkit train lenet5 cifar", {"cifar10", "cifar100"}),
        ("cnnkit mod", {"models"}),
        ("cnnkit train lenet5 --optimizer ad", {"adam", "adamw"}),
    ],
)
def test_completion_knows_models_and_datasets(words: str, expected: set[str]) -> None:
    environment = {
        **os.environ,
        "_CNNKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    running = process(env=environment)
    stdout, _ = running.communicate(timeout=60)
    assert set(stdout.split()) == expected


def wait_for(running: "subprocess.Popen[str]", pattern: str) -> None:
    assert running.stderr is not None
    for line in running.stderr:
        if re.search(pattern, line):
            return
    raise AssertionError(f"it ended without {pattern!r}")


def test_ctrl_c_in_training_keeps_a_run_that_eval_reads(cnnkit: Cnnkit, tmp_path: Path) -> None:
    running = process("train", "linear", "digits", "--epochs", "100000", "--json", cwd=tmp_path)
    wait_for(running, r"^ *2/100000")
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in stderr
    assert json.loads(stdout)["error"] == "interrupted"
    run = re.search(r"`cnnkit train --resume (\S+)` resumes the run", stderr)
    assert run is not None
    answer = cnnkit("eval", run[1], "--json")
    assert answer.code == 0
    assert answer.json["num_images"] == 359


def test_ctrl_c_before_anything_is_made_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys, time, cnnkit.data\n"
        "def slow(*arguments, **keywords):\n"
        "    print('opening', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "cnnkit.data.open_dataset = slow\n"
        "from cnnkit.cli.app import run\n"
        "sys.exit(run(['train', 'linear', 'digits']))\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    wait_for(running, "^opening")
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stderr == "cnnkit: interrupted\n"
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_behind_stdout_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cnnkit", "models"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 4
    assert "no space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_losing_stderr_does_not_lose_the_answer() -> None:
    done = subprocess.run(
        f"{sys.executable} -m cnnkit train linear --epochs 2 --json 2> >(true)",
        shell=True, executable="/bin/bash", stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["epochs"]) == 2


def test_out_of_memory_says_what_to_do(cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr("cnnkit.training.trainer.Trainer.fit", fails)
    answer = cnnkit("train", "linear", "--device", "cpu")
    assert answer.code == 4
    assert "out of memory; free some, or begin with a smaller --batch-size than 32" in answer.stderr
    assert not list(Path("runs").iterdir())


def test_every_exit_code_stands_in_one_place() -> None:
    source = Path(app_module.__file__).read_text()
    assert "sys.exit" not in source
    assert not re.search(r"return [1-9]", source)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_what_the_command_says(name: str) -> None:
    about = (inspect.getdoc(command_function(name)) or "").splitlines()[0]
    assert COMMANDS[name].about == about
    assert about in load_command(name).help


def test_the_overview_imports_no_command() -> None:
    code = (
        "import sys; from cnnkit.cli.app import run; assert run([{}]) == 0; "
        "print(*(m for m in sys.modules if m.startswith('cnnkit.')))"
    )
    allowed = {"cnnkit.cli", "cnnkit.errors"} | {
        f"cnnkit.cli.{one}" for one in ("app", "processes", "streams")
    }

    def loaded_by(arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", code.format(arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.splitlines()[-1].split())

    for arguments in ("'--help'", "'--version'", ""):
        assert loaded_by(arguments) == allowed
    loaded = loaded_by("'doctor', '--help'")
    assert "cnnkit.cli.doctor" in loaded
    assert "cnnkit.cli.train" not in loaded


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("cnnkit ben", "bench"),
        ("cnnkit train lenet", "lenet5"),
        ("cnnkit train lenet5 --nest", "--nesterov"),
        ("cnnkit stats mni", "mnist"),
    ],
)
def test_the_shell_completes(words: str, found: str) -> None:
    environment = {
        **os.environ,
        "_CNNKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert found in done.stdout.split(), done.stderr
