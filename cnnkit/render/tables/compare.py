"""Networks side by side as tables: accuracy against cost, memory, what was published."""

from typing import Any

from cnnkit.render.format import counted
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.base import Value
from cnnkit.results.compare import ComparisonResult, PrintedCount

_PARETO_NOTE = (
    "Pareto: no other on the same dataset has a higher top-1 for as few MACs, or fewer MACs for as "
    "high a top-1"
)
_PER_GMAC_NOTE = "top-1/GMAC: percent of top-1 for each 10^9 MACs per image"


@build_tables.register
def compare_tables(result: ComparisonResult) -> tuple[Table, ...]:
    """Return accuracy against cost, size and memory, what was published, differences."""
    tables = [_accuracy_table(result), _memory_table(result)]
    if any(one.year is not None for one in result.models):
        tables.append(_published_table(result))
    if result.differences is not None:
        tables.append(_difference_table(result))
    return tuple(tables)


def _title(result: ComparisonResult) -> str:
    batch = "" if result.batch_size == 1 else f", batch of {result.batch_size}"
    dtype = "" if result.dtype == "float32" else f", {result.dtype}"
    at = "each at its own input" if result.input is None else f"input {result.input}"
    return f"{counted(len(result.models), 'network')}, {at}{batch}{dtype}"


def _accuracy_table(result: ComparisonResult) -> Table:
    datasets = {one.dataset for one in result.models if one.dataset is not None}
    of_top1 = f"top-1, top-5: on {min(datasets)}, as published" if len(datasets) == 1 else ""
    known = result.has_accuracy
    columns: tuple[Column, ...] = (
        Column("name", "network", "name"),
        Column("params", "params", "count"),
        Column("macs", "MACs", "count"),
        Column("flops", "FLOPs", "count", rank=2),
        Column("top1", "top-1", "fraction", note=of_top1),
        Column("top5", "top-5", "fraction", rank=1),
        Column(
            "top1_per_gmac", "top-1/GMAC", "number", rank=3, note=_PER_GMAC_NOTE if known else ""
        ),
        Column("pareto", "Pareto", "name", note=_PARETO_NOTE if known else ""),
    )
    if len(datasets) > 1:  # accuracies of different sets must not be compared
        columns = (*columns[:-1], Column("dataset", "on", "name"), columns[-1])
    notes = []
    bounds = [one.name for one in result.models if one.is_lower_bound]
    if bounds:
        notes.append(f"MACs are at least so many, for not all was counted: {', '.join(bounds)}")
    by_remark: dict[str, list[str]] = {}
    for one in result.models:
        for remark in one.remarks:
            by_remark.setdefault(remark, []).append(one.name)
    notes += [f"{', '.join(names)}: {remark}" for remark, names in by_remark.items()]
    return Table("models", _title(result), columns, _rows(result, columns), tuple(notes))


def _memory_table(result: ComparisonResult) -> Table:
    columns = (
        Column("name", "network", "name"),
        Column("input", "input", "name"),
        Column("num_weighted_layers", "depth", "integer"),
        Column("receptive_field", "field", "integer"),
        Column("weight_bytes", "weights", "bytes"),
        Column("activation_bytes", "activations", "bytes"),
        Column("inference_bytes", "inference", "bytes", rank=1),
        Column("training_bytes", "training", "bytes"),
    )
    notes = (
        "depth: layers with weights, on the longest way; field: pixels along a side that a "
        "value sees, before a layer that covers the full image",
        f"training: weights, gradients, {result.optimizer} and what autograd saves for a batch "
        f"of {result.batch_size}",
    )
    return Table("memory", "", columns, _rows(result, columns), notes)


def _published_table(result: ComparisonResult) -> Table:
    columns = (
        Column("name", "network", "name"),
        Column("year", "year", "name"),
        Column("salient", "salient feature"),
        Column("dataset", "accuracy on", "name"),
        Column("weights", "of weights", "name", rank=1),
        Column("crop", "crop", "integer", rank=2),
    )
    notes = tuple(map(_printed_note, result.printed))
    return Table("published", "", columns, _rows(result, columns), notes)


def _printed_note(one: PrintedCount) -> str:
    """Return what a printed number really is, in words."""
    given = " ".join(f"{key}={value}" for key, value in one.arguments.items())
    is_other = one.counted != one.model or bool(given)
    of = f" of {one.counted}{f' with {given}' if given else ''}" if is_other else ""
    off = one.printed / one.value - 1
    verb = "are" if abs(off) < 0.1 else "come nearest to"
    product = f" = 2 x {one.macs:,} MACs" if one.unit == "FLOPs" else ""
    text = (
        f"{one.network}: the {one.printed_flop} FLOP printed in the lectures {verb} the "
        f"{one.unit}{of}, {one.value:,}{product}"
    )
    if is_other:
        agree = "are those of" if one.params_agree else f"are not the {one.model_params:,} of"
        return (
            f"{text}; the {one.printed_params} parameters printed there {agree} {one.model}, "
            f"which has {one.model_macs:,} MACs"
        )
    if one.params_agree:
        return text
    return f"{text}; it has {one.model_params:,} parameters, printed as {one.printed_params}"


def _difference_table(result: ComparisonResult) -> Table:
    columns = (
        Column("name", "network", "name"),
        Column("params", "params", "right"),
        Column("weight_bytes", "weights", "right", rank=2),
        Column("macs", "MACs", "right"),
        Column("activation_bytes", "activations", "right"),
        Column("inference_bytes", "inference", "right", rank=1),
        Column("training_bytes", "training", "right"),
        Column("num_weighted_layers", "depth", "right"),
        Column("receptive_field", "field", "right", rank=3),
        Column("top1", "top-1", "right"),
        Column("top5", "top-5", "right"),
    )
    rows = tuple(
        (one.name, *(_difference(c.key, getattr(one, c.key)) for c in columns[1:]))
        for one in result.differences or ()
        if one.name != result.baseline
    )
    notes = ("costs as multiples, accuracies in percentage points",)
    return Table("differences", f"against {result.baseline}", columns, rows, notes)


def _difference(key: str, value: float | None) -> str | None:
    """Return a ratio as `x1.4`, and a difference of accuracies as `+1.40`."""
    if value is None:
        return None
    if key in ("top1", "top5"):
        return f"{100 * value:+.2f}"
    return f"x{value:,.0f}" if value >= 100 else f"x{value:#.3g}"


def _rows(result: ComparisonResult, columns: tuple[Column, ...]) -> tuple[tuple[Value, ...], ...]:
    plain = [one.to_dict() for one in result.models]
    return tuple(tuple(_cell(c.key, one[c.key]) for c in columns) for one in plain)


def _cell(key: str, value: Any) -> Value:
    if key == "year":
        return None if value is None else str(value)  # without a comma for thousands
    if key == "top1_per_gmac" and value is not None:
        return float(f"{100 * value:.4g}")
    return value  # type: ignore[no-any-return]  # a number or a text
