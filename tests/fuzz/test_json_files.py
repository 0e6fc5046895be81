"""Altered files of JSON: each is read, or refused in a line, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnkit.bench.compare_results import compare_files
from cnnkit.bench.peaks import PeakBook
from cnnkit.errors import CnnkitError
from cnnkit.events import Warned, handled_by
from cnnkit.results.bench import Machine, Peak
from cnnkit.runs.checkpoints import Checkpoint, CheckpointFolder
from cnnkit.stats import measure_dataset, merge_parts
from cnnkit.stats.counting import cache as caching
from tests.fuzz.altered import altered_bytes, altered_texts
from tests.results.bench_examples import BENCHED

NUMBER = 300


def refused_or_read(read: Callable[[], object]) -> bool:
    """Return whether reading went well; every error must be one of cnnkit, in a line."""
    try:
        read()
    except CnnkitError as error:
        if "\n" in str(error):
            raise
        return False
    return True


def test_manifests(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(Checkpoint("best", 3, {"w": torch.ones(2)}))
    manifest = tmp_path / "best" / "manifest.json"
    read = 0
    for content in altered_texts(json.loads(manifest.read_text()), NUMBER):
        manifest.write_bytes(content)
        read += refused_or_read(lambda: folder.load("best"))
    assert 0 < read < NUMBER  # some alterations are of what is not read


def test_results_of_bench(tmp_path: Path) -> None:
    before, now = tmp_path / "before.json", tmp_path / "now.json"
    before.write_text(json.dumps(BENCHED.to_dict()))
    read = 0
    for document in (BENCHED.to_dict(), BENCHED.lines()[0]):
        for content in altered_texts(document, NUMBER):
            now.write_bytes(content)

            def compare() -> None:
                result = compare_files(before, now)
                json.dumps(result.to_dict(), allow_nan=False)
                str(result)

            read += refused_or_read(compare)
    assert read > NUMBER // 4


def test_peaks(tmp_path: Path) -> None:
    path = tmp_path / "peaks.json"
    machine: Machine = BENCHED.machine
    PeakBook(machine, path).raise_to(Peak("cpu", 1, "fp32", "conv", 1e9, "so"))
    whole = json.loads(path.read_text())
    for content in altered_texts(whole, NUMBER):
        path.write_bytes(content)
        events: list[Any] = []
        with handled_by(events.append):
            book = PeakBook(machine, path)
        assert not book.peaks or book.peaks[0].per_second > 0
        assert all(isinstance(event, Warned) for event in events)
        if events:  # then it is made again
            book.raise_to(Peak("cpu", 1, "fp32", "conv", 1e9, "so"))
            assert json.loads(path.read_text())["peaks"].keys() == whole["peaks"].keys()
    path.write_bytes(b"[]")
    events.clear()
    with handled_by(events.append):
        PeakBook(machine, path)
    (warning,) = events
    assert "are damaged (input should be an object), and are measured again" in warning.text


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "photos" / ("a", "b")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (4, 3 + number, 3), np.uint8)
        Image.fromarray(pixels if number % 3 else pixels[..., 0]).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("is_sample", [False, True], ids=["part", "sample"])
def test_saved_counts(photos: Path, tmp_path: Path, is_sample: bool) -> None:
    path = tmp_path / "part.json"
    options: dict[str, Any] = {"limit": 5} if is_sample else {"shard": (1, 1)}
    measure_dataset(str(photos), save_to=path, **options)
    read = 0
    for content in altered_texts(json.loads(path.read_text()), NUMBER):
        path.write_bytes(content)

        def use() -> None:
            if is_sample:
                result = measure_dataset("digits", against=str(path))
            else:
                result = merge_parts([path])
            json.dumps(result.to_dict(), allow_nan=False)
            str(result)

        read += refused_or_read(use)
    assert read > NUMBER // 50


def test_the_cache_of_stats(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(path: Path | None) -> dict[str, Any]:
        plain = measure_dataset(str(photos), cache=path, num_workers=0).to_dict()
        return {k: v for k, v in plain.items() if k not in ("seconds", "images_per_second")}

    plain = measured(None)
    path = caching.default_cache()
    assert measured(path) == plain
    whole = path.read_bytes()
    for content in altered_bytes(whole, NUMBER // 3):
        path.write_bytes(content)
        assert refused_or_read(lambda: measured(path)) or not content.startswith(b"SQLite")
        assert measured(path) == plain
