"""Files that were made to harm: refused by name, and nothing in them executed."""

import argparse
import math
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cnnkit.errors import CheckFailedError
from cnnkit.system.pickles import Made
from cnnkit.system.torch_files import check_sums, look_into, read_data


class Harm:
    """A pickle that makes a file where it is executed."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def refusal(content: bytes) -> str:
    with pytest.raises(CheckFailedError) as caught:
        read_data(content, Path("crafted.pt"), "do without")
    assert not Path("executed").exists()
    assert "nothing in it was executed; do without" in str(caught.value)
    return str(caught.value)


def saved(what: object, is_archive: bool = True) -> bytes:
    torch.save(what, "saved.pt", _use_new_zipfile_serialization=is_archive)
    return Path("saved.pt").read_bytes()


@pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "old"])
def test_data_is_read(is_archive: bool) -> None:
    content = saved({"w": torch.ones(2), "epoch": 3}, is_archive)
    found = read_data(content, Path("saved.pt"), "")
    assert found["epoch"] == 3
    assert torch.equal(found["w"], torch.ones(2))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_refused_by_name(protocol: int) -> None:
    pickle.loads(pickle.dumps(Harm(), protocol))  # that it does harm is the point
    Path("executed").unlink()
    # The second time, a pickle says the name by reference to the first.
    text = refusal(pickle.dumps([Harm(), Harm()], protocol))
    assert "it asks for" in text
    assert "pathlib.Path.touch" in text or "getattr" in text


@pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "old"])
def test_what_torch_itself_writes_is_not_named(is_archive: bool) -> None:
    content = saved({"w": torch.ones(2), "args": argparse.Namespace(lr=1)}, is_archive)
    assert "more than data: it asks for argparse.Namespace; nothing" in refusal(content)


def test_a_name_by_reference_is_put_together() -> None:
    pickled = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93."
    assert "it asks for posix.system" in refusal(pickled)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"\x80\x02"])
def test_what_is_no_such_file_is_said_to_be_damaged(content: bytes) -> None:
    assert "torch finds no data in it: it is damaged, or of another kind" in refusal(content)


def test_a_file_cut_short_is_said_to_be_damaged() -> None:
    assert "it is damaged" in refusal(saved({"w": torch.ones(99)})[:-200])


KINDS = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


@pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "old"])
def test_all_that_torch_loads_is_the_same(is_archive: bool) -> None:
    flat = torch.arange(24.0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = {
        "kinds": {str(kind): torch.ones(2, 3).to(kind) for kind in KINDS},
        "views": [flat, flat[3:7], flat.view(4, 6).T, flat.expand(2, 24), flat[:0]],
        "parameter": nn.Parameter(torch.ones(2)),
        "channels last": torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "numbers": [1, -1, 2**40, 0.5, True, None, "text", (1, (2, 3)), math.inf],
        "single": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "network": network.state_dict(),
        "optimizer": torch.optim.AdamW(network.parameters()).state_dict(),
    }
    content = saved(state, is_archive)
    ours = read_data(content, Path("saved.pt"), "")
    theirs = torch.load(BytesIO(content), weights_only=True)
    assert_alike(ours, theirs)
    assert ours["network"]._metadata == theirs["network"]._metadata
    ours["views"][0][3] = 99  # views of one storage are so still
    assert ours["views"][1][0] == 99


def assert_alike(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs) or isinstance(theirs, nn.Parameter)
    if isinstance(theirs, torch.Tensor):
        assert (ours.dtype, ours.shape, ours.stride()) == (
            theirs.dtype, theirs.shape, theirs.stride()
        )  # fmt: skip
        assert torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert_alike(ours[key], value)
    elif isinstance(theirs, list | tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other)
    else:
        assert ours == theirs


@pytest.mark.parametrize("kind", [torch.uint16, torch.float8_e4m3fn])
def test_kinds_of_numbers_without_a_storage_of_their_own(kind: torch.dtype) -> None:
    tensor = torch.arange(4).to(kind)
    found = read_data(saved({"w": tensor}), Path("saved.pt"), "")["w"]
    assert found.dtype == kind
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


def test_tensors_of_torch_before_0_2_are_read() -> None:
    """They are made empty, and given storage, offset, size and strides as a state."""
    plain = saved({"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, is_archive=False)
    begin = plain.index(b"ctorch._utils")
    end = plain.index(b"((X\x07\x00\x00\x00storage")
    pickled = plain[begin : plain.index(b"s.", end) + 2]
    ids = pickled[pickled.index(b"(X\x07\x00\x00\x00storage") : pickled.index(b"Q") + 1]
    old = b"ctorch\nFloatTensor\n)\x81(" + ids + b"K\x00K\x02K\x02\x86K\x02K\x01\x86tbs."
    found = read_data(plain.replace(pickled, old), Path("old.pth"), "")
    assert torch.equal(found["w"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


def test_every_flipped_bit_of_the_numbers_is_noticed() -> None:
    content = saved({"w": torch.ones(8), "v": torch.zeros(5)})
    begin = content.index(b"\x00\x00\x80\x3f" * 8)
    for bit in range(8 * 32):
        flipped = bytearray(content)
        flipped[begin + bit // 8] ^= 1 << bit % 8
        assert "it is damaged: Bad CRC-32 for file 'saved/data/0'" in refusal(bytes(flipped))
        with pytest.raises(CheckFailedError, match="Bad CRC-32"):
            check_sums(BytesIO(flipped), Path("w.pt"), "")
    check_sums(BytesIO(content), Path("w.pt"), "")


def test_no_numbers_are_read_before_they_are_asked_for() -> None:
    content = bytearray(saved({"w": torch.ones(8)}))
    content[content.index(b"\x00\x00\x80\x3f" * 8)] ^= 1
    found = look_into(BytesIO(content), Path("w.pt"), "restore it")
    assert found["w"].shape == (8,)
    with pytest.raises(CheckFailedError, match="Bad CRC-32"):
        found["w"].read()


def test_numbers_of_another_byte_order_are_refused() -> None:
    buffer = BytesIO()
    content = BytesIO(saved({"w": torch.ones(2)}))
    with zipfile.ZipFile(content) as whole, zipfile.ZipFile(buffer, "w") as made:
        for name in whole.namelist():
            is_order = name.endswith("byteorder")
            made.writestr(name, b"big" if is_order else whole.read(name))
    assert "its numbers are not of a little-endian machine" in refusal(buffer.getvalue())


def test_archives_that_somebody_packed_again_are_read() -> None:
    buffer = BytesIO()
    state, kind = {"w": torch.rand(1000)}, zipfile.ZIP_DEFLATED
    content = BytesIO(saved(state))
    with zipfile.ZipFile(content) as whole, zipfile.ZipFile(buffer, "w", kind) as made:
        for name in whole.namelist():
            made.writestr(name, whole.read(name))
    assert torch.equal(read_data(buffer.getvalue(), Path("w.pt"), "")["w"], state["w"])


def test_other_tensors_beside_the_weights_are_not_made() -> None:
    found = read_data(saved({"w": torch.ones(2, 2).to_sparse(), "n": 1}), Path("w.pt"), "")
    assert found["n"] == 1
    assert found["w"] == Made("torch._utils._rebuild_sparse_tensor")
