"""The verb: several networks side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from cnnkit.architecture.find_network import find_subject
from cnnkit.architecture.input_shapes import InputShape, as_input_shapes
from cnnkit.architecture.lecture_comparison import printed_figures
from cnnkit.architecture.summarize import summary
from cnnkit.errors import UsageError, setting
from cnnkit.events import (
    OnEvent,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
    emit,
    handled_by,
    ignore,
    takes_on_event,
)
from cnnkit.models import MODELS
from cnnkit.models.description import ModelEntry, PublishedAccuracy
from cnnkit.registry import did_you_mean
from cnnkit.results import (
    COMPARE_SORT_KEYS,
    ComparedModel,
    ComparisonResult,
    Difference,
    SummaryResult,
)
from cnnkit.runs.code import Trusted

_TASK = "comparing"


@takes_on_event
def compare(
    models: str | nn.Module | Sequence[str | nn.Module],
    input: Any = None,  # noqa: A002  # the word for it
    *,
    batch_size: int = 1,
    dtype: str = "float32",
    optimizer: str = "adam",
    sort: str | None = None,
    baseline: bool = False,
    runs_dir: str | Path = "runs",
    trust_code: bool = False,
    on_event: OnEvent | None = None,
) -> ComparisonResult:
    """Return several networks side by side: their costs and published values.

    A network that is named twice, for instance by a pattern, appears once. Nothing is allocated,
    as in `summary`.

    Args:
        models: names of the zoo, patterns such as `resnet*`, `timm:NAME`, `FILE.py:FUNCTION`, run
            folders, or modules of one's own.
        input: shape without the batch for all of them, as (3, 224, 224) or `"3x224x224"`; None
            for the native one of each.
        batch_size: images a batch; costs are for all of it.
        dtype: of weights and images: `float32`, `float64`, `bfloat16` or `float16`.
        optimizer: whose state the memory of training holds.
        sort: what to sort by, the largest first, one of `COMPARE_SORT_KEYS`; None for the order
            in which they are given.
        baseline: also compare every network with the first one.
        runs_dir: where runs are looked for.
        trust_code: let the code run that a run folder brings, though this user has not trained
            with it.
        on_event: called with each event; None keeps the current handler.

    Raises:
        NotFoundError: there is no such network, file, function or run.
        UsageError: a network cannot take the input, or an argument is wrong.
        UnavailableError: a package is missing.
        CheckFailedError: a run is damaged, or brings code that the user does not trust.
    """
    runs_dir = Path(runs_dir)
    if sort is not None and sort not in COMPARE_SORT_KEYS:
        raise UsageError(
            f"{setting('sort')} {sort!r} is unknown",
            did_you_mean(sort, COMPARE_SORT_KEYS)
            or f"choose one of {', '.join(COMPARE_SORT_KEYS)}",
        )
    # All names are looked up before the work begins, so that a wrong one is reported at once.
    inputs = as_input_shapes(input)
    candidates = _candidates(models, inputs, runs_dir, Trusted(code=trust_code))
    if baseline and len(candidates) < 2:
        raise UsageError("there is nothing to compare with the first network", "name a second one")

    def look(model: str | nn.Module, arguments: Mapping[str, str] | None = None) -> SummaryResult:
        return summary(
            model,
            inputs if arguments is None else None,
            batch_size=1 if arguments is not None else batch_size,
            dtype=dtype,
            optimizer=optimizer,
            arguments=arguments,
            runs_dir=runs_dir,
            trust_code=trust_code,
        )

    rows = []
    emit(TaskStarted(_TASK, len(candidates), "networks"))
    try:
        for number, one in enumerate(candidates, start=1):
            rows.append(_compared(one, look(one.model)))
            emit(TaskAdvanced(_TASK, number))
        printed = printed_figures(
            {
                row.name: replace(row.totals, macs=row.totals.macs // batch_size)
                for row, one in zip(rows, candidates, strict=True)
                if one.entry is not None and row.input == _text(one.entry.input)
            },
            lambda name, arguments: look(name, arguments).totals,
        )
    finally:
        emit(TaskEnded(_TASK))
    first = rows[0]
    rows = _sorted(_with_front(rows), sort)
    return ComparisonResult(
        input=" ".join(map(str, inputs)) or None,
        batch_size=batch_size,
        dtype=dtype,
        optimizer=optimizer,
        models=tuple(rows),
        baseline=first.name if baseline else None,
        differences=tuple(_difference(row, first) for row in rows) if baseline else None,
        printed=printed,
    )


@dataclass(frozen=True)
class _Candidate:
    """A network to compare.

    Attributes:
        model: how `summary` finds it.
        name: its name in the result.
        entry: its entry in the zoo, if it is compared as published.
    """

    model: str | nn.Module
    name: str
    entry: ModelEntry | None


def _candidates(
    models: str | nn.Module | Sequence[str | nn.Module],
    inputs: tuple[InputShape, ...],
    runs_dir: Path,
    trusted: Trusted,
) -> list[_Candidate]:
    """Return every network once, in the order in which they are named, under names of their own.

    Raises:
        NotFoundError: there is no such network, file, function or run, or none fits a pattern.
        UsageError: an input is wrong, or none is known, or nothing is named.
    """
    given = [models] if isinstance(models, str | nn.Module) else list(models)
    if not given:
        raise UsageError("there is nothing to compare", "name a network, or several")
    found: list[_Candidate] = []
    for one in given:
        names = [one] if isinstance(one, nn.Module) or not _is_pattern(one, runs_dir) else []
        for model in names or [entry.name for entry in MODELS.matching(str(one))]:
            candidate = _candidate(model, inputs, runs_dir, trusted)
            if any(candidate.model is other.model for other in found):
                continue
            if not isinstance(model, nn.Module) and candidate.model in [c.model for c in found]:
                continue
            taken = [other.name for other in found]
            name, number = candidate.name, 2
            if name in taken and isinstance(candidate.model, str):
                name = candidate.model  # two files of the same name, in two folders
            while name in taken:
                name, number = f"{candidate.name} ({number})", number + 1
            found.append(replace(candidate, name=name))
    return found


def _is_pattern(text: str, runs_dir: Path) -> bool:
    is_file = ":" in text or Path(text).exists() or (runs_dir / text).exists()
    return any(sign in text for sign in "*?[") and not is_file


def _candidate(
    model: str | nn.Module, inputs: tuple[InputShape, ...], runs_dir: Path, trusted: Trusted
) -> _Candidate:
    with handled_by(ignore):  # its warnings are emitted where it is summarized
        subject = find_subject(model, inputs, None, {}, runs_dir, trusted)
    if not isinstance(model, str):
        return _Candidate(model, subject.name, None)
    entry = subject.description.entry if subject.description is not None else None
    if entry is None:
        return _Candidate(model, subject.name, None)
    if model.lower().replace("-", "_") == entry.name:
        return _Candidate(entry.name, entry.name, entry)
    # Published values do not apply to a network that was trained here.
    return _Candidate(model, Path(model).name, None)


def _compared(candidate: _Candidate, seen: SummaryResult) -> ComparedModel:
    """Return a network's row; its `pareto` is set later."""
    entry, remarks = candidate.entry, list(seen.remarks)
    accuracy = None
    if entry is not None:
        if entry.note:
            remarks.append(entry.note)
        accuracy = _accuracy_at(entry, seen.input)
        if accuracy is None and entry.accuracy:
            remarks.append(f"no accuracy was published at {seen.input}")
    fields = [row.receptive_field for row in seen.layers if row.jump is not None]
    per_image = seen.totals.macs / seen.batch_size
    top1 = accuracy.top1 if accuracy is not None else None
    return ComparedModel(
        name=candidate.name,
        year=entry.year if entry is not None else None,
        salient=entry.salient if entry is not None else None,
        input=seen.input,
        totals=seen.totals,
        num_weighted_layers=seen.num_weighted_layers,
        receptive_field=max((one for one in fields if one is not None), default=None),
        top1=top1,
        top5=accuracy.top5 if accuracy is not None else None,
        dataset=accuracy.dataset if accuracy is not None else None,
        weights=accuracy.weights or None if accuracy is not None else None,
        crop=accuracy.crop if accuracy is not None else None,
        source=accuracy.source if accuracy is not None else None,
        top1_per_gmac=top1 / (per_image / 1e9) if top1 is not None and per_image else None,
        pareto=None,
        complete=seen.complete,
        is_lower_bound=seen.is_lower_bound,
        remarks=tuple(remarks),
    )


