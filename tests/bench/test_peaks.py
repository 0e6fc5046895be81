"""Peaks: measured, kept, and never below what a cell has reached."""

import json
from pathlib import Path

import pytest

from cnnkit.bench import peaks
from cnnkit.bench.device_clock import Processor
from cnnkit.bench.machine import describe_machine
from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.peaks import PeakBook
from cnnkit.bench.sweep import Sweep
from cnnkit.bench.torch_state import preserved_state
from cnnkit.results.bench import Peak

CPU = Sweep(("cpu",), ("infer",), (8,), threads=(1,))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real probes, but small ones."""
    monkeypatch.setattr(peaks, "_MATRICES", {"cpu": (64, 256)})
    monkeypatch.setattr(peaks, "_CONVOLUTIONS", ((2, 16, 14, 16, 3),))
    monkeypatch.setattr(peaks, "_MEMORY_BYTES", {"cpu": 2**20})
    monkeypatch.setattr(peaks, "PROBE_SECONDS", 0.01)


def test_peaks_are_measured_and_kept_with_the_machine(quick: None, tmp_path: Path) -> None:
    file = tmp_path / "cache" / "peaks.json"
    result = benchmark(sweep=CPU, remeasure_peaks=True, peaks_file=file)
    assert result.cells == ()
    assert {(one.kind, one.precision) for one in result.peaks} == {
        ("matmul", "fp32"), ("conv", "fp32"), ("memory", "bytes"),
    }  # fmt: skip
    # a processor does at least 0.1 and at most 10,000 GFLOP a second
    assert all(1e8 < one.per_second < 1e13 for one in result.peaks)
    machine = describe_machine([Processor()])
    assert list(json.loads(file.read_text())["peaks"]) == [machine.fingerprint]
    again = PeakBook(machine, file)
    assert set(again.peaks) == set(result.peaks)


def test_a_second_run_takes_what_is_known(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "peaks.json"
    first = benchmark("lenet5", CPU, max_seconds=0.3, peaks_file=file)
    assert file.exists()
    machine = describe_machine([Processor()])
    with preserved_state():
        PeakBook(machine, file).raise_to(Peak("cpu", 1, "fp32", "conv", 1e15, "a wish"))
    monkeypatch.setattr(PeakBook, "measure", lambda *_: pytest.fail("it is known"))
    second = benchmark("lenet5", CPU, max_seconds=0.3, peaks_file=file)
    rate = second.cells[0].flops_per_second
    assert rate is not None
    assert second.cells[0].share_of_peak == rate / 1e15
    assert first.cells[0].share_of_peak is not None
    assert first.cells[0].share_of_peak <= 1


def test_a_cell_above_the_peak_has_it_measured_again_and_then_raises_it(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "peaks.json"
    machine = describe_machine([Processor()])
    PeakBook(machine, file).raise_to(Peak("cpu", 1, "fp32", "conv", 1.0, "too little"))
    measured: list[object] = []
    monkeypatch.setattr(PeakBook, "measure", lambda *given: measured.append(given))
    result = benchmark("lenet5", CPU, max_seconds=0.3, peaks_file=file)
    assert len(measured) == 1
    assert result.cells[0].share_of_peak == 1
    assert any(one.kind == "network" and "lenet5 itself" in one.how for one in result.peaks)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"peaks": {"x": 3}}', "\x00"])
def test_a_damaged_cache_is_measured_anew(quick: None, tmp_path: Path, text: str) -> None:
    file = tmp_path / "peaks.json"
    file.write_text(text)
    cell = benchmark("lenet5", CPU, max_seconds=0.3, peaks_file=file).cells[0]
    assert cell.share_of_peak is not None
    assert json.loads(file.read_text())["schema"] == peaks.SCHEMA


def test_other_machines_have_peaks_of_their_own(quick: None, tmp_path: Path) -> None:
    file = tmp_path / "peaks.json"
    other = {"other": [{"device": "cpu", "threads": 1, "precision": "fp32", "kind": "conv",
                        "per_second": 1.0, "how": "slowly"}]}  # fmt: skip
    file.write_text(json.dumps({"peaks": other}))
    benchmark("lenet5", CPU, max_seconds=0.3, peaks_file=file)
    kept = json.loads(file.read_text())["peaks"]
    assert kept["other"] == other["other"]
    assert len(kept) == 2
