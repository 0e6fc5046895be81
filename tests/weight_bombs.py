"""Files of weights of a few bytes that ask for all memory or all time, or never end."""

import json
import os
import struct
import zipfile
from io import BytesIO
from pathlib import Path

import torch

HUGE = 10**12


def make_bombs(folder: Path) -> list[Path]:
    """Write one of each, and return them."""
    one, flat = struct.pack("<f", 1), (2**29,)
    contents = {
        "list.pt": archive(b"\x80\x02(" + b"]" * 15 * 2**20 + b"t."),
        "lists.pt": archive(b"\x80\x02](" + b"]" * 1_900_000 + b"e."),
        "nested.pt": archive(b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s."),
        "key.pt": archive(b"\x80\x02}()" + b"q\x00h\x00\x86" * 60 + b"K\x01u."),
        "bytearray.pt": archive(b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x70\x85R."),
        "memo.pt": archive(b"\x80\x02K\x01r\xff\xff\xff\x7f."),
        "text.pt": archive(b"\x80\x02X\xff\xff\xff\x7f"),
        "expanded.pt": archive(state(tensor(1, (10**6, 10**6), (0, 0))), one),
        "beyond.pt": archive(state(tensor(HUGE, (HUGE,), (1,))), one),
        "deflated.pt": archive(state(tensor(2**29, flat, (1,))), bytes(2**31), is_packed=True),
        "overlapping.pt": overlapping(),
        "directory.pt": lying_directory(),
        "frame.pt": b"\x80\x04\x95" + struct.pack("<Q", 2**62),
        "numbers.pt": saved({"w": torch.ones(4)}, is_archive=False).replace(
            b"K\x04N", _integer(HUGE) + b"N"
        ),
        "length.safetensors": struct.pack("<Q", 10**10) + b"{}",
        "shape.safetensors": safetensors({"w": described([HUGE], 4 * HUGE)}),
        "many.safetensors": safetensors({str(i): described([0], 0) for i in range(120_000)}),
        "dimensions.safetensors": safetensors({"w": described([1] * 2_000_000, 4)}, one),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    for name, size in (("sparse.pt", 2**35), ("larger.pt", 100 * 2**30)):
        (folder / name).touch()
        os.truncate(folder / name, size)
    sized = safetensors({"w": described([5 * 2**26], 5 * 2**28)})
    (folder / "sparse.safetensors").write_bytes(sized)
    os.truncate(folder / "sparse.safetensors", len(sized) + 5 * 2**28)
    os.mkfifo(folder / "pipe.pt")
    (folder / "zero.pt").symlink_to("/dev/zero")
    return sorted(folder.iterdir())


def write_long_file(path: Path, numel: int) -> None:
    """Write an older file of torch with so many zeros, none of them on the disk."""
    plain = saved({"w": torch.ones(4)}, is_archive=False)
    begin = plain[: -8 - 16].replace(b"K\x04N", _integer(numel) + b"N")
    path.write_bytes(begin + struct.pack("<q", numel))
    os.truncate(path, len(begin) + 8 + 4 * numel)


def saved(contents: object, is_archive: bool = True) -> bytes:
    """Return what `torch.save` writes."""
    buffer = BytesIO()
    torch.save(contents, buffer, _use_new_zipfile_serialization=is_archive)
    return buffer.getvalue()


def archive(pickle: bytes, storage: bytes = b"", is_packed: bool = False) -> bytes:
    """Return an archive as torch writes them, of a pickle and a storage."""
    buffer = BytesIO()
    kind = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as made:
        made.writestr("net/data.pkl", pickle)
        made.writestr("net/byteorder", b"little")
        made.writestr("net/data/0", storage)
    return buffer.getvalue()


def state(pickled: bytes) -> bytes:
    """Return the pickle of a dictionary with `w` alone."""
    return b"\x80\x02}X\x01\x00\x00\x00w" + pickled + b"s."


def tensor(numel: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """Return the part of a pickle that makes a tensor of the storage `0`."""
    ids = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + ids + _integer(numel) + b"tQK\x00"
        + _integers(shape) + _integers(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def overlapping() -> bytes:
    """Return an archive whose directory names one part of 1 MB a thousand times."""
    plain = archive(state(tensor(2**18, (2**18,), (1,))), bytes(2**20))
    end = plain.rindex(b"PK\x05\x06")
    start = struct.unpack("<I", plain[end + 16 : end + 20])[0]
    last = plain.rindex(b"PK\x01\x02")
    entries = plain[start:end] + plain[last:end] * 1000
    number = 3 + 1000
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, number, number, len(entries), start, 0)
    return plain[:start] + entries + tail


def lying_directory() -> bytes:
    """Return an archive whose directory says that it has 4 GB."""
    plain = bytearray(archive(b"\x80\x02K\x01."))
    end = plain.rindex(b"PK\x05\x06")
    plain[end + 12 : end + 16] = b"\xf0\xff\xff\xff"
    return bytes(plain)


def safetensors(header: dict[str, object], content: bytes = b"") -> bytes:
    """Return a file of safetensors with this header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def described(shape: list[int], num_bytes: int) -> dict[str, object]:
    """Return what a header says of a tensor."""
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, num_bytes]}


def _integer(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
