"""How good a network is."""

from cnnkit.evaluation.evaluate import evaluate
from cnnkit.evaluation.predictions import Predictions, predict_all, wilson_interval
from cnnkit.evaluation.setup import Setup, file_sha256, lasting_name

__all__ = [
    "Predictions",
    "Setup",
    "evaluate",
    "file_sha256",
    "lasting_name",
    "predict_all",
    "wilson_interval",
]
