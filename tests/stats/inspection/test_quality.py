"""What is odd is found, what is not is left alone, and the figures are those of NumPy."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_sample_images

from cnnkit.render.tables.stats import issue_table
from cnnkit.results.inspection import ISSUES, ImageIssue
from cnnkit.stats.inspection.quality import (
    QualityCollector,
    issues_of,
    measure_quality,
    measure_sharpness,
)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


def found(image: Image.Image) -> tuple[str, ...]:
    return issues_of(measure_quality(image))


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (30, 20), (101, 99)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_figures_are_those_of_numpy(size: tuple[int, int], mode: str) -> None:
    random = np.random.default_rng(0)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    image = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
    quality = measure_quality(image)
    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255
    assert quality.brightness == pytest.approx(grey.mean(), rel=1e-12)
    assert quality.contrast == pytest.approx(grey.std(), abs=1e-12)
    ordered = np.sort(grey.reshape(-1))
    hundredth = int(np.ceil(len(ordered) / 100))
    assert quality.dark == ordered[hundredth - 1]
    assert quality.bright == ordered[-hundredth]


def test_sharpness_is_the_variance_of_the_laplacian_of_scipy(
    photographs: list[Image.Image],
) -> None:
    for photograph in photographs:
        grey = photograph.convert("L").resize((256, 171), Image.Resampling.BILINEAR)
        values = np.asarray(grey, dtype=np.float64)
        expected = ndimage.laplace(values)[1:-1, 1:-1].var() / values.var()
        assert measure_sharpness(grey) == pytest.approx(expected, rel=1e-4)
        assert measure_sharpness(photograph.convert("L")) == pytest.approx(expected, rel=1e-4)


def test_sharpness_of_white_noise_is_twenty() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (250, 250), dtype=np.uint8)
    assert measure_sharpness(Image.fromarray(noise)) == pytest.approx(20, rel=0.05)


def test_sharpness_does_not_depend_on_contrast_and_hardly_on_size(
    photographs: list[Image.Image],
) -> None:
    for photograph in photographs:
        grey = photograph.convert("L")
        sharpness = measure_sharpness(grey)
        assert sharpness is not None
        assert measure_sharpness(grey.point(lambda value: value // 2)) == pytest.approx(
            sharpness, rel=0.1
        )
        enlarged = grey.resize((2 * grey.width, 2 * grey.height), Image.Resampling.BICUBIC)
        assert measure_sharpness(enlarged) == pytest.approx(sharpness, rel=0.1)


def test_photographs_are_fine_until_they_are_spoilt(photographs: list[Image.Image]) -> None:
    for photograph in photographs:
        assert found(photograph) == ()
        assert found(photograph.resize((128, 85))) == ()
        assert found(photograph.filter(ImageFilter.GaussianBlur(1))) == ()
        assert found(photograph.filter(ImageFilter.GaussianBlur(5))) == ("blurred",)
        assert found(photograph.point(lambda value: value // 6)) == ("very dark",)
        assert found(photograph.point(lambda value: 210 + value // 6)) == ("very bright",)


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, ("blank", "very dark")), (128, ("blank",)), (255, ("blank", "very bright"))],
)
def test_blank(level: int, expected: tuple[str, ...]) -> None:
    assert found(Image.new("L", (40, 30), level)) == expected
    assert found(Image.new("RGB", (1, 1), (level, level, level))) == expected
    random = np.random.default_rng(0)
    noise = random.integers(-1, 2, (30, 40))
    assert found(Image.fromarray((level + noise).clip(0, 255).astype(np.uint8))) == expected
    wide = np.full((3, 30, 40), level * 257, dtype=np.uint16)
    assert issues_of(measure_quality(wide)) == expected


def test_a_page_of_text_is_neither_very_bright_nor_blurred() -> None:
    page = Image.new("L", (400, 300), 255)
    for line in range(10):
        ImageDraw.Draw(page).text((20, 20 + 26 * line), "the quick brown fox jumps over it all")
        ImageDraw.Draw(page).text((20, 20 + 26 * line), "the quick brown fox jumps over", fill=0)
    assert found(page) == ()


def test_the_digits_of_mnist_are_fine(mnist_files: Path) -> None:
    content = gzip.decompress((mnist_files / "t10k-images-idx3-ubyte.gz").read_bytes())
    collector = QualityCollector()
    for number, pixels in enumerate(
        np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    ):
        collector.add(str(number), Image.fromarray(pixels))
    assert collector.result().images == ()
    assert collector.result().num_images == 10_000


def test_too_small_to_be_called_blurred() -> None:
    ramp = np.tile(np.arange(0, 70, 10, dtype=np.uint8), (7, 1))
    assert measure_quality(Image.fromarray(ramp)).sharpness is None


def test_threads_and_parts_come_to_the_same(photographs: list[Image.Image]) -> None:
    small = [photograph.resize((64, 48)) for photograph in photographs]
    images = [
        (f"{number}.png", small[number % 2].point(lambda value, n=number: value * n // 24))
        for number in range(24)
    ]
    one = QualityCollector()
    for name, image in images:
        one.add(name, image)
    many, rest = QualityCollector(), QualityCollector()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: many.add(*pair), reversed(images[:20])))
    for name, image in images[20:]:
        rest.add(name, image)
    many.extend(rest.num_images, rest.found)
    assert many.result() == one.result()
    result = one.result()
    assert result.num_images == 24
    dark = [
        name for name, image in images if np.quantile(np.asarray(image.convert("L")), 0.99) < 51
    ]
    assert 1 < len(dark) < 24
    assert [image.path for image in result.images] == dark
    plain = result.to_dict()
    assert [plain[f"num_{issue.replace(' ', '_')}"] for issue in ISSUES] == [1, len(dark), 0, 0]
    assert list(plain["images"][0]) == [
        "path", "issues", "brightness", "contrast", "dark", "bright", "sharpness"
    ]  # fmt: skip
    assert plain["images"][0]["sharpness"] is None
    assert isinstance(result.images[0], ImageIssue)
    assert issue_table(result).rows[0][0] == "blank, very dark"
