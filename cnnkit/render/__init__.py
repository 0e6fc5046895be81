"""Results and events as people and programs read them; knows `results`, `events` and `errors`."""

from cnnkit.render import tables  # noqa: F401  # so that results are known
from cnnkit.render.export import Format, export
from cnnkit.render.progress_bars import ProgressRenderer
from cnnkit.render.result_views import ShownStats, ShownSummary, SummaryView
from cnnkit.render.safe_text import visible
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.render.terminal import plain_text, print_result, terminal_console

__all__ = [
    "Column",
    "Format",
    "ProgressRenderer",
    "ShownStats",
    "ShownSummary",
    "SummaryView",
    "Table",
    "build_tables",
    "export",
    "plain_text",
    "print_result",
    "terminal_console",
    "visible",
]
