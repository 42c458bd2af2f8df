"""Reader of NumPy's npz files, in which Marian stores its models.

An archive of npy files: a header that spells type and shape as a Python dictionary, then the
numbers. The header is matched against the one form in which NumPy and Marian write it, not
evaluated. Compressed archives are refused.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pytransformer.errors import CheckpointError
from pytransformer.loaders.stored_archive import stored_entries
from pytransformer.loaders.tensor_source import FloatArray, read_floats

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_MAX_HEADER_BYTES = 1 << 12
_HEADER = re.compile(
    rb"\{'descr': '([<>|=])([a-z])([0-9]{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,12}(?:, ?|(?=\)))){0,8})\), ?\} *\n"
)
# By NumPy's letter and size: what safetensors calls the types.
_TYPES = {
    "f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
    "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class _Array:
    dtype: str
    shape: tuple[int, ...]
    offset: int  # byte in the file
    size: int  # bytes


class NpzFile:
    """The arrays of one npz file; a :class:`TensorSource`.

    Raises CheckpointError that names the file and the array if one is malformed, compressed or cut
    short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        entries = stored_entries(self.path, "an npz file")
        with open(self.path, "rb") as file:
            self._arrays = {
                _array_name(self.path, name): self._array(file, name, *place)
                for name, place in entries.items()
            }

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self._arrays.items()}

    def dtype(self, name: str) -> str:
        return self._arrays[name].dtype

    def read(self, name: str) -> FloatArray:
        array = self._arrays[name]
        count = math.prod(array.shape)
        values = read_floats(self.path, array.dtype, array.offset, count, f"tensor {name!r}")
        return values.reshape(array.shape)

    def read_bytes(self, name: str, limit: int) -> bytes:
        """The bytes of an array of one-byte numbers, of `limit` at most."""
        array = self._arrays[name]
        if array.dtype not in ("I8", "U8") or array.size > limit:
            raise CheckpointError(
                f"{self.path}: {name!r} should be at most {limit} numbers of one byte"
            )
        with open(self.path, "rb") as file:
            file.seek(array.offset)
            return file.read(array.size)

    def _array(self, file: BinaryIO, name: str, offset: int, size: int) -> _Array:
        file.seek(offset)
        start = file.read(min(size, _MAX_HEADER_BYTES))
        # Version 1 has two bytes for the header's length, versions 2 and 3 have four.
        width = 2 if start[6:7] == b"\x01" else 4
        length = int.from_bytes(start[8 : 8 + width], "little")
        data = 8 + width + length
        header = _HEADER.fullmatch(start[8 + width : data])
        if start[:6] != _MAGIC or header is None:
            raise CheckpointError(f"{self.path}: entry {name!r} is no array of NumPy")
        order, letter, item_bytes, fortran, dimensions = (part.decode() for part in header.groups())
        dtype = _TYPES.get(letter + item_bytes)
        if dtype is None or order == ">":
            raise CheckpointError(
                f"{self.path}: entry {name!r} holds {order}{letter}{item_bytes}; expected "
                "little-endian numbers"
            )
        shape = tuple(int(part) for part in dimensions.split(",") if part.strip())
        if fortran == "True" and len(shape) > 1:
            raise CheckpointError(f"{self.path}: entry {name!r} is stored by columns, not by rows")
        if data + math.prod(shape) * int(item_bytes) != size:
            raise CheckpointError(f"{self.path}: entry {name!r} has {size} bytes, not its shape's")
        return _Array(dtype, shape, offset + data, size - data)


def _array_name(path: Path, entry: str) -> str:
    if not entry.endswith(_SUFFIX):
        raise CheckpointError(f"{path}: entry {entry!r} is no array of NumPy")
    return entry[: -len(_SUFFIX)]
