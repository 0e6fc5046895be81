"""How fast networks are on a machine, and what that says."""

from cnnkit.results.bench.cell import BenchCell
from cnnkit.results.bench.changes import BenchComparison, CellChange
from cnnkit.results.bench.layers import LayerTime
from cnnkit.results.bench.machine import Machine, Peak
from cnnkit.results.bench.pipeline import PipelineResult, PipelineRow
from cnnkit.results.bench.result import BenchResult
from cnnkit.results.bench.time_to import TimedRun, TimeToResult

__all__ = [
    "BenchCell",
    "BenchComparison",
    "BenchResult",
    "CellChange",
    "LayerTime",
    "Machine",
    "Peak",
    "PipelineResult",
    "PipelineRow",
    "TimeToResult",
    "TimedRun",
]
