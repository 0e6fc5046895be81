"""Several processes train as one does, count every image once, and lose nothing together."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed, nn

import cnnkit
from cnnkit import Recipe
from cnnkit.data import open_dataset
from cnnkit.data.image_set import ImageSet, TensorSet
from cnnkit.data.loading.batches import Batches
from cnnkit.data.loading.batching import make_batches
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.errors import (
    ExitCode,
    InterruptedRunError,
    RunFailedError,
    ToldElsewhereError,
    UnavailableError,
    UsageError,
)
from cnnkit.evaluation import Predictions, predict_all
from cnnkit.events import Event, Warned, handled_by
from cnnkit.runs import run_data as data_module
from cnnkit.system import launch as launching
from cnnkit.system.device import check_processes
from cnnkit.system.distributed import Shard, joined_group
from cnnkit.training.distributed_step import DistributedStepper
from cnnkit.training.step import Stepper, WholeBatch
from tests.conftest import Answer, Cnnkit
from tests.training.killing import make_photos, outcome, same
from tests.training.processes import Launch, in_processes

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SIZES = (64, 61, 9, 2)  # of the batches: even, uneven, and too small for three to share

# A network that does something in a training step of a rank, while nothing was started anew.
NETWORK = """
import os, signal
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, what, at):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(144, 20), nn.ReLU(), nn.Linear(20, num_classes),
        )
        self.what, self.at, self.count = what, int(at), 0

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and os.environ.get("RANK") == "1":
            self.count += 1
            if self.count == self.at and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
                if self.what == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.what == "bug":
                    raise KeyError("surprise")
                if self.what == "nan":
                    x = x * torch.nan
                if self.what == "ctrl-c":
                    os.kill(os.getppid(), signal.SIGINT)
        return self.body(x)

def make(num_classes, in_channels, what="nothing", at="30"):
    return Net(num_classes, what, at)
"""
SETTINGS = {"epochs": 3, "batch_size": 64, "ema": 0.9, "optimizer": "sgd", "lr": 0.05}


@pytest.fixture
def network() -> None:
    Path("net.py").write_text(NETWORK)


# The steps


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).double()


def global_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 5, generator=generator, dtype=torch.float64),
            torch.randint(0, 4, (size,), generator=generator),
        )
        for size in SIZES
    ]


def steps(**settings: object) -> list[list[float]]:
    """Take steps with this process's parts of batches; return weights, losses, norms, hits."""
    model = small_network()
    recipe = Recipe.of(
        **{"epochs": 1, "batch_size": 64, "schedule": "constant", "lr": 0.1, **settings}
    ).resolved()
    figures = []
    with joined_group() as group:
        makers: list[Callable[..., Stepper]] = [Stepper, partial(DistributedStepper, group=group)]
        stepper = group.select(*makers)(model, recipe, len(SIZES), CPU)
        for x, y in global_batches():
            whole = WholeBatch(len(y), group.shard.counts(len(y)))
            start, end = group.shard.of_images(len(y))
            x, y = x[start:end], y[start:end]
            step = stepper.take(x, y, whole)
            hits = step.num_correct if step.num_correct is not None else step.logits.argmax(1) == y
            norm = torch.cat([one.grad.flatten() for one in model.parameters()]).norm()
            figures.append([float(step.loss), float(norm), float(hits.sum())])
        figures.append(torch.cat([one.flatten() for one in model.parameters()]).tolist())
        figures.append(
            torch.cat([one.flatten() for one in stepper.evaluated.parameters()]).tolist()
        )
    return figures


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "label_smoothing": 0.1},
        {"optimizer": "adam", "accumulate": 3, "clip_grad": 0.1, "ema": 0.5},
    ],
    ids=["sgd", "accumulated"],
)
def test_the_steps_of_several_are_those_of_one(size: int, settings: dict[str, Any]) -> None:
    """To 1e-12 in float64: the sums are the same, added in another order."""
    alone, together = steps(**settings), in_processes(size, steps, **settings)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(
            torch.tensor(other), torch.tensor(one), rtol=1e-12, atol=1e-14
        )  # fmt: skip


def count_reductions(accumulate: int) -> int:
    """Return how often gradients travel in one step."""
    model = small_network()
    recipe = Recipe.of(batch_size=64, schedule="constant", accumulate=accumulate).resolved()
    with joined_group() as group:
        stepper = DistributedStepper(model, recipe, 1, CPU, group=group)
        x, y = global_batches()[0]
        whole = WholeBatch(2 * len(y), True)
        stepper.take(x, y, whole)
        count = 0

        def counted(
            state: object, bucket: distributed.GradBucket
        ) -> torch.futures.Future[torch.Tensor]:
            nonlocal count
            count += 1
            future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        stepper._shared._network.register_comm_hook(None, counted)
        stepper.take(x, y, whole)
    return count


