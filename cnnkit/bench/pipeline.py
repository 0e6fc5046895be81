"""Throughput of data loading, of the network, and of both together."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from cnnkit.bench.device_clock import Device
from cnnkit.bench.machine import describe_machine
from cnnkit.bench.sweep import AUTO, CellSetting, Sweep, suitable_batch
from cnnkit.bench.timing import take_batches
from cnnkit.bench.torch_state import preserved_state, set_state
from cnnkit.bench.workload import Feed, Workload
from cnnkit.data import allow_large_files, default_data_dir, find_dataset, open_dataset
from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.batches import Batch, Batches
from cnnkit.data.loading.batching import make_batches
from cnnkit.data.normalization import measure_channels
from cnnkit.errors import UsageError, setting
from cnnkit.events import Note, OnEvent, TaskAdvanced, TaskEnded, TaskStarted, emit, takes_on_event
from cnnkit.models import ModelDescription, build_model, find_model
from cnnkit.results.bench_data import PipelineResult, PipelineRow
from cnnkit.runs.preprocess import (
    ImageShape,
    Normalization,
    choose_input,
    describe_fit,
    known_normalization,
    not_normalized,
)
from cnnkit.runs.run_data import checked_workers
from cnnkit.system.device import num_usable_cores
from cnnkit.system.shapes import ImageInput, as_image_shape

TASK = "bench with data"
MAX_MEASURED = 2048  # files, where no values are published
ROUNDS = 3  # of each of the three, in turn


@takes_on_event
def benchmark_pipeline(
    models: list[str],
    dataset: str,
    sweep: Sweep | None = None,
    *,
    input: ImageInput = None,  # noqa: A002  # the word for it
    arguments: dict[str, str] | None = None,
    max_seconds: float = 8.0,
    data_dir: Path | None = None,
    num_workers: int | None = None,
    skip_bad: bool = False,
    allow_large: bool = False,
    on_event: OnEvent | None = None,
) -> PipelineResult:
    """Measure the throughput of data loading, of the network, and of both together.

    The images are those of the training split, in random order, preprocessed as by `train`.

    Args:
        models: names of networks, as `train` takes them.
        dataset: name of a dataset, or a folder.
        sweep: the settings; `auto` is no batch size here.
        input: channels (None for the network's own), height and width.
        arguments: the networks' own arguments, as texts by name.
        max_seconds: how long a row may take.
        data_dir: folder of datasets; the user's cache folder by default.
        num_workers: threads that read files; one a core by default.
        skip_bad: leave broken images out.
        allow_large: decode images above the limits as well.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such network or dataset.
        UsageError: a setting makes no sense, or network and data do not fit.
        UnavailableError: device or data are unavailable.
        RunFailedError: an image is broken.
    """
    sweep = sweep or Sweep()
    sweep.check()
    if AUTO in sweep.batch_sizes:
        raise UsageError(
            f"{setting('batch_sizes')} auto cannot be used with {setting('dataset')}",
            "name numbers",
        )
    if not models:
        raise UsageError("name a network to measure, such as resnet18")
    workers = checked_workers(num_usable_cores() if num_workers is None else num_workers)
    devices = sweep.open_devices()
    machine = describe_machine(devices)
    if allow_large:
        allow_large_files(dataset)
    entry = find_dataset(dataset)
    images: ImageSet = open_dataset(dataset, "train", data_dir=data_dir or default_data_dir())
    rows = []
    settings = sweep.cells(len(models), devices, torch.get_num_threads())
    emit(TaskStarted(TASK, round(len(settings) * max_seconds), "s"))
    try:
        for number, chosen in enumerate(settings):
            description = find_model(models[chosen.model])
            shape = choose_input(description, images, as_image_shape(input))
            treatment = not_normalized(shape, allow_large)
            # What the numbers are does not change how long it takes, so a few images have to do.
            normalization = known_normalization(
                shape.channels, entry, "auto"
            ) or Normalization.of_measured(
                measure_channels([images], treatment, workers, skip_bad, most_files=MAX_MEASURED)
            )
            treatment = replace(treatment, mean=normalization.mean, std=normalization.std)
            if number == 0:
                emit(Note(describe_fit(images, shape, normalization)))
            with preserved_state():
                set_state(chosen.threads, chosen.precision)
                batch_size = min(_batch_size(chosen, shape), len(images))
                where = chosen.device.torch_device
                layout = torch.channels_last if chosen.channels_last else torch.contiguous_format
                batches = make_batches(
                    images, treatment, batch_size, where, layout, workers, skip_bad
                )
                work = _workload(description, images, shape, chosen, batches, arguments or {})
                rows.append(_row(description.name, work, batches, chosen, max_seconds))
            emit(TaskAdvanced(TASK, round((number + 1) * max_seconds)))
    finally:
        emit(TaskEnded(TASK))
    return PipelineResult(machine, dataset, len(images), workers, tuple(rows))


def _batch_size(chosen: CellSetting, shape: ImageShape) -> int:
    if isinstance(chosen.batch_size, int):
        return chosen.batch_size
    # A network is not counted here: so many values as images of 224x224 have suit most.
    values = shape.channels * shape.height * shape.width
    return max(2, suitable_batch(4e9 * values / (3 * 224 * 224), chosen.device, True))


def _workload(
    model: ModelDescription,
    images: ImageSet,
    shape: ImageShape,
    chosen: CellSetting,
    batches: Batches,
    arguments: dict[str, str],
) -> Workload:
    network = build_model(
        model.spec,
        num_classes=len(images.classes),
        in_channels=shape.channels,
        image_size=(shape.height, shape.width),
        arguments=arguments,
    )
    some, labels = next(_shuffled(batches))
    feed = Feed((some.cpu(),), {}, labels.cpu())
    return Workload(
        network, feed, chosen.device, chosen.mode, chosen.precision, chosen.channels_last,
        chosen.compiled,
    )  # fmt: skip


def _row(
    model: str, work: Workload, batches: Batches, chosen: CellSetting, max_seconds: float
) -> PipelineRow:
    device, share = chosen.device, max_seconds / (3 * ROUNDS + 1)
    take_batches(work, 2)  # warm
    rates: dict[str, list[float]] = {"loading": [], "network": [], "both": []}
    for number in range(ROUNDS):
        stream = _shuffled(batches, 2 * number)
        rates["loading"].append(_rate(device, stream, share, None))
        rates["network"].append(_rate(device, _again(work.feed), share, work))
        stream = _shuffled(batches, 2 * number + 1)
        rates["both"].append(_rate(device, stream, share, work))
    loading, network, both = (statistics.median(values) for values in rates.values())
    return PipelineRow(
        model=model,
        device=device.name,
        mode=chosen.mode,
        batch_size=batches.batch_size,
        precision=chosen.precision,
        layout=chosen.layout,
        compile=chosen.compiled,
        threads=chosen.threads,
        loading_images_per_second=loading,
        network_images_per_second=network,
        both_images_per_second=both,
        bottleneck="loading" if loading < network else "network",
        overlap=both / min(loading, network),
    )


def _rate(device: Device, stream: Iterator[Batch], seconds: float, work: Workload | None) -> float:
    """Return images a second of a stream of batches, each used by the network if there is one.

    Threads that read ahead start with the clock, so that their work is included.
    """
    device.synchronize()
    begin = device.now()
    number = 0
    for images, labels in stream:
        if work is not None:
            work.feed = Feed((images.to(work.feed.places[0].dtype),), {}, labels)
            with work.context():
                work.take()
        number += len(labels)
        if device.now() - begin > seconds:
            break
    device.synchronize()
    return number / (device.now() - begin)


def _shuffled(batches: Batches, epoch: int = 0) -> Iterator[Batch]:
    """Yield the batches of endless epochs, with the seed of `train`."""
    while True:
        for _, images, labels in batches.shuffled(0, epoch):
            yield images, labels
        epoch += 2


def _again(feed: Feed) -> Iterator[Batch]:
    while True:
        yield feed.places[0], feed.labels
