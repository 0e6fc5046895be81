"""What a dataset looks like: exact statistics of its pixels, sizes, modes, and broken files."""

from cnnkit.stats.measure import measure_dataset, merge_parts

__all__ = ["measure_dataset", "merge_parts"]
