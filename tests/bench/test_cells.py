"""Which cells there are, what fits into memory, and what becomes of errors."""

import pytest
import torch

from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.sweep import Sweep, suitable_batch
from cnnkit.errors import NotFoundError, UnavailableError, UsageError
from tests.bench.faking import FakeDevice, KernelNet, devices

INPUT = (1, 2, 2)


@pytest.fixture(autouse=True)
def without_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peakless:
        per_second = 1e15

    monkeypatch.setattr("cnnkit.bench.peaks.PeakBook.find", lambda *_: Peakless())


def test_every_combination_is_a_cell_in_the_order_given() -> None:
    one, other = FakeDevice(name="one"), FakeDevice(name="other")
    sweep = Sweep(
        ("other", "one"), ("train", "infer"), (4, 2), ("bf16", "fp32"),
        ("channels-last", "channels-first"), threads=(1,),
    )  # fmt: skip
    networks = [KernelNet(one), KernelNet(one)]
    for network in networks:
        network.others = (other,)
    with devices(one, other):
        found = benchmark(networks, sweep, input=INPUT, max_seconds=0.01)
    settings = [
        (c.device, c.mode, c.batch_size, c.precision, c.layout, c.compile, c.threads, c.input)
        for c in found.cells
    ]
    assert len(settings) == 2 * 32
    assert len(set(settings)) == 32
    assert settings[:32] == settings[32:]
    assert settings[0] == ("other", "train", 4, "bf16", "channels-last", False, 1, "1x2x2")
    assert settings[1][4] == "channels-first"
    assert settings[31] == ("one", "infer", 2, "fp32", "channels-first", False, 1, "1x2x2")


def test_what_is_named_twice_is_measured_once() -> None:
    device = FakeDevice()
    with devices(device):
        sweep = Sweep(("fake", "all"), ("infer", "infer"), (4, 4), threads=(1, 1))
        found = benchmark(KernelNet(device), sweep, input=INPUT, max_seconds=0.01)
    assert len(found.cells) == 1


