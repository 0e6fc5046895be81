"""What a training says of itself before it begins."""

from pathlib import Path

import pytest
import torch

import cnnkit
from cnnkit import Recipe
from cnnkit.events import Event
from cnnkit.results import TrainResult
from cnnkit.training import plan
from tests.training.killing import make_photos


@pytest.mark.parametrize(
    ("name", "device", "is_native", "cuda", "said"),
    [
        ("fp32", "cpu", False, None, "fp32"),
        ("bf16", "cpu", True, None, "bf16"),
        ("bf16", "cpu", False, None, "bf16 (by way of fp32, and slow)"),
        ("fp32", "cuda", True, "13.0", "fp32 (convolutions multiply in tf32)"),
        ("fp32", "cuda", False, "13.0", "fp32"),  # before compute capability 8
        ("fp32", "cuda", True, None, "fp32"),  # ROCm
        ("bf16", "cuda", True, "13.0", "bf16"),
    ],
)
def test_a_precision_is_said_with_what_it_comes_to(
    name: str,
    device: str,
    is_native: bool,
    cuda: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "has_native_bf16", lambda device: is_native)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert plan._precision(name, torch.device(device)) == said


def test_ieee_convolutions_are_not_called_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "has_native_bf16", lambda device: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    rounding = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    try:
        assert plan._precision("fp32", torch.device("cuda")) == "fp32"
    finally:
        torch.backends.cudnn.conv.fp32_precision = rounding


def said(dataset: str, **settings: object) -> tuple[str, TrainResult]:
    """Return all that a training says, and its result."""
    events: list[Event] = []
    result = cnnkit.train(
        "linear",
        dataset,
        Recipe.of(**{"epochs": 2, **settings}),
        input=(3, 8, 8) if "photos" in dataset else None,
        skip_bad=True,
        on_event=events.append,
    )
    return "\n".join(str(getattr(one, "text", "")) for one in events), result


def test_a_batch_larger_than_the_set_is_said() -> None:
    told = "a batch of 5,000 is all 1,438 training images: an epoch is a single step"
    assert told in said("digits", batch_size=5000, val_split=0.0)[0]
    assert "a single step" not in said("digits", batch_size=1438, val_split=0.0)[0]


def test_where_nothing_can_be_held_out_nothing_is_tested() -> None:
    make_photos(Path("photos"))
    for path in sorted(Path("photos").rglob("*.jpg")):
        if path.name != "0.jpg":
            path.unlink()
    told, result = said("photos", val_split=0.0)
    assert "2 to train on; " in told
    assert "there is no test set, so the result is not tested" in told
    assert result.test is None


def test_broken_images_that_are_known_are_not_counted() -> None:
    make_photos(Path("photos"))
    clean, _ = said("photos", val_split=0.0)
    for path in sorted(Path("photos").rglob("*.jpg")):
        path.write_bytes(path.read_bytes() if path.stem != "1" else b"no image")
    broken, result = said("photos", val_split=0.0)
    num_clean, num_whole = (
        int(text.split(" to train on")[0].rsplit(maxsplit=1)[-1]) for text in (clean, broken)
    )
    assert result.num_train_images == num_whole < num_clean
