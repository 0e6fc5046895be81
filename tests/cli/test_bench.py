"""The command `bench`, from its arguments to its answer."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnnkit.errors import ExitCode
from tests.conftest import Answer, Cnnkit
from tests.stopped_runs import make_probes_small

FIELDS = [
    "model", "device", "mode", "batch_size", "precision", "layout", "compile", "threads", "input",
    "images_per_second", "batch_ms_median", "batch_ms_p05", "batch_ms_p95", "num_batches",
    "interval_low", "interval_high", "noisy", "peak_memory_bytes", "flops_per_second",
    "share_of_peak", "correct", "max_error", "error",
]  # fmt: skip
"""What others rely on, in this order."""

QUICK = ("--device", "cpu", "--threads", "1", "--max-seconds", "0.2")


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peaks are measured with small tensors: what the probes say is of no matter here."""
    make_probes_small(monkeypatch)


def test_the_fields_that_others_rely_on(cnnkit: Cnnkit) -> None:
    answer = cnnkit("bench", "lenet5", *QUICK, "--batch", "1,8", "--json")
    assert answer.code == ExitCode.DONE, answer.stderr
    document = answer.json
    assert document["schema"] == "cnnkit.bench/1"
    assert set(document) >= {"machine", "peaks", "cells"}
    assert set(document["machine"]) >= {
        "processor", "device_name", "num_threads", "torch", "versions"
    }  # fmt: skip
    assert document["machine"]["torch"] == str(torch.__version__)
    assert [(c["mode"], c["batch_size"]) for c in document["cells"]] == [
        ("infer", 1), ("infer", 8), ("train", 1), ("train", 8)
    ]  # fmt: skip
    for cell in document["cells"]:
        assert list(cell)[: len(FIELDS)] == FIELDS
        assert cell["error"] is None
        assert cell["correct"] is True
        assert cell["images_per_second"] == pytest.approx(
            1000 * cell["batch_size"] / cell["batch_ms_median"]
        )
        assert cell["batch_ms_p05"] <= cell["batch_ms_median"] <= cell["batch_ms_p95"]
        assert 0 < cell["share_of_peak"] <= 1
        factor = 3 if cell["mode"] == "train" else 1
        flops = 2 * 416_520 * factor * cell["images_per_second"]
        assert cell["flops_per_second"] == pytest.approx(flops)
        assert cell["peak_memory_bytes"] is None  # the processor does not tell


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits(cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = cnnkit("bench", "lenet5", *QUICK, "--precision", "fp32,bf16", "--batch", "4")
    assert answer.code == ExitCode.DONE, answer.stderr
    lines = answer.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0] == "lenet5, input 1x32x32, cpu, batch 4, channels-first, 1 thread"
    assert lines[1].split()[:4] == ["mode", "precision", "images/s", "ms"]
    assert "parts of a training step, ms" in lines


def test_results_are_kept_compared_and_drawn(cnnkit: Cnnkit, tmp_path: Path) -> None:
    run = ("bench", "lenet5", *QUICK, "--mode", "infer", "--batch", "1,4")
    kept = cnnkit(*run, "-o", "before.jsonl", "--plot", "speed.png")
    assert kept.code == ExitCode.DONE, kept.stderr
    assert "images/s" in kept.stdout  # the answer is seen, and kept
    assert "wrote before.jsonl" in kept.stderr
    lines = [json.loads(line) for line in Path("before.jsonl").read_text().splitlines()]
    assert [line["batch_size"] for line in lines] == [1, 4]
    for line in lines:
        assert line["schema"] == "cnnkit.bench-cell/1"
        assert set(line) > {*FIELDS, "machine", "peaks"}
        assert line["machine"]["fingerprint"] == lines[0]["machine"]["fingerprint"]
    with Image.open("speed.png") as picture:
        assert picture.size[0] == 1000

    def changed(name: str, factor: float, **machine: str) -> str:
        """Write results that took `factor` times as long, exactly known, perhaps elsewhere."""
        for line in lines:
            for key in ("batch_ms_median", "interval_low", "interval_high"):
                line[key] = factor * 100
            line["machine"] |= machine
        Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return name

    one, same = changed("one.jsonl", 1), changed("same.jsonl", 1.04)
    other = changed("slower.jsonl", 1.1, torch="9.9", processor="another")
    equal = cnnkit("bench", "compare", one, same, "--json")
    assert equal.code == ExitCode.DONE
    assert equal.json["schema"] == "cnnkit.bench-compare/1"
    assert [change["verdict"] for change in equal.json["changes"]] == ["same", "same"]
    assert cnnkit("bench", "compare", one, same, "--tolerance", "0.03").code == 6
    slower = cnnkit("bench", "compare", one, other)
    assert slower.code == ExitCode.CHECK_FAILED
    assert slower.stdout.count("slower") >= 3
    assert "not the same machine: processor another for" in " ".join(slower.stdout.split())
    assert cnnkit("bench", "compare", other, one).code == ExitCode.DONE

    changed("fast.jsonl", 1e-6)
    against = cnnkit(*run, "--max-seconds", "3", "--against", "fast.jsonl")
    assert against.code == ExitCode.CHECK_FAILED
    assert "--against fast.jsonl: slower, or failed: 2 of 2 configurations" in against.stderr
    changed("slow.jsonl", 1e6)
    against = cnnkit(*run, "--max-seconds", "3", "--against", "slow.jsonl", "--json")
    assert against.code == ExitCode.DONE
    assert {one["verdict"] for one in against.json["against"]["changes"]} == {"faster"}


