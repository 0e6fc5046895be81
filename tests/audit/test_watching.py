"""The hook of the whole suite sees what it is there for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.watching import VARIABLE

CODE = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'], check=True)"


def noted(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a process noted that ran the code."""
    path = tmp_path / "noted"
    monkeypatch.setenv(VARIABLE, str(path))
    subprocess.run([sys.executable, "-c", code], check=True)
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("reader", ["/PIL/EpsImagePlugin.py", "/cnnkit/data/decode.py"])
def test_a_process_started_by_a_reader_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    code = f"exec(compile({CODE!r}, {'/x' + reader!r}, 'exec'))"
    lines = noted(tmp_path, code, monkeypatch).splitlines()
    assert lines
    assert all(reader in line for line in lines)
    assert lines[0].startswith("subprocess.Popen")


def test_other_processes_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert noted(tmp_path, CODE, monkeypatch) == ""


def test_the_suite_is_watched() -> None:
    assert os.environ[VARIABLE]
    assert str(Path(__file__).parent) in os.environ["PYTHONPATH"].split(os.pathsep)
