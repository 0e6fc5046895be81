"""A device whose kernels take a known time is measured right, and only if it is waited for."""

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest

from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.sweep import Sweep
from cnnkit.results.bench import BenchCell, BenchResult
from tests.bench.faking import LAUNCH_SECONDS, FakeDevice, KernelNet, devices

INPUT = (1, 2, 2)
BATCH = 50
SECONDS = 1e-4  # an image


def measured(
    device: FakeDevice, network: KernelNet, modes: tuple[str, ...] = ("infer",), **options: object
) -> BenchResult:
    """Measure a network on a fake device, without peaks."""
    with devices(device), pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnnkit.bench.utilization._highest_peak", known_peak)
        sweep = Sweep(devices=(device.name,), modes=modes, batch_sizes=(BATCH,))
        return benchmark(network, sweep, input=INPUT, **options)  # type: ignore[arg-type]


def known_peak(book, where, *_):  # type: ignore[no-untyped-def]
    from cnnkit.results.bench import Peak

    device, threads, precision = where
    peak = Peak(device.name, threads, precision, "matmul", 1e9, "as it is known")
    book.raise_to(peak)
    return peak


def infer(device: FakeDevice) -> BenchCell:
    (cell,) = measured(device, KernelNet(device, SECONDS)).cells
    return cell


@pytest.mark.parametrize("events", [True, False], ids=["as CUDA", "as MPS"])
def test_kernels_of_a_known_time_are_measured_right(events: bool) -> None:
    device = FakeDevice(events)
    cell = infer(device)
    assert cell.error is None
    assert cell.batch_ms_median == pytest.approx(1000 * BATCH * SECONDS, rel=0.02)
    assert cell.images_per_second == pytest.approx(1 / SECONDS, rel=0.02)
    assert cell.noisy is False
    assert cell.interval_low is not None
    assert cell.interval_high is not None
    assert cell.interval_low <= cell.batch_ms_median <= cell.interval_high
    assert cell.num_batches >= 9
    assert cell.flops_per_second == pytest.approx(2 * 12 / SECONDS, rel=0.02)
    assert cell.share_of_peak == pytest.approx(2 * 12 / SECONDS / 1e9, rel=0.02)


@pytest.mark.parametrize("events", [True, False], ids=["as CUDA", "as MPS"])
def test_without_waiting_for_the_device_it_would_fail(
    events: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeDevice, "synchronize", lambda self: None)
    cell = infer(FakeDevice(events))
    if events:  # CUDA says that its events are not done
        assert "events must be completed" in (cell.error or "")
    else:  # and without events the launches are timed, not the work
        assert cell.batch_ms_median is not None
        assert cell.batch_ms_median < 2 * 1000 * LAUNCH_SECONDS


def test_a_training_step_is_told_in_its_parts() -> None:
    device = FakeDevice()

    class Net(KernelNet):
        def forward(self, x):  # type: ignore[no-untyped-def]
            out = super().forward(x)
            if out.requires_grad:
                out.register_hook(lambda gradient: device.launch(3 * SECONDS * BATCH))
            return out

    cell = measured(device, Net(device, SECONDS), ("train",)).cells[0]
    assert cell.error is None
    assert cell.batch_ms_median == pytest.approx(1000 * 4 * SECONDS * BATCH, rel=0.02)
    assert cell.forward_ms == pytest.approx(1000 * SECONDS * BATCH, rel=0.02)
    assert cell.backward_ms == pytest.approx(3000 * SECONDS * BATCH, rel=0.02)
    assert cell.optimizer_ms == pytest.approx(0, abs=0.1)
    assert cell.flops_per_second == pytest.approx(3 * 2 * 12 / (4 * SECONDS), rel=0.02)


class NoisyNet(KernelNet):
    """A network on a machine as machines are: jitter, outliers, and a speed that drifts."""

    def __init__(self, device: FakeDevice, seconds: float, seed: int = 0) -> None:
        super().__init__(device, seconds)
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.phase = self.random.uniform(0, 2 * math.pi)

    def __deepcopy__(self, memo: object) -> "NoisyNet":
        copy = NoisyNet(self.device[0], self.seconds, self.seed)
        copy.load_state_dict(self.state_dict())
        return copy

    def batch_seconds(self, number: int) -> float:
        drift = 1 + 0.01 * math.sin(self.device[0].time / 1.3 + self.phase)
        jitter = abs(self.random.normal(0, 0.02))
        outlier = self.random.exponential(0.5) if self.random.random() < 0.03 else 0
        return super().batch_seconds(number) * drift * (1 + jitter + outlier)


