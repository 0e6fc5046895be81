"""When the state of a training is written."""

import math
from dataclasses import dataclass

from cnnkit.errors import UsageError, setting


@dataclass(frozen=True)
class Checkpointing:
    """When the state of a training is written, beside the end of every epoch.

    Attributes:
        minutes: after so many; 0 for never.
        steps: after so many steps, counted from the first of the run; None for never.
    """

    minutes: float = 10.0
    steps: int | None = None

    @classmethod
    def of(cls, minutes: float, steps: int | None) -> "Checkpointing":
        """Return these settings.

        Raises:
            UsageError: one of them is out of range.
        """
        if not 0 <= minutes < math.inf:
            raise UsageError(
                f"{setting('checkpoint_minutes')} must be at least 0, not {minutes:g}",
                "0 stands for never",
            )
        if steps is not None and steps < 1:
            raise UsageError(f"{setting('checkpoint_steps')} must be at least 1, not {steps}")
        return cls(float(minutes), steps)
