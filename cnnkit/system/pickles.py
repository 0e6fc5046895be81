"""Pickles read as data: what one would call is named, and nothing is imported or called."""

import pickletools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

MOST_OPERATIONS = 2_000_000  # about 45 are a tensor; each may take 100 bytes and more

MOST_BITS = 128  # of an integer

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_KEYS = (str, int, float, bytes, type(None))  # hashed at once; nested tuples could take for ever


class PickleError(ValueError):
    """A pickle that is damaged, too long, or of a kind that is not read."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle asks for, such as `collections.OrderedDict`."""

    text: str


@dataclass(frozen=True)
class Made:
    """In place of what a pickle would have made by a call."""

    by: str


class _Mark:
    """Where on the stack the items of a tuple, a list or a call begin."""


class PickleReader:
    """Reads the pickles of a stream, one after another.

    Args:
        stream: what holds them.
        make: replaces a call, from the name and the arguments; `Made` by default.
        find: returns the object of a persistent id.
        build: takes the state of what `make` returned.

    Attributes:
        names: every class and function that was asked for so far.
    """

    def __init__(
        self,
        stream: BytesIO,
        make: Callable[[str, tuple[Any, ...]], Any] = lambda name, arguments: Made(name),
        find: Callable[[Any], Any] = lambda identity: Made("a persistent id"),
        build: Callable[[Any, Any], None] = lambda target, state: None,
    ) -> None:
        self.names: set[str] = set()
        self._stream = stream
        self._make = make
        self._find = find
        self._build = build
        self._num_operations = 0
        self._stack: list[Any] = []
        self._memo: dict[Any, Any] = {}

    def read(self) -> Any:
        """Return what the next pickle holds.

        Raises:
            PickleError: it is damaged, or holds too much.
        """
        self._stack, self._memo = [], {}
        try:
            for operation, argument, _ in pickletools.genops(self._stream):
                self._num_operations += 1
                if self._num_operations > MOST_OPERATIONS:
                    raise PickleError(f"its pickle has more than {MOST_OPERATIONS:,} operations")
                if operation.name == "STOP":
                    return self._stack[-1]
                self._do(operation.name, argument)
        except PickleError:
            raise
        except Exception as error:  # a file that was made to harm may raise anything
            raise PickleError(f"its pickle is damaged: {error}") from error
        raise PickleError("its pickle does not end")

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            stack.append(tuple(self._popped(_TUPLES[name])))
        elif name in _PUTS:
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in _GETS:
            stack.append(self._memo[argument])
        elif name in _OPERATIONS:
            _OPERATIONS[name](self, argument)
        elif isinstance(argument, int) and argument.bit_length() > MOST_BITS:
            raise PickleError(f"its pickle has a number of {argument.bit_length():,} bits")
        elif isinstance(argument, str | int | float | bytes):
            stack.append(argument)
        else:
            raise PickleError(f"its pickle has the operation {name}")

    def _popped(self, number: int) -> list[Any]:
        items = self._stack[len(self._stack) - number :]
        if len(items) < number or any(item is _Mark for item in items):
            raise PickleError("its pickle takes more than there is")
        del self._stack[len(self._stack) - number :]
        return items

    def _popped_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _Mark:
            items.append(item)
        return items[::-1]

    def _global(self, argument: str) -> None:
        self._name(argument.replace(" ", ".", 1))

    def _stack_global(self, _: object) -> None:
        module, name = self._popped(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("its pickle asks for what has no name")
        self._name(f"{module}.{name}")

    def _name(self, text: str) -> None:
        self.names.add(text)
        self._stack.append(Name(text))

    def _call(self, called: Any, arguments: Any) -> None:
        name = called.text if isinstance(called, Name) else type(called).__name__
        arguments = arguments if isinstance(arguments, tuple) else ()
        made: Any
        if name == "collections.OrderedDict":
            made = OrderedDict()
            for key, value in arguments[0] if arguments else ():
                self._put(made, key, value)
        else:
            made = self._make(name, arguments)
        self._stack.append(made)

    def _reduce(self, _: object) -> None:
        self._call(*self._popped(2))

    def _new_with_keywords(self, _: object) -> None:
        called, arguments, _keywords = self._popped(3)
        self._call(called, arguments)

    def _object(self, _: object) -> None:
        called, *arguments = self._popped_to_mark()
        self._call(called, tuple(arguments))

    def _instance(self, argument: str) -> None:
        arguments = self._popped_to_mark()
        self._global(argument)
        self._call(self._stack.pop(), tuple(arguments))

    def _set_state(self, _: object) -> None:
        (state,) = self._popped(1)
        target = self._stack[-1]
        if isinstance(target, OrderedDict) and isinstance(state, dict):
            target.__dict__.update({k: v for k, v in state.items() if k == "_metadata"})
        else:
            self._build(target, state)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                self._put(target, key, value)

    def _append(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def _put(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        if not isinstance(key, _KEYS):
            raise PickleError(f"its pickle has a {type(key).__name__} as a key")
        target[key] = value

    def _dict(self, _: object) -> None:
        items = self._popped_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _frozen_set(self, _: object) -> None:
        self._popped_to_mark()
        self._stack.append(Made("builtins.frozenset"))

    def _duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def _persistent(self, identity: Any) -> None:
        self._stack.append(self._find(identity))


_OPERATIONS: dict[str, Callable[[PickleReader, Any], object]] = {
    "PROTO": lambda reader, argument: None,
    "FRAME": lambda reader, argument: None,
    "MARK": lambda reader, argument: reader._stack.append(_Mark),
    "POP": lambda reader, argument: reader._stack.pop(),
    "POP_MARK": lambda reader, argument: reader._popped_to_mark(),
    "DUP": PickleReader._duplicate,
    "TUPLE": lambda reader, argument: reader._stack.append(tuple(reader._popped_to_mark())),
    "EMPTY_LIST": lambda reader, argument: reader._stack.append([]),
    "LIST": lambda reader, argument: reader._stack.append(reader._popped_to_mark()),
    "APPEND": lambda reader, argument: reader._append(reader._popped(1)),
    "APPENDS": lambda reader, argument: reader._append(reader._popped_to_mark()),
    "EMPTY_DICT": lambda reader, argument: reader._stack.append({}),
    "DICT": PickleReader._dict,
    "SETITEM": lambda reader, argument: reader._set_items(reader._popped(2)),
    "SETITEMS": lambda reader, argument: reader._set_items(reader._popped_to_mark()),
    "EMPTY_SET": lambda reader, argument: reader._stack.append(Made("builtins.set")),
    "ADDITEMS": lambda reader, argument: reader._popped_to_mark(),
    "FROZENSET": PickleReader._frozen_set,
    "GLOBAL": PickleReader._global,
    "STACK_GLOBAL": PickleReader._stack_global,
    "REDUCE": PickleReader._reduce,
    "NEWOBJ": PickleReader._reduce,
    "NEWOBJ_EX": PickleReader._new_with_keywords,
    "OBJ": PickleReader._object,
    "INST": PickleReader._instance,
    "BUILD": PickleReader._set_state,
    "PERSID": PickleReader._persistent,
    "BINPERSID": lambda reader, argument: reader._persistent(reader._popped(1)[0]),
}
