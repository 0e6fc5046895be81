"""The zoo as a result."""

from cnnkit.models.catalogue import MODELS
from cnnkit.models.entry import ModelEntry
from cnnkit.results import ModelList, ModelRow


def list_models(pattern: str = "*") -> ModelList:
    """Return the networks whose name fits a shell pattern, or contains it.

    Raises:
        NotFoundError: none does.
    """
    return ModelList(tuple(map(_row, MODELS.matching(pattern))))


def _row(entry: ModelEntry) -> ModelRow:
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
