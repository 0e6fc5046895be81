"""Statistics of datasets: exact pixel statistics, sizes, modes, and broken files."""

from cnnkit.stats.measure import measure_dataset, merge_parts

__all__ = ["measure_dataset", "merge_parts"]
