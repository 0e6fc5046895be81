"""Events as bars on a terminal, or as a line now and then where there is none."""

import time

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from cnnkit.events import EpochEnded, Event, Note, TaskAdvanced, TaskEnded, TaskStarted, Warned
from cnnkit.render.format import format_count, format_value
from cnnkit.render.safe_text import visible
from cnnkit.render.terminal import print_prose

WIDE = 100  # from this many columns on there is room for a long bar
PATIENCE_SECONDS = 0.3  # a task that is done before this shows nothing
LINE_EVERY_SECONDS = 10.0


class _ShortBarColumn(BarColumn):
    """A bar for a narrow terminal: a task that shows values leaves no room for one."""

    def render(self, task: Task) -> RenderableType:  # type: ignore[override]
        return Text() if task.fields["values"] else super().render(task)


class _AmountColumn(ProgressColumn):
    """How much of a task is done, and the rate; only the rate for a task with steps."""

    def render(self, task: Task) -> Text:
        unit, parts = task.fields["unit"], []
        if "step" not in task.fields["values"]:
            total = f"/{_amount(task.total)}" if task.total is not None else ""
            parts.append(f"{_amount(task.completed)}{total} {unit}")
        if task.speed:
            parts.append(f"{_amount(task.speed)}/s")
        return Text(" ".join(parts), no_wrap=True)


class _ValuesColumn(ProgressColumn):
    """The values of the moment."""

    def render(self, task: Task) -> Text:
        return Text(_values(task.fields["values"]), style="dim", no_wrap=True)


class ProgressRenderer:
    """Shows events on stderr; to be called with each event, and closed at the end.

    Args:
        console: of stderr.
        quiet: show only warnings.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1))
            if console.width >= WIDE
            else _ShortBarColumn(bar_width=8),
            _AmountColumn(),
            _ValuesColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=console.width >= WIDE,
            transient=True,
            disable=not console.is_terminal or quiet,
        )
        self._tasks: dict[str, _Running] = {}
        self._has_header = False

    def close(self) -> None:
        """Take the bars off the terminal."""
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Warned(text):
                print_prose(self.console, f"warning: {text}", "yellow")
            case _ if self.quiet:
                pass
            case Note(text):
                print_prose(self.console, text)
            case EpochEnded():
                self._print_epoch(event)
            case TaskStarted(task, total, unit):
                self._tasks[task] = _Running(total, unit)
            case TaskAdvanced(task, completed, values):
                self._advance(task, completed, dict(values))
            case TaskEnded(task):
                running = self._tasks.pop(task, None)
                if running is not None and running.bar is not None:
                    self._bars.remove_task(running.bar)
                if not self._tasks:
                    self._bars.stop()

    def _advance(self, name: str, completed: int, values: dict[str, float]) -> None:
        running = self._tasks.get(name)
        if running is None:
            return
        now = time.monotonic()
        if not self.console.is_terminal:
            if now - running.last_line >= LINE_EVERY_SECONDS:
                running.last_line = now
                total = f" of {_amount(running.total)}" if running.total else ""
                shown = (
                    f"{visible(name)}: {_amount(completed)}{total} {running.unit} {_values(values)}"
                )
                self.console.print(Text(shown.rstrip()))
            return
        if running.bar is None:
            if now - running.started < PATIENCE_SECONDS:
                return
            self._bars.start()
            running.bar = self._bars.add_task(
                visible(name), total=running.total, unit=running.unit, values=values
            )
        self._bars.update(running.bar, completed=completed, values=values)

    def _print_epoch(self, event: EpochEnded) -> None:
        metrics = event.metrics
        cells = [("train loss", format_value("loss", metrics["train_loss"]))]
        cells.append(("acc", format_value("fraction", metrics["train_accuracy"])))
        for split in ("val", "test"):
            if metrics.get(f"{split}_loss") is not None:
                cells.append((f"{split} loss", format_value("loss", metrics[f"{split}_loss"])))
                cells.append(("acc", format_value("fraction", metrics[f"{split}_accuracy"])))
        cells.append(("images/s", format_value("rate", metrics["images_per_second"])))
        number = f"{event.epoch}/{event.num_epochs}"
        number_width = max(5, len(f"{event.num_epochs}/{event.num_epochs}"))
        for index in (len(cells) - 1, 1):  # the rate goes first, then the accuracy of training
            needed = number_width + sum(1 + _cell_width(title) for title, _ in cells)
            if needed + len(" best") > self.console.width:
                del cells[index]
        widths = [_cell_width(title) for title, _ in cells]
        if not self._has_header:
            self._has_header = True
            titles = "".join(f" {t:>{w}}" for (t, _), w in zip(cells, widths, strict=True))
            self.console.print(Text(f"{'epoch':>{number_width}}{titles}", style="bold"))
        values = "".join(f" {v:>{w}}" for (_, v), w in zip(cells, widths, strict=True))
        best = " best" if event.is_best else ""
        self.console.print(Text(f"{number:>{number_width}}{values}{best}"))


class _Running:
    """A task that has begun."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.total = total
        self.unit = unit
        self.started = time.monotonic()
        self.last_line = self.started
        self.bar: TaskID | None = None


def _cell_width(title: str) -> int:
    return max(len(title), 8 if title == "acc" else 7)


def _amount(number: float | None) -> str:
    """Return a count in three digits, as short as it gets: `43.1k`."""
    if number is None:
        return "?"
    return format_count(number, 3).replace(" ", "")


def _values(values: dict[str, float]) -> str:
    parts = []
    for name, value in values.items():
        match name:
            case "step":
                parts.append(f"step {value:.0f}/{values['num_steps']:.0f}")
            case "num_steps":
                pass
            case "accuracy":
                parts.append(f"acc {100 * value:.1f} %")
            case "learning_rate":
                parts.append(f"lr {value:.3g}")
            case _:
                parts.append(f"{name} {value:.3g}")
    return " ".join(parts)
