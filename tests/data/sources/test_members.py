"""Archives read in place: whole ones to the last byte, cut ones up to where they end."""

import lzma
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from cnnkit.data.sources import members
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


def read_or_reason(path: Path, **options: bool) -> tuple[dict[str, bytes | None], list[str]]:
    """Return what an archive holds, and why not all of it."""
    found: dict[str, bytes | None] = {}
    reasons = []
    try:
        for one in Members(path, **options).read():
            member = one.read()
            found[member.name] = member.content
            reasons += [member.reason] * bool(member.reason)
    except (BrokenArchiveError, OSError) as error:
        reasons.append(str(error))
    return found, reasons


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, suffix: str) -> None:
    """By the checksum of the member or of the stream; a tar file itself has none of its content."""
    path = tmp_path / f"photos{suffix}"
    pack(path)
    whole = path.read_bytes()
    stream = random.Random(0)
    for _ in range(150):
        changed = bytearray(whole)
        changed[stream.randrange(len(changed))] ^= 1 << stream.randrange(8)
        path.write_bytes(changed)
        found, reasons = read_or_reason(path)
        # The name of a member in a zip archive has no checksum, and what it is called is no damage.
        assert reasons or list(found.values()) == list(CONTENTS.values())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_altered_archives_are_named_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photos{suffix}"
    pack(path)
    whole = path.read_bytes()
    stream = random.Random(1)
    for number in range(200):
        changed = bytearray(whole)
        for _ in range(stream.randrange(1, 6)):
            # The heads of members and the index, more often than what is packed.
            reach = stream.choice((600, len(changed)))
            place = (
                stream.randrange(reach) if number % 2 else len(changed) - stream.randrange(reach)
            )
            changed[min(place, len(changed) - 1)] = stream.randrange(256)
        path.write_bytes(changed)
        read_or_reason(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_limits_and_the_option_that_lifts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"photos{suffix}"
    pack(path)
    monkeypatch.setattr(members, "MAX_UNPACKED_BYTES", 20_000)
    monkeypatch.setattr(members, "MAX_UNPACKED_RATIO", 0)
    _, reasons = read_or_reason(path)
    if suffix == ".tar":  # nothing in it is packed
        assert not reasons
    else:
        assert "more than 20,000; allow_large reads it" in reasons[-1]
    assert read_or_reason(path, allow_large=True) == (CONTENTS, [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_member_that_is_too_long_is_named_and_the_others_read(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"photos{suffix}"
    pack(path)
    found = [member.read(5000) for member in Members(path).read()]
    assert [one.content for one in found if not one.reason] == [
        content for content in CONTENTS.values() if len(content) <= 5000
    ]
    assert {one.reason for one in found if one.reason} == {
        f"refused: {len(content):,} bytes, more than 5,000; allow_large reads it"
        for content in CONTENTS.values()
        if len(content) > 5000
    }


def test_several_xz_streams_with_padding_between_them(tmp_path: Path) -> None:
    plain = tmp_path / "photos.tar"
    pack(plain)
    whole = plain.read_bytes()
    parts = [whole[start : start + 20_000] for start in range(0, len(whole), 20_000)]
    path = tmp_path / "photos.tar.xz"
    path.write_bytes(b"".join(lzma.compress(part) + bytes(8) for part in parts))
    assert read_or_reason(path) == (CONTENTS, [])
    path.write_bytes(b"".join(lzma.compress(part) for part in parts)[:-10])
    assert "cut short" in read_or_reason(path)[1][-1]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with names")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_that_is_a_pipe_or_a_device_is_named(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        archive = Members(tmp_path / f"{name}{suffix}")
        with pytest.raises(OSError, match=f"a {name}, not a file"):
            list(archive.read())