def test_gradients_travel_once_a_step_however_many_parts_it_has() -> None:
    assert in_processes(2, count_reductions, 4) == in_processes(2, count_reductions, 1) == 1


class Narrow(nn.Module):
    """Has no memory for more than so many images on one rank, and finds out late."""

    def __init__(self, most: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 4)).double()
        self.most = most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        if self.training and os.environ["RANK"] == "1" and len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return result


def narrow_steps(most: int, accumulate: int) -> tuple[list[float], list[str]]:
    """Return the weights after a few steps, and what was said."""
    model, events = Narrow(most), list[Event]()
    recipe = Recipe.of(batch_size=64, schedule="constant", accumulate=accumulate).resolved()
    with joined_group() as group:
        stepper = DistributedStepper(model, recipe, 2, CPU, group=group)
        torch.manual_seed(group.rank)
        with handled_by(events.append):
            for x, y in global_batches()[:2]:
                mine = slice(group.rank * 30, group.rank * 30 + 30)
                stepper.take(x[mine], y[mine], WholeBatch(60, True))
    weights = torch.cat([one.flatten() for one in model.parameters()]).tolist()
    return weights, [event.text for event in events if isinstance(event, Warned)]


def test_without_memory_on_one_rank_all_split_alike() -> None:
    split, told = in_processes(2, narrow_steps, 8, 1)
    planned, _ = in_processes(2, narrow_steps, 100, 4)
    assert split == planned
    assert "out of memory: from now on a batch of 64 is split into 4 parts" in told[0]


# The shares


@given(st.integers(1, 9), st.integers(1, 500))
def test_every_image_counts_once_and_every_batch_is_somebodys(size: int, number: int) -> None:
    shares = [Shard(rank, size) for rank in range(size)]
    counted = [
        image for one in shares if one.counts(number) for image in range(*one.of_images(number))
    ]
    assert counted == list(range(number))
    lengths = [end - start for start, end in (one.of_images(number) for one in shares)]
    assert min(lengths) >= min(2, number)
    assert max(lengths) - min(lengths) <= 2
    assert all(one.of_images(number)[0] % 2 == 0 for one in shares)  # pairs stay together
    batches = [batch for one in shares for batch in range(*one.of_units(number))]
    assert batches == list(range(number))


def made_batches(dataset: str | int, batch_size: int, skip_bad: bool = False) -> Batches:
    """Return the batches of a folder, or of so many images in memory."""
    if isinstance(dataset, int):
        pixels = torch.randint(256, (dataset, 1, 8, 8), dtype=torch.uint8)
        images: ImageSet = TensorSet(
            "made", "all", tuple("abcdefghij"), torch.arange(dataset) % 10, 1, (8, 8), pixels
        )
    else:
        images = open_dataset(dataset, "train")
    treatment = Preprocessing(1, 8, 8, (0.5,), (0.2,))
    return make_batches(images, treatment, batch_size, CPU, num_workers=1, skip_bad=skip_bad)


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_the_parts_of_a_batch_make_it_up_for_any_number_of_processes(kind: str) -> None:
    if kind == "files":
        make_photos(Path("photos"))
    batches = made_batches("photos" if kind == "files" else 1000, 13)
    whole = list(batches.shuffled(3, 2))
    for size in (2, 4):
        parts = [list(batches.shuffled(3, 2, 1, Shard(rank, size))) for rank in range(size)]
        for place, (number, images, labels) in enumerate(whole[1:]):
            assert {part[place][0] for part in parts} == {number}
            some = slice(0, 1) if len(labels) < 2 * size else slice(None)
            assert torch.equal(torch.cat([part[place][1] for part in parts[some]]), images)
            assert torch.equal(torch.cat([part[place][2] for part in parts[some]]), labels)


