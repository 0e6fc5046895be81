"""No bomb takes a gigabyte, and each is named with the limit and the option that lifts it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.bombs import ARCHIVES, IMAGES

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of the memory"
)

MAX_GROWTH = 10**9
# Images with nearly as many pixels as are allowed take seconds each: every command has a few of
# them here, and `python -m tests.fuzz.run_bombs` all of them.
LARGE = {
    "nearly_as_long.png", "grey.png", "colour.png", "alpha.png", "grey_alpha.png", "palette.png",
    "deep_grey.png", "deep_colour.png", "allowed_canvas.webp", "allowed_canvas.gif", "strip.tif",
    "run_lengths.bmp",
}  # fmt: skip
CHOSEN = {
    "stats": {"alpha.png", "strip.tif"},
    "train": {"palette.png", "nearly_as_long.png"},
    "show": {"colour.png"},
    "transform": {"nearly_as_long.png"},
}
NOT_FOR = {
    "train": set(ARCHIVES),
    "show": set(ARCHIVES) - {"member.zip", "sparse.tar"},
    "transform": (set(IMAGES) | set(ARCHIVES)) - {"thin.png", "thin.jpg", "nearly_as_long.png"},
}
CASES = [
    (verb, name)
    for verb in CHOSEN
    for name in (*IMAGES, *ARCHIVES)
    if name not in NOT_FOR.get(verb, ()) and name not in LARGE - CHOSEN[verb]
]
GOOD = (
    "nearly_as_long.png",
    "text.png",
    "profile.png",
    "exif.png",
    "exif.jpg",
    "json.tar.gz",
)  # harmless, and read
LIMITS = {
    "thin.png": None, "flat.png": None, "thin.jpg": None,  # refused where they are resized
    "bits.png": "89,478,485", "largest.jpg": "89,478,485", "header.ppm": "89,478,485",
    "canvas.gif": "89,478,485", "largest_canvas.webp": "89,478,485",
    "too_deep_colour.png": "715,827,880", "progressive.jpg": "715,827,880",
    "progressive_cmyk.jpg": "715,827,880", "canvas.webp": "715,827,880",
    "deep_strip.tif": "715,827,880", "deep.ppm": "715,827,880", "strips.tif": "1,048,576",
    "member.zip": "134,217,728", "member.tar.gz": "134,217,728", "member.tar.bz2": "134,217,728",
    "member.tar.xz": "134,217,728", "sparse.tar": "134,217,728",
    "overlapping.zip": "1,073,741,824", "many_sparse.tar": "1,073,741,824",
    "not_an_image.tar.gz": "1,073,741,824", "entries.zip": "33,554,432",
    "dictionary.tar.xz": "268,435,456", "name.tar.gz": "65,536", "header.tar.gz": "65,536",
    "class.tar.gz": "1,048,576",
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str
    growth: int

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Outcome]:
    """Return what every command made of its bombs, each command in a process of its own."""
    found = {}
    for verb in CHOSEN:
        names = [name for one, name in CASES if one == verb]
        root = tmp_path_factory.mktemp(verb)
        command = [sys.executable, "-m", "tests.fuzz.run_bombs", str(root), verb, *names]
        home = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, cwd=home, check=False)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            name, code, out, err, growth, _ = json.loads(line)
            found[verb, name] = Outcome(code, out, err, growth)
    return found


@pytest.mark.parametrize(("verb", "name"), CASES)
def test_a_bomb_takes_no_gigabyte(
    outcomes: dict[tuple[str, str], Outcome], verb: str, name: str
) -> None:
    outcome = outcomes[verb, name]
    printed = outcome.out + outcome.err
    assert outcome.code in (0, 5), printed
    assert "Traceback" not in printed
    assert outcome.growth < MAX_GROWTH


@pytest.mark.parametrize("name", [name for name, limit in LIMITS.items() if limit])
def test_its_limit_is_named_with_the_option(
    outcomes: dict[tuple[str, str], Outcome], name: str
) -> None:
    outcome = outcomes["stats", name]
    reasons = [one["reason"] for one in outcome.json.get("bad_files", ())] or [outcome.err]
    assert any(
        "refused: " in one and LIMITS[name] in one and "--allow-large" in one for one in reasons
    ), reasons


def test_every_bomb_is_refused_damaged_or_harmless(
    outcomes: dict[tuple[str, str], Outcome],
) -> None:
    for verb, name in CASES:
        if verb != "stats" or name in LARGE or LIMITS.get(name) or name in ARCHIVES:
            continue
        bad = outcomes[verb, name].json["bad_files"]
        assert bool(bad) == (name not in GOOD and name not in LIMITS), (name, bad)


@pytest.mark.parametrize("name", ["thin.png", "flat.png", "thin.jpg", "nearly_as_long.png"])
def test_an_image_that_would_be_resized_to_too_many_pixels(
    outcomes: dict[tuple[str, str], Outcome], name: str
) -> None:
    assert outcomes["train", name].json["num_skipped"] == 2
    if ("transform", name) in outcomes:
        bad = outcomes["transform", name].json["bad_files"]
        assert len(bad) == 2
        assert "resized to" in bad[0]["reason"]
        assert "89,478,485; --allow-large reads it" in bad[0]["reason"]
