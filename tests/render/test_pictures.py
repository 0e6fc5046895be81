"""Pictures hold the very pixels, in the right place, whatever the sizes and names."""

import io
import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cnnkit.render import print_result, terminal_console
from cnnkit.render.plots.overview import overview_picture
from cnnkit.render.plots.sample_grid import _Grid, samples_picture
from cnnkit.results.show import Picture, Sample, SampleList
from tests.results.examples import MIXED, SHOWN

Pixels = npt.NDArray[np.uint8]


def picture(pixels: Pixels) -> Picture:
    channels = 1 if pixels.ndim == 2 else 3
    return Picture(pixels.shape[1], pixels.shape[0], channels, pixels.tobytes())


def samples(*images: Pixels, titles: tuple[str, ...] = ("as stored",)) -> SampleList:
    return SampleList(
        dataset="made up",
        split="train",
        num_images=100,
        num_candidates=100,
        seed=0,
        input=None,
        normalization=None,
        stages=titles,
        samples=tuple(
            Sample(
                index, f"class {index}", pixels.shape[1], pixels.shape[0], "RGB", None, None,
                (picture(pixels),) * len(titles),
            )
            for index, pixels in enumerate(images)
        ),
    )  # fmt: skip


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def opened(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def contains(canvas: Pixels, part: Pixels) -> bool:
    """Return whether a picture is somewhere in another, to the pixel."""
    height, width = part.shape[:2]
    starts = np.argwhere((canvas == part[0, 0]).all(axis=-1))
    return any(
        np.array_equal(canvas[y : y + height, x : x + width], part) for y, x in starts.tolist()
    )


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (32, 20), (1, 1), (150, 100)])
def test_every_pixel_of_a_small_image_is_a_square(size: tuple[int, int]) -> None:
    images = [noise(*size, seed) for seed in range(16)]
    canvas = opened(samples_picture(samples(*images)))
    scale = round(150 / max(size))
    for pixels in images:
        enlarged = pixels.repeat(scale, 0).repeat(scale, 1)
        assert contains(canvas, enlarged)


def test_a_single_image_is_shown_large_and_a_large_one_reduced() -> None:
    small = noise(28, 28)
    assert contains(opened(samples_picture(samples(small))), small.repeat(17, 0).repeat(17, 1))
    large = noise(600, 1200)
    canvas = opened(samples_picture(samples(large)))
    reduced = Image.fromarray(large).resize((480, 240), Image.Resampling.LANCZOS)
    assert contains(canvas, np.asarray(reduced))


def test_pictures_of_one_sample_stand_side_by_side() -> None:
    images = [noise(32, 32, seed) for seed in range(4)]
    canvas = opened(samples_picture(samples(*images, titles=("a", "b", "c"))))
    row = images[0].repeat(5, 0).repeat(5, 1)
    places = np.argwhere((canvas == row[0, 0]).all(axis=-1)).tolist()
    found = [(y, x) for y, x in places if np.array_equal(canvas[y : y + 160, x : x + 160], row)]
    assert len(found) == 3
    assert len({y for y, _ in found}) == 1


@pytest.mark.parametrize("number", [1, 2, 7, 10, 50, 1000, 10_000])
def test_any_number_of_images_fits_in_a_picture_of_bounded_size(number: int) -> None:
    canvas = opened(samples_picture(samples(*[noise(8, 8)] * number)))
    height, width = canvas.shape[:2]
    assert height * width < 1e8
    assert 0.4 < width / height < 3.1


def test_odd_samples_are_drawn() -> None:
    from dataclasses import replace

    opened(samples_picture(SHOWN))  # grey, a broken one, signs of markup
    opened(samples_picture(MIXED))
    names = ("", "日本語", "$x_1$", "a" * 500, "two\nlines")
    changed = tuple(
        replace(sample, label=name)
        for name, sample in zip(names, samples(*[noise(5, 90)] * 5).samples, strict=True)
    )
    opened(samples_picture(replace(SHOWN, stages=("as stored",), samples=changed)))


def preview(result: SampleList, width: int = 80, system: str = "truecolor") -> list[str]:
    stream = io.StringIO()
    print_result(terminal_console(stream, True, width, system), result)
    return stream.getvalue().splitlines()


def test_the_preview_has_two_pixels_a_character() -> None:
    pixels = noise(7, 6)
    lines = preview(samples(pixels))
    read = np.zeros((8, 6, 3), dtype=int)
    for row in range(4):
        blocks = re.findall(r"\x1b\[38;2;(\d+;\d+;\d+)(?:;48;2;(\d+;\d+;\d+))?m▀", lines[row])
        assert len(blocks) == 6
        assert lines[row].endswith("m▀\x1b[0m  ")  # as wide as a label
        for column, halves in enumerate(blocks):
            for half, color in enumerate(halves):
                if color:
                    read[2 * row + half, column] = [int(value) for value in color.split(";")]
    assert np.array_equal(read[:7], pixels)
    assert (read[7] == 0).all()
    assert "class 0" in lines[4]
    assert lines[-1] == "1 of the 100 train images of made up, chosen by seed 0"


