"""Progress and warnings: emitted where they arise, handled by whoever asked for them.

A verb that is given `on_event` installs it for the time of the call, in this thread. Threads that
are started meanwhile have to be given the context (`contextvars.copy_context`). Where nothing is
installed, progress is silent, and warnings go to the logger `cnnkit`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar


@dataclass(frozen=True)
class Note:
    """A message for the user: a choice that was made, or something that was adapted."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A warning: the result is valid, but may not mean what the user expects."""

    text: str


@dataclass(frozen=True)
class TaskStarted:
    """Countable work has begun.

    Attributes:
        task: the name by which later events call it, and which the user reads.
        total: amount to do; None where unknown.
        unit: what is counted: `images`, `bytes`, `files`.
    """

    task: str
    total: int | None
    unit: str


@dataclass(frozen=True)
class TaskAdvanced:
    """A task has advanced.

    Attributes:
        task: the name that it was started under.
        completed: amount done since the start.
        values: current values by name, such as `loss`.
    """

    task: str
    completed: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskEnded:
    """A task is over, done or not."""

    task: str


@dataclass(frozen=True)
class EpochEnded:
    """A pass over the training set is over.

    Attributes:
        epoch: its number, from 1.
        num_epochs: total number of epochs.
        metrics: the metrics of the epoch by name, as `EpochMetrics` names them.
        is_best: whether it is the best so far on the validation set; None without one.
    """

    epoch: int
    num_epochs: int
    metrics: Mapping[str, float | int | None]
    is_best: bool | None


@dataclass(frozen=True)
class RunStarted:
    """A training run starts or is resumed.

    Attributes:
        path: its run folder.
        model: name of the network.
        dataset: name of the dataset.
        classes: names of the classes.
        num_epochs: number of epochs.
        epochs: the metrics of the epochs that are over, as in `EpochEnded`.
        best_epoch: the best of them on the validation set; None without one.
    """

    path: str
    model: str
    dataset: str
    classes: tuple[str, ...]
    num_epochs: int
    epochs: tuple[Mapping[str, float | int | None], ...]
    best_epoch: int | None


@dataclass(frozen=True)
class TrainingImages:
    """Some images of a batch that is trained on, as the network gets them, but not normalized.

    Attributes:
        epoch: that they are trained on in.
        width: in pixels.
        height: in pixels.
        channels: 1 for grayscale, 3 for RGB.
        pixels: bytes of each image, in HWC order.
        labels: class index of each image.
    """

    epoch: int
    width: int
    height: int
    channels: int
    pixels: tuple[bytes, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ConfusionCounted:
    """A confusion matrix was computed.

    Attributes:
        split: the images, `val` or `test`.
        epoch: after which its weights are those that were used.
        counts: number of images by true class (row) and predicted class (column).
    """

    split: str
    epoch: int
    counts: tuple[tuple[int, ...], ...]


Event = (
    Note
    | Warned
    | TaskStarted
    | TaskAdvanced
    | TaskEnded
    | RunStarted
    | TrainingImages
    | ConfusionCounted
    | EpochEnded
)
OnEvent = Callable[[Event], None]

P = ParamSpec("P")
T = TypeVar("T")

_handler: ContextVar[OnEvent | None] = ContextVar("cnnkit.events", default=None)


def handler() -> OnEvent | None:
    """Return the handler in force; None where there is none."""
    return _handler.get()


def emit(event: Event) -> None:
    """Hand an event to the handler in force; without one, log what is a warning."""
    handle = _handler.get()
    if handle is not None:
        handle(event)
    elif isinstance(event, Warned):
        logging.getLogger("cnnkit").warning(event.text)


def ignore(event: Event) -> None:
    """Do nothing: a handler that keeps everything silent."""


@contextmanager
def handled_by(handle: OnEvent | None) -> Iterator[None]:
    """Install a handler of events for the time of a block; None keeps the one in force."""
    if handle is None:
        yield
        return
    token = _handler.set(handle)
    try:
        yield
    finally:
        _handler.reset(token)


def takes_on_event(verb: Callable[P, T]) -> Callable[P, T]:
    """Return a verb that installs its argument `on_event` while it works; see `handled_by`."""

    @wraps(verb)
    def installing(*args: P.args, **kwargs: P.kwargs) -> T:
        on_event: OnEvent | None = kwargs.get("on_event")  # type: ignore[assignment]
        with handled_by(on_event):
            return verb(*args, **kwargs)

    return installing
