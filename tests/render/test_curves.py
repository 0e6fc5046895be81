"""Curves lie where the figures are, and are drawn whatever the figures."""

import dataclasses
import io
import math

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cnnkit.render.plots.curves import LINES, learning_rate_picture, training_curves
from cnnkit.results import EpochMetrics
from tests.results.examples import LR_FOUND, METRICS

Pixels = npt.NDArray[np.uint8]


def opened(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def epochs(number: int, has_val: bool = True, has_test: bool = False) -> list[EpochMetrics]:
    return [
        EpochMetrics(
            epoch,
            train_loss=2.3 / epoch,
            train_accuracy=1 - 0.5 / epoch,
            val_loss=2.0 / epoch if has_val else None,
            val_accuracy=1 - 0.6 / epoch if has_val else None,
            learning_rate=0.1,
            seconds=1.0,
            images_per_second=1000.0,
            test_loss=2.0 / epoch if has_test else None,
            test_accuracy=1 - 0.7 / epoch if has_test else None,
        )
        for epoch in range(1, number + 1)
    ]


def dots(canvas: Pixels, color: str) -> list[tuple[float, float]]:
    """Return where the dots of a line are, as (x, y) from the left upper corner, legend apart."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    there = (np.abs(canvas.astype(int) - wanted).max(-1) < 12)[:350]
    full = sum(np.roll(there, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) == 9
    groups: list[list[tuple[int, int]]] = []
    for y, x in np.argwhere(full).tolist():
        near = next((g for g in groups if abs(g[0][0] - y) < 8 and abs(g[0][1] - x) < 8), None)
        if near is None:
            groups.append([(y, x)])
        else:
            near.append((y, x))
    return sorted((sum(x for _, x in g) / len(g), sum(y for y, _ in g) / len(g)) for g in groups)


def test_dots_lie_where_the_figures_are() -> None:
    metrics = epochs(4)
    canvas = opened(training_curves("four", metrics))
    for (name, color, _), figures in zip(LINES[:2], ("train", "val"), strict=True):
        found = dots(canvas, color)
        assert len(found) == 8, name  # four in each panel
        for panel, kind in ((found[:4], "loss"), (found[4:], "accuracy")):
            values = [getattr(one, f"{figures}_{kind}") for one in metrics]
            heights = [y for _, y in panel]
            scale = (heights[0] - heights[3]) / (values[3] - values[0])
            for value, height in zip(values, heights, strict=True):
                assert heights[0] - height == pytest.approx(scale * (value - values[0]), abs=1.5)
            steps = np.diff([x for x, _ in panel])
            assert steps == pytest.approx([steps[0]] * 3, abs=1.5)


def top_ticks(canvas: Pixels) -> list[int]:
    """Return the columns of the marks on the axes along the top, from the left."""
    grey = canvas.astype(int).mean(-1)
    line = next(row for row in range(40, 200) if (grey[row] < 230).sum() > 700)
    marks = np.flatnonzero((grey[line - 3 : line] < 200).all(0))
    return [int(x) for x, before in zip(marks, [-9, *marks[:-1]], strict=True) if x > before + 1]


def test_images_seen_are_counted_along_the_top() -> None:
    canvas = opened(training_curves("four", epochs(4)))  # of 1,000 images each
    found = [x for x, _ in dots(canvas, LINES[0][1])]
    assert top_ticks(canvas) == pytest.approx(found, abs=1.5)
    fewer = [dataclasses.replace(one, images_per_second=400) for one in epochs(4)]
    found = [x for x, _ in dots(opened(training_curves("four", fewer)), LINES[0][1])]
    thousand = found[1] + (found[2] - found[1]) / 2  # after two epochs and a half
    assert min(abs(x - thousand) for x in top_ticks(opened(training_curves("four", fewer)))) < 1.5
    unknown = [dataclasses.replace(one, images_per_second=0) for one in epochs(4)]
    with pytest.raises(StopIteration):
        top_ticks(opened(training_curves("four", unknown)))


def is_seen(content: bytes, color: str) -> bool:
    """Return whether anything in a picture is of this colour, or nearly so."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(opened(content).astype(int) - wanted).max(-1) < 40).any())


@pytest.mark.parametrize("number", [1, 30, 2000])
@pytest.mark.parametrize("sets", [(False, False), (True, True)])
def test_any_number_of_epochs_and_sets(number: int, sets: tuple[bool, bool]) -> None:
    content = training_curves("$a$ [b] 日本", epochs(number, *sets), number)
    assert opened(content).shape == (440, 1000, 3)
    assert [is_seen(content, color) for _, color, _ in LINES] == [True, *sets]


def test_a_tested_run_shows_the_test_and_a_stopped_one_does_not() -> None:
    color = LINES[2][1]
    assert is_seen(training_curves("tested", epochs(3), 3, 3, METRICS), color)
    assert not is_seen(training_curves("stopped", epochs(3), 3), color)


@pytest.mark.parametrize("loss", [0.0, 1e-9, 1e9])
def test_odd_losses_and_accuracies(loss: float) -> None:
    for accuracy in (0.0, 1.0):
        one = dataclasses.replace(epochs(1)[0], train_loss=loss, train_accuracy=accuracy)
        opened(training_curves("odd", [one, dataclasses.replace(one, epoch=2)], 2))


def test_very_large_losses_leave_the_heading_in_its_place() -> None:
    usual, diverged = (
        opened(
            training_curves(
                "x", [dataclasses.replace(one, train_loss=loss) for one in epochs(1, False)]
            )
        )
        for loss in (1.0, 1e9)
    )
    assert np.array_equal(usual[30:68, 60:110], diverged[30:68, 60:110])


def test_the_search_for_a_learning_rate_is_drawn() -> None:
    opened(learning_rate_picture(LR_FOUND))
    opened(learning_rate_picture(dataclasses.replace(LR_FOUND, suggestion=None)))
    single = dataclasses.replace(LR_FOUND, points=LR_FOUND.points[:1], diverged_at=math.inf)
    opened(learning_rate_picture(single))
