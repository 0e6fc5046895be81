"""Files that were made to harm: refused by name, and nothing in them executed."""

import argparse
import pickle
from pathlib import Path

import pytest
import torch

from cnnkit.errors import CheckFailedError
from cnnkit.torch_files import read_data, some_of


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


def test_names_of_a_file_do_no_harm_to_the_terminal() -> None:
    assert some_of(["a", "\x1b[2J", "b" * 200]) == "a, '\\x1b[2J', " + "b" * 80 + "…"
    assert some_of(list("abcdef")) == "a, b, c, d and 2 more"
