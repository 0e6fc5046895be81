"""What a training run leaves beside its metrics: curves, and a log for TensorBoard."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cnnkit.errors import CnnkitError, UnavailableError
from cnnkit.events import (
    EpochEnded,
    Event,
    Note,
    RunStarted,
    Warned,
    emit,
    handled_by,
    handler,
    ignore,
)
from cnnkit.results import EpochMetrics, TrainResult
from cnnkit.system.files import explain_os_error, replace_bytes

if TYPE_CHECKING:
    from cnnkit.render.tensorboard import TensorBoardLog

CURVES = "curves.png"
TENSORBOARD = "tensorboard"  # the folder, and the package


class RunLog:
    """The curves of a training, drawn however it ends, and its log for TensorBoard.

    A context manager: it takes the events while it is open, and hands them to the handler before.

    Args:
        tensorboard: write a log for TensorBoard as well.
        run: the folder of a resumed run; one that has such a log continues it.

    Attributes:
        result: what the training came to, to be set when it is known.

    Raises:
        UnavailableError: the package tensorboard is missing.
    """

    def __init__(self, tensorboard: bool, run: Path | None = None) -> None:
        self.result: TrainResult | None = None
        self._board: TensorBoardLog | None = None
        if tensorboard or (run is not None and has_tensorboard(run)):
            self._board = _tensorboard_log(None if tensorboard else run)
        self._run: RunStarted | None = None
        self._epochs: list[Mapping[str, float | int | None]] = []
        self._best_epoch: int | None = None

    def __call__(self, event: Event) -> None:
        """Take an event.

        Raises:
            CnnkitError: the log of TensorBoard cannot be written.
        """
        match event:
            case RunStarted():
                self._run = event
                self._epochs, self._best_epoch = list(event.epochs), event.best_epoch
            case EpochEnded():
                self._epochs.append(event.metrics)
                self._best_epoch = event.epoch if event.is_best else self._best_epoch
        if self._board is not None:
            try:
                self._board(event)
            except OSError as error:
                raise explain_os_error(error, "write the log of TensorBoard") from error
        with handled_by(self._before):
            emit(event)

    def __enter__(self) -> Self:
        self._before = handler() or ignore
        self._handling = handled_by(self)
        self._handling.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handling.__exit__(kind, error, trace)
        if self._board is not None:
            self._board.close()
        run = self._run
        if run is None or not self._epochs or not Path(run.path).is_dir():
            return
        try:
            self._draw(run)
        except KeyboardInterrupt:
            if error is None:
                raise
            # else it ends for the first Ctrl-C, with the line that says how to resume

    def _draw(self, run: RunStarted) -> None:
        from cnnkit.render.plots.curves import training_curves

        done, path = len(self._epochs), Path(run.path, CURVES)
        number = f"{done:,} epoch{'s' * (done != 1)}"
        if self.result is None:
            number = f"stopped after {done:,} of {run.num_epochs:,} epochs"
        test = self.result.test if self.result is not None else None
        content = training_curves(
            # of a file or a folder, the last part of its path
            f"{Path(run.model).name} on {Path(run.dataset).name}, {number}",
            [EpochMetrics(**metrics) for metrics in self._epochs],  # type: ignore[arg-type]
            self._best_epoch,
            self.result.best_epoch if self.result is not None else None,
            test,
        )
        try:
            replace_bytes(path, content)
        except CnnkitError as problem:  # the run itself is complete
            emit(Warned(str(problem)))
        else:
            emit(Note(f"curves: {path}"))


def has_tensorboard(run: Path) -> bool:
    """Return whether a run folder holds a log for TensorBoard."""
    return (run / TENSORBOARD).is_dir()


def _tensorboard_log(run: Path | None) -> "TensorBoardLog":
    """Return what writes a log for TensorBoard.

    Args:
        run: that has one already, where nobody asked for it; else None.

    Raises:
        UnavailableError: the package tensorboard is missing.
    """
    if find_spec(TENSORBOARD) is None:
        install = "`pip install tensorboard` brings it"
        if run is None:
            raise UnavailableError("--tensorboard needs the package tensorboard", install)
        raise UnavailableError(
            f"{run / TENSORBOARD} cannot be continued: the package tensorboard is missing",
            f"{install}; or remove that folder",
        )
    from cnnkit.render.tensorboard import TensorBoardLog

    return TensorBoardLog()
