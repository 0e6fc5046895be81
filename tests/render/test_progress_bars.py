import io
import re

import pytest

from cnnkit.events import EpochEnded, Note, TaskAdvanced, TaskEnded, TaskStarted, Warned
from cnnkit.render import ProgressRenderer, progress_bars, terminal_console

EPOCH = {
    "epoch": 1, "train_loss": 0.5, "train_accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.85,
    "learning_rate": 0.1, "seconds": 1.0, "images_per_second": 12_345.6,
}  # fmt: skip


def shown(events: list[object], quiet: bool = False) -> str:
    stream = io.StringIO()
    renderer = ProgressRenderer(terminal_console(stream, False, 80), quiet)
    for event in events:
        renderer(event)  # type: ignore[arg-type]
    renderer.close()
    return stream.getvalue()


def test_epochs_are_a_table_line_by_line() -> None:
    text = shown([EpochEnded(1, 10, EPOCH, True), EpochEnded(2, 10, EPOCH, False)])
    lines = text.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["epoch", "train", "loss", "acc", "val", "loss", "acc", "images/s"]
    assert lines[1].split() == [
        "1/10",
        "0.5000",
        "80.00",
        "%",
        "0.4000",
        "85.00",
        "%",
        "12,346",
        "best",
    ]
    assert "best" not in lines[2]
    assert max(map(len, lines)) <= 80


def test_columns_without_values_are_left_out() -> None:
    text = shown([EpochEnded(1, 1, EPOCH | {"val_loss": None, "val_accuracy": None}, None)])
    assert "val" not in text


def test_quiet_shows_warnings_alone() -> None:
    events = [Note("a note"), Warned("a warning"), EpochEnded(1, 1, EPOCH, None)]
    assert shown(events, quiet=True) == "warning: a warning\n"
    assert "a note" in shown(events)


def test_a_pipe_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    renderer = ProgressRenderer(terminal_console(stream, False, 80))
    renderer(TaskStarted("epoch 1/2", 60_000, "images"))
    for step in range(1, 251):
        now[0] += 0.1
        renderer(TaskAdvanced("epoch 1/2", step * 100, {"loss": 1 / step, "accuracy": 0.5}))
    renderer(TaskEnded("epoch 1/2"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2: 10.")
    assert "of 60.0k images" in lines[0]
    assert "acc 50.0 %" in lines[0]


def test_markup_in_events_is_text() -> None:
    assert shown([Note("images of [bold]x[/bold]")]) == "images of [bold]x[/bold]\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_coloured_pipe_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress_bars, "PATIENCE_SECONDS", -1.0)
    for stream in (Terminal(), io.StringIO()):
        renderer = ProgressRenderer(terminal_console(stream, True, 100))
        renderer(TaskStarted("[x] download", 2_000_000, "bytes"))
        renderer(TaskAdvanced("[x] download", 1_000_000, {"loss": 0.25}))
        renderer._bars.refresh()
        renderer(TaskEnded("[x] download"))
        renderer.close()
        text = stream.getvalue()
        if isinstance(stream, Terminal):
            assert "[x] download" in text
            assert "1.00M/2.00M" in text
            assert "loss 0.25" in text
        else:
            assert text == ""


@pytest.mark.parametrize("width", [80, 120])
def test_the_bar_of_an_epoch_tells_all_and_fits(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(progress_bars, "PATIENCE_SECONDS", -1.0)
    stream = Terminal()
    renderer = ProgressRenderer(terminal_console(stream, False, width))
    renderer(TaskStarted("epoch 100/200", 540_000, "images"))
    for step in range(9000, 9004):
        values = {
            "step": step, "num_steps": 16875, "loss": 0.01234, "accuracy": 0.9712,
            "learning_rate": 0.000165,
        }  # fmt: skip
        renderer(TaskAdvanced("epoch 100/200", step * 32, values))
    renderer._bars.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    last = re.split(r"[\r\n]", plain)[-1].rstrip()
    renderer.close()
    told = r"\d[kM]/s step 9003/16875 loss 0\.0123 acc 97\.1 % lr 0\.000165 +\d+:\d\d$"
    assert last.startswith("epoch 100/200 ")
    assert re.search(told, last), repr(last)
    assert len(last) <= width


def test_epochs_with_validation_and_test_fit_80_columns() -> None:
    metrics = EPOCH | {"test_loss": 0.4, "test_accuracy": 0.85}
    text = shown([EpochEnded(1, 100, metrics, True)])
    assert max(map(len, text.splitlines())) <= 80


def test_epochs_on_a_narrow_terminal_keep_to_a_line_each() -> None:
    stream = io.StringIO()
    renderer = ProgressRenderer(terminal_console(stream, color=False, width=50))
    renderer(EpochEnded(1, 10, EPOCH, True))
    heading, line = stream.getvalue().splitlines()
    assert max(len(heading), len(line)) <= 50
    assert "images/s" not in heading
    assert "val loss" in heading
    assert line.endswith("best")


def test_nobody_reading_is_no_reason_to_end() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    renderer = ProgressRenderer(terminal_console(Gone(), False, 80))
    renderer(Note("unheard"))
    renderer(Note("unheard again"))
