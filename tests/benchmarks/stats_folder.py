"""Statistics of a folder of photographs: `measure_dataset` against only decoding them.

Makes JPEG files of 300 x 200 pixels out of MNIST-like or given pictures, once; then both sides in
one process, interleaved, on the same number of threads. Decoding alone is Pillow's `open` and
`load` of the bytes of every file. Prints images a second of each round and the ratio of medians.
With --memory it measures instead how the peak memory of a process grows from the test images of a
folder, such as 10,000, to all of them, such as 60,000.

    python tests/benchmarks/stats_folder.py --folder FOLDER [--pictures FOLDER_WITH_IMAGES]
"""

import argparse
import io
import os
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from cnnkit import measure_dataset

WIDTH, HEIGHT = 300, 200


def make_photographs(folder: Path, pictures: Path | None, number: int) -> None:
    """Write JPEG files, each a patchwork of given pictures, or smoothed noise."""
    given = sorted(pictures.rglob("*.jpg")) if pictures is not None else []
    stream = random.Random(0)
    noise = np.random.default_rng(0)
    for index in range(number):
        path = folder / "ab"[index % 2] / f"{index:06d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if given:
            photograph = Image.new("RGB", (320, 224))
            for place in range(70):
                with Image.open(stream.choice(given)) as patch:
                    photograph.paste(patch, (place % 10 * 32, place // 10 * 32))
        else:
            small = noise.integers(0, 256, (14, 20, 3), dtype=np.uint8)
            photograph = Image.fromarray(small)
        photograph = photograph.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        photograph.save(path, quality=90)


def decode_alone(paths: list[Path], threads: int) -> None:
    """Decode every file, and nothing else."""

    def decode(some: list[Path]) -> None:
        for path in some:
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                image.load()

    parts = [paths[start : start + 16] for start in range(0, len(paths), 16)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, parts))


def peak_megabytes(folder: Path, split: str) -> float:
    """Return the peak memory of a process that measures a split of a folder."""
    # Not getrusage: its peak is that of whoever started the process, if that had more.
    code = (
        "import sys\n"
        "from cnnkit import measure_dataset\n"
        "measure_dataset('digits')\n"  # so that all is imported
        "open('/proc/self/clear_refs', 'w').write('5')\n"  # the peak begins again
        "print(measure_dataset(sys.argv[1], split=sys.argv[2], num_workers=2).num_images)\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
    )
    words = [sys.executable, "-c", code, str(folder), split]
    number, peak = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    print(f"{int(number):,} files: peak memory {int(peak) / 1024:.1f} MB")
    return int(peak) / 1024


def main() -> None:
    """Run the rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("photographs"))
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--number", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", type=Path, help="a folder with a test split")
    arguments = parser.parse_args()
    if arguments.memory is not None:
        few, many = (peak_megabytes(arguments.memory, split) for split in ("test", "all"))
        print(f"difference {many - few:.1f} MB")
        return
    make_photographs(arguments.folder, arguments.pictures, arguments.number)
    paths = sorted(arguments.folder.rglob("*.jpg"))
    threads = arguments.threads
    sides = {
        "decoding alone": lambda: decode_alone(paths, threads),
        "cnnkit stats": lambda: measure_dataset(str(arguments.folder), num_workers=threads),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            rates[name].append(len(paths) / (time.perf_counter() - start))
            print(f"round {number + 1}  {name:<15} {rates[name][-1]:8,.0f} images/s")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["cnnkit stats"] / medians["decoding alone"]
    # Where other programs have a part of the machine, the two sides of one round share its luck.
    pairs = zip(rates["cnnkit stats"], rates["decoding alone"], strict=True)
    paired = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"ratio of medians {ratio:.3f}, median ratio {paired:.3f}, {threads} threads")


if __name__ == "__main__":
    main()
