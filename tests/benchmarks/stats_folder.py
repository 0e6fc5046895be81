"""Statistics of a folder of photographs: `measure_dataset` against only decoding them.

Makes JPEG files of 300 x 200 pixels out of MNIST-like or given pictures, once; then both sides in
one process, interleaved, on the same number of threads. Decoding alone is Pillow's `open` and
`load` of the bytes of every file. Prints images a second of each round and the ratio of medians.
With --memory it also measures how the peak memory of a process grows from 10,000 to 60,000 files.

    python tests/benchmarks/stats_folder.py --folder FOLDER [--pictures FOLDER_WITH_IMAGES]
"""

import argparse
import io
import os
import random
import resource
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


def peak_megabytes(folder: Path, limit: int) -> float:
    """Return the peak memory of a process that measures the first files of a folder."""
    code = (
        "import sys, resource\n"
        "from cnnkit.data.streams import FileStream\n"
        "from cnnkit import measure_dataset\n"
        "all_images = FileStream.images\n"
        "limit = int(sys.argv[2])\n"
        "def images(self, *rest):\n"
        "    for number, image in enumerate(all_images(self, *rest)):\n"
        "        if number < limit: yield image\n"
        "FileStream.images = images\n"
        "measure_dataset(sys.argv[1], split='all', num_workers=2)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    words = [sys.executable, "-c", code, str(folder), str(limit)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def main() -> None:
    """Run the rounds and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--number", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", type=Path, help="a folder of 60,000 files or more")
    arguments = parser.parse_args()
    if arguments.memory is not None:
        peaks = {limit: peak_megabytes(arguments.memory, limit) for limit in (10_000, 60_000)}
        for limit, peak in peaks.items():
            print(f"{limit:,} files: peak memory {peak:.1f} MB")
        print(f"difference {peaks[60_000] - peaks[10_000]:.1f} MB")
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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"ratio of medians {ratio:.3f}, {threads} threads, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
