"""What a training says of itself before it begins."""

import pytest
import torch

from cnnkit.training import plan


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
