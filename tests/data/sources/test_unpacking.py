"""Archives that would fill the disk or the memory, or write outside of their folder."""

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnkit.data.sources import unpacking
from cnnkit.data.sources.unpacking import ArchiveError, decompress, unpack
from cnnkit.events import Event, TaskAdvanced, handled_by


def tar_with(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
            else:
                tar.addfile(member)
    return path


def zip_with(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], kind: int = 8) -> Path:
    with zipfile.ZipFile(path, "w", kind) as pack:
        for name, content in members:
            pack.writestr(name, content)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def mode_of(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.create_system = 3
    return info


@pytest.fixture(params=[True, False], ids=["into a folder", "into a new folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    place = tmp_path / "data" / "set"
    place.parent.mkdir()
    if request.param:
        place.mkdir()
    return place


def refused(archive: Path, folder: Path) -> str:
    """Return why an archive is not unpacked; nothing of it is left anywhere."""
    before = sorted(folder.parent.parent.rglob("*"))
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, folder)
    left = set(folder.parent.parent.rglob("*")) - {folder}
    assert left == set(before) - {folder}
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + 2 * len(str(folder))
    return str(caught.value)


OUTSIDE = [
    "/etc/passwd", "//x/y", "../x", "a/../../x", "a/..", "..", "C:/x", "C:x", "c:\\x", "\\x",
    "\\\\host\\x", "..\\x", "a\\..\\..\\x",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_names_that_lead_out(name: str, kind: str, tmp_path: Path, folder: Path) -> None:
    make = zip_with if kind == "zip" else tar_with
    archive = make(tmp_path / f"a.{kind}", ("first.txt", b"1"), (name, b"2"))
    text = refused(archive, folder)
    assert f"has {name!r}, which leads out of its folder" in text


@pytest.mark.parametrize(
    "member",
    [
        special("x", tarfile.SYMTYPE, "/etc/passwd"),
        special("x", tarfile.SYMTYPE, "first.txt"),
        special("x", tarfile.LNKTYPE, "first.txt"),
        special("x", tarfile.LNKTYPE, "/etc/passwd"),
        special("x", tarfile.FIFOTYPE),
        special("x", tarfile.CHRTYPE),
        special("x", tarfile.BLKTYPE),
        special("x", b"Z"),
    ],
    ids=["link out", "link", "hard link", "hard link out", "pipe", "chr", "blk", "unknown"],
)
def test_tars_of_anything_but_files(member: tarfile.TarInfo, tmp_path: Path, folder: Path) -> None:
    archive = tar_with(tmp_path / "a.tar", ("first.txt", b"1"), member, ("x/y", b"2"))
    assert "neither a file nor a folder" in refused(archive, folder)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_zips_of_anything_but_files(kind: int, tmp_path: Path, folder: Path) -> None:
    archive = zip_with(tmp_path / "a.zip", ("1", b"1"), (mode_of("x", kind | 0o777), b"/etc"))
    assert "neither a file nor a folder" in refused(archive, folder)


def names_twice(first: str, second: str, why: str) -> tuple[tuple[str, str], str]:
    return (first, second), why


TWICE = [
    names_twice("a", "a", "twice"),
    names_twice("d/a", "d//a", "twice"),
    names_twice("d/a", "./d/a", "twice"),
    names_twice("a", "a/b", "as a file and as a folder|twice"),
    names_twice("a/b", "a", "twice|as a file and as a folder"),
    names_twice("a", "a/", "twice"),
]


@pytest.mark.parametrize(("names", "why"), TWICE)
@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_occur_twice(
    names: tuple[str, str], why: str, kind: str, tmp_path: Path, folder: Path
) -> None:
    make = zip_with if kind == "zip" else tar_with
    archive = make(
        tmp_path / f"a.{kind}", *((name, b"" if name[-1] == "/" else b"1") for name in names)
    )
    with pytest.raises(ArchiveError, match=why):
        unpack(archive, folder)
    assert [item for item in folder.parent.rglob("*") if item != folder] == []


def test_names_that_are_the_same_to_a_system_are_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on disks that take capitals for small letters."""
    real = Path.open

    def opened(self: Path, mode: str = "r", *args: object, **options: object) -> object:
        path = self.with_name(self.name.lower()) if mode == "xb" else self
        return real(path, mode, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    archive = zip_with(tmp_path / "a.zip", ("A.jpg", b"1"), ("a.jpg", b"2"))
    assert "has 'a.jpg', that it has twice" in refused(archive, folder)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_capitals_are_other_names(kind: str, tmp_path: Path, folder: Path) -> None:
    make = zip_with if kind == "zip" else tar_with
    unpack(make(tmp_path / f"a.{kind}", ("A.jpg", b"1"), ("a.jpg", b"2")), folder)
    if len(list(folder.iterdir())) == 2:  # but on disks that take them for the same
        assert (folder / "A.jpg").read_bytes() == b"1"


LONG = {
    "a long name": ("n" * 300, "name is too long"),
    "a long name in bytes": ("ü" * 200, "name is too long"),
    "a deep name": ("d/" * 10_000 + "x", "more than 64 folders deep|a header of"),
    "a long path": ("/".join(["p" * 250] * 40), "name is too long|a header of"),
    "a very long name": ("n" * 60_000, "name is too long|a header of"),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("kind", ["tar", "tar.xz", "zip"])
def test_long_and_deep_names(name: str, kind: str, tmp_path: Path, folder: Path) -> None:
    member, why = LONG[name]
    make = zip_with if kind == "zip" else tar_with
    with pytest.raises(ArchiveError, match=why):
        unpack(make(tmp_path / f"a.{kind}", ("1", b"1"), (member, b"2")), folder)
    refused(tmp_path / f"a.{kind}", folder)


def test_what_lies_there_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"old")
    (folder / "b" / "c.txt").write_bytes(b"old")
    archive = tar_with(tmp_path / "a.tar", ("b/d.txt", b"new"), ("a.txt", b"new"))
    unpack(archive, folder)
    assert (folder / "b" / "c.txt").read_bytes() == b"old"
    assert (folder / "a.txt").read_bytes() == (folder / "b" / "d.txt").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_dots_and_empty_folders(kind: str, tmp_path: Path) -> None:
    if kind == "tar":
        folders = [special(name, tarfile.DIRTYPE) for name in (".", "./a", "./a/b/")]
        archive = tar_with(tmp_path / "a.tar", *folders, ("./a/x", b"1"))
    else:
        archive = zip_with(tmp_path / "a.zip", ("a/", b""), ("a/b/", b""), ("./a/x", b"1"))
    unpack(archive, tmp_path / "set")
    assert (tmp_path / "set" / "a" / "b").is_dir()
    assert (tmp_path / "set" / "a" / "x").read_bytes() == b"1"


# ------------------------------------------------------------------ too much


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "SMALL_BYTES", 1_000_000)
    monkeypatch.setattr(unpacking, "SMALL_MEMBERS", 50)


ZEROS = bytes(2_000_000)
BOMBS: dict[str, Callable[[Path], object]] = {
    "a.gz": lambda path: path.write_bytes(gzip.compress(ZEROS)),
    "a.bz2": lambda path: path.write_bytes(bz2.compress(ZEROS)),
    "a.xz": lambda path: path.write_bytes(lzma.compress(ZEROS)),
    "a.zip": lambda path: zip_with(path, ("x", ZEROS)),
    "many.zip": lambda path: zip_with(path, *((str(i), ZEROS[:50_000]) for i in range(30))),
    "a.tar.gz": lambda path: tar_with(path, ("x", ZEROS)),
    "a.tar.xz": lambda path: tar_with(path, *((str(i), ZEROS[:50_000]) for i in range(30))),
    "rest.tgz": lambda path: path.write_bytes(gzip.compress(ZEROS)),
}


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, tmp_path: Path, folder: Path) -> None:
    BOMBS[name](tmp_path / name)
    text = refused(tmp_path / name, folder)
    assert "unpacks to more than 1,000,000 bytes, the limit for an archive of its size" in text
    assert f"unpack it yourself into {folder}" in text


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_too_many_files_are_refused(kind: str, tmp_path: Path, folder: Path) -> None:
    make = zip_with if kind == "zip" else tar_with
    archive = make(tmp_path / f"a.{kind}", *((f"{number}", b"") for number in range(60)))
    assert "has more than " in refused(archive, folder)


@pytest.mark.usefixtures("_small")
def test_a_large_archive_may_have_more(tmp_path: Path) -> None:
    content = os.urandom(60_000)
    files = [(f"{number}", content[number:]) for number in range(60)]
    unpack(zip_with(tmp_path / "a.zip", *files), tmp_path / "set")
    assert len(list((tmp_path / "set").iterdir())) == 60
    assert sum(len(content) for _, content in files) > 1_000_000


@pytest.mark.usefixtures("_small")
def test_the_same_bytes_under_many_names(tmp_path: Path, folder: Path) -> None:
    """Members that overlap, as in a famous bomb: 40 bytes of index for each copy."""
    archive = zip_with(tmp_path / "a.zip", ("x0", ZEROS[:100_000]))
    data = archive.read_bytes()
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    index = b"".join(data[start:end].replace(b"x0", b"x%d" % number) for number in range(10)) * 3
    tail = bytearray(data[end:])
    tail[8:12] = (30).to_bytes(2, "little") * 2
    tail[12:16] = len(index).to_bytes(4, "little")
    archive.write_bytes(data[:start] + index + tail)
    assert "unpacks to more than" in refused(archive, folder)


def test_what_does_not_fit_on_the_disk_is_not_begun(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    for archive in (
        zip_with(tmp_path / "a.zip", ("x", ZEROS)),
        tar_with(tmp_path / "a.tar.gz", ("x", ZEROS)),
    ):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(
            OSError, match="unpacks to 2,000,000 bytes, and 1,000 are free"
        ) as caught:
            unpack(archive, folder)
        assert caught.value.errno == errno.ENOSPC
        assert sorted(tmp_path.rglob("*")) == before


# ------------------------------------------------------------------ damage


def header(name: str, size: int, kind: bytes = b"0") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


DAMAGED_TARS = {
    "negative size": header("x", -512) + bytes(2048),
    "negative pax": header("x", -512, b"x") + bytes(2048),
    "negative name": header("x", -512, b"L") + bytes(2048),
    "huge pax": header("x", 1 << 40, b"x") + bytes(2048),
    "huge name": header("x", 1 << 40, b"L") + bytes(2048),
    "huge file": header("x", 1 << 60) + bytes(2048),
    "longer than it is": header("x", 100_000) + bytes(512),
    "names of names": header("x", 512, b"L") * 3000,
    "globals": (header("x", 512, b"g") + b"9 a=bcde\n".ljust(512, b"\0")) * 3000,
    "sparse": header("x", 0, b"S") + bytes(1024),
    "digits": header("x", 8_000, b"x") + b"1" * 8_192 + bytes(1024),
    "endless sparse map": header("x", 1024, b"x")
    + (
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=99\n"
    ).ljust(1024, b"\0")
    + header("x", 512)
    + b"999999999\n".ljust(512, b"1"),
    "nothing": b"",
    "no tar": b"no tar at all" * 100,
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED_TARS)
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_damaged_tars(name: str, suffix: str, tmp_path: Path, folder: Path) -> None:
    content = DAMAGED_TARS[name]
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(content if suffix == "tar" else gzip.compress(content))
    refused(archive, folder)


@pytest.mark.parametrize("name", ["a.gz", "a.bz2", "a.xz", "a.zip", "a.tar", "a.tgz", "a.txz"])
@pytest.mark.parametrize("content", [b"", b"x", b"\x1f\x8b", b"PK\3\4" * 9, b"BZh9" * 9])
def test_what_is_no_archive(name: str, content: bytes, tmp_path: Path, folder: Path) -> None:
    (tmp_path / name).write_bytes(content)
    if content == b"" and name == "a.gz":  # one of no content to Python
        unpack(tmp_path / name, folder)
        return
    assert "is damaged" in refused(tmp_path / name, folder)


def test_zips_in_unusual_ways(tmp_path: Path, folder: Path) -> None:
    for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        archive = zip_with(tmp_path / f"{kind}.zip", ("x", ZEROS), kind=kind)
        assert "compressed in an unusual way" in refused(archive, folder)
    archive = zip_with(tmp_path / "secret.zip", ("x", b"hello"))
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    assert "is damaged" in refused(archive, folder)


def test_a_wrong_checksum_in_a_zip(tmp_path: Path, folder: Path) -> None:
    archive = zip_with(tmp_path / "a.zip", ("x", b"hello" * 100), kind=zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"hellohello", b"hellOhello", 1))
    assert "CRC" in refused(archive, folder)


def test_a_wrong_checksum_at_the_end_of_a_tar(tmp_path: Path, folder: Path) -> None:
    archive = tar_with(tmp_path / "a.tar.gz", ("x", b"hello"))
    data = bytearray(archive.read_bytes())
    data[-6] ^= 1
    archive.write_bytes(data)
    assert "CRC" in refused(archive, folder)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.gz"])
def test_ctrl_c_within_a_large_file(name: str, tmp_path: Path, folder: Path) -> None:
    BOMBS[name](tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    steps: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event, TaskAdvanced):
            steps.append(event)
            if len(steps) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), handled_by(stop):
        unpack(tmp_path / name, folder)
    assert set(tmp_path.rglob("*")) - {folder} == set(before) - {folder}


def test_no_filter_of_python_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patch releases before 3.11.4 have none."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    monkeypatch.delattr(tarfile.TarFile, "extractall")
    with pytest.raises(ArchiveError, match="leads out"):
        unpack(tar_with(tmp_path / "a.tar", ("../x", b"1")), tmp_path / "set")


# ------------------------------------------------------------------ memory

MEASURED = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    from cnnkit.data.sources import unpacking
    unpacking.SMALL_BYTES, unpacking.SMALL_MEMBERS = 30 << 20, 10_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in sorted(Path(sys.argv[1]).iterdir()):
        try:
            unpacking.unpack(name, Path(sys.argv[1]) / "set")
        except unpacking.ArchiveError as error:
            print(error)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""")

MANY = 400  # megabytes


def zeros_after(start: bytes) -> bytes:
    return gzip.compress(start) + gzip.compress(bytes(1 << 20)) * MANY


REAL_BOMBS: dict[str, Callable[[], bytes]] = {
    "a.gz": lambda: zeros_after(b""),
    "file.tar.gz": lambda: zeros_after(header("x", MANY << 20)),
    "name.tar.gz": lambda: zeros_after(header("x", MANY << 20, b"L")),
    "pax.tar.gz": lambda: zeros_after(header("x", MANY << 20, b"x")),
    "rest.tar.gz": lambda: zeros_after(header("x", 0) + bytes(1024)),
    "a.bz2": lambda: bz2.compress(bytes(20 << 20)) * (MANY // 20),
    "a.xz": lambda: lzma.compress(bytes(20 << 20), preset=0) * (MANY // 20),
    "members.tar.gz": lambda: gzip.compress(
        b"".join(header(f"{number}", 0) for number in range(10_100)), compresslevel=1
    ),
}


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    for name, content in REAL_BOMBS.items():
        (tmp_path / name).write_bytes(content())
    zip_with(tmp_path / "bzip2.zip", ("x", bytes(100 << 20)), kind=zipfile.ZIP_BZIP2)
    names = sorted(item.name for item in tmp_path.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *messages, kilobytes = run.stdout.splitlines()
    assert [Path(message.split(" ")[0]).name for message in messages] == names
    assert int(kilobytes) < 100_000
    assert sorted(item.name for item in tmp_path.iterdir() if item.name != "set") == names
    assert list(tmp_path.glob("set/*")) == []


def test_decompress_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(ZEROS)[:-9])
    with pytest.raises(ArchiveError, match="damaged"):
        decompress(tmp_path / "a.gz", tmp_path / "out" / "a")
    assert list((tmp_path / "out").iterdir()) == []
