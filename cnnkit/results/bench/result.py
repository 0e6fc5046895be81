"""The answer of `bench`: every cell, beside the machine and the most that it can do."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnnkit.results.base import Result, to_plain
from cnnkit.results.bench.cell import SETTINGS, BenchCell, varying_settings
from cnnkit.results.bench.changes import (
    BenchComparison,
    fixed_settings,
    interval_text,
    milliseconds,
    setting_column,
    setting_value,
)
from cnnkit.results.bench.layers import LayerTime
from cnnkit.results.bench.machine import Machine, Peak
from cnnkit.results.table import Column, Table, Value, format_bytes, format_count

MOST_LAYERS = 20
MOST_VARYING = 4  # settings that a row has room for


@dataclass(frozen=True)
class BenchResult(Result):
    """The answer of `bench`.

    Attributes:
        machine: what it was measured on.
        peaks: the most that it was seen to do, of the devices and precisions of the cells.
        cells: what was measured.
        layers: the time of each layer of each cell; None where it was not asked for.
        against: how the cells compare with those of an earlier file; None without one.
        interrupted: it was stopped before all cells were measured.
    """

    schema: ClassVar[str] = "cnnkit.bench/1"
    line_schema: ClassVar[str] = "cnnkit.bench-cell/1"

    machine: Machine
    peaks: tuple[Peak, ...]
    cells: tuple[BenchCell, ...]
    layers: tuple[LayerTime, ...] | None = None
    against: BenchComparison | None = None
    interrupted: bool = False

    def lines(self) -> list[dict[str, Any]]:
        """Return a dictionary a cell, each with its machine and peaks: the lines of a file."""
        machine, peaks = to_plain(self.machine), to_plain(self.peaks)
        return [
            {"schema": self.line_schema, **to_plain(cell), "machine": machine, "peaks": peaks}
            for cell in self.cells
        ]

    def tables(self) -> tuple[Table, ...]:
        """Return the cells, the parts of training steps, the peaks, and what changed."""
        tables = []
        if self.cells:
            tables += self._cell_tables()
            if any(cell.forward_ms is not None for cell in self.cells):
                tables.append(self._step_table())
        else:
            tables.append(self._peak_table())
        for number in dict.fromkeys(one.cell for one in self.layers or ()):
            tables.append(self._layer_table(number))
        if self.against is not None:
            tables += self.against.tables()
        return tuple(tables)

    def exact_table(self) -> Table:
        """Return every field of every cell, or else the peaks."""
        kind, rows = (BenchCell, self.cells) if self.cells else (Peak, self.peaks)
        names = [one.name for one in fields(kind)]
        return Table(
            "cells" if self.cells else "peaks",
            "",
            tuple(Column(name, name) for name in names),
            tuple(tuple(getattr(row, name) for name in names) for row in rows),
        )

    def _cell_tables(self) -> list[Table]:
        """Return a table of all cells, or one a network where too much varies to tell in a row."""
        varying = varying_settings(self.cells)
        groups = {cell.model: self.cells for cell in self.cells[:1]}
        if "model" in varying and len(varying) > MOST_VARYING:
            groups = {
                model: tuple(cell for cell in self.cells if cell.model == model)
                for model in dict.fromkeys(cell.model for cell in self.cells)
            }
        notes = self._notes(varying)
        last = list(groups)[-1]
        return [
            self._cell_table(model, cells, notes if model == last else ())
            for model, cells in groups.items()
        ]

    def _cell_table(
        self, model: str, shown: tuple[BenchCell, ...], notes: tuple[str, ...]
    ) -> Table:
        varying = varying_settings(shown)
        figures: list[tuple[Column, Callable[[BenchCell], Value]]] = [
            (Column("images_per_second", "images/s", "right"), lambda c: rate(c.images_per_second)),
            (Column("batch_ms_median", "ms", "right"), lambda c: milliseconds(c.batch_ms_median)),
            (Column("batch_ms_p05", "5 %", "right", 4), lambda c: milliseconds(c.batch_ms_p05)),
            (Column("batch_ms_p95", "95 %", "right", 4), lambda c: milliseconds(c.batch_ms_p95)),
            (
                Column("speedup", "x first", "right", 2),
                lambda c: None if c.speedup is None else f"{c.speedup:.2f}",
            ),
            (
                Column("speedup_interval", "its interval", "right", 5),
                lambda c: (
                    interval_text(c.speedup_low, c.speedup_high, "{:.2f}")
                    if c.speedup_low != c.speedup_high
                    else None
                ),
            ),
            (
                Column("peak_memory_bytes", "memory", "right", 3),
                lambda c: (
                    None if c.peak_memory_bytes is None else format_bytes(c.peak_memory_bytes)
                ),
            ),
            (
                Column("flops_per_second", "FLOP/s", "right", 3),
                lambda c: None if c.flops_per_second is None else format_count(c.flops_per_second),
            ),
            (
                Column("share_of_peak", "of peak", "right", 1),
                lambda c: None if c.share_of_peak is None else f"{100 * c.share_of_peak:.1f} %",
            ),
            (Column("mark", "mark", "name"), lambda c: c.mark),
        ]
        rows = [[read(cell) for _, read in figures] for cell in shown]
        # A column that says nothing of any cell is left out.
        told = [i for i in range(len(figures)) if any(row[i] not in (None, "") for row in rows)]
        columns = [setting_column(name) for name in varying] + [figures[i][0] for i in told]
        cells = tuple(
            (*(setting_value(cell, name) for name in varying), *(row[i] for i in told))
            for cell, row in zip(shown, rows, strict=True)
        )
        title = fixed_settings(shown, varying)
        return Table(f"cells_{model}", title, tuple(columns), cells, notes)

    def _notes(self, varying: list[str]) -> tuple[str, ...]:
        notes = []
        for cell in self.cells:
            where = cell.differing(varying)
            if cell.correct is False:
                error = "not finite" if cell.max_error is None else f"off by {cell.max_error:.2g}"
                notes.append(f"{where}: wrong, its values are {error} of those of the CPU in fp32")
            if cell.error is not None and cell.correct is not False:
                notes.append(f"{where}: {cell.error}")
            if cell.remark:
                notes.append(f"{where}: {cell.remark}")
        if any(cell.noisy for cell in self.cells):
            notes.append("noisy: the 95 % interval of the median is wider than 2.5 % to each side")
        if self.interrupted:
            notes.append("interrupted: not all cells were measured")
        notes += [f"peak of {text}" for text in self._peaks_told()]
        name = self.machine.device_name
        notes.append(f"{name}, {self.machine.num_cores} cores, torch {self.machine.torch}")
        return tuple(notes)

    def _peaks_told(self) -> list[str]:
        """Return the peak of each setting that a share was told of."""
        shown = dict.fromkeys(
            (cell.device, cell.threads, cell.precision)
            for cell in self.cells
            if cell.share_of_peak is not None
        )
        told = []
        for device, threads, precision in shown:
            best = best_peak(self.peaks, device, threads, precision)
            if best is not None:
                rate_text = format_count(best.per_second)
                told.append(f"{device} in {precision}: {rate_text}FLOP/s, {best.how}")
        return told

    def _step_table(self) -> Table:
        cells = tuple(cell for cell in self.cells if cell.forward_ms is not None)
        varying = [name for name in varying_settings(self.cells) if name != "mode"] or ["model"]
        columns = (
            *(setting_column(name) for name in varying),
            Column("forward_ms", "forward", "right"),
            Column("backward_ms", "backward", "right"),
            Column("optimizer_ms", "optimizer", "right"),
        )
        notes = ("forward: with the loss",)
        rows = tuple(
            (
                *(setting_value(cell, name) for name in varying),
                milliseconds(cell.forward_ms),
                milliseconds(cell.backward_ms),
                milliseconds(cell.optimizer_ms),
            )
            for cell in cells
        )
        return Table("steps", "parts of a training step, ms", columns, rows, notes)

    def _layer_table(self, number: int) -> Table:
        own = [one for one in self.layers or () if one.cell == number]
        slowest = sorted(own, key=lambda one: -one.ms)[:MOST_LAYERS]
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
                milliseconds(one.ms),
                one.share_of_time,
                one.share_of_macs,
                None if one.slowness is None else f"{one.slowness:.2f}",
            )
            for one in shown
        )
        cell = self.cells[number]
        title = f"layers of {cell.model}, {cell.differing([n for n in SETTINGS if n != 'model'])}"
        notes = ["time/MACs: above 1 a layer takes longer than its count says"]
        if len(shown) < len(own):
            notes.append(f"the {len(shown)} of {len(own)} that take longest; the JSON has all")
        return Table(f"layers_{number}", title, columns, rows, tuple(notes))

    def _peak_table(self) -> Table:
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
                f"{format_bytes(one.per_second)}"
                if one.kind == "memory"
                else f"{format_count(one.per_second)}FLOP",
                one.how,
            )
            for one in self.peaks
        )
        name = self.machine.device_name
        notes = (
            "FLOP: two a multiply-accumulate; memory: bytes read and written",
            f"{name}, {self.machine.num_cores} cores, torch {self.machine.torch}",
        )
        return Table("peaks", "the most that this machine was seen to do", columns, rows, notes)


def best_peak(
    peaks: tuple[Peak, ...] | list[Peak], device: str, threads: int, precision: str
) -> Peak | None:
    """Return the highest rate of arithmetic in a setting; None where it is not known."""
    fitting = [
        one
        for one in peaks
        if (one.device, one.threads, one.precision) == (device, threads, precision)
    ]
    return max(fitting, key=lambda one: one.per_second, default=None)


def rate(value: float | None) -> str | None:
    """Return images a second, to four digits."""
    if value is None:
        return None
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