def test_peaks_alone(cnnkit: Cnnkit) -> None:
    answer = cnnkit("bench", "--peak", "--device", "cpu", "--precision", "fp32,bf16", "--json")
    assert answer.code == ExitCode.DONE, answer.stderr
    assert answer.json["cells"] == []
    kinds = {(one["precision"], one["kind"]) for one in answer.json["peaks"]}
    assert kinds == {
        ("fp32", "matmul"), ("fp32", "conv"), ("bf16", "matmul"), ("bf16", "conv"),
        ("bytes", "memory"),
    }  # fmt: skip
    assert (
        "the most that this machine was seen to do"
        in cnnkit("bench", "--peak", "--device", "cpu").stdout
    )


def test_csv_holds_every_field(cnnkit: Cnnkit) -> None:
    text = cnnkit("bench", "lenet5", *QUICK, "--mode", "infer", "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row)[: len(FIELDS)] == FIELDS
    assert float(row["images_per_second"]) > 0


def test_no_cell_that_was_measured_is_a_failure(cnnkit: Cnnkit) -> None:
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(4, 2)\n"
        "    def forward(self, x):\n"
        "        if self.training or x.device.type != 'meta':\n"
        "            raise ValueError('not today')\n"
        "        return self.a(x.flatten(1))\n"
    )
    answer = cnnkit("bench", "net.py:Net", "--input", "1x2x2", *QUICK)
    assert answer.code == ExitCode.RUN_FAILED
    assert "ValueError: not today" in answer.stdout
    assert "no configuration was measured" in answer.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_interrupted(cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    from cnnkit.bench import timing

    take = timing.Timed.take_round

    def interrupted(self: timing.Timed, number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt
        take(self, number)

    monkeypatch.setattr(timing.Timed, "take_round", interrupted)
    threads = torch.get_num_threads()
    arguments = ["--mode", "infer", *(["--json"] if as_json else [])]
    answer = cnnkit("bench", "lenet5", *QUICK, *arguments)
    assert answer.code == ExitCode.INTERRUPTED
    assert torch.get_num_threads() == threads
    if as_json:
        assert answer.json["error"] == "interrupted"
    else:
        assert "interrupted: not all configurations were measured" in answer.stdout
        assert "images/s" in answer.stdout


def refused(answer: Answer, code: int, says: str) -> None:
    assert answer.code == code, answer.stderr
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("cnnkit: ")]
    assert says in line


def test_bad_input(cnnkit: Cnnkit) -> None:
    for arguments, code, says in [
        (("lenet5", "--batch", "0"), 2, "--batch-size 0 is below 1"),
        (("lenet5", "--batch", "many"), 2, "--batch 'many' is not a number"),
        (("lenet5", "--batch", "1,,2"), 2, "names nothing between two commas"),
        (("lenet5", "--mode", "eval"), 2, "--mode 'eval' is unknown"),
        (("lenet5", "--precision", "fp8"), 2, "choose from fp32, tf32"),
        (("lenet5", "--threads", "0"), 2, "--threads 0"),
        (("lenet5", "--max-seconds", "-1"), 2, "--max-seconds is -1"),
        (("lenet5", "--tolerance", "-1"), 2, "--tolerance -1 is below 0"),
        (("lenet5", "--device", "gpu"), 2, "unknown device 'gpu'"),
        (("lenet5", "--device", "cpu", "--precision", "tf32"), 4, "only CUDA GPUs have TF32"),
        (("lenet55",), 3, "unknown model 'lenet55'; did you mean lenet5"),
        (("lenet5", "--against", "gone.jsonl"), 3, "gone.jsonl"),
        (("lenet5", "--plot", "x.gif"), 2, "is not an image format"),
        (("lenet5", "--input", "3x5x5"), 2, "lenet5"),
        ((), 2, "name a network to measure"),
        (("--time-to", "0.9"), 2, "--time-to needs a --recipe"),
        (("--recipe", "x.toml", "lenet5"), 2, "--recipe belongs to --time-to"),
        (("--time-to", "0.9", "--recipe", "x.toml"), 3, "cannot read the recipe x.toml"),
        (("--time-to", "0.9", "--recipe", "x.toml", "--peak"), 2, "--peak has no meaning with"),
        (("lenet5", "--data", "digits", "--by-layer"), 2, "--by-layer has no meaning with --data"),
        (("lenet5", "--data", "digist"), 3, "unknown dataset 'digist'; did you mean digits"),
        (("compare", "a.jsonl"), 2, "`compare` takes two files, not 1"),
        (("compare", "gone.jsonl", "gone.jsonl"), 3, "gone.jsonl"),
    ]:
        refused(cnnkit("bench", *arguments), code, says)
    assert not list(Path().glob("*.png"))


@pytest.mark.parametrize(
    "text",
    [b"", b"text", b"{}", b"[1, 2]", b'{"schema": "cnnkit.train/1"}', b"\xff\xfe", b"3\n4\n",
     b'{"schema": "cnnkit.bench-cell/1", "model": "x"}',
     b'{"schema": "cnnkit.bench/1", "cells": []}'],
)  # fmt: skip
def test_a_file_that_holds_no_results(cnnkit: Cnnkit, text: bytes) -> None:
    Path("x.jsonl").write_bytes(text)
    refused(cnnkit("bench", "compare", "x.jsonl", "x.jsonl"), 2, "x.jsonl contains no results")
    refused(cnnkit("bench", "lenet5", "--against", "x.jsonl"), 2, "x.jsonl contains no results")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_device_that_is_not_there(cnnkit: Cnnkit) -> None:
    refused(cnnkit("bench", "lenet5", "--device", "cpu,cuda"), 4, "cuda is not available")
