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
    """A line that the user should see: a choice that was made, something that was adapted."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A line that the user must see: the result stands, but not as one may think."""

    text: str


@dataclass(frozen=True)
class TaskStarted:
    """Countable work has begun.

    Attributes:
        task: the name by which later events call it, and which the user reads.
        total: how much there is to do; None where it is unknown.
        unit: what is counted: `images`, `bytes`, `files`.
    """

    task: str
    total: int | None
    unit: str


@dataclass(frozen=True)
class TaskAdvanced:
    """So much of a task is done.

    Attributes:
        task: the name that it was started under.
        completed: how much is done, since the start.
        values: figures of the moment by name, such as `loss`.
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
        num_epochs: how many there will be.
        metrics: the figures of the epoch by name, as `EpochMetrics` names them.
        is_best: whether it is the best so far on the validation set; None without one.
    """

    epoch: int
    num_epochs: int
    metrics: Mapping[str, float | int | None]
    is_best: bool | None


@dataclass(frozen=True)
class RunStarted:
    """A training begins, or goes on.

    Attributes:
        path: of its folder.
        model: name of the network.
        dataset: name of the dataset.
        classes: names of the classes.
        num_epochs: how many epochs there will be.
        epochs: the figures of the epochs that are over, as in `EpochEnded`.
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
    """Some images of a batch that is trained on, as the network gets them, but not normalised.

    Attributes:
        epoch: that they are trained on in.
        width: in pixels.
        height: in pixels.
        channels: 1 for grey, 3 for RGB.
        pixels: of each image, a byte a value, row by row, the channels of a pixel together.
        labels: of each image, the index of its class.
    """

    epoch: int
    width: int
    height: int
    channels: int
    pixels: tuple[bytes, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ConfusionCounted:
    """What a network took for what.

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
