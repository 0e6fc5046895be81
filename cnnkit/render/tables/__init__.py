"""Results as tables for people, a file a verb."""

from importlib import import_module

_VERBS = (
    *("bench", "bench_data", "compare", "conv", "doctor", "eval", "listings", "show", "stats"),
    *("summary", "train"),
)
for _verb in _VERBS:  # each registers the functions that `build_tables` calls
    import_module(f"{__name__}.{_verb}")
