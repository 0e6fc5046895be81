"""Layers, the pipeline, and time to accuracy."""

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cnnkit.bench.layer_times import time_layers
from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.pipeline import benchmark_pipeline
from cnnkit.bench.sweep import Sweep
from cnnkit.bench.time_to import mean_without_ends, time_to_accuracy
from cnnkit.data.loading.tensor_batches import TensorBatches
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.results.bench_data import PipelineRow
from tests.bench.faking import FakeDevice, devices

CPU = Sweep(("cpu",), ("infer",), (4,), threads=(1,))


@pytest.fixture(autouse=True)
def without_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peakless:
        per_second = 1e15

    monkeypatch.setattr("cnnkit.bench.peaks.PeakBook.find", lambda *_: Peakless())


class Kernel(nn.Module):
    """A layer whose kernel takes a known time."""

    def __init__(self, device: FakeDevice, seconds: float, runs: int = 1) -> None:
        super().__init__()
        self.linear_weight = nn.Parameter(torch.eye(4))
        self.device, self.seconds, self.runs = [device], seconds, runs

    def __deepcopy__(self, memo: object) -> "Kernel":
        copy = Kernel(self.device[0], self.seconds, self.runs)
        copy.load_state_dict(self.state_dict())
        return copy

    def forward(self, x: Tensor) -> Tensor:
        self.device[0].launch(self.seconds)
        return x @ self.linear_weight


@pytest.mark.parametrize("events", [True, False], ids=["as CUDA", "as MPS"])
def test_the_times_of_layers_are_those_of_their_kernels(events: bool) -> None:
    device = FakeDevice(events)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Kernel(device, 0.02)
            self.block = nn.Sequential(Kernel(device, 0.05))

        def forward(self, x: Tensor) -> Tensor:
            x = self.block(self.first(x.flatten(1)))
            device.launch(0.01)  # of no layer
            return self.first(x)  # type: ignore[no-any-return]

    with devices(device):
        sweep = Sweep((device.name,), ("infer",), (4,), threads=(1,))
        result = benchmark(Net(), sweep, input=(1, 2, 2), by_layer=True, max_seconds=4)
    assert result.layers is not None
    assert [(one.name, one.type) for one in result.layers] == [
        ("first", "Kernel"), ("block.0", "Kernel"), ("", "the rest"),
    ]  # fmt: skip
    assert [one.ms for one in result.layers] == pytest.approx([40, 50, 10], rel=0.02)
    assert [one.share_of_time for one in result.layers] == pytest.approx([0.4, 0.5, 0.1], rel=0.02)
    assert sum(one.share_of_macs or 0 for one in result.layers) == pytest.approx(1)
    assert sum(one.macs for one in result.layers) == 3 * 4 * 4 * 4
    assert result.layers[0].slowness == pytest.approx(0.4 / (2 / 3), rel=0.02)


def test_the_layers_of_a_network_add_up_and_leave_no_hook() -> None:
    result = benchmark("resnet20", CPU, by_layer=True, max_seconds=0.5)
    assert result.layers is not None
    assert sum(one.share_of_time for one in result.layers) == pytest.approx(1, abs=0.02)
    assert sum(one.macs for one in result.layers) == 4 * 40_551_040
    assert {one.type for one in result.layers} >= {"Conv2d", "BatchNorm2d", "Linear", "the rest"}
    assert benchmark("lenet5", CPU, max_seconds=0.1).layers is None
    assert time_layers.__doc__


