import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import ExitCode
from tests.conftest import Cnnkit
from tests.stats.making import encode, noise, small_set, write_files, write_tar

FIELDS = {
    "dataset", "split", "num_images", "num_pixels", "mean", "std", "mean_255", "std_255",
    "mean_of_image_means", "mean_of_image_stds", "normalize", "exact", "channels", "classes",
    "sizes", "modes", "bad_files", "duplicates", "published", "seconds", "images_per_second",
}  # fmt: skip
"""What others rely on."""

PROCESSES = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "photos", small_set())
    return tmp_path / "photos"


def without_time(document: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in document.items() if k not in ("seconds", "images_per_second")}


def test_the_fields_that_others_rely_on(folder: Path, cnnkit: Cnnkit) -> None:
    document = cnnkit("stats", folder, "--json", "--duplicates").json
    assert document["schema"] == "cnnkit.stats/1"
    assert set(document) >= FIELDS
    assert set(document["channels"][0]) >= {
        "min", "max", "median", "percentiles", "sum", "sum_of_squares",
    }  # fmt: skip
    assert set(document["classes"][0]) == {"name", "num_images", "mean", "std"}
    assert len(document["mean"]) == 3
    assert document["mean_255"][0] == pytest.approx(255 * document["mean"][0])
    assert document["exact"] is True


@pytest.mark.parametrize("columns", [80, 120])
def test_the_answer_for_people(
    folder: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    (folder / "c0" / "bad.png").write_bytes(b"")
    answer = cnnkit("stats", folder, "--by-class", "--issues", "--against", "cifar10")
    assert answer.code == ExitCode.DONE
    lines = answer.stdout.splitlines()
    assert max(len(line) for line in lines if "/" not in line) <= columns
    joined = " ".join(answer.stdout.split())
    for words in (
        "transforms.Normalize(mean=(", "40 images, ", "3 classes", "empty: 0 bytes",
        "published (cifar10", "different, by", "grey images, counted in every channel: 8",
        "bad files, which are not counted: 1", "from black to white", "mean R",
    ):  # fmt: skip
        assert words in joined, words


def test_a_line_to_paste_can_be_pasted(cnnkit: Cnnkit) -> None:
    from torchvision import transforms

    for spec in ("digits", "fake:3x4x4:2:10"):
        line = cnnkit("stats", spec, "--json").json["normalize"]
        made = eval(line, {"transforms": transforms})
        assert isinstance(made, transforms.Normalize)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nothing",), ExitCode.NOT_FOUND, "unknown dataset 'nothing'"),
        (("digits", "mnist"), ExitCode.USAGE, "one dataset too many: 'mnist'"),
        (("digits", "--shard", "3"), ExitCode.USAGE, "--shard '3' names no part"),
        (("digits", "--shard", "9/8"), ExitCode.USAGE, "such as --shard 3/8"),
        (("digits", "--transform", "resize"), ExitCode.USAGE, "the size of resize is missing"),
        (("digits", "--transform", "x"), ExitCode.USAGE, "unknown step 'x'"),
        (("digits", "--plot", "x.jpg"), ExitCode.USAGE, "is no .png file"),
        (("digits", "--plot", "no/x.png"), ExitCode.NOT_FOUND, "of --plot"),
        (("digits", "--save", "no/x.json"), ExitCode.NOT_FOUND, "of --save"),
        (("digits", "--save", "."), ExitCode.USAGE, "is a folder"),
        (("digits", "--against", "x.json"), ExitCode.NOT_FOUND, "x.json"),
        (("digits", "--split", "val"), ExitCode.USAGE, "it has train, test"),
        (("merge",), ExitCode.USAGE, "nothing to merge"),
        (("merge", "x.json"), ExitCode.NOT_FOUND, "x.json"),
        (("merge", "x.json", "--limit", "3"), ExitCode.USAGE, "--limit has no meaning for `merge`"),
        (("digits", "--weighting", "class"), ExitCode.USAGE, "class"),
    ],
)
def test_bad_input_is_one_line(
    cnnkit: Cnnkit, words: tuple[str, ...], code: ExitCode, said: str
) -> None:
    answer = cnnkit("stats", *words)
    assert answer.code == code
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert said in line


