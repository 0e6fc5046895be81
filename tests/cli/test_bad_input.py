"""Bad input is normal input: one line, the right code, a way out, nothing half written."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Answer, Cnnkit
from tests.rewriting import rewrite


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts  # Python's own, beside a file that was imported
    }


Refused = Callable[..., Answer]


@pytest.fixture
def refused(cnnkit: Cnnkit, tmp_path: Path) -> Refused:
    """Run a command that must be refused in one line, without a trace in the file system."""

    def call(*arguments: str | Path, code: int, says: str, hint: str = "") -> Answer:
        before = snapshot(tmp_path)
        answer = cnnkit(*arguments)
        assert answer.code == code, answer.stderr
        assert answer.stdout == ""
        (line,) = [line for line in answer.stderr.splitlines() if line.startswith("cnnkit: ")]
        assert says in line
        assert hint in line
        assert "Traceback" not in answer.stderr
        assert snapshot(tmp_path) == before
        return answer

    return call


def make_images(folder: Path, number: int = 6, size: int = 16) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for index in range(number):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        make_images(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def finished(cnnkit: Cnnkit) -> Path:
    """A run that ended well."""
    answer = cnnkit("train", "linear", "digits", "--epochs", "1", "--json", "-q")
    assert answer.code == 0, answer.stderr
    return Path(answer.json["run"])


# Names


def test_unknown_names(refused: Refused) -> None:
    refused("train", "lenet55", code=3, says="unknown model 'lenet55'", hint="did you mean lenet5")
    refused("train", "lenet5", "mnst", code=3, says="unknown dataset 'mnst'", hint="mnist")
    refused("models", "zzz", code=3, says="no model matches 'zzz'", hint="lists all")
    refused("datasets", "cifr*", code=3, says="no dataset matches 'cifr*'", hint="cifar10")
    refused("train", "digits", "lenet5", code=3, says="unknown model 'digits'",
            hint="the model comes first: `cnnkit train lenet5 digits`")  # fmt: skip
    refused("train", "timm:resnet1o", code=3, says="resnet1o", hint="did you mean")
    refused("trian", code=2, says="no such command 'trian'", hint="did you mean train")
    refused("train", "lenet5", "--epocs", "3", code=2, says="--epocs", hint="did you mean --epochs")


def test_unknown_split(refused: Refused, finished: Path) -> None:
    refused("eval", finished, "--split", "tset", code=2, says="no split 'tset'", hint="test")
    refused("eval", finished, "--split", "xyz", code=2, says="it has train, val, test")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--epochs", "0", "--epochs must be at least 1, not 0"),
        ("--epochs", "-5", "--epochs must be at least 1, not -5"),
        ("--epochs", "many", "not 'many'"),
        ("-b", "0", "--batch-size must be at least 1, not 0"),
        ("--batch-size", "-1", "--batch-size must be at least 1, not -1"),
        ("--lr", "0", "--lr must be above 0"),
        ("--optimizer", "lion", "'lion' is not one of 'sgd', 'adam', 'adamw', 'muon'"),
        ("--schedule", "lines", "'lines' is not one of"),
        ("--lr", "fast", "'--lr': 'fast' is neither a number nor none"),
        ("--patience", "2.5", "'--patience': '2.5' is neither an integer nor none"),
        ("--momentum", "0.9", "--momentum belongs to the optimizer sgd and muon, not to adam"),
        ("--lr-rest", "0.1", "--lr-rest belongs to the optimizer muon, not to adam"),
        ("--dropout", "1", "--dropout must be below 1"),
        ("--dropout", "0.5", "lenet5 has no dropout layer that --dropout could set"),
        ("--val-split", "1.5", "--val-split must be below 1, not 1.5"),
        ("--label-smoothing", "1", "--label-smoothing must be below 1"),
        ("--warmup-epochs", "20", "--warmup-epochs must be below --epochs"),
        ("--accumulate", "64", "--accumulate must be at most --batch-size, and 64 is above 32"),
        ("--clip-grad", "-1", "--clip-grad must be above 0"),
        ("--ema", "1", "--ema must be below 1"),
        ("--patience", "0", "--patience must be at least 1"),
        ("--checkpoint-minutes", "-1", "--checkpoint-minutes must be at least 0, not -1"),
        ("--checkpoint-steps", "0", "--checkpoint-steps must be at least 1, not 0"),
        ("--seed", "-1", "--seed must be at least 0, not -1"),
        ("--normalize", "published", "no mean and standard deviation are published for digits"),
        ("--normalize", "publishd", "did you mean published?"),
        ("--normalize", "0", "--normalize 0 has a std of 0, but it must be above 0"),
        ("--normalize", "0.5/0", "--normalize 0.5/0 has a std of 0"),
        ("--normalize", "0.5/-0.2", "has a std of -0.2"),
        ("--normalize", "0.5/1e999", "has '1e999' instead of a number"),
        ("--normalize", "0.5/nan", "has 'nan' instead of a number"),
        ("--normalize", "0.5/", "has '' instead of a number"),
        ("--normalize", "0.1,0.2/0.3", "has 2 means; give one for all channels, or three"),
        ("--normalize", "0.1,0.2,0.3", "has 3 means and no std"),
        ("--normalize", "125/60", "has a mean of 125, and pixels are from 0 to 1"),
        ("--normalize", ".1,.2,.3/.2,.2,.2", "has 3 means, and the input has 1 channel"),
        ("--device", "gpu", "unknown device 'gpu'"),
        ("--device", "cuda:x", "unknown device 'cuda:x'"),
        ("--workers", "-1", "--workers must be at least 0, not -1"),
        ("--mixup", "-1", "--mixup must be at least 0, not -1"),
        ("--nproc", "0", "--nproc must be at least 1, not 0"),
        ("--max-restarts", "-1", "--max-restarts must be at least 0, not -1"),
        ("--input", "3x", "--input '3x' is not a shape"),
        ("--input", "²", "--input '²' is not a shape"),
        ("--input", "0x32x32", "has a size below 1"),
        ("--input", "1x-4x32", "has a size below 1"),
        ("--input", "2x32x32", "images have 1 or 3 channels, not 2"),
        ("--input", "1x16x16", "lenet5 only takes images of 32x32, not 16x16"),
        ("--model-arg", "hidden", "--model-arg 'hidden' is no KEY=VALUE"),
        ("--model-arg", "num_classes=3", "num_classes"),
        ("--model-arg", "nothing=3", "lenet5 takes no argument 'nothing'"),
        ("--format", "xml", "'xml' is not one of"),
    ],
)
def test_values_that_make_no_sense(refused: Refused, option: str, value: str, says: str) -> None:
    refused("train", "lenet5", "digits", option, value, code=2, says=says)


def test_a_number_out_of_bounds_is_refused_in_the_same_words_everywhere(refused: Refused) -> None:
    for command, option, value, says in (
        ("summary", "--top", "0", "--top must be at least 1, not 0"),
        ("summary", "-b", "0", "--batch-size must be at least 1, not 0"),
        ("show", "-n", "0", "--num must be at least 1, not 0"),
        ("show", "-n", "10001", "--num must be at most 10,000, not 10001"),
        ("conv", "--in-channels", "0", "--in-channels must be at least 1, not 0"),
    ):
        of_conv = (
            ("28", "--kernel", "3", "--out-channels", "2") if command == "conv" else ("lenet5",)
        )
        refused(command, *of_conv, option, value, code=2, says=f"cnnkit: {says}")


def test_a_value_that_is_missing_points_to_the_help_of_its_command(refused: Refused) -> None:
    refused("train", "--resume", code=2, says="requires an argument", hint="`cnnkit train --help`")
    refused("conv", "28", "--kernel", code=2, says="requires", hint="`cnnkit conv --help`")


def test_a_network_that_an_optimizer_has_nothing_in(refused: Refused) -> None:
    refused("train", "linear", "--optimizer", "muon",
            code=2, says="muon trains the layers between the first and the last",
            hint="use --optimizer adamw or sgd")  # fmt: skip


def test_pretrained_weights_that_there_are_not(refused: Refused) -> None:
    refused("train", "lenet5", "--pretrained", code=2, says="no pretrained weights for lenet5",
            hint="such as resnet18")  # fmt: skip
    refused("train", "resnet18", "--freeze", code=2,
            says="--freeze keeps the weights of --pretrained or --weights")  # fmt: skip


def test_a_class_without_an_image_to_hold_out(refused: Refused, photos: Path) -> None:
    make_images(photos / "emu", 1)
    refused(
        "train", "linear", photos, "--input", "3x8x8",
        code=2, says="leaves no validation image of 1 class of", hint="use --val-split 0",
    )  # fmt: skip


def test_images_too_small_for_the_network(refused: Refused) -> None:
    refused(
        "train", "googlenet", "digits", "--input", "3x8x8",
        code=2, says="images of 8x8 are too small for googlenet", hint="15x15",
    )  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_device_that_is_not_there(refused: Refused) -> None:
    refused("train", "lenet5", "--device", "cuda", code=4, says="cuda", hint="--device cpu")
    refused("train", "lenet5", "--device", "cuda:3", code=4, says="cuda:3 is not available")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has an Apple GPU")
def test_no_apple_gpu(refused: Refused) -> None:
    refused("train", "lenet5", "--device", "mps", code=4, says="mps is not available", hint="cpu")


# The config file


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("epoch = 3", 2, "unknown key 'epoch'; did you mean epochs"),
        ("config = 'x'", 2, "unknown key 'config'"),
        ("epochs = ", 2, "is not TOML"),
        ("epochs = 'many'", 2, "not 'many'"),
        ("epochs = 0", 2, "--epochs must be at least 1, not 0"),
        ("nproc = 0", 2, "--nproc must be at least 1, not 0"),
        ("optimizer = 'lion'", 2, "'lion' is not one of"),
        ("lr = [1.0]", 2, "c.toml: the value of 'lr' must be a number or a string"),
        ("epochs = true", 2, "the value of 'epochs' must be a number or a string, not true"),
        ("batch-size = 64\nbatch_size = 32", 2, "c.toml has both batch-size and batch_size"),
        ("skip-bad = [1]", 2, "the value of 'skip-bad' must be true or false, not [1]"),
        ("json = true", 2, "unknown key 'json'"),
    ],
)
def test_a_config_that_makes_no_sense(
    refused: Refused, tmp_path: Path, text: str, code: int, says: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    refused("train", "lenet5", "-c", "c.toml", code=code, says=says)


def test_a_config_that_is_not_there(refused: Refused) -> None:
    refused("train", "lenet5", "-c", "gone.toml", code=3, says="gone.toml: no such file")


# Networks of one's own


@pytest.mark.parametrize(
    ("spec", "code", "says"),
    [
        ("gone.py:make", 3, "no file 'gone.py'"),
        ("broken.py:make", 2, "line 2"),
        ("imports.py:make", 2, "No module named 'nowhere'"),
        ("good.py:mkae", 3, "did you mean make"),
        ("good.py:wants", 2, "--model-arg depth="),
        ("good.py:raises", 2, "this is wrong"),
        ("good.py:text", 2, "str"),
        ("good.py", 2, "does not say which function"),
    ],
)
def test_a_file_that_is_no_network(
    refused: Refused, tmp_path: Path, spec: str, code: int, says: str
) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ndef make(:\n")
    (tmp_path / "imports.py").write_text("import nowhere\n")
    (tmp_path / "good.py").write_text(
        "def make(): ...\n"
        "def wants(depth, num_classes): ...\n"
        "def raises(): raise ValueError('this is wrong')\n"
        "def text(): return 'a network'\n"
    )
    refused("train", spec, "digits", code=code, says=says)


# Folders of images


def test_a_class_folder_whose_name_is_no_text(refused: Refused, photos: Path) -> None:
    (photos / "cat").rename(os.fsdecode(os.fsencode(photos) + b"/caf\xe9"))
    refused(
        "train", "linear", "./photos", code=2, says="a name that is not valid text", hint="rename"
    )


def test_folders_that_are_no_dataset(refused: Refused, tmp_path: Path, photos: Path) -> None:
    refused("train", "lenet5", "./gone", code=3, says="gone")
    (tmp_path / "empty").mkdir()
    refused("train", "lenet5", "./empty", code=2, says="no class folders", hint="/cat/")
    for name in ("a", "b"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "x.txt").write_text("no image")
    refused("train", "lenet5", "./texts", code=2, says="no image")
    make_images(tmp_path / "single" / "cat")
    refused("train", "lenet5", "./single", code=2, says="a single class folder")
    (photos / "bird").mkdir()
    refused("train", "lenet5", "./photos", code=2, says="bird")
    for split, names in (("train", ("cat", "dog")), ("test", ("cat", "cow"))):
        for name in names:
            make_images(tmp_path / "split" / split / name)
    refused("train", "lenet5", "./split", code=2, says="cow")


def test_a_truncated_image_is_named(refused: Refused, cnnkit: Cnnkit, photos: Path) -> None:
    broken = photos / "cat" / "0.png"
    broken.write_bytes(broken.read_bytes()[:300])
    for name in ("1.png", "2.png", "3.png", "4.png"):  # so that it is surely trained on
        (photos / "cat" / name).unlink()
    shutil.copy(photos / "dog" / "1.png", photos / "cat" / "5.png")
    arguments = ("train", "linear", "./photos", "--epochs", "1", "--val-split", "0")
    refused(*arguments, "--runs-dir", "r", code=5, says="cat/0.png", hint="--skip-bad")
    answer = cnnkit(*arguments, "--skip-bad", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["num_skipped"] == 1
    assert "0.png" not in answer.stdout


def test_a_dataset_that_cannot_be_had(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torchvision

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    answer = refused("train", "lenet5", "mnist", code=4, says="mnist could not be downloaded")
    assert "MNIST/raw/train-images-idx3-ubyte.gz" in answer.stderr
    assert "`digits` needs no download" in answer.stderr
    refused("train", "resnet18", "imagenet", code=4, says="imagenet")


# Run folders


def test_a_run_that_is_gone(refused: Refused, finished: Path) -> None:
    refused("eval", "gone", code=3, says="there is no run 'gone'", hint=finished.name)
    close = finished.name[:-1] + "x"
    refused("eval", close, code=3, says="there is no run", hint="did you mean")
    refused("eval", finished / "run.json", code=2, says="is a file")


def test_a_run_that_is_half_written(refused: Refused, finished: Path) -> None:
    checkpoints = finished / "checkpoints"
    (checkpoints / "best" / "manifest.json").unlink()
    refused("eval", finished, code=3, says="manifest.json is missing")
    shutil.rmtree(checkpoints / "best")
    refused("eval", finished, "--checkpoint", "best", code=3, says="no best weights", hint="last")
    shutil.rmtree(checkpoints)
    refused("eval", finished, code=3, says="holds no best or last weights")
    (finished / "run.json").write_text('{"schema": "cnnkit.run/1"')
    refused("eval", finished, code=6, says="run.json is damaged")
    (finished / "run.json").write_text('{"schema": "cnnkit.run/1"}')
    refused("eval", finished, code=6, says="run.json is damaged: setup is missing")
    (finished / "run.json").unlink()
    refused("eval", finished, code=3, says="is not a run folder")


def test_a_run_of_a_newer_cnnkit(refused: Refused, finished: Path) -> None:
    rewrite(finished, lambda description: description.update(schema="cnnkit.run/2"))
    refused("eval", finished, code=4, says="written by a newer cnnkit", hint="update cnnkit")


@pytest.mark.parametrize("position", [10, -10])
def test_weights_that_were_altered(refused: Refused, finished: Path, position: int) -> None:
    weights = finished / "checkpoints" / "best" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[position] ^= 1
    weights.write_bytes(content)
    refused("eval", finished, code=6, says="is not what was saved", hint="train again")


def test_a_dataset_with_other_classes(refused: Refused, finished: Path, photos: Path) -> None:
    refused("eval", finished, "iris", code=2, says="iris has the class 'setosa' (and 2 more)")
    refused("eval", finished, "fake:1x8x8:10:50", code=2, says="class 0")


# The disk


def test_no_permission(refused: Refused) -> None:
    folder = Path("/sys/cnnkit-runs")
    if not folder.parent.is_dir():
        pytest.skip("there is no /sys, where nobody may write")
    arguments = ("train", "linear", "--epochs", "1", "--runs-dir", folder)
    refused(*arguments, code=4, says=f"cannot create {folder}", hint="may write to")


def test_an_output_file_that_cannot_be_is_refused_before_the_work(
    refused: Refused, tmp_path: Path
) -> None:
    refused("train", "linear", "-o", "gone/x.json", code=3, says="gone")
    refused("train", "linear", "-o", tmp_path, code=2, says="is a folder")


def test_an_output_file_of_no_format_is_refused(
    refused: Refused, cnnkit: Cnnkit, tmp_path: Path
) -> None:
    known = "name a .json, .csv, .md, .tex, .html or .txt file"
    for arguments in (("eval", "x"), ("conv", "28", "--kernel", "3"), ("models",)):
        for name in ("e.png", "x.pdf", "e.docx", "a.zip"):
            refused(*arguments, "-o", name, code=2, says=f"-o {name} has the suffix", hint=known)
    refused("compare", "vgg16", "-o", "c.png", code=2, says="no format", hint="--plot draws")
    for name in ("table", "table.log", "table.TXT"):
        assert cnnkit("models", "lenet5", "-o", tmp_path / name).code == 0
    assert cnnkit("models", "lenet5", "--format", "csv", "-o", "x.tsv").code == 0


def test_no_room_on_the_disk(cnnkit: Cnnkit, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        answer = cnnkit("train", "lenet5", "digits", "--epochs", "1", "--runs-dir", disk)
        assert answer.code == 4, answer.stderr
        assert "no space left" in answer.stderr
        assert "free some space" in answer.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)
