"""Evaluation of trained networks."""

from cnnkit.evaluation.evaluate import evaluate
from cnnkit.evaluation.predictions import Predictions, predict_all, wilson_interval

__all__ = [
    "Predictions",
    "evaluate",
    "predict_all",
    "wilson_interval",
]
