"""How good a network is."""

from cnnkit.evaluation.evaluate import evaluate
from cnnkit.evaluation.predictions import Predictions, predict_all, wilson_interval
from cnnkit.evaluation.setup import Setup, file_sha256
from cnnkit.evaluation.views import check_views

__all__ = [
    "Predictions",
    "Setup",
    "check_views",
    "evaluate",
    "file_sha256",
    "predict_all",
    "wilson_interval",
]
