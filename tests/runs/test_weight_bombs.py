"""Files that were made to take all memory or all time: refused in a line, within 1 GB."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnkit.errors import CheckFailedError, UnavailableError
from cnnkit.runs.weights_file import open_weights
from tests.measuring import measured
from tests.weight_bombs import make_bombs, write_long_file

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")

SAYS = {  # of each, in what it is refused
    "beyond.pt": "net/data/0 has 4 bytes, not 4,000,000,000,000",
    "bytearray.pt": "does not hold weights by name, but builtins.bytearray",
    "deflated.pt": "bytes unpacked, more than 4 times the",
    "dimensions.safetensors": "does not hold the weights of the network",
    "directory.pt": "is refused:",
    "expanded.pt": "does not hold the weights of the network: it has w, which the network lacks",
    "frame.pt": "is refused: torch finds no data in it",
    "key.pt": "its pickle has a tuple as a key",
    "larger.pt": "has 107,374,182,400 bytes, more than the 68,719,476,736 of any weights; save",
    "length.safetensors": "its header has 10,000,000,000 bytes, and the file 10",
    "list.pt": "its pickle has more than 2,000,000 operations",
    "lists.pt": "does not hold weights by name, but list",
    "many.safetensors": "does not hold the weights of the network",
    "memo.pt": "does not hold weights by name, but int",
    "nested.pt": "its pickle has a tuple as a key",
    "numbers.pt": "has not the 1,000,000,000,000 numbers it names",
    "overlapping.pt": "bytes unpacked, more than 4 times the",
    "pipe.pt": "a pipe, not a file; name a file",
    "shape.safetensors": "is refused: it is damaged, or not a safetensors file",
    "sparse.pt": "is refused: torch finds no data in it",
    "sparse.safetensors": "does not hold the weights of the network: it has w, which the",
    "text.pt": "is refused: torch finds no data in it",
    "zero.pt": "a device, not a file; name a file",
}


def test_no_bomb_takes_memory_or_time(tmp_path: Path) -> None:
    bombs = make_bombs(tmp_path)
    assert [path.name for path in bombs] == sorted(SAYS)
    fake = ("train", "lenet5", "fake:1x8x8:10:20", "--epochs", "1", "--weights")
    answers = measured([[*fake, path] for path in bombs], seconds=120)
    for path, (code, said) in zip(bombs, answers, strict=True):
        assert code == (4 if path.name in ("pipe.pt", "zero.pt") else 6), said
        (line,) = said.splitlines()
        assert SAYS[path.name] in line
    assert not Path("runs").exists()


def test_a_file_that_is_none_is_refused_by_any_name(tmp_path: Path) -> None:
    os.mkfifo("pipe")
    Path("link.bin").symlink_to("/dev/zero")
    for name, error in (("pipe", "a pipe"), ("link.bin", "a device"), ("/dev/zero", "a device")):
        with pytest.raises(UnavailableError, match=f"{error}, not a file"):
            open_weights(name, Path("runs"))
    Path("loop.pt").symlink_to("loop.pt")
    with pytest.raises(UnavailableError, match="cannot read the weights"):
        open_weights("loop.pt", Path("runs"))
    with pytest.raises(CheckFailedError, match="is damaged, or not a safetensors file"):
        Path("w.safetensors").write_bytes(b"")
        open_weights("w.safetensors", Path("runs"))


def test_ctrl_c_stops_the_reading(tmp_path: Path) -> None:
    write_long_file(Path("w.pt"), 2**33)  # half a minute
    program = (
        "import sys, torch, cnnkit.training.train\n"
        "from cnnkit.cli.app import run\n"
        "print('ready', flush=True)\n"
        "sys.exit(run(['train', 'lenet5', 'fake:1x8x8:10:20', '--weights', 'w.pt']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "cnnkit: interrupted"
    assert time.monotonic() - begin < 10
