"""`cnnkit bench resnet18` against the benchmark script of the field's model library, in one run.

    python tests/benchmarks/bench_model_library.py [--model resnet18] [--batch 4]

The command is timed as a whole: inference and training, fp32 and bf16, both layouts. A loop in
the style of timm's `benchmark.py` (its network, `model.to(dtype)`, some warm-up batches, the mean
of the rest) is run in the same settings before and after it. The fastest cell of `bench` is to be
at least as fast as the best of the loops.
"""

import argparse
import json
import subprocess
import sys
import time

import timm
import torch

WARM, BATCHES = 3, 12


def library_rate(model: str, mode: str, precision: str, last: bool, batch: int) -> float:
    """Return images a second as the library's script takes them."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    layout = torch.channels_last if last else torch.contiguous_format
    network = timm.create_model(model).to(dtype=dtype).to(memory_format=layout)
    images = torch.randn(batch, 3, 224, 224, dtype=dtype).contiguous(memory_format=layout)
    if mode == "infer":
        network.eval()
        with torch.inference_mode():
            for _ in range(WARM):
                network(images)
            begin = time.perf_counter()
            for _ in range(BATCHES):
                network(images)
            return batch * BATCHES / (time.perf_counter() - begin)
    network.train()
    labels = torch.zeros(batch, dtype=torch.long)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    loss_of = torch.nn.CrossEntropyLoss()
    begin = 0.0
    for number in range(WARM + BATCHES):
        if number == WARM:
            begin = time.perf_counter()
        optimizer.zero_grad()
        loss_of(network(images), labels).backward()
        optimizer.step()
    return batch * BATCHES / (time.perf_counter() - begin)


def all_library_rates(model: str, batch: int) -> dict[tuple[str, str, str], float]:
    return {
        (mode, precision, layout): library_rate(
            model, mode, precision, layout == "channels-last", batch
        )
        for mode in ("infer", "train")
        for precision in ("fp32", "bf16")
        for layout in ("channels-first", "channels-last")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    before = all_library_rates(given.model, given.batch)
    begin = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, "-m", "cnnkit", "bench", given.model, "--mode", "infer,train",
            "--precision", "fp32,bf16", "--layout", "channels-first,channels-last", "--device",
            "cpu", "--batch", str(given.batch), "--json",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    took = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr)
    cells = json.loads(done.stdout)["cells"]
    after = all_library_rates(given.model, given.batch)
    print(f"the command took {took:.0f} s")
    print(f"{'mode':>5} {'precision':>9} {'layout':>14} {'bench':>8} {'library':>8} {'of peak':>8}")
    best: dict[str, list[float]] = {"bench": [], "library": []}
    for cell in cells:
        key = (cell["mode"], cell["precision"], cell["layout"])
        library = max(before[key], after[key])
        rate = cell["images_per_second"]
        assert rate is not None, cell
        assert cell["share_of_peak"] <= 1, cell
        if cell["mode"] == "infer":
            best["bench"].append(rate)
            best["library"].append(library)
        share = f"{100 * cell['share_of_peak']:.1f} %"
        print(f"{key[0]:>5} {key[1]:>9} {key[2]:>14} {rate:8.2f} {library:8.2f} {share:>8}")
    ratio = max(best["bench"]) / max(best["library"])
    print(f"the fastest cell over the best of the library: {ratio:.3f}")


if __name__ == "__main__":
    main()
