"""Speed of networks on this machine, compared with its peak performance."""

from cnnkit.bench.compare_results import compare_files
from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.pipeline import benchmark_pipeline
from cnnkit.bench.sweep import Sweep
from cnnkit.bench.time_to import time_to_accuracy

__all__ = ["Sweep", "benchmark", "benchmark_pipeline", "compare_files", "time_to_accuracy"]