def row(slow: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PipelineRow:
    """Measure a pipeline in which loading or the network takes 30 ms a batch of 20 images."""
    if slow == "loading":
        batches = TensorBatches._batches

        def slowly(self, *given):  # type: ignore[no-untyped-def]
            for one in batches(self, *given):
                time.sleep(0.03)
                yield one

        monkeypatch.setattr(TensorBatches, "_batches", slowly)
    (tmp_path / "net.py").write_text(
        "import time\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.a = nn.Linear(64, num_classes)\n"
        f"    def forward(self, x):\n        time.sleep({0.03 if slow == 'network' else 0})\n"
        "        return self.a(x.flatten(1))\n"
    )
    sweep = Sweep(("cpu",), ("train",), (20,), threads=(1,))
    found = benchmark_pipeline([f"{tmp_path}/net.py:Net"], "digits", sweep, max_seconds=2)
    assert found.num_images == 1438
    (only,) = found.rows
    return only


@pytest.mark.parametrize("slow", ["loading", "network"])
def test_the_bottleneck_is_named(
    slow: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = row(slow, monkeypatch, tmp_path)
    assert found.bottleneck == slow
    rates = {
        "loading": found.loading_images_per_second, "network": found.network_images_per_second,
    }  # fmt: skip
    # a sleep takes no less than it was asked for
    assert rates.pop(slow) <= 20 / 0.03
    assert found.both_images_per_second <= 20 / 0.03
    assert rates.popitem()[1] > 20 / 0.03


def test_pipelines_refuse_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="batch_sizes auto cannot be used with dataset"):
        benchmark_pipeline(["lenet5"], "digits", Sweep(("cpu",), batch_sizes=("auto",)))
    with pytest.raises(UsageError, match="name a network"):
        benchmark_pipeline([], "digits")
    with pytest.raises(NotFoundError, match="unknown dataset"):
        benchmark_pipeline(["lenet5"], "digist")


def test_the_fastest_and_the_slowest_are_dropped_and_a_failed_run_is_the_slowest() -> None:
    assert mean_without_ends([5, 1, 3, 2, 100]) == pytest.approx(10 / 3)
    assert mean_without_ends([5, None, 3]) == 5
    assert mean_without_ends([5, None, 3, None]) is None
    assert mean_without_ends([None] * 3) is None


def write_recipe(**settings: object) -> str:
    text = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    Path("recipe.toml").write_text(text)
    return "recipe.toml"


def test_time_to_accuracy_stops_the_clock_where_it_is_reached() -> None:
    file = write_recipe(model="linear", dataset="digits", epochs=20, seed=5, batch_size=100)
    begin = time.perf_counter()
    result = time_to_accuracy(0.5, file, num_runs=3, device="cpu")
    took = time.perf_counter() - begin
    assert [run.seed for run in result.runs] == [5, 6, 7]
    assert result.num_failed == 0
    assert result.split == "test"
    for run in result.runs:
        assert run.seconds is not None
        assert run.accuracy >= 0.5
        assert run.epochs < 20
    assert result.mean_seconds == sorted(run.seconds or 0 for run in result.runs)[1]
    assert sum(run.seconds or 0 for run in result.runs) <= took
    assert not Path("runs").exists()


def test_a_run_that_never_reaches_it_or_diverges_failed() -> None:
    file = write_recipe(model="linear", dataset="digits", epochs=1, batch_size=500)
    result = time_to_accuracy(1.0, file, num_runs=3, device="cpu")
    assert result.num_failed == 3
    assert result.mean_seconds is None
    assert result.runs[0].error == "it ended below, after 1 epochs"
    assert 0 < result.runs[0].accuracy < 1
    file = write_recipe(
        model="lenet5_relu", dataset="digits", epochs=1, optimizer="sgd", lr=1e6,
        schedule="constant",
    )  # fmt: skip
    diverged = time_to_accuracy(0.9, file, num_runs=3, device="cpu")
    assert diverged.num_failed == 3
    assert "diverged" in (diverged.runs[0].error or "")


def test_recipes_that_make_no_sense() -> None:
    file = write_recipe(epochs=1)
    for words, kind, arguments in [
        ("target 1.5 is not an accuracy", UsageError, (1.5, file)),
        ("names no model", UsageError, (0.5, file)),
        ("unknown recipe 'fats'; did you mean fast", NotFoundError, (0.5, "fats")),
        ("cannot read the recipe gone.toml", NotFoundError, (0.5, "gone.toml")),
    ]:
        with pytest.raises(kind, match=words):
            time_to_accuracy(*arguments, device="cpu")
    with pytest.raises(UsageError, match="num_runs 2 is too few"):
        time_to_accuracy(0.5, file, num_runs=2)
    file = write_recipe(model="linear", dataset="digits", epoch=1)
    with pytest.raises(UsageError, match="unknown key 'epoch'"):
        time_to_accuracy(0.5, file, device="cpu")
