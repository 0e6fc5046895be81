"""Results as tables for people, a file a verb; importing this makes `build_tables` know them."""

from cnnkit.render.tables import (  # eval is a verb
    bench,
    bench_data,
    compare,
    conv,
    doctor,
    eval,  # noqa: A004  # the verb
    listings,
    show,
    stats,
    summary,
    train,
)

__all__ = [
    "bench",
    "bench_data",
    "compare",
    "conv",
    "doctor",
    "eval",
    "listings",
    "show",
    "stats",
    "summary",
    "train",
]
