"""A pickle reader that can build data and nothing else.

A pickle is a program for a small stack machine, and Python's own machine will import and call
whatever the program names. This one knows the opcodes that `torch.save` writes. It imports nothing:
a global is looked up in a table of inert constructors, and a name that is not in the table ends the
reading. What it builds takes memory in proportion to the pickle's bytes: constructors hand on what
they are given instead of copying it, and lists, dictionaries, tuples and records are counted.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

Constructor = Callable[..., Any]


class ForbiddenGlobalError(ValueError):
    """The pickle names something outside the table; the argument is `module.name`."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name from the table. `construct` is None if it may be passed around but not called."""

    name: str
    construct: Constructor | None


@dataclass(eq=False, slots=True)
class Record:
    """What stands for an object of a class: its name and its attributes, and no behaviour."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


_MARK = object()
_CONSTANTS: dict[bytes, object] = {
    pickle.EMPTY_TUPLE: (),
    pickle.NONE: None,
    pickle.NEWTRUE: True,
    pickle.NEWFALSE: False,
    pickle.MARK: _MARK,
}
_CONTAINERS: dict[bytes, Callable[[], object]] = {pickle.EMPTY_DICT: dict, pickle.EMPTY_LIST: list}
_NUMBERS = {
    pickle.BININT: struct.Struct("<i"),
    pickle.BININT1: struct.Struct("<B"),
    pickle.BININT2: struct.Struct("<H"),
    pickle.BINFLOAT: struct.Struct(">d"),
}
_SHORT_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
_BYTE, _UINT32 = struct.Struct("<B"), struct.Struct("<I")
_MAX_NAME_BYTES = 1000
# A pickler also notes every container in its memo, so that one takes four bytes at the least.
_BYTES_PER_CONTAINER = 4


class PickleMachine:
    """Runs one pickle, which starts where `file` stands and has at most `limit` bytes.

    `table` maps `module.name` to a constructor, or to None; with `lenient`, all other names make
    records. `persistent_load` resolves persistent ids. Raises ValueError, TypeError, LookupError or
    struct.error if the pickle is malformed. Afterwards the file stands behind the pickle.
    """

    def __init__(
        self,
        file: BinaryIO,
        limit: int,
        table: Mapping[str, Constructor | None],
        persistent_load: Callable[[object], object],
        *,
        lenient: bool = False,
    ) -> None:
        self._file = file
        self._left = limit
        self._containers_left = 256 + limit // _BYTES_PER_CONTAINER
        self._table = table
        self._lenient = lenient
        self._persistent_load = persistent_load
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._operations: dict[bytes, Callable[[], object]] = {
            pickle.PROTO: self._proto,
            pickle.GLOBAL: self._global,
            pickle.BINPUT: lambda: self._put(_BYTE),
            pickle.LONG_BINPUT: lambda: self._put(_UINT32),
            pickle.BINGET: lambda: self._get(_BYTE),
            pickle.LONG_BINGET: lambda: self._get(_UINT32),
            pickle.BINUNICODE: lambda: self._text(_UINT32),
            pickle.BINSTRING: lambda: self._text(_UINT32),  # Python 2's texts
            pickle.SHORT_BINSTRING: lambda: self._text(_BYTE),
            pickle.LONG1: self._long,
            pickle.TUPLE: lambda: self._push_container(tuple(self._pop_to_mark())),
            pickle.BINPERSID: lambda: self._stack.append(self._persistent_load(self._stack.pop())),
            pickle.POP: self._stack.pop,
            pickle.POP_MARK: self._pop_to_mark,
            pickle.REDUCE: self._reduce,
            pickle.NEWOBJ: self._reduce,
            pickle.BUILD: self._build,
            pickle.SETITEM: lambda: self._set_items([self._stack.pop(-2), self._stack.pop()]),
            pickle.SETITEMS: lambda: self._set_items(self._pop_to_mark()),
            pickle.APPEND: lambda: self._extend([self._stack.pop()]),
            pickle.APPENDS: lambda: self._extend(self._pop_to_mark()),
        }

    def run(self) -> Any:
        """The object that the pickle describes."""
        while (code := self._take(1)) != pickle.STOP:
            if code in _CONSTANTS:
                self._stack.append(_CONSTANTS[code])
            elif code in _CONTAINERS:
                self._push_container(_CONTAINERS[code]())
            elif code in _NUMBERS:
                self._stack.append(self._unpack(_NUMBERS[code]))
            elif code in _SHORT_TUPLES:
                self._push_container(tuple(self._pop(_SHORT_TUPLES[code])))
            elif code in self._operations:
                self._operations[code]()
            else:
                raise ValueError(f"opcode {code!r} does not occur in a checkpoint")
        (result,) = self._stack
        return result

    def _take(self, count: int) -> bytes:
        if count > self._left:
            raise ValueError("ends early")
        self._left -= count
        taken = self._file.read(count)
        if len(taken) != count:
            raise ValueError("ends early")
        return taken

    def _unpack(self, form: struct.Struct) -> Any:
        return form.unpack(self._take(form.size))[0]

    def _line(self) -> str:
        line = self._file.readline(min(self._left, _MAX_NAME_BYTES))
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise ValueError("a name does not end")
        return line[:-1].decode()

    def _push_container(self, value: object) -> None:
        if self._containers_left == 0:
            raise ValueError("more lists, dictionaries and tuples than so few bytes can fill")
        self._containers_left -= 1
        self._stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("stack is empty")
        popped = self._stack[-count:]
        del self._stack[-count:]
        return popped

    def _pop_to_mark(self) -> list[Any]:
        above = 0
        while self._stack[-1 - above] is not _MARK:
            above += 1
        popped = self._pop(above) if above else []
        self._stack.pop()
        return popped

    def _proto(self) -> None:
        if self._unpack(_BYTE) > pickle.HIGHEST_PROTOCOL:
            raise ValueError("unknown protocol")

    def _global(self) -> None:
        name = f"{self._line()}.{self._line()}"
        if name in self._table:
            self._stack.append(Global(name, self._table[name]))
        elif self._lenient:
            self._stack.append(Global(name, record_of(name)))
        else:
            raise ForbiddenGlobalError(name)

    def _put(self, form: struct.Struct) -> None:
        self._memo[self._unpack(form)] = self._stack[-1]

    def _get(self, form: struct.Struct) -> None:
        self._stack.append(self._memo[self._unpack(form)])

    def _text(self, size: struct.Struct) -> None:
        self._stack.append(self._take(self._unpack(size)).decode("utf-8"))

    def _long(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._unpack(_BYTE)), "little", signed=True))

    def _reduce(self) -> None:
        function, arguments = self._pop(2)
        if not isinstance(function, Global) or function.construct is None:
            raise ValueError("calls something that is not a constructor")
        if not isinstance(arguments, tuple):
            raise ValueError("calls a constructor without a tuple of arguments")
        self._push_container(function.construct(*arguments))

    def _build(self) -> None:
        # Of a record these are the attributes. A dictionary may have some as well, for example the
        # `_metadata` of a state dict; nothing here needs them.
        target, state = self._pop(2)
        if isinstance(target, Record) and isinstance(state, dict):
            target.attributes = state
        self._stack.append(target)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if self._lenient and isinstance(target, Record):
            return  # of a class that is a dictionary
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("sets items of something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Other keys do not occur, and hashing a tuple of tuples can take exponential time.
            if not isinstance(key, (str, int, float, type(None))):
                raise ValueError("has a dictionary key that is neither text nor a number")
            target[key] = value

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if self._lenient and isinstance(target, Record):
            return
        if not isinstance(target, list):
            raise ValueError("appends to something that is not a list")
        target.extend(items)


def record_of(name: str) -> Constructor:
    """A constructor of records of the class `name`, whatever it is called with."""
    return lambda *_: Record(name)


def records(*names: str) -> dict[str, Constructor | None]:
    """A table in which records stand for objects of all these classes."""
    return {name: record_of(name) for name in names}


def passive(*names: str) -> dict[str, Constructor | None]:
    """A table of what may be passed around, but not called."""
    return dict.fromkeys(names)


def filled_later(_: object = None) -> dict[Any, Any]:
    """Stands for a dictionary's constructor that takes what to give for missing keys."""
    return {}


def as_given(value: object = None) -> object:
    """Stands for a conversion: of a dictionary to a Counter, of a list to a set."""
    return value
