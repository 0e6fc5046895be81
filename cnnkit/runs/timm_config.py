"""The `config.json` beside weights, with which timm loads them as `local-dir:`."""

from typing import Any

from cnnkit.models import ModelDescription
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.system.trust import TIMM


def timm_config(model: ModelDescription, setup: ModelAndData) -> dict[str, Any] | None:
    """Return what timm reads: architecture, classes, and how an image becomes an input.

    `timm.create_model("local-dir:RUN/checkpoints/best", pretrained=True)` then returns the network
    with its weights.

    Args:
        model: what is known of the network.
        setup: network and data of the run.

    Returns:
        None for a network that timm does not have, or not with these arguments.
    """
    name = setup.model.removeprefix(TIMM) if setup.model.startswith(TIMM) else None
    if model.entry is not None and model.entry.in_timm:
        name = model.entry.name
    if name is None or setup.model_arguments:
        return None
    treatment = setup.preprocessing
    config: dict[str, Any] = {
        "architecture": name.split(".")[0],  # what follows names pretrained weights
        "num_classes": len(setup.classes),
        "label_names": list(setup.classes),
        "pretrained_cfg": {
            "input_size": [treatment.channels, treatment.height, treatment.width],
            "mean": list(treatment.mean),
            "std": list(treatment.std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
        },
    }
    if setup.in_channels != 3:
        config["model_args"] = {"in_chans": setup.in_channels}
    return config
