"""How good a network is."""

from cnnkit.evaluation.evaluate import evaluate
from cnnkit.evaluation.predictions import Predictions, predict_all, wilson_interval
from cnnkit.evaluation.setup import Setup, check_fits, lasting_name
from cnnkit.evaluation.views import check_views

__all__ = [
    "Predictions",
    "Setup",
    "check_fits",
    "check_views",
    "evaluate",
    "lasting_name",
    "predict_all",
    "wilson_interval",
]
