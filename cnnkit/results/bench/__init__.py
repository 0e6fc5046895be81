"""How fast networks are on a machine, and what that says."""

from cnnkit.results.bench.cell import BenchCell
from cnnkit.results.bench.changes import BenchComparison, CellChange
from cnnkit.results.bench.machine import Machine, Peak
from cnnkit.results.bench.result import BenchResult

__all__ = [
    "BenchCell",
    "BenchComparison",
    "BenchResult",
    "CellChange",
    "Machine",
    "Peak",
]
