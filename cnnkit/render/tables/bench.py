"""Measurements of speed as tables: configurations, training steps, layers, peaks, changes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from cnnkit.render.format import (
    Kind,
    format_bytes,
    format_count,
    format_interval,
    format_milliseconds,
    format_percent,
    format_rate,
)
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.base import Value
from cnnkit.results.bench import (
    SETTINGS,
    BenchCell,
    BenchComparison,
    BenchResult,
    Machine,
    best_peak,
)

MAX_SHOWN_LAYERS = 20
MAX_VARYING = 4  # settings that a row has room for

_HEADINGS = {
    "model": "network",
    "batch_size": "batch",
    "layout": "channels",
}


@build_tables.register
def bench_tables(result: BenchResult) -> tuple[Table, ...]:
    """Return the configurations, the parts of training steps, the peaks, and what changed."""
    tables = []
    if result.cells:
        tables += _configuration_tables(result)
        if any(cell.forward_ms is not None for cell in result.cells):
            tables.append(_step_table(result))
    else:
        tables.append(_peak_table(result))
    for number in dict.fromkeys(one.cell for one in result.layers or ()):
        tables.append(_layer_table(result, number))
    if result.against is not None:
        tables += build_tables(result.against)
    return tuple(tables)


def setting_text(cell: BenchCell, name: str) -> str:
    """Return a setting as a title has it: `batch 32`, `2 threads`, `compiled`."""
    value = getattr(cell, name)
    match name:
        case "batch_size":
            return "batch unknown" if value is None else f"batch {value}"
        case "compile":
            return "compiled" if value else "not compiled"
        case "threads":
            return f"{value} thread{'' if value == 1 else 's'}"
        case _:
            return str(value)


def setting_texts(cell: BenchCell, names: list[str]) -> str:
    """Return some settings one after another, as a sentence lists them."""
    return " ".join(setting_text(cell, name) for name in names)


def varying_settings(cells: tuple[BenchCell, ...]) -> list[str]:
    """Return the names of the settings that differ; at least that of the network."""
    varying = [name for name in SETTINGS if len({getattr(cell, name) for cell in cells}) > 1]
    return varying or ["model"]


def _setting_column(name: str) -> Column:
    kind: Kind = "integer" if name in ("batch_size", "threads") else "name"
    return Column(name, _HEADINGS.get(name, name), kind)


def _setting_values(cell: BenchCell, names: list[str]) -> tuple[Value, ...]:
    return tuple(
        cell.layout.removeprefix("channels-") if name == "layout" else getattr(cell, name)
        for name in names
    )


def _fixed_settings(cells: tuple[BenchCell, ...], varying: list[str]) -> str:
    """Return the settings that all configurations share, for a title."""
    shared = [name for name in SETTINGS if name not in varying or name == "model"]
    words = [
        setting_text(cells[0], name)
        for name in shared
        if not (name == "compile" and not cells[0].compile)
        and len({getattr(cell, name) for cell in cells}) == 1
    ]
    return ", ".join(f"input {word}" if word == cells[0].input else word for word in words)


def _machine_note(machine: Machine) -> str:
    return f"{machine.device_name}, {machine.num_cores} cores, torch {machine.torch}"


def _configuration_tables(result: BenchResult) -> list[Table]:
    """Return one table, or one a network where too much varies to be said in a row."""
    varying = varying_settings(result.cells)
    groups = {cell.model: result.cells for cell in result.cells[:1]}
    if "model" in varying and len(varying) > MAX_VARYING:
        groups = {
            model: tuple(cell for cell in result.cells if cell.model == model)
            for model in dict.fromkeys(cell.model for cell in result.cells)
        }
    notes = _notes(result, varying)
    last = list(groups)[-1]
    return [
        _configuration_table(model, cells, notes if model == last else ())
        for model, cells in groups.items()
    ]


_MEASURED: tuple[tuple[Column, Callable[..., str]], ...] = (
    (Column("images_per_second", "images/s", "right"), partial(format_rate, digits=4)),
    (Column("batch_ms_median", "ms", "right"), format_milliseconds),
    (Column("batch_ms_p05", "5 %", "right", 4), format_milliseconds),
    (Column("batch_ms_p95", "95 %", "right", 4), format_milliseconds),
    (
        Column("speedup", "speedup", "right", 2, "speedup: over the first configuration"),
        "{:.2f}".format,
    ),
    (Column("speedup_interval", "95 % CI", "right", 5), format_interval),
    (Column("peak_memory_bytes", "memory", "right", 3), format_bytes),
    (Column("flops_per_second", "FLOP/s", "right", 3), format_count),
    (Column("share_of_peak", "of peak", "right", 1), partial(format_percent, digits=1)),
    (Column("mark", "mark", "name"), str),
)


def _written(form: Callable[..., str], value: Any) -> str | None:
    return None if value is None else form(value)


def _configuration_table(model: str, shown: tuple[BenchCell, ...], notes: tuple[str, ...]) -> Table:
    varying = varying_settings(shown)
    # A column that says nothing of any configuration is left out.
    said = [
        (column, form)
        for column, form in _MEASURED
        if any(getattr(cell, column.key) not in (None, "") for cell in shown)
    ]
    columns = (*map(_setting_column, varying), *(column for column, _ in said))
    rows = tuple(
        (
            *_setting_values(cell, varying),
            *(_written(form, getattr(cell, column.key)) for column, form in said),
        )
        for cell in shown
    )
    return Table(f"cells_{model}", _fixed_settings(shown, varying), columns, rows, notes)


def _notes(result: BenchResult, varying: list[str]) -> tuple[str, ...]:
    notes = []
    for cell in result.cells:
        where = setting_texts(cell, varying)
        if cell.correct is False:
            error = "not finite" if cell.max_error is None else f"off by {cell.max_error:.2g}"
            notes.append(f"{where}: wrong, its values are {error} of those of the CPU in fp32")
        if cell.error is not None and cell.correct is not False:
            notes.append(f"{where}: {cell.error}")
        if cell.remark:
            notes.append(f"{where}: {cell.remark}")
    if any(cell.noisy for cell in result.cells):
        notes.append("noisy: the 95 % CI of the median is wider than 2.5 % to each side")
    if result.interrupted:
        notes.append("interrupted: not all configurations were measured")
    notes += _peak_notes(result)
    return (*notes, _machine_note(result.machine))


def _peak_notes(result: BenchResult) -> list[str]:
    """Return the peak of each setting that a share is shown of."""
    shown = dict.fromkeys(
        (cell.device, cell.threads, cell.precision)
        for cell in result.cells
        if cell.share_of_peak is not None
    )
    notes = []
    for device, threads, precision in shown:
        best = best_peak(result.peaks, device, threads, precision)
        if best is not None:
            rate = format_count(best.per_second)
            notes.append(f"peak of {device} in {precision}: {rate}FLOP/s, {best.how}")
    return notes


def _step_table(result: BenchResult) -> Table:
    cells = tuple(cell for cell in result.cells if cell.forward_ms is not None)
    varying = [name for name in varying_settings(result.cells) if name != "mode"] or ["model"]
    columns = (
        *map(_setting_column, varying),
        Column("forward_ms", "forward", "right"),
        Column("backward_ms", "backward", "right"),
        Column("optimizer_ms", "optimizer", "right"),
    )
    rows = tuple(
        (
            *_setting_values(cell, varying),
            _written(format_milliseconds, cell.forward_ms),
            _written(format_milliseconds, cell.backward_ms),
            _written(format_milliseconds, cell.optimizer_ms),
        )
        for cell in cells
    )
    notes = ("forward: with the loss",)
    return Table("steps", "parts of a training step, ms", columns, rows, notes)


def _layer_table(result: BenchResult, number: int) -> Table:
    own = [one for one in result.layers or () if one.cell == number]
    slowest = sorted(own, key=lambda one: -one.ms)[:MAX_SHOWN_LAYERS]
    shown = [one for one in own if one in slowest]
    columns = (
        Column("name", "layer", "name"),
        Column("type", "type", "name", rank=1),
        Column("ms", "ms", "right"),
        Column("share_of_time", "of time", "fraction"),
        Column("share_of_macs", "of MACs", "fraction"),
        Column("slowness", "time/MACs", "right"),
    )
    rows = tuple(
        (
            one.name or "the rest",
            one.type if one.name else "",
            _written(format_milliseconds, one.ms),
            one.share_of_time,
            one.share_of_macs,
            _written("{:.2f}".format, one.slowness),
        )
        for one in shown
    )
    cell = result.cells[number]
    settings = setting_texts(cell, [name for name in SETTINGS if name != "model"])
    notes = ["time/MACs: above 1 a layer takes longer than its count says"]
    if len(shown) < len(own):
        notes.append(f"the {len(shown)} of {len(own)} that take longest; the JSON has all")
    title = f"layers of {cell.model}, {settings}"
    return Table(f"layers_{number}", title, columns, rows, tuple(notes))


def _peak_table(result: BenchResult) -> Table:
    columns = (
        Column("device", "device", "group"),
        Column("threads", "threads", "integer"),
        Column("precision", "precision", "name"),
        Column("kind", "what", "name"),
        Column("per_second", "a second", "right"),
        Column("how", "reached by", "text"),
    )
    rows = tuple(
        (
            one.device,
            one.threads,
            one.precision,
            one.kind,
            format_bytes(one.per_second)
            if one.kind == "memory"
            else f"{format_count(one.per_second)}FLOP",
            one.how,
        )
        for one in result.peaks
    )
    notes = (
        "FLOP: two a multiply-accumulate; memory: bytes read and written",
        _machine_note(result.machine),
    )
    return Table("peaks", "the most that this machine was seen to do", columns, rows, notes)


@build_tables.register
def change_tables(result: BenchComparison) -> tuple[Table, ...]:
    """Return one row per configuration of both measurements."""
    cells = tuple(one.cell for one in result.changes)
    names = varying_settings(cells) if cells else []
    columns = (
        *map(_setting_column, names),
        Column("before_ms", "before ms", "right", rank=3),
        Column("now_ms", "now ms", "right", rank=2),
        Column("ratio", "ratio", "right"),
        Column("interval", "95 % CI", "right", rank=4),
        Column("verdict", "verdict", "name"),
    )
    rows = tuple(
        (
            *_setting_values(one.cell, names),
            _written(format_milliseconds, one.before_ms),
            _written(format_milliseconds, one.now_ms),
            _written("{:.3f}".format, one.ratio),
            _written(partial(format_interval, digits=3), one.ratio_interval),
            one.verdict,
        )
        for one in result.changes
    )
    title = f"{result.now or 'now'} against {result.before}"
    return (Table("changes", title, columns, rows, _change_notes(result)),)


def _change_notes(result: BenchComparison) -> tuple[str, ...]:
    notes = [
        f"slower by more than {100 * result.tolerance:g} %, or no longer working: "
        f"{len(result.regressions)} of {len(result.changes)} configurations"
    ]
    if result.machine_changes:
        notes.append(f"not the same machine: {', '.join(result.machine_changes)}")
    if result.num_before_only:
        notes.append(
            f"configurations of {result.before} that were not measured now: "
            f"{result.num_before_only}"
        )
    if result.num_now_only:
        notes.append(f"configurations that {result.before} does not have: {result.num_now_only}")
    return tuple(notes)
