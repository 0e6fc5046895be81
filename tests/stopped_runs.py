"""A run that was stopped after its first epoch, and what tests of it share."""

from pathlib import Path
from typing import Any

import pytest

import cnnkit as api
from cnnkit.errors import InterruptedRunError
from cnnkit.events import EpochEnded, Event


def stop_after_first(event: Event) -> None:
    """Press Ctrl+C where an epoch ends."""
    if isinstance(event, EpochEnded):
        raise KeyboardInterrupt


def stopped_run(runs_dir: Path, model: str = "linear", batch_size: int = 512, **given: Any) -> Path:
    """Return the folder of a run on the digits that was to have two epochs."""
    recipe = api.Recipe.of(epochs=2, batch_size=batch_size)
    with pytest.raises(InterruptedRunError):
        api.train(
            model, "digits", recipe, runs_dir=runs_dir, on_event=stop_after_first, device="cpu",
            **given,
        )  # fmt: skip
    (run,) = runs_dir.iterdir()
    return run


def make_probes_small(patch: pytest.MonkeyPatch) -> None:
    """Let `bench` find out little of the machine, which is of no matter to most tests."""
    from cnnkit.bench import peaks

    patch.setattr(peaks, "_MATRICES", {"cpu": (256,)})
    patch.setattr(peaks, "_CONVOLUTIONS", ((2, 16, 14, 16, 3),))
    patch.setattr(peaks, "_MEMORY_BYTES", {"cpu": 2**20})
    patch.setattr(peaks, "PROBE_SECONDS", 0.01)
