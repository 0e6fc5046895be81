"""Two measurements of the same cells: what became slower."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from cnnkit.results.base import Result
from cnnkit.results.bench.cell import SETTINGS, BenchCell, setting_text, varying_settings
from cnnkit.results.table import Column, Kind, Table

Verdict = Literal["slower", "faster", "same", "unclear", "failed", "wrong", "repaired", "unknown"]


@dataclass(frozen=True)
class CellChange:
    """A cell of both measurements.

    Attributes:
        cell: as it is now.
        before_ms: median of a batch then; None where it was not measured.
        now_ms: median now; likewise.
        ratio: now over then, so that 1.1 is a tenth slower.
        ratio_low: lower end of its 95 % confidence interval.
        ratio_high: upper end of it.
        verdict: `slower` or `faster` where the interval lies beyond the tolerance, `same` where it
            lies within, `unclear` where it does neither; `failed` or `wrong` where it was measured
            then and is so now, `repaired` the other way round; `unknown` where neither has a time
            or an interval.
    """

    cell: BenchCell
    before_ms: float | None
    now_ms: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    verdict: Verdict


@dataclass(frozen=True)
class BenchComparison(Result):
    """The answer of a comparison with an earlier run.

    Attributes:
        before: the file of then.
        now: that of now; empty for what was measured just now.
        tolerance: share by which a cell may be slower.
        machine_changes: what of the machine is not as it was.
        changes: the cells of both.
        num_before_only: cells of then alone.
        num_now_only: cells of now alone.
    """

    schema: ClassVar[str] = "cnnkit.bench-compare/1"

    before: str
    now: str
    tolerance: float
    machine_changes: tuple[str, ...]
    changes: tuple[CellChange, ...]
    num_before_only: int
    num_now_only: int

    @property
    def regressions(self) -> tuple[CellChange, ...]:
        """The cells that are slower than is allowed, or no longer work."""
        return tuple(one for one in self.changes if one.verdict in ("slower", "failed", "wrong"))

    def tables(self) -> tuple[Table, ...]:
        """Return a row a cell."""
        cells = tuple(one.cell for one in self.changes)
        names = varying_settings(cells) if cells else []
        columns = (
            *(setting_column(name) for name in names),
            Column("before_ms", "before ms", "right", rank=3),
            Column("now_ms", "now ms", "right", rank=2),
            Column("ratio", "ratio", "right"),
            Column("interval", "95 % interval", "right", rank=4),
            Column("verdict", "verdict", "name"),
        )
        rows = tuple(
            (
                *(setting_value(one.cell, name) for name in names),
                milliseconds(one.before_ms),
                milliseconds(one.now_ms),
                None if one.ratio is None else f"{one.ratio:.3f}",
                interval_text(one.ratio_low, one.ratio_high, "{:.3f}"),
                one.verdict,
            )
            for one in self.changes
        )
        now = self.now or "now"
        return (Table("changes", f"{now} against {self.before}", columns, rows, self._notes()),)

    def exact_table(self) -> Table:
        """Return every cell with its ratio, exact."""
        figures = ("before_ms", "now_ms", "ratio", "ratio_low", "ratio_high", "verdict")
        columns = tuple(Column(name, name) for name in (*SETTINGS, *figures))
        rows = tuple(
            (
                *(getattr(one.cell, name) for name in SETTINGS),
                *(getattr(one, name) for name in figures),
            )
            for one in self.changes
        )
        return Table("changes", "", columns, rows)

    def _notes(self) -> tuple[str, ...]:
        found = len(self.regressions)
        notes = [
            f"slower by more than {100 * self.tolerance:g} %, or no longer working: {found} of "
            f"{len(self.changes)} cells"
        ]
        if self.machine_changes:
            notes.append(f"not the same machine: {', '.join(self.machine_changes)}")
        if self.num_before_only:
            notes.append(f"cells of {self.before} that were not measured now: "
                         f"{self.num_before_only}")  # fmt: skip
        if self.num_now_only:
            notes.append(f"cells that {self.before} does not have: {self.num_now_only}")
        return tuple(notes)


def setting_column(name: str) -> Column:
    """Return the column of a setting."""
    kind: Kind = "integer" if name in ("batch_size", "threads") else "name"
    return Column(name, SETTINGS[name], kind)


def setting_value(cell: BenchCell, name: str) -> str | int | bool | None:
    """Return what stands in the column of a setting."""
    value: str | int | bool | None = getattr(cell, name)
    return str(value).removeprefix("channels-") if name == "layout" else value


def fixed_settings(cells: tuple[BenchCell, ...], varying: list[str]) -> str:
    """Return the settings that all cells share, for a title."""
    shared = [name for name in SETTINGS if name not in varying or name == "model"]
    words = [
        setting_text(cells[0], name)
        for name in shared
        if not (name == "compile" and not cells[0].compile)
        and len({getattr(cell, name) for cell in cells}) == 1
    ]
    return ", ".join(f"input {word}" if word == cells[0].input else word for word in words)


def milliseconds(value: float | None) -> str | None:
    """Return a time in milliseconds, to four digits."""
    if value is None:
        return None
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}".rstrip(".")


def interval_text(low: float | None, high: float | None, form: str) -> str | None:
    """Return an interval as `0.98 to 1.02`; None where an end is not known."""
    if low is None or high is None:
        return None
    return f"{form.format(low)} to {form.format(high)}"
