"""What makes a training fast leaves it what it was: precision, compiling, files decoded once."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import cnnkit as package
from cnnkit import Recipe, resume
from cnnkit.errors import ExitCode, InterruptedRunError, UnavailableError
from cnnkit.events import Event, Note
from cnnkit.runs import run_data as data_module
from cnnkit.runs.checkpoints import CheckpointFolder
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.system import device as devices
from cnnkit.system import memory
from cnnkit.system.device import choose_precision
from cnnkit.system.memory import available_bytes, keep_freed_memory
from cnnkit.training.network import forward_flops
from cnnkit.training.step import Stepper
from tests.conftest import Cnnkit
from tests.training.killing import make_photos
from tests.training.test_resume import assert_equal, only_run, recipe, stop_after_epoch, stopped

CPU = torch.device("cpu")


def described(run: Path) -> dict[str, object]:
    plain: dict[str, object] = json.loads((run / "run.json").read_text())
    return plain


def setup_of(run: Path) -> ModelAndData:
    setup = described(run)["setup"]
    assert isinstance(setup, dict)
    return ModelAndData.from_dict(setup)


def notes(told: list[Event]) -> str:
    return " ".join(one.text for one in told if isinstance(one, Note))


def test_a_run_in_bf16_is_evaluated_in_it_and_resumed_exactly() -> None:
    told: list[Event] = []
    result = package.train(
        "linear", recipe=recipe(precision="bf16"), runs_dir=Path("whole"), on_event=told.append
    )
    run = Path(result.run)
    device = devices.choose_device()
    is_slow = device.type == "cpu" and not devices.has_native_bf16(device)
    slow = " (by way of fp32, and slow)" if is_slow else ""
    assert f"on {device} in bf16{slow}" in notes(told)
    assert setup_of(run).precision == "bf16"
    assert package.evaluate(run).metrics == result.test
    plain = package.train("linear", recipe=recipe(precision="fp32"))
    assert plain.test is not None
    assert result.test is not None
    assert result.test.loss != plain.test.loss
    assert result.test.loss == pytest.approx(plain.test.loss, rel=0.05)
    weights = CheckpointFolder(run / "checkpoints").load("best").weights
    assert {one.dtype for one in weights.values()} == {torch.float32}
    again = stopped("again", precision="bf16")
    resume(again, {"precision": "auto"})
    assert_equal(again, run)


def test_bf16_is_chosen_where_the_hardware_has_it_and_the_network_gains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for has_it, flops, chosen in (
        (True, 10**10, "bf16"), (True, 10**6, "fp32"), (False, 10**10, "fp32"),
    ):  # fmt: skip
        monkeypatch.setattr(devices, "has_native_bf16", lambda device, has_it=has_it: has_it)
        assert choose_precision("auto", CPU, flops) == chosen
    assert choose_precision("bf16", CPU, 0) == "bf16"
    with pytest.raises(UnavailableError, match="fp16 needs a CUDA GPU, and the device is cpu"):
        choose_precision("fp16", CPU, 0)


def test_the_operations_of_a_network_are_counted() -> None:
    setup = setup_of(Path(package.train("lenet5", recipe=Recipe.of(epochs=1)).run))
    macs = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 120 * 400 + 120 * 84 + 84 * 10
    assert forward_flops(setup.build(), setup) == 2 * macs


def test_what_the_device_cannot_is_refused_in_a_line(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "linear", "--device", "cpu", "--precision", "fp16")
    assert answer.code == ExitCode.UNAVAILABLE
    assert "--precision fp16 needs a CUDA GPU" in answer.stderr
    assert not Path("runs").exists()
    assert cnnkit("train", "linear", "--precision", "fp8").code == ExitCode.USAGE


def test_the_loss_is_scaled_in_fp16_and_steps_that_overflow_are_left_out() -> None:
    """The scaler of the CPU is that of a GPU, so that it can be tried here."""
    torch.manual_seed(0)
    model, chosen = nn.Linear(5, 4), recipe(epochs=1, momentum=0.0, clip_grad=10.0).resolved()
    plain = nn.Linear(5, 4)
    plain.load_state_dict(model.state_dict())
    stepper = Stepper(model, chosen, 10, CPU, "fp16")
    x, y = torch.randn(8, 5), torch.randint(0, 4, (8,))
    before = model.weight.detach().clone()
    step = stepper.take(x, y)
    Stepper(plain, chosen, 10, CPU).take(x, y)
    assert step.loss.dtype == step.logits.dtype == torch.float32
    torch.testing.assert_close(
        model.weight - before, plain.weight - before, rtol=0.01, atol=1e-5
    )  # not scaled
    assert stepper.state()["scaler"]["scale"] == 2**16

    assert stepper._scaler is not None
    stepper._scaler.update(1e38)
    kept = model.weight.detach().clone()
    assert not stepper.take(1e4 * x, y).found_inf
    assert torch.equal(kept, model.weight)
    assert stepper.state()["scaler"]["scale"] < 1e38
    assert stepper.has_scale()
    other = Stepper(nn.Linear(5, 4), chosen, 10, CPU, "fp16")
    other.restore(stepper.state())
    assert other.state()["scaler"] == stepper.state()["scaler"]


def test_compiled_and_resumed_is_compiled_and_not_stopped() -> None:
    told: list[Event] = []
    settings = {"compile": True, "epochs": 3}
    result = package.train(
        "linear", recipe=recipe(**settings), runs_dir=Path("whole"), on_event=told.append
    )
    assert "compiled in " in notes(told)
    run = Path(result.run)
    weights = CheckpointFolder(run / "checkpoints").load("best").weights
    assert not [name for name in weights if "_orig_mod" in name]
    assert package.evaluate(run).metrics == result.test
    again = stopped("again", **settings)
    resume(again)
    assert_equal(again, run)


def test_without_a_compiler_nothing_is_begun(cnnkit: Cnnkit) -> None:
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        answer = cnnkit("train", "linear", "--device", "cpu", "--compile")
    assert answer.code == ExitCode.UNAVAILABLE
    assert "--compile needs a C++ compiler, and this machine has none" in answer.stderr
    assert not list(Path("runs").iterdir())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.mark.parametrize("broken", [0, 3])
def test_files_decoded_once_or_every_epoch_make_the_same_run(photos: Path, broken: int) -> None:
    for path in sorted(photos.rglob("*.jpg"))[:broken]:
        path.write_bytes(path.read_bytes()[:300])

    def run(cache: str) -> tuple[Path, str]:
        told: list[Event] = []
        result = package.train(
            "linear",
            str(photos),
            recipe(batch_size=16, flip="random", crop=2, cache=cache),
            input=(3, 16, 16),
            skip_bad=broken > 0,
            on_event=told.append,
        )
        assert result.num_skipped == broken
        return Path(result.run), notes(told)

    (once, told), (every_time, told_nothing) = run("auto"), run("off")
    assert_equal(once, every_time)
    assert "files are decoded once, and take " in told
    assert "decoded" not in told_nothing
    assert described(once)["decoded_once"] is True
    assert described(every_time)["decoded_once"] is False


def test_files_that_would_fill_the_memory_are_decoded_every_epoch(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    monkeypatch.setattr(data_module, "available_bytes", lambda device: 100_000)
    result = package.train("linear", str(photos), recipe(epochs=2), on_event=told.append)
    assert "files are decoded every epoch: once decoded they would take" in notes(told)
    assert described(Path(result.run))["decoded_once"] is False


def test_a_run_goes_on_as_it_began_however_much_memory_is_left(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = recipe(batch_size=20)
    whole = package.train("linear", str(photos), chosen, runs_dir=Path("whole"))
    with pytest.raises(InterruptedRunError):
        package.train("linear", str(photos), chosen, on_event=stop_after_epoch(1))
    monkeypatch.setattr(data_module, "available_bytes", lambda device: 1)
    resume(only_run())
    assert_equal(only_run(), Path(whole.run))


def test_the_layout_is_a_choice() -> None:
    one = package.train("lenet5", recipe=Recipe.of(epochs=1))
    other = package.train("lenet5", recipe=Recipe.of(epochs=1, channels_last=False))
    assert setup_of(Path(one.run)).channels_last is True
    assert setup_of(Path(other.run)).channels_last is False
    assert one.epochs[0].train_loss == pytest.approx(other.epochs[0].train_loss, rel=1e-3)


@pytest.mark.parametrize("version", [1, 2])
def test_what_a_container_holds_is_not_free(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used, reclaimable = memory.CGROUP_FILES[2 - version]
    (tmp_path / limit).write_text("1000\n")
    (tmp_path / used).write_text("700\n")
    (tmp_path / "memory.stat").write_text(f"anon 400\n{reclaimable} 250\n")
    monkeypatch.setattr(memory, "CGROUPS", (str(tmp_path / "none"), str(tmp_path)))
    assert available_bytes(CPU) == 550
    (tmp_path / limit).write_text("max\n")
    free = available_bytes(CPU)
    assert free is None or free > 2**20


def test_memory_is_known_and_kept() -> None:
    free = available_bytes(CPU)
    assert free is None or 2**20 < free < 2**50
    keep_freed_memory()
