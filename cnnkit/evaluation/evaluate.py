"""Evaluating the network of a run."""

from dataclasses import replace
from pathlib import Path

from cnnkit.data import allow_large_files, as_data_dir, lasting_name
from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.batching import make_batches
from cnnkit.data.loading.preprocessing import say_decoding
from cnnkit.data.loading.views import check_views
from cnnkit.errors import setting
from cnnkit.evaluation.other_dataset import ALL, open_other_dataset, say_classes
from cnnkit.evaluation.predictions import predict_all
from cnnkit.evaluation.unseen import SEEN, TOO_GOOD, without_seen
from cnnkit.events import OnEvent, Warned, emit, takes_on_event
from cnnkit.results import EvalResult
from cnnkit.runs.code import Trusted
from cnnkit.runs.folder import RunFolder, open_run
from cnnkit.runs.load import loaded, read_weights, setup_of
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.runs.resume_settings import data_dir_of
from cnnkit.system.determinism import deterministic_operations
from cnnkit.system.device import choose_device, memory_format, num_usable_cores
from cnnkit.system.memory import explained_out_of_memory


@takes_on_event
def evaluate(
    run: str | Path,
    dataset: str | None = None,
    *,
    split: str | None = None,
    checkpoint: str | None = None,
    tta: str | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    runs_dir: str | Path = "runs",
    num_workers: int | None = None,
    skip_bad: bool = False,
    network: str | None = None,
    trust_code: bool = False,
    allow_large: bool = False,
    on_event: OnEvent | None = None,
) -> EvalResult:
    """Evaluate the network of a run on a split of its dataset, or of another.

    Images are preprocessed exactly as in training, and the metrics equal, to the last
    digit, those that training printed.

    Args:
        run: the folder of the run, or its name in `runs_dir`.
        dataset: another dataset of classes that the run knows, by their names, or of some of them;
            images of it that the network was trained on are left out.
        split: `test`, `val` or `train` as the run saw them, or another of the dataset; `all` for
            every image; `test` by default, and every image of another dataset that has no test set
            of its own.
        checkpoint: `best` or `last`; the best where there is one.
        tta: test-time augmentation, `none`, `mirror` or `shift`; that of the run by default.
        device: see `choose_device`.
        data_dir: where datasets are; by default where they were when the run was trained.
        runs_dir: where runs are kept.
        num_workers: threads that read files; one per core by default.
        skip_bad: leave broken images out, and count them.
        network: `FILE.py:FACTORY` that makes the network, instead of the copy of the user's file
            in the run folder.
        trust_code: let the code run that the run folder brings, though this user has not trained
            with it.
        allow_large: decode images above the limits as well, as the run does if it was trained so.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such run, or it holds no weights.
        CheckFailedError: the weights are not those that were saved, or do not fit the network;
            `run.json` is damaged, or the run brings code that the user does not trust.
        UsageError: the dataset has no such split, or a class that the run does not know, or there
            is no such `tta`.
        UnavailableError: the device or the data is unavailable, or the run is of a newer version.
        RunFailedError: an image is broken, or the network gives losses that are not finite.
    """
    folder = open_run(str(run), Path(runs_dir))
    description = folder.read_description()
    setup = setup_of(folder, description, Trusted(network, trust_code))
    where = as_data_dir(data_dir or data_dir_of(description))
    treated = setup.preprocessing
    treated = replace(treated, allow_large=allow_large or treated.allow_large)
    setup = replace(setup, preprocessing=treated)
    if treated.allow_large:
        allow_large_files(dataset or setup.dataset)
    tta = setup.tta if tta is None else tta
    check_views(tta, setup.preprocessing.height, setup.preprocessing.width)
    weights = read_weights(folder, checkpoint)
    target = choose_device(device)
    with (
        explained_out_of_memory(f"use another {setting('device')}"),
        deterministic_operations(setup.deterministic),
    ):
        trained = loaded(folder, setup, weights, target)
        workers = num_usable_cores() if num_workers is None else num_workers
        images = _open_images(setup, split, dataset, folder, where, workers)
        say_decoding(images, setup.preprocessing)
        batches = make_batches(
            images,
            setup.preprocessing,
            setup.eval_batch_size,
            target,
            memory_format(target, setup.channels_last),
            workers,
            skip_bad,
        )
        task = f"evaluate {images.split}"
        predictions = predict_all(
            trained.network, batches, len(setup.classes), task, tta, setup.precision
        )
    return EvalResult(
        run=str(folder.path),
        checkpoint=weights.name,
        epoch=weights.epoch,
        model=setup.model,
        dataset=dataset or setup.dataset,
        split=images.split,
        device=str(target),
        metrics=predictions.metrics(),
        per_class=predictions.per_class(setup.classes),
        confusion=predictions.confusion_counts(),
        num_skipped=len(batches.skipped),
        seconds=predictions.seconds,
        images_per_second=len(predictions.labels) / predictions.seconds,
        tta=tta,
    )


def _open_images(
    setup: ModelAndData,
    split: str | None,
    dataset: str | None,
    folder: RunFolder,
    data_dir: Path,
    num_workers: int,
) -> ImageSet:
    """Return the images to evaluate; of another dataset without those that the run has used."""
    if dataset is None or lasting_name(dataset) == setup.dataset:
        if split == ALL:
            images = setup.open_all(data_dir)
            emit(Warned(f"{len(images):,} images, most of which were {SEEN}: {TOO_GOOD}"))
        else:
            images = setup.open_split(split or "test", data_dir)
        images = replace(images, split=split or "test")
    else:
        images = open_other_dataset(dataset, split, setup.classes, data_dir)
        images = without_seen(images, dataset, setup, folder, data_dir, num_workers)
    say_classes(images)
    return images
