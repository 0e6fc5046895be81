"""Events of a training as files that TensorBoard reads; needs the package tensorboard.

Not by `torch.utils.tensorboard.SummaryWriter`, which writes in a thread: on a full disk it printed
a traceback beside the error (torch 2.14, tensorboard 2.21), and files of one second are not read
in the order in which they were written.
"""

import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from cnnkit.events import ConfusionCounted, EpochEnded, Event, RunStarted, TrainingImages
from cnnkit.render.plots.confusion_matrix import confusion_picture
from cnnkit.render.plots.sample_grid import labelled_grid
from cnnkit.results.show import Picture

PNG_SIZE = 16  # where width and height are in a PNG file
FOLDER = "tensorboard"  # in that of the run
SCALARS = {
    "train_loss": "Train/loss",
    "train_accuracy": "Train/accuracy",
    "val_loss": "Valid/loss",
    "val_accuracy": "Valid/accuracy",
    "test_loss": "Test/loss",
    "test_accuracy": "Test/accuracy",
    "learning_rate": "Train/learning_rate",
}
SAMPLES = "Train/samples"
CONFUSIONS = {"val": "Valid/confusion", "test": "Test/confusion"}


class TensorBoardLog:
    """Writes the metrics and pictures of a training; to be called with each event.

    The step of everything is the epoch. A log that is in the folder already is continued: epochs
    that are repeated replace those that were there.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._record_writer = RecordWriter
        self._file: IO[bytes] | None = None
        self._records: Any = None
        self._classes: tuple[str, ...] = ()
        self._confusion: ConfusionCounted | None = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # of a write that failed, which was reported then
                self._file.close()
            self._file = None

    def __call__(self, event: Event) -> None:
        """Write an event, if it has anything to show.

        Raises:
            OSError: the file cannot be written.
        """
        match event:
            case RunStarted():
                self._open(event)
            case TrainingImages():
                self._write_images(event)
            case ConfusionCounted(split="val"):
                self._confusion = event  # shown where the epoch turns out to be the best
            case ConfusionCounted():
                self._write_confusion(event)
            case EpochEnded(epoch, _, metrics, is_best):
                self._write_scalars(epoch, metrics)
                if is_best and self._confusion is not None:
                    self._write_confusion(self._confusion)

    def _open(self, event: RunStarted) -> None:
        self._classes = event.classes
        folder = Path(event.path, FOLDER)
        folder.mkdir(exist_ok=True)
        there = sorted(folder.glob("events.out.tfevents.*"))
        # TensorBoard reads the files by name, which begins with the time.
        self._file = (folder / f"events.out.tfevents.{time.time():017.6f}").open("xb")
        self._records = self._record_writer(self._file)
        next_epoch = len(event.epochs) + 1
        self._write(0, file_version="brain.Event:2")  # without it no event is read
        if there:
            from tensorboard.compat.proto.event_pb2 import SessionLog

            # From here on: what was written of this step or later ones no longer counts.
            self._write(next_epoch, session_log=SessionLog(status=SessionLog.START))
        else:  # all that came before the log
            for number, metrics in enumerate(event.epochs, 1):
                self._write_scalars(number, metrics)

    def _write_scalars(self, epoch: int, metrics: Mapping[str, float | int | None]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [(tag, metrics.get(name)) for name, tag in SCALARS.items()]
        values = [
            Summary.Value(tag=tag, simple_value=value) for tag, value in found if value is not None
        ]
        self._write(epoch, summary=Summary(value=values))

    def _write_images(self, event: TrainingImages) -> None:
        pictures = [
            Picture(event.width, event.height, event.channels, pixels) for pixels in event.pixels
        ]
        names = [self._classes[label] for label in event.labels]
        self._write_picture(SAMPLES, event.epoch, labelled_grid(pictures, names))

    def _write_confusion(self, event: ConfusionCounted) -> None:
        picture = confusion_picture(self._classes, event.counts)
        self._write_picture(CONFUSIONS[event.split], event.epoch, picture)

    def _write_picture(self, tag: str, epoch: int, content: bytes) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = struct.unpack_from(">II", content, PNG_SIZE)
        encoded = Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=content
        )
        self._write(epoch, summary=Summary(value=[Summary.Value(tag=tag, image=encoded)]))

    def _write(self, step: int, **content: Any) -> None:
        """Write one event, and flush it, so that TensorBoard shows it at once."""
        from tensorboard.compat.proto.event_pb2 import Event as Record

        assert self._file is not None, "a run has to start first"
        record = Record(wall_time=time.time(), step=step, **content)
        self._records.write(record.SerializeToString())
        self._file.flush()
