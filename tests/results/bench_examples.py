"""Measurements of speed with every corner."""

from dataclasses import replace

from cnnkit.results.bench import (
    BenchCell,
    BenchComparison,
    BenchResult,
    CellChange,
    LayerTime,
    Machine,
    Peak,
)
from cnnkit.results.bench_data import PipelineResult, PipelineRow, TimedRun, TimeToResult

MACHINE = Machine(
    processor="A processor @ 2.50GHz",
    device_name="A processor @ 2.50GHz",
    devices={"cpu": "A processor @ 2.50GHz", "cuda": "A GPU"},
    num_cores=2,
    num_threads=2,
    memory_bytes=2**34,
    system="Linux",
    torch="2.15.0",
    versions={"python": "3.11.7", "torchvision": "0.29.2", "cnnkit": "0.1.0"},
    fingerprint="0123456789abcdef",
)

PEAKS = (
    Peak("cpu", 2, "fp32", "matmul", 145.2e9, "a product of 2048x2048 matrices"),
    Peak("cpu", 2, "fp32", "conv", 151.8e9, "a 3x3 convolution of 8x64x56x56 to 64 channels"),
    Peak("cpu", 2, "bytes", "memory", 21.5e9, "a sum of two times 256 MiB"),
    Peak("cuda", 2, "bf16", "network", 790e12, "vit_b_16 itself (train, batch 256)"),
)

FIRST = BenchCell(
    model="resnet18",
    device="cpu",
    mode="infer",
    batch_size=4,
    precision="fp32",
    layout="channels-first",
    compile=False,
    threads=2,
    input="3x224x224",
    images_per_second=38.72,
    batch_ms_median=103.3,
    batch_ms_p05=101.2,
    batch_ms_p95=110.9,
    num_batches=77,
    interval_low=102.9,
    interval_high=103.9,
    noisy=False,
    flops_per_second=140.5e9,
    share_of_peak=0.9256,
    correct=True,
    max_error=2.1e-7,
    speedup=1.0,
    speedup_low=1.0,
    speedup_high=1.0,
)

CELLS = (
    FIRST,
    replace(
        FIRST, layout="channels-last", images_per_second=45.1, batch_ms_median=88.69,
        speedup=1.165, speedup_low=1.15, speedup_high=1.18, share_of_peak=1.0, noisy=True,
    ),
    replace(
        FIRST, mode="train", images_per_second=9.1, batch_ms_median=439.6, forward_ms=140.2,
        backward_ms=290.1, optimizer_ms=9.3, speedup=0.235, speedup_low=None, speedup_high=None,
    ),
    replace(
        FIRST, device="cuda", mode="train", batch_size=512, precision="bf16",
        layout="channels-last", compile=True, images_per_second=12_345.6, batch_ms_median=41.47,
        forward_ms=12.1, backward_ms=25.2, optimizer_ms=4.1, peak_memory_bytes=30 * 2**30,
        compile_seconds=31.5, flops_per_second=134.4e12, share_of_peak=0.1701, speedup=318.8,
        speedup_low=310.2, speedup_high=322.4, correct=None, max_error=None,
        remark="it draws random numbers, so it is not checked",
    ),
    BenchCell(
        "resnet18", "mps", "infer", 32, "fp32", "channels-last", False, 2, "3x224x224",
        correct=False, max_error=1.37,
    ),
    BenchCell(
        "resnet18", "cuda", "train", None, "fp32", "channels-first", False, 2, "3x224x224",
        error="out of memory; a batch of 2 does not fit",
    ),
)  # fmt: skip

CHANGES = BenchComparison(
    before="before.jsonl",
    now="",
    tolerance=0.05,
    machine_changes=("torch 2.15.0 for 2.14.1",),
    changes=(
        CellChange(CELLS[0], 93.9, 103.3, 1.1, 1.08, 1.12, "slower"),
        CellChange(CELLS[1], 88.7, 88.69, 0.99989, 0.98, 1.02, "same"),
        CellChange(CELLS[3], 50.1, 41.47, 0.8277, 0.82, 0.83, "faster"),
        CellChange(CELLS[4], 12.0, None, None, None, None, "wrong"),
        CellChange(CELLS[5], None, None, None, None, None, "unknown"),
    ),
    num_before_only=2,
    num_now_only=1,
)

LAYERS = (
    LayerTime(0, "conv1", "Conv2d", 12.5, 0.121, 472_055_808, 0.065),
    LayerTime(0, "bn1", "BatchNorm2d", 3.25, 0.0315, 0, 0.0),
    *(LayerTime(0, f"layer1.{i}", "Conv2d", 4.0, 0.0387, 460_000_000, 0.0634) for i in range(20)),
    LayerTime(0, "", "the rest", 2.0, 0.0194, 0, 0.0),
    LayerTime(2, "relu", "ReLU", 1.0, 1.0, 0, None),
)

BENCHED = BenchResult(MACHINE, PEAKS, CELLS, LAYERS, CHANGES)
FEW = BenchResult(
    MACHINE, PEAKS, (FIRST, replace(FIRST, batch_size=8, images_per_second=40.1)), None, None, True
)
PEAKED = BenchResult(MACHINE, PEAKS, ())

ROW = PipelineRow(
    "resnet18", "cuda", "train", 256, "bf16", "channels-last", True, 2, 2512.4, 9876.5, 2490.1,
    "loading", 0.991,
)  # fmt: skip
PIPELINE = PipelineResult(
    MACHINE, "cifar10", 50_000, 2,
    (ROW, replace(ROW, model="resnet152", batch_size=64, network_images_per_second=123.4,
                  both_images_per_second=119.9, bottleneck="network", overlap=0.9716)),
)  # fmt: skip
TIME_TO = TimeToResult(
    MACHINE, "fast", "resnet18", "cifar10", "cuda", 0.94, "test", None, 2,
    (TimedRun(0, 61.25, 9, 0.9412, None), TimedRun(1, None, 10, 0.9378, "it ended below, after 10 "
     "epochs"), TimedRun(2, None, 3, 0.1, "the loss is nan at step 3 of epoch 4")),
)  # fmt: skip
TIME_TO_MEAN = replace(TIME_TO, mean_seconds=62.5, num_failed=1)

EXAMPLES = {
    "bench_data": PIPELINE,
    "bench_time_to": TIME_TO,
    "bench_time_to_mean": TIME_TO_MEAN,
    "bench": BENCHED,
    "bench_few": FEW,
    "bench_peaks": PEAKED,
    "bench_compare": CHANGES,
}