@pytest.mark.parametrize("width", [20, 40, 80, 120])
@pytest.mark.parametrize("titles", [("a",), ("a", "b", "c", "d")])
def test_the_preview_fits_the_terminal(width: int, titles: tuple[str, ...]) -> None:
    images = [noise(40, 60, seed) for seed in range(5)]
    for line in preview(samples(*images, titles=titles), width):
        assert len(re.sub(r"\x1b\[[\d;]*m", "", line)) <= width
    for result in (SHOWN, samples(noise(200, 300)), samples()):
        for line in preview(result, width):
            plain = re.sub(r"\x1b\[[\d;]*m", "", line)
            assert len(plain) <= width or " " not in plain


def test_a_terminal_of_few_colours_gets_those_that_it_has() -> None:
    text = "\n".join(preview(samples(noise(8, 8)), system="256"))
    assert "▀" in text
    assert "38;5;" in text
    assert "38;2;" not in text


def test_without_colour_there_is_a_table() -> None:
    stream = io.StringIO()
    print_result(terminal_console(stream, False, 80), samples(noise(8, 8)))
    assert "▀" not in stream.getvalue()
    assert "class 0" in stream.getvalue()


COUNTS = [1000 + 5 * value for value in range(256)]
MANY_SIZES = {(side + 9, side * side + 1): side + 1 for side in range(3000)}
LONG = "a very long name of a class of animals that live in the sea"


@pytest.mark.parametrize(
    ("channels", "classes", "sizes"),
    [
        ([("grey", COUNTS)], [("only", 3)], {(28, 28): 3}),
        ([("red", COUNTS), ("green", COUNTS), ("blue", COUNTS)], [], {(3, 4): 1, (900, 4): 2}),
        ([("grey", [0] * 255 + [9])], [("a", 0), ("b", 9)], {(1, 1): 9}),
        ([("grey", [800_000] + [1] * 255)], [("$x$", 5), (LONG, 0), ("日本", 1)], {}),
        ([], [(f"class {i}", 1000 - i % 7) for i in range(1000)], {}),
        ([("grey", COUNTS)], [(str(i), i) for i in range(30)], MANY_SIZES),
        ([("grey", [0] * 256)], [("a", 0)], {}),
        ([], [], {}),
    ],
)  # fmt: skip
def test_statistics_of_any_kind_are_drawn(
    channels: list[tuple[str, list[int]]],
    classes: list[tuple[str, int]],
    sizes: dict[tuple[int, int], int],
) -> None:
    canvas = opened(overview_picture("a title of $any$ kind", channels, classes, sizes))
    parts = bool(channels) + bool(classes) + (len(sizes) > 1)
    assert canvas.shape[1] == 40 + 460 * max(parts, 1)
    assert canvas.min() < 100  # something was drawn


def test_the_bars_are_as_long_as_the_counts() -> None:
    counts = [100, 50, 25, 0, 75]
    classes = [(f"class {number}", count) for number, count in enumerate(counts)]
    canvas = opened(overview_picture("bars", [], classes, {}))
    is_bar = (canvas == np.array([0x54, 0x77, 0x9E], dtype=np.uint8)).all(axis=-1)
    lengths = is_bar.sum(axis=1)
    rows = np.flatnonzero(lengths)
    bars = np.split(rows, np.flatnonzero(np.diff(rows) > 3) + 1)
    measured = [np.median(lengths[bar]) for bar in bars]
    assert len(measured) == 4
    for length, count in zip(measured, [100, 50, 25, 75], strict=True):
        assert length / measured[0] == pytest.approx(count / 100, abs=0.02)


def test_a_picture_has_its_own_caption_beside_the_label_of_the_sample() -> None:
    plain = replace(
        MIXED,
        samples=tuple(
            replace(sample, pictures=sample.pictures and tuple(
                replace(one, caption=()) for one in sample.pictures
            ))
            for sample in MIXED.samples
        ),
    )  # fmt: skip
    with_captions, without = opened(samples_picture(MIXED)), opened(samples_picture(plain))
    assert with_captions.shape == without.shape
    rows, columns = np.nonzero((with_captions != without).any(2))
    grid = _Grid(MIXED)
    x, y = grid._corner(0)
    left = x + grid._side + 12
    assert left <= columns.min() < columns.max() < left + grid._side  # below its own picture
    assert y + grid._side < rows.min() < rows.max() < y + grid._row_height
