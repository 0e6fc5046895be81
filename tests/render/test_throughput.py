"""The picture of throughput: a panel a network and mode, a line a device and setting."""

import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from PIL import Image

from cnnkit.render.plots.style import PICTURE_SUFFIXES
from cnnkit.render.plots.throughput import draw_throughput
from tests.results.bench_examples import BENCHED, FEW, PEAKED


def texts(svg: bytes) -> set[str | None]:
    return {one.text for one in ET.fromstring(svg).iter() if one.tag.endswith("text")}


def test_lines_are_told_apart_by_device_and_what_varies() -> None:
    found = texts(draw_throughput(BENCHED, ".svg"))
    assert {
        "resnet18, input 3x224x224, infer", "resnet18, input 3x224x224, train", "images a batch",
        "images a second", "cpu channels-last", "cuda bf16 channels-last compiled", "512",
    } <= found  # fmt: skip
    assert not any("mps" in (text or "") for text in found)  # it has no time


def test_few_batches_and_none_at_all() -> None:
    with Image.open(io.BytesIO(draw_throughput(FEW, ".png"))) as image:
        assert image.size == (1000, 440)
    failed = replace(FEW, cells=tuple(replace(c, images_per_second=None) for c in FEW.cells))
    for result in (PEAKED, failed):
        assert "no configuration was measured" in texts(draw_throughput(result, ".svg"))


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_the_same_cells_give_the_same_picture(suffix: str) -> None:
    assert draw_throughput(BENCHED, suffix) == draw_throughput(BENCHED, suffix)