def test_parts_are_merged_beside_a_folder_called_merge(cnnkit: Cnnkit, tmp_path: Path) -> None:
    write_files(tmp_path / "merge", small_set(12))
    whole = cnnkit("stats", "./merge", "--json").json
    for number in (1, 2, 3):
        answer = cnnkit("stats", "./merge", "--shard", f"{number}/3", "--save", f"{number}.json")
        assert answer.code == ExitCode.DONE, answer.stderr
    merged = cnnkit("stats", "merge", "3.json", "1.json", "2.json", "--json")
    assert without_time(merged.json) == without_time(whole)


def test_a_picture_is_drawn(folder: Path, cnnkit: Cnnkit) -> None:
    assert cnnkit("stats", folder, "--plot", "look.png").code == ExitCode.DONE
    with Image.open("look.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_cache_of_the_user(
    folder: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = cnnkit("stats", folder, "--cache", "--json")
    again = cnnkit("stats", folder, "--cache", "--json")
    assert without_time(first.json) == without_time(again.json)
    assert " ".join(again.stderr.split()).startswith("40 images already measured in")


@pytest.mark.parametrize("kind", ["folder", "shards", "digits"])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_torchrun_gives_the_same_bits(
    folder: Path, cnnkit: Cnnkit, tmp_path: Path, kind: str, num_processes: int
) -> None:
    spec = {"folder": str(folder), "digits": "digits"}.get(kind, str(tmp_path / "d-{0..2}.tar"))
    if kind == "folder":
        (folder / "c2" / "bad.png").write_bytes(b"")
    if kind == "shards":
        files = sorted(small_set().items())
        for number in range(3):
            write_tar(
                tmp_path / f"d-{number}.tar",
                {
                    name: data
                    for index, (path, content) in enumerate(files[number::3])
                    for name, data in (
                        (f"{index}.png", content),
                        (f"{index}.cls", path[1:2].encode()),
                    )
                },
            )
    alone = cnnkit("stats", spec, "--json", "--issues").json
    done = torchrun(num_processes, "stats", spec, "--json", "--issues")
    assert done.returncode == 0, done.stderr
    assert without_time(json.loads(done.stdout)) == without_time(alone)


def test_a_rank_that_fails_is_named(folder: Path, tmp_path: Path) -> None:
    """A rank whose cache is broken fails; the others do not go on without it."""
    script = tmp_path / "run.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from cnnkit import measure_dataset\n"
        "from cnnkit.errors import CnnkitError\n"
        "cache = Path(os.environ['BROKEN']) if os.environ['RANK'] == '1' else None\n"
        "try:\n"
        "    measure_dataset(sys.argv[1], cache=cache)\n"
        "except CnnkitError as error:\n"
        "    os.write(1, f'{error}\\n'.encode())\n"
    )
    (tmp_path / "broken").write_text("no database " * 100)
    done = torchrun(2, str(folder), script=script, BROKEN=str(tmp_path / "broken"))
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert line.startswith("1 of 2 ranks failed, rank 1: the cache ")
        assert line.endswith("nothing was counted")


def torchrun(
    num_processes: int, *words: str, script: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    what = [str(script)] if script is not None else ["-m", "cnnkit"]
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={num_processes}", *what, *words,
        ],
        capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | PROCESSES | variables,
    )  # fmt: skip


