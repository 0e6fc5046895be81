"""Measurements with a dataset as tables: loading beside computing, and the time to an accuracy."""

from cnnkit.render.format import Kind, format_percent, format_seconds
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.bench_data import PipelineResult, PipelineRow, TimeToResult

_HEADINGS: dict[str, tuple[str, Kind, int]] = {
    "model": ("network", "name", 0),
    "batch_size": ("batch", "name", 0),
    "loading_images_per_second": ("loading", "rate", 0),
    "network_images_per_second": ("network", "rate", 0),
    "both_images_per_second": ("both", "rate", 0),
    "bottleneck": ("slower", "name", 0),
    "overlap": ("overlap", "fraction", 1),
}


@build_tables.register
def pipeline_tables(result: PipelineResult) -> tuple[Table, ...]:
    """Return one row per network and setting."""
    records, varying = result.records(), result.varying
    columns = tuple(
        Column(name, *_HEADINGS.get(name, (name, "name", 0))) for name in records.columns
    )
    rows = tuple((*map(str, row[: len(varying)]), *row[len(varying) :]) for row in records.rows)
    first = result.rows[0]
    same = ", ".join(
        f"batch {first.batch_size}" if name == "batch_size" else str(getattr(first, name))
        for name in ("device", "mode", "batch_size", "precision", "layout")
        if name not in varying
    )
    title = f"images a second of {result.dataset}" + (f", {same}" if same else "")
    notes = [f"{row.model} ({row.device}, {row.mode}): {_verdict(row)}" for row in result.rows]
    notes.append(
        f"{result.num_images:,} images, {result.num_workers} threads that read files; "
        f"{result.machine.device_name}"
    )
    return (Table("pipeline", title, columns, rows, tuple(notes)),)


def _verdict(row: PipelineRow) -> str:
    """Return which is slower, by how much, and what both together reach."""
    other = "the network" if row.bottleneck == "loading" else "loading"
    slower = "loading" if row.bottleneck == "loading" else "the network"
    ratio = max(row.loading_images_per_second, row.network_images_per_second) / min(
        row.loading_images_per_second, row.network_images_per_second
    )
    return (
        f"the bottleneck is {slower}; {other} alone is {ratio:.1f} times as fast, and both "
        f"together reach {format_percent(row.overlap, 0)} of the slower"
        + ("" if row.overlap > 0.9 else ", for they wait for one another, or for the same cores")
    )


@build_tables.register
def time_to_tables(result: TimeToResult) -> tuple[Table, ...]:
    """Return one row per run, the mean below."""
    columns = (
        Column("seed", "seed", "integer"),
        Column("seconds", "time", "seconds"),
        Column("epochs", "epochs", "integer"),
        Column("accuracy", "best", "fraction"),
        Column("error", "failed", "text"),
    )
    title = (
        f"{result.model} on {result.dataset} to {100 * result.target:g} % of the "
        f"{result.split} images"
    )
    mean = "none, for more than one run failed"
    if result.mean_seconds is not None:
        mean = format_seconds(result.mean_seconds)
    notes = (
        f"mean without the fastest and the slowest: {mean}",
        f"failed: {result.num_failed} of {len(result.runs)}; a failed run counts as the slowest",
        f"recipe {result.recipe}, evaluation inside the clock; {result.machine.device_name}",
    )
    return (Table("runs", title, columns, result.records().rows, notes),)
