import io

import numpy as np
import pytest
from PIL import Image

from cnnkit.render.plots.confusion_matrix import confusion_picture


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image.convert("RGB")


@pytest.mark.parametrize("number", [1, 2, 10, 43, 100, 1000])
def test_any_number_of_classes(number: int) -> None:
    rows = np.eye(number, dtype=int) * 7
    image = opened(confusion_picture([f"class {i}" for i in range(number)], rows.tolist()))
    assert max(image.size) < 1200
    assert image.width >= 420


def test_a_cell_is_the_darker_the_larger_its_share_of_the_true_class() -> None:
    counts = [[90, 10, 0], [0, 0, 0], [5, 20, 75]]
    image = opened(confusion_picture(["$a$", "日本", "x" * 99], counts))
    # A corner of each cell, clear of its number; the matrix ends at the right, 20 from the edge.
    left, top, cell = 20 + 110, 60, 42
    found = [
        [sum(image.getpixel((left + cell * c + 3, top + cell * r + 3))) for c in range(3)]  # type: ignore[misc]
        for r in range(3)
    ]
    assert found[0][0] < found[2][2] < found[2][1] < found[0][1] < found[2][0] < found[0][2]
    assert found[1][0] == found[1][1] == found[1][2] == found[0][2]  # a class without images
    assert image.getpixel((left - 2, top + 3)) == (255, 255, 255)
