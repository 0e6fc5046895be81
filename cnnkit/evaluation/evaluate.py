"""Evaluating the network of a run."""

from pathlib import Path

import torch

from cnnkit.data import default_data_dir
from cnnkit.data.batches import make_batches
from cnnkit.devices import choose_device, num_usable_cores
from cnnkit.errors import CheckFailedError, NotFoundError
from cnnkit.evaluation.predictions import predict_all
from cnnkit.evaluation.setup import Setup
from cnnkit.events import OnEvent, Warned, ignore
from cnnkit.results import EvalResult
from cnnkit.runs import open_run


def evaluate(
    run: str | Path,
    dataset: str | None = None,
    *,
    split: str = "test",
    checkpoint: str | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    num_workers: int | None = None,
    skip_bad: bool = False,
    on_event: OnEvent = ignore,
) -> EvalResult:
    """Evaluate the network of a run on a split of its dataset, or of another.

    Images are treated exactly as in training, and on the same device the figures are, to the last
    digit, those that training printed.

    Args:
        run: the folder of the run, or its name in `runs_dir`.
        dataset: another dataset with the same classes.
        split: `test`, `val` or `train` as the run saw them, or another of the dataset.
        checkpoint: `best` or `last`; the best where there is one.
        device: see `choose_device`.
        data_dir: where datasets lie; the user's cache folder by default.
        runs_dir: where runs are kept.
        num_workers: threads that read files; one a core by default.
        skip_bad: leave broken images out, and count them.
        on_event: told about notes and progress.

    Raises:
        NotFoundError: there is no such run, or it holds no weights.
        CheckFailedError: the weights are not those that were saved, or do not fit the network.
        UsageError: the dataset has no such split, or other classes.
        UnavailableError: the device or the data cannot be had, or the run is of a newer version.
        RunFailedError: an image is broken.
    """
    folder = open_run(str(run), runs_dir)
    description = folder.read_description()
    try:
        setup = Setup.from_dict(description["setup"])
    except KeyError as error:
        raise NotFoundError(f"{folder.path} is incomplete: no {error} in run.json") from error
    weights = folder.load_checkpoint(checkpoint)
    if weights.name == "last" and checkpoint is None:
        on_event(
            Warned(
                "the run was stopped before its first epoch was judged; the last weights are used"
            )
        )
    target = choose_device(device)
    model = setup.build()
    try:
        model.load_state_dict(weights.weights)
    except RuntimeError as error:
        raise CheckFailedError(
            f"the weights of {folder.path} do not fit the network {setup.model}",
            "was the file of the network changed since? " if ":" in setup.model else "train again",
        ) from error
    memory_format = memory_format_for(target)
    model = model.to(target).to(memory_format=memory_format)
    images = setup.open_split(split, data_dir or default_data_dir(), on_event, dataset)
    batches = make_batches(
        images,
        setup.preprocessing,
        setup.eval_batch_size,
        target,
        memory_format,
        num_usable_cores() if num_workers is None else num_workers,
        skip_bad,
    )
    predictions = predict_all(model, batches, len(setup.classes), f"evaluate {split}", on_event)
    return EvalResult(
        run=str(folder.path),
        checkpoint=weights.name,
        epoch=weights.epoch,
        model=setup.model,
        dataset=dataset or setup.dataset,
        split=split,
        device=str(target),
        metrics=predictions.metrics(),
        per_class=predictions.per_class(setup.classes),
        confusion=tuple(tuple(row) for row in predictions.confusion().tolist()),
        num_skipped=len(batches.skipped),
        seconds=predictions.seconds,
        images_per_second=len(predictions.labels) / predictions.seconds,
    )


def memory_format_for(device: torch.device) -> torch.memory_format:
    """Return the layout in which convolutions are fastest: channels last, but not on MPS."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last