def predict(dataset: str | int, batch_size: int, skip_bad: bool = False) -> tuple[Predictions, int]:
    """Return the predictions of a small network, and how many images were left out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10))
    batches = made_batches(dataset, batch_size, skip_bad)
    with joined_group() as group:
        found = predict_all(model, batches, 10, group=group)
    return found, len(batches.skipped)


@pytest.mark.parametrize("size", [2, 3])
def test_10007_images_are_counted_once_and_to_the_same_bits(size: int) -> None:
    alone, _ = predict(10007, 1000)
    together, _ = in_processes(size, predict, 10007, 1000)
    assert together.metrics().num_images == 10007
    assert together.metrics() == alone.metrics()
    for name in ("labels", "predicted", "in_top5", "losses"):
        assert torch.equal(getattr(together, name), getattr(alone, name)), name


def test_more_processes_than_batches_and_broken_images() -> None:
    make_photos(Path("photos"))
    for path in sorted(Path("photos").rglob("*.jpg"))[3:6]:
        path.write_bytes(b"no image")
    alone, num_skipped_alone = predict("photos", 1000, True)
    together, num_skipped = in_processes(3, predict, "photos", 1000, True)
    assert together.metrics() == alone.metrics()
    assert num_skipped == num_skipped_alone > 0


# The run


def train(what: str = "nothing", at: int = 30, runs: str = "runs", **settings: object) -> str:
    """Train in this process, with the others if there are any; return the run."""
    result = cnnkit.train(
        "net.py:make",
        "digits",
        Recipe.of(**{**SETTINGS, **settings}),
        model_arguments={"what": what, "at": str(at)},
        runs_dir=Path(runs),
    )
    return result.run


def only_run(runs: str) -> Path:
    (run,) = Path(runs).iterdir()
    return run


def differing(run: str | Path, other: str | Path) -> list[str]:
    one, two = outcome(Path(run)), outcome(Path(other))
    for each in (one, two):  # the networks differ in what they do to one rank
        each["result"].pop("model")
    return [name for name in one if not same(one[name], two[name])]


def describe(run: str | Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(run) / "run.json").read_text())
    return content


def test_a_run_of_several_ends_as_one_of_one(network: None) -> None:
    settings = {"epochs": 2, "batch_size": 60, "val_split": 0.2}
    alone = cnnkit.train("mlp", "digits", Recipe.of(**SETTINGS | settings))
    run = in_processes(2, train_mlp, settings)
    together = json.loads((Path(run) / "result.json").read_text())
    assert describe(run)["nproc"] == 2
    assert describe(alone.run)["nproc"] == 1
    ours, theirs = outcome(Path(run)), outcome(Path(alone.run))
    for name, weights in theirs["raw"].items():
        torch.testing.assert_close(ours["raw"][name], weights, rtol=0, atol=2e-6)
    assert [one["train_accuracy"] for one in together["epochs"]] == [
        one.train_accuracy for one in alone.epochs
    ]
    assert [one["train_loss"] for one in together["epochs"]] == pytest.approx(
        [one.train_loss for one in alone.epochs], rel=1e-5
    )
    assert together["num_train_images"] == alone.num_train_images
    with pytest.raises(UsageError, match="the run uses 2 processes, and there is 1"):
        cnnkit.resume(run)


def train_mlp(settings: dict[str, Any]) -> str:
    result = cnnkit.train("mlp", "digits", Recipe.of(**SETTINGS | settings), runs_dir=Path("two"))
    return result.run


def test_a_killed_rank_and_a_restart_end_as_if_nothing_had_been(network: None) -> None:
    """Of three: in which order they add gradients up must not depend on the restart."""
    whole = in_processes(3, train, runs="whole")
    launch = Launch(3)
    first = launch.run(train, "kill", 33, runs="killed", max_restarts=1)
    assert first[1] is None
    assert [str(type(one)) for one in (first[0], first[2])] == [str(ToldElsewhereError)] * 2
    second = launch.run(train, "kill", 33, runs="killed", restart=1, max_restarts=1)
    run = only_run("killed")
    assert second == [str(run)] * 3
    assert differing(run, whole) == []
    (entry,) = describe(run)["resumed"]
    assert (entry["epoch"], entry["step"]) == (1, 0)


def stop_and_go_on(run: str | None) -> str:
    """Train until the first rank is told to stop, in the midst of an epoch, or go on."""
    if run is not None:
        return cnnkit.resume(run).run
    take, number = Stepper.take, 0

    def counted(self: Stepper, *arguments: Any) -> Any:
        nonlocal number
        number += 1
        if number == 27 and os.environ["RANK"] == "0":
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, *arguments)

    Stepper.take = counted  # type: ignore[method-assign]
    return train(runs="stopped")


def test_all_stop_after_the_same_step_and_go_on(network: None) -> None:
    whole = in_processes(2, train, runs="whole")
    results = Launch(2).run(stop_and_go_on, None)
    assert isinstance(results[0], InterruptedRunError), results
    assert results[0].message == "interrupted after step 6 of epoch 2 of 3; all is kept"
    assert isinstance(results[1], ToldElsewhereError)
    assert results[1].exit_code == ExitCode.INTERRUPTED
    run = only_run("stopped")
    assert in_processes(2, stop_and_go_on, str(run)) == str(run)
    assert differing(run, whole) == []
    other = Launch(3).run(stop_and_go_on, str(run))
    assert isinstance(other[0], UsageError)
    assert "the run uses 2 processes, and there are 3" in str(other[0])


def test_what_befalls_one_rank_is_told_once(network: None) -> None:
    begun = time.monotonic()
    lost = Launch(2).run(train, "nan", 30, runs="nan")
    assert time.monotonic() - begun < 60
    assert isinstance(lost[0], RunFailedError), lost
    assert "the loss is nan at step 7 of epoch 2" in lost[0].message
    assert isinstance(lost[1], ToldElsewhereError)
    assert lost[1].exit_code == ExitCode.RUN_FAILED
    bug = Launch(2).run(train, "bug", 30, runs="bug")
    assert isinstance(bug[0], ToldElsewhereError)
    assert bug[1].rank == 1
    assert bug[1].exit_code == ExitCode.BUG
    assert "KeyError: 'surprise'" in str(bug[1])


def train_on_photos(skip_bad: bool, **settings: object) -> str:
    result = cnnkit.train(
        "mlp",
        "photos",
        Recipe.of(**SETTINGS | {"batch_size": 16, "epochs": 1} | settings),
        runs_dir=Path("runs"),
        skip_bad=skip_bad,
    )
    return result.run


def test_a_broken_image_stops_all_or_is_left_out_by_all() -> None:
    make_photos(Path("photos"))
    for path in sorted(Path("photos").rglob("*.jpg"))[:8]:
        path.write_bytes(b"no image")
    stopped = Launch(2).run(train_on_photos, False)
    told = [one for one in stopped if not isinstance(one, ToldElsewhereError)]
    assert len(told) == 1
    assert "broken image" in str(told[0])
    alone = train_on_photos(True)
    together = in_processes(2, train_on_photos, True)
    one, other = (json.loads((Path(run) / "result.json").read_text()) for run in (alone, together))
    assert one["num_skipped"] == other["num_skipped"] == 8
    assert one["num_train_images"] == other["num_train_images"]
    assert one["epochs"][0]["train_loss"] == pytest.approx(other["epochs"][0]["train_loss"])


@pytest.mark.parametrize("broken", [0, 3])
def test_files_that_each_decodes_a_part_of_make_the_run_of_those_decoded_every_epoch(
    broken: int,
) -> None:
    make_photos(Path("photos"))
    for path in sorted(Path("photos").rglob("*.jpg"))[:broken]:
        path.write_bytes(path.read_bytes()[:300])
    settings = {"epochs": 2, "flip": "random"}
    once, every_time = (
        in_processes(2, train_on_photos, broken > 0, cache=cache, **settings)
        for cache in ("auto", "off")
    )
    assert [describe(run)["decoded_once"] for run in (once, every_time)] == [True, False]
    ours, theirs = outcome(Path(once)), outcome(Path(every_time))
    assert ours["result"]["num_skipped"] == broken
    assert [name for name in ours if not same(ours[name], theirs[name])] == []


def test_what_one_process_has_no_memory_for_all_decode_every_epoch() -> None:
    make_photos(Path("photos"))
    run = in_processes(2, train_where_rank_1_has_little)
    assert describe(run)["decoded_once"] is False


def train_where_rank_1_has_little() -> str:
    free = 100_000 if distributed.get_node_local_rank(0) else 2**40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "available_bytes", lambda device: free)
        return train_on_photos(False, epochs=2)


# The command


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-b", "3", "--nproc", "2"], ExitCode.USAGE, "--batch-size 3 is too small for 2"),
        (["--nproc", "0"], ExitCode.USAGE, "--nproc"),
        (["--max-restarts", "-1"], ExitCode.USAGE, "--max-restarts"),
        (["--nproc", "2", "--device", "cuda:7"], ExitCode.UNAVAILABLE, "device cuda:7 is not"),
    ],
)
def test_what_cannot_be_started_is_refused_at_once(
    cnnkit: Cnnkit, arguments: list[str], code: int, says: str
) -> None:
    answer = cnnkit("train", "lenet5", *arguments)
    assert answer.code == code
    assert says in answer.stderr
    assert answer.stdout == ""
    assert not Path("runs").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_processes(torch.device("cuda"), 2)
    with pytest.raises(UnavailableError, match="3 processes are more than the 2 GPUs"):
        check_processes(torch.device("cuda"), 3)
    with pytest.raises(UsageError, match=r"^device cuda:1 is one GPU, and 2 processes need one"):
        check_processes(torch.device("cuda:1"), 2)


def test_a_mistake_under_torchrun_is_told_by_one(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    first = cnnkit("train", "lenet6", "--json")
    assert first.code == ExitCode.NOT_FOUND
    assert first.json["exit_code"] == ExitCode.NOT_FOUND
    assert "torchrun, which has started 2" in cnnkit("train", "lenet5", "--nproc", "3").stderr
    monkeypatch.setenv("RANK", "1")
    other = cnnkit("train", "lenet6", "--json")
    assert (other.code, other.stdout, other.stderr) == (ExitCode.NOT_FOUND, "", "")


def test_a_dry_run_under_torchrun_is_answered_by_one_and_lr_find_by_none(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = cnnkit("train", "--recipe", "mnist-fast", "--dry-run")
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    dry_run, lr_find = [], []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        dry_run.append(cnnkit("train", "--recipe", "mnist-fast", "--dry-run"))
        lr_find.append(cnnkit("train", "linear", "--lr-find"))
    assert dry_run == [alone, Answer(0, "", "")]
    assert lr_find == [
        Answer(
            ExitCode.USAGE,
            "",
            "cnnkit: --lr-find is for one process; start it without torchrun\n",
        ),
        Answer(ExitCode.USAGE, "", ""),
    ]
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert cnnkit("train", "linear", "-b", "512", "--lr-find", "-q").code == 0


def launched(what: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command with two processes."""
    words = ["net.py:make", "digits", "--epochs", "3", "-b", "64", "--ema", "0.9", "--optimizer"]
    words += ["sgd", "--lr", "0.05", "--model-arg", f"what={what}", "--model-arg", "at=50"]
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", "train", *words, "--nproc", "2", "--json", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    crowded = "warning: 2 processes on 1 core: they wait for each other\n"  # where there is but one
    done.stderr = done.stderr.replace(crowded, "")
    return done


