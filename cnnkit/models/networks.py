"""The catalog of named networks, read from `networks.toml` without importing torch."""

import tomllib
from collections.abc import Iterator
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.models.description import ModelEntry, PublishedAccuracy, PublishedCost
from cnnkit.registry import Catalog

if TYPE_CHECKING:  # looking up a name must not cost the import of all results
    from cnnkit.results import ModelList, ModelRow

FILE = Path(__file__).with_name("networks.toml")
TORCHVISION = "torchvision.models"
_UNITS = {"gmacs": "MACs", "gflops": "FLOPs"}


def read_networks(path: Path = FILE) -> Iterator[ModelEntry]:
    """Return the networks of a TOML file; the comment at its top describes the format.

    Raises:
        TypeError, KeyError: a network has an unknown key, or lacks one.
    """
    for family in tomllib.loads(path.read_text("utf-8"))["family"]:
        networks = family.pop("networks")
        family["family"] = family.pop("name")
        for network in networks:
            yield _entry(family | network)


def _entry(known: dict[str, Any]) -> ModelEntry:
    """Return the entry of a network from its table in the file."""
    module, name, native = known.pop("module"), known.pop("name"), known.pop("input")
    accuracy = [_accuracy(**one) for one in known.pop("accuracy", ())]
    accuracy += starmap(_accuracy_of_weights, known.pop("weights", ()))
    cost = [_cost(**one) for one in known.pop("cost", ())]
    cost += starmap(_cost_of_weights, known.pop("gmacs", {}).items())
    keywords = known.pop("keywords", {})
    defaults = {"num_classes": 10, "takes_channels": True, "takes_size": False}
    if module == TORCHVISION:
        defaults |= {"num_classes": 1000, "takes_channels": False}
        # Weights that were trained elsewhere are never loaded by an argument in passing.
        keywords = {"weights": None, **keywords}
    return ModelEntry(
        name=name,
        builder=f"{module}:{name}",
        input=tuple(native),
        fixed_size="min_size" not in known,
        accuracy=tuple(accuracy),
        cost=tuple(cost),
        keywords=tuple(keywords.items()),
        **{**defaults, "min_size": native[1], **known},
    )


def _accuracy(
    dataset: str,
    source: str,
    weights: str = "",
    crop: int | None = None,
    top1: float | None = None,
    top5: float | None = None,
) -> PublishedAccuracy:
    """Return an accuracy, given in percent."""
    first, five = (None if value is None else round(value / 100, 5) for value in (top1, top5))
    return PublishedAccuracy(dataset, first, five, weights, crop, source)


def _accuracy_of_weights(weights: str, crop: int, top1: float, top5: float) -> PublishedAccuracy:
    source = "torchvision, metadata of the weights"
    return _accuracy("ImageNet-1K", source, weights, crop, top1, top5)


def _cost(source: str, crop: int | None = None, **value: float) -> PublishedCost:
    """Return a cost, given as `gmacs` or `gflops`."""
    [(unit, number)] = value.items()
    return PublishedCost(round(number * 1e9), _UNITS[unit], source, crop)


def _cost_of_weights(crop: str, gmacs: float) -> PublishedCost:
    source = "torchvision, metadata of the weights, in units of 10^9 to three decimals"
    return _cost(source, int(crop), gmacs=gmacs)


MODELS: Catalog[ModelEntry] = Catalog("model", read_networks)
"""All named networks."""


def list_models(pattern: str = "*") -> "ModelList":
    """Return the networks whose name matches a shell pattern, or contains it.

    Raises:
        NotFoundError: none does.
    """
    from cnnkit.results import ModelList

    return ModelList(tuple(map(_row, MODELS.matching(pattern))))


def _row(entry: ModelEntry) -> "ModelRow":
    from cnnkit.results import ModelRow

    accuracy = entry.accuracy[0] if entry.accuracy else None
    cost = entry.cost[0] if entry.cost else None
    macs = cost.value if cost is not None and cost.unit == "MACs" else None
    return ModelRow(
        name=entry.name,
        family=entry.family,
        year=entry.year,
        input="x".join(map(str, entry.input)),
        min_size=entry.min_size,
        num_params=entry.num_params,
        macs=macs,
        top1=accuracy.top1 if accuracy else None,
        top1_dataset=accuracy.dataset if accuracy else None,
        salient=entry.salient,
        reference=entry.reference,
    )
