"""Reader of CTranslate2's model.bin, in which converted models keep their weights and attributes.

The file says its version and the name and revision of the model's specification; then come the
variables, each with name, shape and numbers, and since version 3 the aliases, which are second
names. Integers are little-endian and without padding. The file comes from nobody who vouches for
it, so each number is checked against the bytes that are there.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.tensor_source import STORED_FLOATS, FloatArray, read_floats

OLDEST_VERSION = 2
NEWEST_VERSION = 6

# By their numbers in the file, under their safetensors names; versions 2 and 3 give bytes instead.
_TYPES = ("F32", "I8", "I16", "I32", "F16", "BF16")
_TYPES_BY_BYTES = {4: "F32", 2: "I16", 1: "I8"}
_FIRST_VERSION_WITH_ALIASES = 3
_FIRST_VERSION_WITH_TYPES = 4
_ELEMENT_BYTES = {"F32": 4, "I8": 1, "I16": 2, "I32": 4, "F16": 2, "BF16": 2}
_INTEGERS = {"I8": "<i1", "I16": "<i2", "I32": "<i4"}
# Of matrices in int16 that are stored without a scale.
_OLD_INT16_SCALE = 1000.0
_SCALE = "_scale"

_MOST_VERSIONS = 100  # what starts with a greater number is something else
_MAX_VARIABLES = 200_000  # a model of 1000 layers has fewer
_MAX_RANK = 8
_LONGEST_SPEC_NAME = 100


@dataclass(frozen=True)
class _Variable:
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Ctranslate2File:
    """The variables of one model.bin; a :class:`TensorSource`.

    Matrices that are stored as integers are read as floats: their scales are no tensors of their
    own. Scalars and texts are in `attributes` and `texts`.

    Raises CheckpointError that names the file if any part of it is malformed, and
    UnsupportedModelError for another version of the format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with open(self.path, "rb") as file:
            reader = _Reader(file, self.path)
            self.version = reader.number("I", "version")
            if not OLDEST_VERSION <= self.version <= NEWEST_VERSION:
                raise UnsupportedModelError(
                    f"{self.path}: binary version {self.version} of CTranslate2's format, expected "
                    f"{OLDEST_VERSION} to {NEWEST_VERSION}; convert the model again"
                )
            self.spec_name = reader.text("name of the specification")
            self.revision = reader.number("I", "revision of the specification")
            self._variables = self._read_variables(reader)
            self._aliases = self._read_aliases(reader)
            reader.end()
            self.attributes: Mapping[str, int | float] = {
                name: _scalar(file, variable)
                for name, variable in self._variables.items()
                if not variable.shape and not self._is_scale(name)
            }
            self.texts: Mapping[str, str] = {
                name: self._read_text(file, name, variable)
                for name, variable in self._variables.items()
                if variable.dtype == "I8" and len(variable.shape) == 1
            }
        self._check_scales()

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        named = {alias: self._variables[name] for alias, name in self._aliases.items()}
        return {
            name: variable.shape
            for name, variable in {**self._variables, **named}.items()
            if variable.shape and name not in self.texts and not self._is_scale(name)
        }

    @property
    def stores_int8(self) -> bool:
        """Whether any matrix is stored in int8."""
        return any(self.dtype(name) == "I8" for name in self.shapes)

    def stored_name(self, name: str) -> str:
        """What an alias stands for; any other name as it is."""
        return self._aliases.get(name, name)

    def dtype(self, name: str) -> str:
        return self._variable(name).dtype

    def read(self, name: str) -> FloatArray:
        variable = self._variable(name)
        what = f"variable {name!r}"
        if variable.dtype in STORED_FLOATS:
            values = read_floats(self.path, variable.dtype, variable.offset, variable.size, what)
            return values.reshape(variable.shape)
        stored = np.fromfile(
            self.path, _INTEGERS[variable.dtype], count=variable.size, offset=variable.offset
        )
        if stored.size != variable.size:
            raise CheckpointError(f"{self.path}: {what} ends early, the file became shorter")
        # A scale of 0 gives what the loader reports by name.
        with np.errstate(all="ignore"):
            divided: FloatArray = np.divide(
                stored.reshape(variable.shape), self._read_scale(name), dtype=np.float32
            )
        return divided

    def _variable(self, name: str) -> _Variable:
        return self._variables[self.stored_name(name)]

    def _is_scale(self, name: str) -> bool:
        return name.endswith(_SCALE) and name.removesuffix(_SCALE) in self._variables

    def _read_scale(self, name: str) -> FloatArray:
        """What the stored numbers are to be divided by: [rows, 1, ...], or one for all."""
        scale_name = self.stored_name(name) + _SCALE
        scale = self._variables.get(scale_name)
        if scale is None:
            return np.full(1, _OLD_INT16_SCALE, np.float32)
        values = read_floats(
            self.path, scale.dtype, scale.offset, scale.size, f"variable {scale_name!r}"
        )
        if values.size == 1:
            return values
        return values.reshape(-1, *(1 for _ in self._variable(name).shape[1:]))

    def _read_variables(self, reader: _Reader) -> dict[str, _Variable]:
        variables: dict[str, _Variable] = {}
        count = reader.number("I", "number of variables")
        if count > _MAX_VARIABLES:
            raise CheckpointError(f"{self.path}: {count} variables, expected a model")
        for _ in range(count):
            name = reader.text("name of a variable")
            if name in variables:
                raise CheckpointError(f"{self.path}: variable {name!r} is there twice")
            variables[name] = self._read_variable(reader, f"variable {name!r}")
        return variables

    def _read_variable(self, reader: _Reader, what: str) -> _Variable:
        rank = reader.number("B", what)
        if rank > _MAX_RANK:
            raise CheckpointError(f"{self.path}: {what} has {rank} dimensions")
        shape = tuple(reader.number("I", what) for _ in range(rank))
        code = reader.number("B", what)
        stored = reader.number("I", what)
        if self.version >= _FIRST_VERSION_WITH_TYPES:
            dtype = _TYPES[code] if code < len(_TYPES) else None
        else:
            dtype = _TYPES_BY_BYTES.get(code)
            stored *= code
        if dtype is None:
            raise CheckpointError(f"{self.path}: {what} has an unknown type, {code}")
        if stored != math.prod(shape) * _ELEMENT_BYTES[dtype]:
            raise CheckpointError(
                f"{self.path}: {what} has {stored} bytes, which do not fit its shape {shape} in "
                f"{dtype}"
            )
        return _Variable(dtype, shape, reader.skip(stored, what))

    def _read_aliases(self, reader: _Reader) -> dict[str, str]:
        """The variables that aliases stand for."""
        if self.version < _FIRST_VERSION_WITH_ALIASES:
            return {}
        aliases: dict[str, str] = {}
        count = reader.number("I", "number of aliases")
        if count > _MAX_VARIABLES:
            raise CheckpointError(f"{self.path}: {count} aliases, expected a model")
        for _ in range(count):
            alias, name = reader.text("alias"), reader.text("what an alias stands for")
            name = aliases.get(name, name)
            if alias in self._variables or alias in aliases:
                raise CheckpointError(f"{self.path}: alias {alias!r} is there twice")
            if name not in self._variables:
                raise CheckpointError(
                    f"{self.path}: alias {alias!r} stands for {name!r}, which is not there"
                )
            aliases[alias] = name
        return aliases

    def _read_text(self, file: BinaryIO, name: str, variable: _Variable) -> str:
        file.seek(variable.offset)
        try:
            return file.read(variable.size).decode()
        except UnicodeDecodeError:
            raise CheckpointError(f"{self.path}: variable {name!r} is not UTF-8 text") from None

    def _check_scales(self) -> None:
        for name, variable in self._variables.items():
            if variable.dtype not in _INTEGERS or not variable.shape or name in self.texts:
                continue
            scale = self._variables.get(name + _SCALE)
            rows = variable.shape[:1]
            if scale is None:
                if variable.dtype != "I16":
                    raise CheckpointError(f"{self.path}: variable {name!r} has no scale")
            elif scale.dtype not in STORED_FLOATS or (scale.size != 1 and scale.shape != rows):
                raise CheckpointError(
                    f"{self.path}: the scale of {name!r} is {scale.dtype} {scale.shape}, expected "
                    f"floats, one or {rows}"
                )


