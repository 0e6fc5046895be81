import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from cnnkit.data.histogram import count_values
from cnnkit.data.loading import preprocessing
from cnnkit.data.loading.preprocessing import Preprocessing, to_channels
from cnnkit.data.normalization import _mean_and_std
from cnnkit.errors import UsageError

sizes = st.integers(1, 40)


def plain(channels: int, height: int, width: int) -> Preprocessing:
    return Preprocessing(channels, height, width, (0.0,) * channels, (1.0,) * channels)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photograph(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(rows / (3 + i) + columns / (5 + i)) for i in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@given(sizes, sizes, sizes, sizes)
@settings(max_examples=60, deadline=None)
def test_any_size_becomes_the_wanted_one(h: int, w: int, height: int, width: int) -> None:
    images = torch.randint(0, 256, (2, 3, h, w), dtype=torch.uint8)
    assert plain(3, height, width).resize(images).shape == (2, 3, height, width)
    content = encoded(Image.fromarray(images[0].permute(1, 2, 0).numpy()))
    assert plain(3, height, width).decode(content).shape == (3, height, width)


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (14, 14), (57, 57)])
def test_resizing_is_that_of_torchvision(size: tuple[int, int]) -> None:
    images = torch.from_numpy(photograph(28, 28)).permute(2, 0, 1)[None]
    wanted = reference.resize(images, list(size), antialias=True)
    difference = plain(3, *size).resize(images).int() - wanted.int()
    assert difference.abs().max() <= 1  # its integer arithmetic rounds otherwise


def test_memory_and_files_are_resized_alike() -> None:
    pixels = photograph(30, 45)
    treated = plain(3, 16, 16)
    from_memory = treated.resize(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    from_file = treated.decode(encoded(Image.fromarray(pixels)))
    assert (from_memory.int() - from_file.int()).abs().max() <= 1


def test_the_centre_is_kept() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert (plain(3, 10, 10).decode(encoded(Image.fromarray(pixels))) == 255).all()


def test_normalisation_is_the_formula_in_float64() -> None:
    treated = Preprocessing(3, 4, 5, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    images = torch.randint(0, 256, (6, 3, 4, 5), dtype=torch.uint8)
    mean = torch.tensor(treated.mean, dtype=torch.float64).reshape(3, 1, 1)
    std = torch.tensor(treated.std, dtype=torch.float64).reshape(3, 1, 1)
    wanted = (images.double() / 255 - mean) / std
    torch.testing.assert_close(treated.normalize(images).double(), wanted, rtol=1e-6, atol=1e-6)
    grey = images[:, :1]
    torch.testing.assert_close(
        treated.normalize(grey), treated.normalize(grey.expand(-1, 3, -1, -1))
    )


def test_what_was_normalised_comes_back_to_the_byte() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    for mean, std in (
        ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
        ((0.0,) * 3, (9.0,) * 3),
    ):
        treat = Preprocessing(3, 16, 16, mean, std)
        assert torch.equal(treat.denormalize(treat.normalize(pixels)), pixels)
        beyond = treat.normalize(pixels) * 100  # an augmentation may leave the range
        assert treat.denormalize(beyond).dtype == torch.uint8


def test_grey_is_that_of_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    ours = to_channels(torch.from_numpy(pixels).permute(2, 0, 1)[None], 1)
    theirs = np.asarray(Image.fromarray(pixels).convert("L"))
    assert (ours[0, 0].numpy() == theirs).all()


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("L", 200, (200, 200, 200)),
        ("LA", (200, 0), (200, 200, 200)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("I;16", 51400, (200, 200, 200)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_colour(mode: str, value: object, rgb: tuple[int, ...]) -> None:
    content = encoded(Image.new(mode, (6, 6), value))
    assert plain(3, 6, 6).decode(content)[:, 3, 3].tolist() == list(rgb)


def test_palettes_and_cmyk_become_colour() -> None:
    palette = Image.new("P", (6, 6), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert plain(3, 6, 6).decode(encoded(palette))[:, 0, 0].tolist() == [10, 20, 30]
    content = encoded(palette, transparency=0)
    assert plain(3, 6, 6).decode(content)[:, 0, 0].tolist() == [10, 20, 30]
    content = encoded(Image.new("CMYK", (6, 6), (0, 0, 0, 0)), "TIFF")
    assert plain(3, 6, 6).decode(content)[:, 0, 0].tolist() == [255, 255, 255]


@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_statistics_are_those_of_float64(number: int, channels: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (number, channels, 5, 7), dtype=np.uint8)
    mean, std = _mean_and_std(count_values(torch.from_numpy(pixels)))
    scaled = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-9, atol=1e-12)


def test_it_survives_the_run_description() -> None:
    import json
    from dataclasses import asdict

    treated = Preprocessing(1, 32, 32, (0.1307,), (0.3081,))
    assert Preprocessing.from_dict(json.loads(json.dumps(asdict(treated)))) == treated


def test_images_in_memory_are_not_resized_to_too_many_pixels() -> None:
    thin = torch.zeros((2, 1, 1, 65_500), dtype=torch.uint8)
    with pytest.raises(UsageError, match=r"65,500 x 1 pixels, resized to .* more than 89,478,485"):
        plain(1, 224, 224).resize(thin)
    assert plain(1, 2, 2).resize(thin[:, :, :, :500]).shape == (2, 1, 2, 2)


@pytest.mark.parametrize("size", [(40, 3000), (3000, 40)])
def test_a_long_image_is_cropped_while_it_is_resized(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(Image.fromarray(photograph(*size)))
    whole = plain(3, 64, 64).decode(content)
    monkeypatch.setattr(preprocessing, "MAX_UNCROPPED_PIXELS", 1000)
    assert (plain(3, 64, 64).decode(content).int() - whole.int()).abs().max() <= 1