def noisy_run(seed: int, factor: float, **options: object) -> BenchResult:
    device = FakeDevice(events=seed % 2 == 0)
    return measured(device, NoisyNet(device, SECONDS * factor, seed), **options)


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_regression_is_found_and_none_where_there_is_none(
    seed: int, tmp_path: Path
) -> None:
    file = tmp_path / "before.json"
    file.write_text(json.dumps(noisy_run(seed, 1).to_dict()))
    equal = noisy_run(1000 + seed, 1, against=file).against
    slower = noisy_run(2000 + seed, 1.1, against=file).against
    faster = noisy_run(3000 + seed, 1 / 1.1, against=file).against
    assert equal is not None
    assert slower is not None
    assert faster is not None
    assert equal.changes[0].verdict == "same"
    assert equal.regressions == ()
    assert slower.changes[0].verdict == "slower"
    assert len(slower.regressions) == 1
    assert slower.changes[0].ratio == pytest.approx(1.1, rel=0.02)
    assert faster.changes[0].verdict == "faster"


def test_an_unsettled_machine_is_called_noisy() -> None:
    device = FakeDevice()

    class Wild(KernelNet):
        def batch_seconds(self, number: int) -> float:
            slow = int(device.time / 0.7) % 2
            return super().batch_seconds(number) * (1.0, 1.6)[slow]

    cell = measured(device, Wild(device, SECONDS)).cells[0]
    assert cell.noisy is True
    assert cell.mark == "noisy"


def test_a_slow_start_is_no_part_of_the_times() -> None:
    device = FakeDevice()

    class Cold(KernelNet):
        def batch_seconds(self, number: int) -> float:
            return super().batch_seconds(number) * (1 + 20 * math.exp(-20 * device.time))

    cell = measured(device, Cold(device, SECONDS)).cells[0]
    assert cell.batch_ms_median == pytest.approx(1000 * BATCH * SECONDS, rel=0.02)
    assert cell.batch_ms_p95 == pytest.approx(1000 * BATCH * SECONDS, rel=0.05)


def test_cells_share_their_rounds_so_that_drift_hits_them_alike() -> None:
    """A machine that slows down by the minute gives the same times to two equal cells."""
    device = FakeDevice()

    class Tiring(KernelNet):
        def batch_seconds(self, number: int) -> float:
            return super().batch_seconds(number) * (1 + device.time / 20)

    with devices(device):
        sweep = Sweep(
            (device.name,), ("infer",), (BATCH,), layouts=("channels-first", "channels-last")
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cnnkit.bench.utilization._highest_peak", known_peak)
            first, second = benchmark(Tiring(device, SECONDS), sweep, input=INPUT).cells
    assert second.speedup == pytest.approx(1, rel=0.02)
    assert second.speedup_low is not None
    assert second.speedup_high is not None
    assert second.speedup_low <= 1.02
    assert second.speedup_high >= 0.98
    assert second.speedup_high - second.speedup_low < 0.02
    assert first.speedup == 1


def test_a_cell_ends_when_it_is_known_well_or_its_time_is_spent() -> None:
    device = FakeDevice()
    infer(device)
    assert device.time < 4  # of the 8 seconds that it may take
    slow = FakeDevice()
    cell = measured(slow, KernelNet(slow, 0.02), max_seconds=5).cells[0]
    assert statistics.fmean([cell.batch_ms_median or 0]) == pytest.approx(1000, rel=0.02)
    assert slow.time < 9  # a check, and a batch more
    assert cell.noisy is True
    assert cell.interval_low is None


def test_max_seconds_too_short_for_one_batch() -> None:
    device = FakeDevice()
    cell = measured(device, KernelNet(device, 0.1), max_seconds=1).cells[0]
    assert cell.error is not None
    assert "a batch takes 5 s, longer than the 1 s of max_seconds" in cell.error
    assert cell.images_per_second is None