def _accuracy_at(entry: ModelEntry, shape: str) -> PublishedAccuracy | None:
    """Return the first accuracy that was published for an input; others have another accuracy."""
    if shape == _text(entry.input):
        return entry.accuracy[0] if entry.accuracy else None
    channels = entry.input[0]
    fitting = (
        one
        for one in entry.accuracy
        if one.crop is not None and shape == _text((channels, one.crop, one.crop))
    )
    return next(fitting, None)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _with_front(rows: Sequence[ComparedModel]) -> list[ComparedModel]:
    """Return the networks with those on the Pareto front of their dataset marked."""
    return [
        row
        if row.top1 is None
        else replace(row, pareto=not any(_beats(other, row) for other in rows))
        for row in rows
    ]


def _beats(one: ComparedModel, other: ComparedModel) -> bool:
    """Return whether a network is better in top-1 or MACs, and as good in the other."""
    if one.top1 is None or other.top1 is None or one.dataset != other.dataset:
        return False
    ours, theirs = (one.top1, -one.totals.macs), (other.top1, -other.totals.macs)
    return ours != theirs and ours[0] >= theirs[0] and ours[1] >= theirs[1]


def _sorted(rows: Sequence[ComparedModel], key: str | None) -> list[ComparedModel]:
    """Return the networks sorted, the largest first, names as in a dictionary, unknown last."""
    if key is None:
        return list(rows)
    if key == "name":
        return sorted(rows, key=lambda row: row.name)

    def place(row: ComparedModel) -> tuple[bool, float]:
        value = row.to_dict()[COMPARE_SORT_KEYS[key]]
        return value is None, 0 if value is None else -value

    return sorted(rows, key=place)


def _difference(row: ComparedModel, first: ComparedModel) -> Difference:
    """Return a network compared with the first."""

    def ratio(value: float | None, base: float | None) -> float | None:
        return None if value is None or not base else value / base

    def gain(value: float | None, base: float | None) -> float | None:
        is_same_set = row.dataset == first.dataset
        return None if value is None or base is None or not is_same_set else value - base

    ours, theirs = row.totals, first.totals
    return Difference(
        name=row.name,
        params=ratio(ours.params, theirs.params),
        weight_bytes=ratio(ours.weight_bytes, theirs.weight_bytes),
        macs=ratio(ours.macs, theirs.macs),
        activation_bytes=ratio(ours.activation_bytes, theirs.activation_bytes),
        inference_bytes=ratio(ours.inference_bytes, theirs.inference_bytes),
        training_bytes=ratio(ours.training_bytes, theirs.training_bytes),
        num_weighted_layers=ratio(row.num_weighted_layers, first.num_weighted_layers),
        receptive_field=ratio(row.receptive_field, first.receptive_field),
        top1=gain(row.top1, first.top1),
        top5=gain(row.top5, first.top5),
    )
