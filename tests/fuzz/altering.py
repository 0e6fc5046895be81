"""JSON files altered in many ways, the same ways every time."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cnnkit.runs.schema import CHECKSUM, checksum

Path = tuple[str | int, ...]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.5, -0.0, 7, 10**4, 2**16, 2**16 + 1, 2**31, 10**9, 10**12,
    2**63, -(2**63) - 1, 10**400, 5e-324, 1e-7, 1e30, 1e308, -1e308, "", "x", "0", "none", "auto",
    "cuda:99", "\0", "a\nb\x1b[31m", "é" * 300, "a" * 5000, "a" * 200_000, "\ud800", "/dev/zero",
    "../../../etc/passwd", "evil.py:f", "timm:resnet18.nowhere", "hf-hub:x/y", "x" * 300 + "/y",
    [], [[]], [None], [0], [1, 2], [1, 2, 3], [1e308] * 3, ["x"], ["x"] * 70_000, {}, {"x": 1},
    {"": ""}, {"cls": 1}, [{}] * 3, [[[[[[[[]]]]]]]],
)  # fmt: skip

# What no value is written as: it replaces the text of one.
TEXTS = (
    b"NaN", b"-Infinity", b"1e999", b"1" * 5000, b"[" * 40 + b"]" * 40, b"[" * 100_000, b"'x'",
    b'{"a": 1, "a": 2}', b'"\xff"', b'"\\u12"', b'"\n"', b"", b"01", b"+1", b".5", b"tru",
)  # fmt: skip


@dataclass(frozen=True)
class Altered:
    """A file that was altered.

    Attributes:
        what: was done to it.
        content: of the file.
        changed: which value was, where it was one.
    """

    what: str
    content: bytes
    changed: Path = ()


def alterations(original: bytes, number: int, seed: int = 0) -> Iterator[Altered]:
    """Return a file altered so many times: values, keys, and bytes.

    Half of those that change values have the right checksum, so that what is checked behind it is
    reached; the others keep the old one, or have none.
    """
    chance = random.Random(seed)
    plain: dict[str, Any] = json.loads(original)
    paths = [path for path in _paths(plain) if path != (CHECKSUM,)]
    order: list[Path] = []
    for _ in range(number):
        kind = chance.random()
        if kind < 0.15:
            yield _bytes_changed(original, chance)
            continue
        changed = copy.deepcopy(plain)
        order = order or chance.sample(paths, len(paths))  # each once before any comes again
        path = order.pop()
        what = _change(changed, path, chance)
        if kind > 0.9:  # two at once
            still_there = [one for one in _paths(changed) if one != (CHECKSUM,)]
            second = chance.choice(still_there)
            what += f" and {_change(changed, second, chance)}"
        mark = chance.random()
        if mark < 0.7:
            changed[CHECKSUM] = checksum(changed)
        elif mark < 0.85:
            changed.pop(CHECKSUM, None)
        content = json.dumps(changed).encode()
        if chance.random() < 0.08:  # the same place, with what no value is written as
            text = chance.choice(TEXTS)
            content = _with_text(plain, path, text)
            what = f"{path} is {text[:20]!r}"
        yield Altered(what, content, path)


def _paths(value: Any, above: Path = ()) -> list[Path]:
    found = [above] if above else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, (*above, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:3]):
            found += _paths(item, (*above, index))
    return found


def _change(plain: dict[str, Any], path: Path, chance: random.Random) -> str:
    place: Any = plain
    for part in path[:-1]:
        place = place[part]
    last, kind = path[-1], chance.random()
    if kind < 0.1:
        del place[last]
        return f"{path} is gone"
    if kind < 0.15 and isinstance(place, dict):
        place[chance.choice(("new", "", "\x1b[2J", "sha512"))] = place[last]
        return f"a key beside {path}"
    if kind < 0.2 and isinstance(place[last], int | float):
        place[last] *= chance.choice((-1, 2, 1000, 1e6))
        return f"{path} is {place[last]!r}"
    place[last] = copy.deepcopy(chance.choice(VALUES))
    return f"{path} is {ascii(place[last])[:60]}"


def _with_text(plain: dict[str, Any], path: Path, text: bytes) -> bytes:
    marked = copy.deepcopy(plain)
    marked.pop(CHECKSUM, None)
    place: Any = marked
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = "@here@"
    return json.dumps(marked).encode().replace(b'"@here@"', text)


def _bytes_changed(original: bytes, chance: random.Random) -> Altered:
    content = bytearray(original)
    kind = chance.randrange(6)
    if kind == 0:
        del content[chance.randrange(len(content)) :]
        return Altered("cut off", bytes(content))
    if kind == 1:
        return Altered("with a mark of bytes", b"\xef\xbb\xbf" + content)
    if kind == 2:
        return Altered("in UTF-16", original.decode().encode("utf-16"))
    if kind == 3:
        return Altered("twice", bytes(content) * 2)
    for _ in range(chance.choice((1, 1, 1, 8))):
        position = chance.randrange(len(content))
        content[position] ^= 1 << chance.randrange(8)
    return Altered(f"a bit of byte {position}", bytes(content))
