"""Comparison of configurations with those of an earlier file."""

import json
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import model_validator

from cnnkit.bench.median_intervals import ratio_interval
from cnnkit.errors import UsageError, setting
from cnnkit.registry import some_of
from cnnkit.results.bench import (
    BenchCell,
    BenchComparison,
    BenchResult,
    CellChange,
    Machine,
    Verdict,
)
from cnnkit.system.files import TooLargeError, explain_os_error, read_regular
from cnnkit.system.records import List, Record, at_most, parse_json

TOLERANCE = 0.05
MOST_BYTES = 2**24  # of a file of results; a configuration takes 2 kB
MOST_FIELDS = 100
MOST_OF_A_FIELD = 2**63
FASTEST_MS, SLOWEST_MS = 1e-9, 1e12


def compare_files(
    before: str | Path, now: str | Path, tolerance: float = TOLERANCE
) -> BenchComparison:
    """Compare the configurations of two files that `bench` has written.

    Args:
        before: the earlier file, `.jsonl` or `.json`.
        now: the later one.
        tolerance: share by which a configuration may be slower.

    Raises:
        NotFoundError: a file is not there.
        UsageError: it contains no results, or the tolerance is below 0.
    """
    return compare_cells(str(before), read_cells(before), str(now), read_cells(now), tolerance)


Cells = tuple[list[BenchCell], list[Machine]]


def compare_cells(
    before_name: str, before: Cells, now_name: str, now: Cells, tolerance: float
) -> BenchComparison:
    """Return the comparison of the configurations of two measurements.

    If a file contains a configuration several times, the last one counts.

    Raises:
        UsageError: the tolerance is below 0.
    """
    check_tolerance(tolerance)
    then = {cell.key: cell for cell in before[0]}
    today = {cell.key: cell for cell in now[0]}
    changes = [_change(then[key], cell, tolerance) for key, cell in today.items() if key in then]
    differences = [
        text for one in now[1][-1:] for other in before[1][-1:] for text in one.differences(other)
    ]
    return BenchComparison(
        before=before_name,
        now=now_name,
        tolerance=tolerance,
        machine_changes=tuple(differences),
        changes=tuple(changes),
        num_before_only=len(then.keys() - today.keys()),
        num_now_only=len(today.keys() - then.keys()),
    )


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance below 0.

    Raises:
        UsageError: it is.
    """
    if not tolerance >= 0:
        raise UsageError(f"{setting('tolerance')} {tolerance:g} is below 0", "0.05 allows 5 %")


def read_cells(path: str | Path) -> Cells:
    """Return the configurations of a file and the machines they were measured on, in its order.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it contains no results of `bench`.
    """
    path = Path(path)
    try:
        content = read_regular(path, MOST_BYTES)
    except TooLargeError as error:
        raise _no_results(path, f": {error.strerror}") from error
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error
    cells: list[BenchCell] = []
    machines: list[Machine] = []
    try:
        for document in _documents(content):
            found = _Results.from_json(json.dumps(document).encode())
            cells += found.cells
            machines.append(found.machine)
    except ValueError as error:
        raise _no_results(path, f": {error}") from error
    if not cells:
        raise _no_results(path, ": it is empty")
    return cells, machines


class _Results(Record):
    """The compared fields of a document of `bench`."""

    cells: List[BenchCell]
    machine: Annotated[Machine, at_most(MOST_FIELDS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number, cell in enumerate(self.cells):
            ends = [one for one in (cell.interval_low, cell.interval_high) if one is not None]
            times = ends if cell.batch_ms_median is None else [*ends, cell.batch_ms_median]
            if ends != sorted(ends) or not all(FASTEST_MS <= one <= SLOWEST_MS for one in times):
                raise ValueError(f"configuration {number + 1} has invalid times")
            whole = [one for one in astuple(cell) if isinstance(one, int)]
            if any(abs(one) > MOST_OF_A_FIELD for one in whole):
                raise ValueError(f"a number of configuration {number + 1} is too large")
        return self


def _documents(content: bytes) -> Iterator[Any]:
    """Yield the document of a `.json`, or those of the lines of a `.jsonl`, in its form.

    Raises:
        ValueError: it is no JSON, or of another schema.
    """
    try:
        documents = [parse_json(content)]
    except ValueError:
        documents = [parse_json(line) for line in content.splitlines() if line.strip()]
    for one in documents:
        schema = one.get("schema") if isinstance(one, dict) else None
        if schema == BenchResult.schema:
            yield {"cells": one.get("cells"), "machine": one.get("machine")}
        elif schema == BenchResult.line_schema:
            yield {"cells": [one], "machine": one.get("machine")}
        else:
            raise ValueError(f"its schema is {some_of([str(schema)])}")


def _no_results(path: Path, why: str = "") -> UsageError:
    return UsageError(
        f"{path} contains no results of `cnnkit bench`{why}",
        "name a file that `cnnkit bench -o results.jsonl` has written",
    )


def _change(before: BenchCell, now: BenchCell, tolerance: float) -> CellChange:
    then_ms, now_ms = before.batch_ms_median, now.batch_ms_median
    verdict: Verdict
    if then_ms is None or now_ms is None:
        if then_ms is not None:
            verdict = "wrong" if now.correct is False else "failed"
        else:
            verdict = "repaired" if now_ms is not None else "unknown"
        return CellChange(now, then_ms, now_ms, None, None, None, verdict)
    ratio = now_ms / then_ms
    ends = [before.interval_low, before.interval_high, now.interval_low, now.interval_high]
    if any(one is None for one in ends):
        return CellChange(now, then_ms, now_ms, ratio, None, None, "unknown")
    then_low, then_high, now_low, now_high = (float(one or 0) for one in ends)
    low, high = ratio_interval(now_ms, (now_low, now_high), then_ms, (then_low, then_high))
    if low > 1 + tolerance:
        verdict = "slower"
    elif high < 1 / (1 + tolerance):
        verdict = "faster"
    elif low >= 1 / (1 + tolerance) and high <= 1 + tolerance:
        verdict = "same"
    else:
        verdict = "unclear"
    return CellChange(now, then_ms, now_ms, ratio, low, high, verdict)
