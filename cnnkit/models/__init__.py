"""The zoo: networks by name, described without torch and built with it."""

from cnnkit.models.build import build_model, check_request, code_files, find_model
from cnnkit.models.description import ModelDescription, ModelEntry, PublishedAccuracy, PublishedCost
from cnnkit.models.networks import MODELS

__all__ = [
    "MODELS",
    "ModelDescription",
    "ModelEntry",
    "PublishedAccuracy",
    "PublishedCost",
    "build_model",
    "check_request",
    "code_files",
    "find_model",
]
