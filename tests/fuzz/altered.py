"""Files altered at random, each by the number of its seed, so that every run alters alike."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

ODD = (
    None, True, False, -1, 0, 1, 2, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e-320, 1e308, "",
    "x", "1", "\x1b[2J", "\n", "../..", "\u202e", "9" * 5000, [], {}, [[]], [None], {"x": 1},
)  # fmt: skip
TEXTS = (
    b"", b"{", b"[]", b"null", b"nan", b"NaN", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000,
    b"9" * 10_000, b"1e999", b"\x00" * 100, b'{"schema": "x/1"}', b"{}\n{}\n", b"\xef\xbb\xbf{}",
)  # fmt: skip


def altered_documents(document: Any, number: int, odd: tuple[Any, ...] = ODD) -> Iterator[Any]:
    """Yield copies of lists and dictionaries in which one or two values are others."""
    for seed in range(number):
        chance = random.Random(seed)
        made = {"": copy.deepcopy(document)}
        for _ in range(chance.choice((1, 1, 1, 2))):
            _alter(made, chance, odd)
        yield made[""]


def altered_texts(document: Any, number: int) -> Iterator[bytes]:
    """Yield JSON of altered documents, and then texts that are none."""
    for seed, made in enumerate(altered_documents(document, number)):
        text = json.dumps(made)
        if seed % 10 == 0:  # numbers that are none, or that no machine has
            text = text.replace("1", ("NaN", "-Infinity", "9" * 5000, "1e999")[seed // 10 % 4], 1)
        yield text.encode()
    yield from TEXTS
    yield from altered_bytes(json.dumps(document).encode(), number // 2)


def altered_bytes(content: bytes, number: int) -> Iterator[bytes]:
    """Yield copies with flipped bits, cut, or with other bytes in between."""
    for seed in range(number):
        chance = random.Random(seed)
        made = bytearray(content)
        where = chance.randrange(len(made))
        match seed % 5:
            case 0:
                del made[where:]
            case 1:
                made[where:where] = chance.randbytes(chance.randrange(1, 20))
            case 2:
                made[where : where + 8] = b"\xff" * 8
            case _:
                for _ in range(chance.choice((1, 1, 3, 30))):
                    made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        yield bytes(made)


def _alter(made: dict[str, Any], chance: random.Random, odd: tuple[Any, ...]) -> None:
    """Alter a value somewhere in a document: another one, none at all, twice, or all alike."""
    places = list(_places(made))
    parent, key = chance.choice(places)
    actions: list[Callable[[], None]] = [
        lambda: parent.__setitem__(key, copy.deepcopy(chance.choice(odd))),
        lambda: parent.__setitem__(key, copy.deepcopy(chance.choice(odd))),
        lambda: parent.__setitem__(key, [parent[key]]),
        lambda: parent.__setitem__(key, _larger(parent[key])),
    ]
    if parent is not made:
        actions.append(lambda: parent.__delitem__(key))
        other_parent, other_key = chance.choice(places)
        actions.append(lambda: parent.__setitem__(key, copy.deepcopy(other_parent[other_key])))
    if isinstance(parent, list):
        actions.append(lambda: parent.insert(key, copy.deepcopy(parent[key])))
    chance.choice(actions)()


def _larger(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return -value - 1
    return value * 3 if isinstance(value, list | str) else value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in lists and dictionaries, as the one that it is in and its key there."""
    waiting = [value]
    while waiting:
        parent = waiting.pop()
        for key, one in parent.items() if isinstance(parent, dict) else enumerate(parent):
            yield parent, key
            if isinstance(one, list | dict):
                waiting.append(one)