def test_ctrl_c_leaves_nothing_but_the_cache(folder: Path, cnnkit: Cnnkit, tmp_path: Path) -> None:
    """The next run goes on from it, to the same integers."""
    many = {}
    for number in range(1500):
        many[f"c{number % 3}/{number:05d}.png"] = encode(Image.fromarray(noise(number, 60, 60)))
    write_files(tmp_path / "many", many)
    whole = cnnkit("stats", "many", "--json").json
    before = set(tmp_path.rglob("*"))
    environment = os.environ | PROCESSES | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    # A decoder that takes its time, so that the interruption comes in the middle.
    slow = tmp_path / "slow" / "sitecustomize.py"
    slow.parent.mkdir()
    slow.write_text(
        "import time\n"
        "from cnnkit.stats.counting import count_files as measuring\n"
        "real = measuring.decode\n"
        "def decode(*arguments):\n"
        "    time.sleep(0.01)\n"
        "    return real(*arguments)\n"
        "measuring.decode = decode\n"
    )
    words = [sys.executable, "-m", "cnnkit", "stats", "many", "--cache", "--json", "-j", "2"]
    slowed = environment | {
        "PYTHONPATH": os.pathsep.join((str(slow.parent), PROCESSES["PYTHONPATH"]))
    }
    process = subprocess.Popen(
        words, env=slowed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    database = tmp_path / "cache" / "cnnkit" / "stats.sqlite"
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if database.exists() and database.stat().st_size > 200_000:  # something was written
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, stderr
    assert stderr.splitlines()[-1] == "cnnkit: interrupted"
    assert json.loads(stdout)["exit_code"] == ExitCode.INTERRUPTED
    left = set(tmp_path.rglob("*")) - before - set(slow.parent.rglob("*")) - {slow.parent}
    assert left == {database, database.parent, database.parent.parent}
    again = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert without_time(json.loads(again.stdout)) == without_time(whole)
    known = int(again.stderr.split(" images already measured")[0].split()[-1].replace(",", ""))
    assert 0 < known < 1500


def test_planted_copies_are_all_found_and_none_is_invented(
    tmp_path: Path, cnnkit: Cnnkit, cifar_archive: Path
) -> None:
    """Byte copies, other files of the same picture, other sizes, other labels, other splits."""
    pictures: dict[str, list[tuple[str, bytes]]] = {"train": [], "test": []}
    with tarfile.open(cifar_archive) as archive:
        for member in archive:
            split, _, name = member.name.removeprefix("./").partition("/")
            if member.isfile() and split in pictures and len(pictures[split]) < 600:
                content = archive.extractfile(member)
                assert content is not None
                pictures[split].append((name, content.read()))
            if all(len(some) == 600 for some in pictures.values()):
                break
    root = tmp_path / "photos"
    for split, some in pictures.items():
        write_files(root / split, dict(some))
    planted: set[frozenset[str]] = set()
    for number, (name, content) in enumerate(pictures["train"][::10]):
        original = root / "train" / name
        image = Image.open(io.BytesIO(content)).convert("RGB")
        copy = original.with_name(f"copy-{original.stem}.jpg")
        match number % 7:
            case 0:
                copy.write_bytes(content)
            case 1:
                image.save(copy, quality=75)
            case 2:
                image.save(copy, quality=90)
            case 3:
                copy = copy.with_suffix(".png")
                image.save(copy)
            case 4:
                image.resize((64, 64), Image.Resampling.BICUBIC).save(copy, quality=95)
            case 5:
                copy = root / "test" / name
                copy = copy.with_name(f"copy-{copy.name}")
                copy.write_bytes(content)
            case 6:
                copy = root / "train" / "another" / copy.name
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(content)
        planted.add(frozenset([str(original), str(copy)]))
    answer = cnnkit("stats", root, "--duplicates", "--json")
    groups = answer.json["duplicates"]["groups"]
    assert {frozenset(image["path"] for image in group["images"]) for group in groups} == planted
    shown = cnnkit("stats", root, "--duplicates").stdout
    assert f"duplicates in {root}/" in " ".join(shown.split())
