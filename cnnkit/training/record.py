"""Saving a training run in its folder, and restoring it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from cnnkit.data.loading.batches import Batches
from cnnkit.errors import CheckFailedError
from cnnkit.runs.checkpoints import Checkpoint, Checkpointing, TrainingCheckpoint
from cnnkit.runs.folder import RunFolder
from cnnkit.system.distributed import ONE, ProcessGroup
from cnnkit.system.torch_files import in_a_line
from cnnkit.training.saved_state import SavedTraining, load_weights
from cnnkit.training.step import Stepper
from cnnkit.training.training_progress import Progress


class Record:
    """The checkpoints and metrics of a training run; of several processes rank 0 writes them.

    Args:
        run: the folder.
        run_id: distinguishes the checkpoints of the run from those of others.
        asked: the settings that a checkpoint is good for, by name: texts, numbers, and lists and
            dictionaries of them.
        config: what `config.json` beside the weights holds; None for no such file.
        checkpointing: when to write the state, beside the end of every epoch.
        stepper: has the weights and the state of the optimizer.
        batches: batches of every set; their skipped images are recorded.
        begun: start time, by `time.perf_counter`.
        group: the processes that train together.
    """

    def __init__(
        self,
        run: RunFolder,
        run_id: str,
        asked: Mapping[str, Any],
        config: Mapping[str, Any] | None,
        checkpointing: Checkpointing,
        stepper: Stepper,
        batches: Sequence[Batches],
        begun: float,
        group: ProcessGroup = ONE,
    ) -> None:
        self.run = run
        self._run_id = run_id
        self._asked = asked
        self._config = config
        self._checkpointing = checkpointing
        self._stepper = stepper
        self._batches = batches
        self._begun = begun
        self._group = group
        self._last_saved = time.perf_counter()
        self._earlier_seconds = 0.0

    def seconds(self) -> float:
        """Return the training time, the time before it was resumed included."""
        return self._earlier_seconds + time.perf_counter() - self._begun

    def restore(self, checkpoint: TrainingCheckpoint) -> Progress:
        """Put a training back to where a checkpoint of this run was written; return where that is.

        Raises:
            CheckFailedError: it belongs to another run, or to another network.
        """
        stepper = self._stepper
        if checkpoint.state.get("run_id") != self._run_id:
            raise CheckFailedError(
                f"the checkpoint in {self.run.path} is of another run",
                "put back the one that the run wrote",
            )
        raw = checkpoint.weights if checkpoint.raw_weights is None else checkpoint.raw_weights
        try:
            self._check_asked(checkpoint.state.get("asked"))
            load_weights(stepper.model, raw)
            load_weights(stepper.evaluated, checkpoint.weights)
            saved = SavedTraining.from_plain(checkpoint.state)
            progress = Progress.of(saved.progress)
            self._check_place(progress, checkpoint)
            own = {**saved.stepper, "random": self._own_random(saved)}
            stepper.restore(own, self._num_steps(progress))
            self._skip(saved.skipped)
        except (RuntimeError, ValueError, TypeError) as error:
            raise CheckFailedError(
                f"the checkpoint in {self.run.path} does not fit the network and recipe of its "
                f"run: {in_a_line(error)}",
                "put back the one that the run wrote",
            ) from error
        self._earlier_seconds = saved.seconds
        return progress

    def _check_asked(self, asked: object) -> None:
        """Refuse settings that the checkpoint was not written with.

        Those that it does not know are of a newer version, and have their defaults.

        Raises:
            CheckFailedError: one of them is another.
        """
        for name, then in asked.items() if isinstance(asked, Mapping) else ():
            if name in self._asked and self._asked[name] != then:
                raise CheckFailedError(
                    f"{name} in {self.run.path / 'run.json'} is not what it was when the "
                    "checkpoint was written",
                    "restore run.json, or begin a new run",
                )

    def _num_steps(self, progress: Progress) -> int:
        """Return how many steps were done in all epochs."""
        return (progress.epoch - 1) * self._batches[0].num_batches + progress.step

    def _check_place(self, progress: Progress, checkpoint: TrainingCheckpoint) -> None:
        """Refuse a state of another epoch or step than the manifest says.

        Raises:
            ValueError: it is.
        """
        if (progress.epoch - 1, progress.step) != (checkpoint.epoch, checkpoint.step):
            raise ValueError("it is of another epoch or step than its manifest says")
        if progress.step > self._batches[0].num_batches:
            raise ValueError(f"no epoch has {progress.step:,} steps")

    def _own_random(self, saved: SavedTraining) -> Any:
        """Return the states of random numbers of this process.

        Raises:
            ValueError: there are not as many as processes.
        """
        # Runs of one process from before all states were kept together have it with the stepper.
        states = [saved.stepper.get("random")] if saved.random is None else saved.random
        if len(states) != self._group.size:
            raise ValueError(f"it lacks the random states of {self._group.size} processes")
        return states[self._group.rank]

    def is_due(self, num_steps: int) -> bool:
        """Return whether to write the state now, after so many steps of all epochs."""
        minutes, steps = self._checkpointing.minutes, self._checkpointing.steps
        if minutes and time.perf_counter() - self._last_saved > 60 * minutes:
            return True
        return steps is not None and num_steps % steps == 0

    def save(self, progress: Progress) -> None:
        """Write everything that the next step depends on."""
        stepper = self._stepper
        state: dict[str, Any] = {
            "run_id": self._run_id,
            "asked": dict(self._asked),
            "progress": progress.state(),
            "stepper": stepper.state(),
            "seconds": self.seconds(),
        }
        found = self._group.gather((state["stepper"]["random"], self._skipped()))
        state["random"] = [random for random, _ in found]
        for _, skipped in found:
            self._skip(skipped)
        if self._group.is_first:
            checkpoint = TrainingCheckpoint(
                name="last",
                epoch=progress.epoch - 1,
                weights=stepper.evaluated.state_dict(),
                config=self._config,
                state={**state, "skipped": self._skipped()},
                raw_weights=None if stepper.average is None else stepper.model.state_dict(),
                step=progress.step,
            )
            self.run.checkpoints.save(checkpoint)
        self._group.wait()  # no process ends before it is written
        self._last_saved = time.perf_counter()

    def save_best(self, epoch: int) -> None:
        """Write the weights, which are the best so far."""
        if self._group.is_first:
            weights = self._stepper.evaluated.state_dict()
            self.run.checkpoints.save(Checkpoint("best", epoch, weights, self._config))

    def write_metrics(self, progress: Progress) -> None:
        """Write the metrics of every epoch so far."""
        if self._group.is_first:
            self.run.write_metrics([metrics.to_dict() for metrics in progress.epochs])

    def _skipped(self) -> list[list[str]]:
        """Return the broken images that were left out of each set."""
        return [sorted(batches.skipped) for batches in self._batches]

    def _skip(self, names: list[list[str]]) -> None:
        for batches, some in zip(self._batches, names, strict=True):
            batches.skipped.update(some)
