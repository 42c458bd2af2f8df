"""A pickle reader that can build data and nothing else.

A pickle is a program for a small stack machine, and Python's own machine will import and call
whatever the program names. This one knows the opcodes that `torch.save` writes for a state dict. It
imports nothing: a global is looked up in a table of inert constructors, and a name that is not in
the table ends the reading.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Constructor = Callable[..., Any]


class ForbiddenGlobalError(ValueError):
    """The pickle names something outside the table; the argument is `module.name`."""


@dataclass(frozen=True)
class Global:
    """A name from the table. `construct` is None if it may be passed around but not called."""

    name: str
    construct: Constructor | None


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


class PickleMachine:
    """Runs one pickle.

    `table` maps `module.name` to a constructor, or to None. `persistent_load` resolves persistent
    ids. Raises ValueError, TypeError, LookupError or struct.error if the pickle is malformed.
    """

    def __init__(
        self,
        data: bytes,
        table: Mapping[str, Constructor | None],
        persistent_load: Callable[[object], object],
    ) -> None:
        self._data = data
        self._position = 0
        self._table = table
        self._persistent_load = persistent_load
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._operations: dict[bytes, Callable[[], None]] = {
            pickle.PROTO: self._proto,
            pickle.GLOBAL: self._global,
            pickle.BINPUT: lambda: self._put(_BYTE),
            pickle.LONG_BINPUT: lambda: self._put(_UINT32),
            pickle.BINGET: lambda: self._get(_BYTE),
            pickle.LONG_BINGET: lambda: self._get(_UINT32),
            pickle.BINUNICODE: self._unicode,
            pickle.LONG1: self._long,
            pickle.TUPLE: lambda: self._stack.append(tuple(self._pop_to_mark())),
            pickle.BINPERSID: lambda: self._stack.append(self._persistent_load(self._stack.pop())),
            pickle.REDUCE: self._reduce,
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
                self._stack.append(_CONTAINERS[code]())
            elif code in _NUMBERS:
                self._stack.append(self._unpack(_NUMBERS[code]))
            elif code in _SHORT_TUPLES:
                self._stack.append(tuple(self._pop(_SHORT_TUPLES[code])))
            elif code in self._operations:
                self._operations[code]()
            else:
                raise ValueError(f"opcode {code!r} does not occur in a state dict")
        (result,) = self._stack
        return result

    def _take(self, count: int) -> bytes:
        taken = self._data[self._position : self._position + count]
        if len(taken) != count:
            raise ValueError("ends early")
        self._position += count
        return taken

    def _unpack(self, form: struct.Struct) -> Any:
        return form.unpack(self._take(form.size))[0]

    def _line(self) -> str:
        end = self._data.index(b"\n", self._position)
        line = self._take(end - self._position).decode()
        self._position = end + 1
        return line

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
        if name not in self._table:
            raise ForbiddenGlobalError(name)
        self._stack.append(Global(name, self._table[name]))

    def _put(self, form: struct.Struct) -> None:
        self._memo[self._unpack(form)] = self._stack[-1]

    def _get(self, form: struct.Struct) -> None:
        self._stack.append(self._memo[self._unpack(form)])

    def _unicode(self) -> None:
        self._stack.append(self._take(self._unpack(_UINT32)).decode("utf-8"))

    def _long(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._unpack(_BYTE)), "little", signed=True))

    def _reduce(self) -> None:
        function, arguments = self._pop(2)
        if not isinstance(function, Global) or function.construct is None:
            raise ValueError("calls something that is not a constructor")
        if not isinstance(arguments, tuple):
            raise ValueError("calls a constructor without a tuple of arguments")
        self._stack.append(function.construct(*arguments))

    def _build(self) -> None:
        # Sets attributes on the object below, for example the `_metadata` of a state dict. Nothing
        # here needs an attribute, so the state is dropped.
        self._pop(1)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("sets items of something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Other keys do not occur, and hashing a tuple of tuples can take exponential time.
            if not isinstance(key, (str, int)):
                raise ValueError("has a dictionary key that is neither text nor a number")
            target[key] = value

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("appends to something that is not a list")
        target.extend(items)
