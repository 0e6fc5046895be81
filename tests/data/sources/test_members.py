"""Archives read in place: whole ones to the last byte, cut ones up to where they end."""

import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from cnnkit.data.sources.members import BrokenArchiveError, Members

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
CONTENTS = {f"photos/{n:02}.bin": random.Random(n).randbytes(3000 + 517 * n) for n in range(12)}


def pack(path: Path) -> None:
    for name, content in CONTENTS.items():
        file = path.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in CONTENTS:
                archive.write(path.parent / name, name)
        return
    kind = {"": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    mode = kind["" if path.suffix == ".tar" else path.suffix]
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in CONTENTS:
            archive.add(path.parent / name, name)


def read(path: Path) -> dict[str, bytes | None]:
    members = (member.read() for member in Members(path).read())
    return {member.name: member.content for member in members}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whole_archives(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photos{suffix}"
    pack(path)
    assert read(path) == CONTENTS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_cut_anywhere_is_called_broken_and_gives_no_wrong_byte(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photos{suffix}"
    pack(path)
    whole = path.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for part in range(1, 40):  # before the zeros at the end of a tar file, which hold nothing
        cut.write_bytes(whole[: len(whole) * part // 45 + part])
        found = {}
        with pytest.raises(BrokenArchiveError, match=r"cut short|damaged|no .* archive"):
            for member in Members(cut).read():
                found[member.name] = member.read().content
        assert all(CONTENTS[name] == content for name, content in found.items())
