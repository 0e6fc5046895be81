"""How good a network is."""

from cnnkit.evaluation.evaluate import evaluate, memory_format_for
from cnnkit.evaluation.predictions import Predictions, predict_all, wilson_interval
from cnnkit.evaluation.setup import Setup

__all__ = [
    "Predictions",
    "Setup",
    "evaluate",
    "memory_format_for",
    "predict_all",
    "wilson_interval",
]