def test_kill_9_of_a_rank_and_one_restart(network: None) -> None:
    done = launched("kill", "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "warning: rank 1 was killed by SIGKILL; restart 1 of 1\n" in done.stderr
    assert not re.search(r"torch|Warning:|\[[WE]|Traceback", done.stderr), done.stderr
    assert done.stderr.count("epoch train loss") == 2  # of the first rank, before and after
    assert differing(answer["run"], in_processes(2, train, runs="whole")) == []


def test_kill_9_of_a_rank_and_ctrl_c_leave_what_can_be_resumed(network: None) -> None:
    lost = launched("kill", "--runs-dir", "lost", "-q")
    assert lost.returncode == ExitCode.RUN_FAILED
    assert lost.stderr == (
        "cnnkit: rank 1 was killed by SIGKILL, as the system does when memory runs out; `cnnkit "
        f"train --resume {only_run('lost')}` resumes the run\n"
    )
    assert json.loads(lost.stdout)["exit_code"] == ExitCode.RUN_FAILED
    stopped = launched("ctrl-c", "--runs-dir", "stopped", "-q")
    assert stopped.returncode == ExitCode.INTERRUPTED, stopped.stderr
    assert "of epoch 3 of 3; all is kept" in stopped.stderr
    assert len(stopped.stderr.splitlines()) == 1
    assert json.loads(stopped.stdout)["exit_code"] == ExitCode.INTERRUPTED
    whole = in_processes(2, train, runs="whole")
    for run in (only_run("lost"), only_run("stopped")):
        in_processes(2, stop_and_go_on, str(run))
        assert differing(run, whole) == []


def test_resume_takes_the_number_of_processes_from_the_run(
    cnnkit: Cnnkit, network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Launch(2).run(stop_and_go_on, None)
    run = only_run("stopped")
    started = []
    monkeypatch.setattr(launching, "launch", lambda *arguments: started.append(arguments))
    assert cnnkit("train", "--resume", run, "-j", "1").code == 0
    assert started == [(("train", "--resume", str(run), "-j", "1"), 2, 0)]
    answer = cnnkit("train", "--resume", run, "--nproc", "3")
    assert answer.code == ExitCode.USAGE
    assert "--nproc cannot be changed in a resumed run: it was 2, not 3" in answer.stderr
    assert len(started) == 1
