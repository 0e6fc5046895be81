"""Saved counts, results, peaks and caches that ask for all memory, never end, or are no files."""

import json
import os
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.bench.peaks import default_cache as default_peaks
from cnnkit.events import Event, Warned
from cnnkit.stats import measure_dataset
from cnnkit.stats.counting.cache import default_cache
from tests.conftest import Cnnkit
from tests.measuring import measured
from tests.results.bench_examples import BENCHED

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")

MEGABYTE = 2**20


@pytest.fixture
def photos() -> Path:
    generator = np.random.default_rng(0)
    Path("photos/a").mkdir(parents=True)
    for number in range(4):
        pixels = generator.integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/a/{number}.png")
    return Path("photos")


def test_no_bomb_takes_memory_or_time(photos: Path) -> None:
    measure_dataset(str(photos), shard=(1, 1), save_to=Path("part.json"))
    part = json.loads(Path("part.json").read_text())
    one = {"bins": 65536, "values": [0], "counts": [1]}
    many = [{"class": f"{i}", "channels": [one]} for i in range(60_000)]
    sums = [
        {"class": f"{i}", "num_images": 1, "means": [0], "squares": [0], "deviations": [0]}
        for i in range(60_000)
    ]
    huge = {**part, "histograms": many, "sums": sums, "num_pixels": 60_000,
            "sizes": [[1, 1, 60_000]], "modes": {"RGB": 60_000}, "formats": {}}  # fmt: skip
    Path("histograms.json").write_text(json.dumps(huge, separators=(",", ":")))
    Path("lists.json").write_text(
        json.dumps({**part, "bad": 0}).replace('"bad": 0', f'"bad": [{"[]," * 8_000_000}[]]')
    )
    cells = json.dumps({**BENCHED.to_dict(), "cells": 0})
    Path("cells.json").write_text(cells.replace('"cells": 0', f'"cells": [{"[]," * 5_500_000}[]]'))
    Path("sparse.json").touch()
    os.truncate("sparse.json", 2**35)
    os.mkfifo("pipe.json")
    Path("zero.json").symlink_to("/dev/zero")
    answers = [
        (["stats", "merge", "histograms.json"], 2, "its histograms take 31,457,280,000 bytes"),
        (["stats", "merge", "lists.json"], 2, "is damaged: bad.0: "),
        (["stats", "merge", "sparse.json"], 2, "the 25,165,824 that are read; --allow-large reads"),
        (["stats", "merge", "pipe.json"], 4, "a pipe, not a file; name a file"),
        (["stats", "merge", "zero.json"], 4, "a device, not a file; name a file"),
        (["stats", "digits", "--against", "pipe.json"], 4, "a pipe, not a file"),
        (["stats", "digits", "--against", "zero.json"], 4, "a device, not a file"),
        (["bench", "compare", "cells.json", "now.json"], 2, "cells.0: input should be an object"),
        (["bench", "compare", "sparse.json", "now.json"], 2, "the 16,777,216 that are read; name"),
        (["bench", "lenet5", "--against", "pipe.json"], 4, "a pipe, not a file"),
        (["bench", "lenet5", "--against", "zero.json"], 4, "a device, not a file"),
    ]
    found = measured([command for command, _, _ in answers], seconds=120)
    for (_, wanted, words), (code, said) in zip(answers, found, strict=True):
        (line,) = said.splitlines()
        assert words in line
        assert code == wanted


def test_large_parts_are_read_where_the_user_says_so(cnnkit: Cnnkit, photos: Path) -> None:
    measure_dataset(str(photos), shard=(1, 1), save_to=Path("part.json"))
    with Path("part.json").open("a") as file:
        file.write(" " * 25 * MEGABYTE)
    refused = cnnkit("stats", "merge", "part.json")
    assert refused.code == 2
    assert "part.json is too large: it has" in refused.stderr
    assert cnnkit("stats", "merge", "part.json", "--allow-large").code == 0
    assert cnnkit("stats", photos, "--against", "part.json").code == 2
    assert cnnkit("stats", photos, "--against", "part.json", "--allow-large").code == 0


def answered(photos: Path, cache: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what is measured with a cache, and the warnings."""
    events: list[Event] = []
    plain = measure_dataset(str(photos), cache=cache, on_event=events.append).to_dict()
    warnings = [event.text for event in events if isinstance(event, Warned)]
    return {k: v for k, v in plain.items() if k not in ("seconds", "images_per_second")}, warnings


def change_records(change: str) -> Callable[[Path], None]:
    def alter(path: Path) -> None:
        with sqlite3.connect(path) as database:
            database.execute(f"UPDATE records SET record = {change}")
        database.close()

    return alter


def change_tables(*lines: str) -> Callable[[Path], None]:
    def alter(path: Path) -> None:
        with sqlite3.connect(path) as database:
            for line in lines:
                database.execute(line)
        database.close()

    return alter


BOMB = zlib.compress(b'{"shape": [3, 256]}\0' + bytes(64 * MEGABYTE)).hex()
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n"

DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb": (change_records(f"x'{BOMB}'"), "4 records of"),
    "large": (change_records("zeroblob(4000000)"), "4 records of"),
    "text": (change_records("'x'"), "4 records of"),
    "number": (change_records("5"), "4 records of"),
    "empty": (change_records("x''"), "4 records of"),
    "cut": (change_records("substr(record, 1, length(record) - 5)"), "4 records of"),
    "no database": (lambda path: path.write_bytes(b"x" * 5000), "is damaged (file is not a"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[:4096]), "is damaged ("),
    "view": (
        change_tables(
            "DROP TABLE records",
            "CREATE VIEW records AS SELECT x AS path, x AS treatment, x AS size, x AS modified_ns, "
            f"x AS record FROM ({ENDLESS})",
        ),
        "is damaged (it contains other tables)",
    ),
    "trigger": (
        change_tables(
            "DELETE FROM records",
            "CREATE TRIGGER endless BEFORE INSERT ON records BEGIN "
            "INSERT OR REPLACE INTO records SELECT randomblob(9), '', 0, 0, '' "
            "FROM records a, records b, records c; END",
        ),
        "is damaged (it contains other tables)",
    ),
    "other columns": (
        change_tables("DROP TABLE records", "CREATE TABLE records (path TEXT)"),
        "is damaged (it contains other tables)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again_with_one_line(photos: Path, damage: str) -> None:
    alter, words = DAMAGES[damage]
    cache = default_cache()
    plain, _ = answered(photos, cache)
    assert answered(photos, cache) == (plain, [])
    alter(cache)
    again, warnings = answered(photos, cache)
    assert again == plain
    (warning,) = warnings
    assert words in warning
    assert answered(photos, cache) == (plain, [])


def test_a_file_that_somebody_names_as_a_cache_is_never_removed(
    cnnkit: Cnnkit, photos: Path
) -> None:
    from cnnkit.errors import UnavailableError

    with sqlite3.connect("mine.sqlite") as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(
        UnavailableError, match="cannot be used: it contains other tables; remove it"
    ):
        measure_dataset(str(photos), cache=Path("mine.sqlite"))
    os.mkfifo("pipe")
    with pytest.raises(UnavailableError, match="cannot be used: a pipe, not a file; remove it"):
        measure_dataset(str(photos), cache=Path("pipe"))


def test_peaks_that_are_no_file_are_refused(cnnkit: Cnnkit) -> None:
    path = default_peaks()
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    answer = cnnkit("bench", "lenet5", "--device", "cpu", "--max-seconds", "0.3")
    assert answer.code == 4
    assert "peaks.json: a pipe, not a file" in answer.stderr
