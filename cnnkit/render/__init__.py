"""Results and events as people and programs read them; knows `results` and `events` alone."""

from cnnkit.render.export import Format, export
from cnnkit.render.pictures import statistics_picture
from cnnkit.render.progress import ProgressRenderer
from cnnkit.render.safe_text import visible
from cnnkit.render.sample_grid import samples_picture
from cnnkit.render.terminal import plain_text, print_result, terminal_console

__all__ = [
    "Format",
    "ProgressRenderer",
    "export",
    "plain_text",
    "print_result",
    "samples_picture",
    "statistics_picture",
    "terminal_console",
    "visible",
]