@pytest.mark.parametrize("margin", [100, 777, 3])
def test_the_largest_batch_that_trains_has_a_margin_and_ran_twice(
    margin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeDevice(capacity=margin)
    tried: list[int] = []
    forward = KernelNet.forward

    def noted(self: KernelNet, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            tried.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(KernelNet, "forward", noted)
    with devices(device):
        sweep = Sweep(("fake",), ("train",), ("auto",), threads=(1,))
        (cell,) = benchmark(KernelNet(device, 1e-4), sweep, input=INPUT, max_seconds=0.5).cells
    assert cell.error is None
    assert cell.batch_size is not None
    assert int(0.8 * margin) <= cell.batch_size <= max(2, 0.95 * margin)
    assert tried.count(cell.batch_size) >= 8  # two tries from the beginning, then the timing
    assert max(tried) <= 2.1 * margin


def test_an_error_that_is_no_lack_of_memory_ends_the_search() -> None:
    device = FakeDevice()

    class Limited(KernelNet):
        def forward(self, x):  # type: ignore[no-untyped-def]
            if len(x) > 8:
                raise RuntimeError("a kernel that is not there")
            return super().forward(x)

    with devices(device):
        sweep = Sweep(("fake",), ("train",), ("auto", 4), threads=(1,))
        searched, other = benchmark(Limited(device), sweep, input=INPUT, max_seconds=0.3).cells
    assert searched.error == "RuntimeError: a kernel that is not there"
    assert searched.batch_size is None
    assert other.images_per_second is not None


def test_out_of_memory_is_one_cell_and_told_as_that() -> None:
    device = FakeDevice(capacity=10)
    with devices(device):
        sweep = Sweep(("fake",), ("infer",), (4, 100, 8), threads=(1,))
        cells = benchmark(KernelNet(device), sweep, input=INPUT, max_seconds=0.3).cells
    assert [cell.error for cell in cells] == [None, "out of memory", None]
    assert cells[0].speedup == 1
    assert cells[1].mark == "failed"


def test_cells_that_do_not_fit_beside_others_are_measured_after_them() -> None:
    """A GPU that holds some of the networks: the others have their turn when these are gone."""
    device = FakeDevice()
    alive: list[object] = []

    class Large(KernelNet):
        def __deepcopy__(self, memo: object) -> "KernelNet":
            import gc
            import weakref

            gc.collect()
            if sum(one() is not None for one in alive) >= 4:  # type: ignore[operator]
                raise torch.OutOfMemoryError("CUDA out of memory")
            copy = super().__deepcopy__(memo)
            alive.append(weakref.ref(copy))
            return copy

    with devices(device):
        sweep = Sweep(("fake",), ("infer",), (1, 2, 4, 8), threads=(1,))
        cells = benchmark(Large(device), sweep, input=INPUT, max_seconds=0.3).cells
    assert [cell.error for cell in cells] == [None] * 4
    assert cells[0].speedup_low is not None
    assert cells[-1].speedup is None  # it was not measured in the same rounds


def test_the_processor_is_not_driven_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.bench.device_clock.available_bytes", lambda device: 50 * 2**20)
    sweep = Sweep(("cpu",), ("infer",), (1, 2**17), threads=(1,))
    small, large = benchmark("lenet5", sweep, max_seconds=0.3).cells
    assert small.images_per_second is not None
    assert large.error is not None
    assert "50 MiB are free; it was not tried" in large.error
    sweep = Sweep(("cpu",), ("train",), ("auto",), threads=(1,))
    (auto,) = benchmark("lenet5", sweep, max_seconds=1).cells
    assert auto.batch_size is not None
    assert 8 <= auto.batch_size <= 1000


def test_batch_norm_needs_two_images() -> None:
    sweep = Sweep(("cpu",), batch_sizes=(1, 2), threads=(1,))
    cells = benchmark("resnet20", sweep, input=(3, 4, 4), max_seconds=1).cells
    assert [cell.error for cell in cells] == [
        None,
        None,
        "batch norm cannot be trained on a single image; use batch_sizes 2 or more",
        None,
    ]


def test_networks_without_flops_have_no_share_of_the_peak() -> None:
    sweep = Sweep(("cpu",), ("infer",), (2,), threads=(1,))
    (cell,) = benchmark(torch.nn.ReLU(), sweep, input=INPUT, max_seconds=0.3).cells
    assert cell.images_per_second is not None
    assert cell.flops_per_second is None
    assert cell.share_of_peak is None
    (train,) = benchmark(
        torch.nn.ReLU(), Sweep(("cpu",), ("train",), (2,)), input=INPUT, max_seconds=0.3
    ).cells
    assert train.error == "it has no parameter to train"


def test_a_suitable_batch_hangs_on_nothing_that_changes() -> None:
    device = FakeDevice()
    assert suitable_batch(833_040, device, True) == 32
    assert suitable_batch(3.6e9, device, False) == 4
    assert suitable_batch(1e12, device, False) == 1
    assert suitable_batch(1e12, device, True) == 2
    assert suitable_batch(0, device, False) == 32


def refused(kind: type[Exception], words: str, sweep: Sweep, model: str = "lenet5") -> None:
    with pytest.raises(kind, match=words):
        benchmark(model, sweep, max_seconds=0.3)


def test_bad_settings_are_refused_before_anything_is_measured() -> None:
    refused(UsageError, "batch_sizes 0", Sweep(batch_sizes=(0,)))
    refused(UsageError, "'inference' is unknown; did you mean infer", Sweep(modes=("inference",)))
    refused(UsageError, "'fp8' is unknown", Sweep(precisions=("fp8",)))
    refused(UsageError, "'nhwc' is unknown", Sweep(layouts=("nhwc",)))
    refused(UsageError, "threads 0", Sweep(threads=(0,)))
    refused(UsageError, "threads 4096 is more than", Sweep(threads=(4096,)))
    refused(UsageError, "unknown device 'gpu'", Sweep(("gpu",)))
    refused(UnavailableError, "only CUDA GPUs have TF32", Sweep(("cpu",), precisions=("tf32",)))
    refused(NotFoundError, "lenet55", Sweep(), "lenet55")
    with pytest.raises(UsageError, match="max_seconds is 0"):
        benchmark("lenet5", max_seconds=0)
    with pytest.raises(UsageError, match="name a network"):
        benchmark()


def test_a_precision_that_one_device_lacks_is_the_error_of_its_cells() -> None:
    class Able(FakeDevice):
        def lacks(self, precision: str) -> str | None:
            return None

    able, plain = Able(name="able"), FakeDevice(name="plain")
    with devices(able, plain):
        sweep = Sweep(("all",), ("infer",), (2,), ("tf32",), threads=(1,))
        first, second = benchmark(KernelNet(able), sweep, input=INPUT, max_seconds=0.3).cells
    assert first.error is None
    assert second.error == "only CUDA GPUs have TF32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    refused(UnavailableError, "cuda is not available", Sweep(("cpu", "cuda")))