def is_model_file(path: Path) -> bool:
    """Whether a file begins as CTranslate2's model.bin does, of whatever version."""
    try:
        with open(path, "rb") as file:
            reader = _Reader(file, path)
            version = reader.number("I", "version")
            name = reader.text("name of the specification")
    except (OSError, CheckpointError):
        return False
    plain = name.isascii() and name.isalnum() and len(name) <= _LONGEST_SPEC_NAME
    return OLDEST_VERSION <= version <= _MOST_VERSIONS and plain


class _Reader:
    """Reads numbers and texts one after another, and never beyond the end of the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = os.fstat(file.fileno()).st_size
        self._position = 0

    def number(self, code: str, what: str) -> int:
        data = self._take(struct.calcsize(f"<{code}"), what)
        value: int = struct.unpack(f"<{code}", data)[0]
        return value

    def text(self, what: str) -> str:
        """A text with its length before it, which counts the zero behind it."""
        data = self._take(self.number("H", what), what)
        if not data.endswith(b"\0"):
            raise CheckpointError(f"{self._path}: the {what} does not end with a zero")
        try:
            return data[:-1].decode()
        except UnicodeDecodeError:
            raise CheckpointError(f"{self._path}: the {what} is not UTF-8 text") from None

    def skip(self, count: int, what: str) -> int:
        """Leaves out some bytes; gives the place of the first one."""
        start = self._position
        self._check(count, what)
        self._position += count
        self._file.seek(self._position)
        return start

    def end(self) -> None:
        """Checks that everything was read."""
        if self._position != self._size:
            left = self._size - self._position
            raise CheckpointError(f"{self._path}: {left} bytes behind the end of the model")

    def _take(self, count: int, what: str) -> bytes:
        self._check(count, what)
        data = self._file.read(count)
        if len(data) != count:
            raise CheckpointError(f"{self._path}: the {what} ends early, the file became shorter")
        self._position += count
        return data

    def _check(self, count: int, what: str) -> None:
        if self._position + count > self._size:
            raise CheckpointError(
                f"{self._path}: ends early, at byte {self._size}: the {what} would end at byte "
                f"{self._position + count}"
            )


def _scalar(file: BinaryIO, variable: _Variable) -> int | float:
    file.seek(variable.offset)
    data = file.read(_ELEMENT_BYTES[variable.dtype])
    if variable.dtype in _INTEGERS:
        return int(np.frombuffer(data, _INTEGERS[variable.dtype])[0])
    bits = np.frombuffer(data, STORED_FLOATS[variable.dtype])
    if variable.dtype == "BF16":
        bits = (bits.astype(np.uint32) << 16).view(np.float32)
    return float(bits[0])
