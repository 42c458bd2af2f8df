"""Reader of Marian's binary models (`.bin`): float32, and the int8 forms of Marian and Bergamot.

All numbers are little-endian. The file holds: version and number of items (two uint64); for each
item the lengths of name (with a final NUL), shape and data, and a type; all names; all shapes
(int32); the length of a padding (uint64) and the padding; the data of all items.

Of a matrix in int8 or int16 the transposed is stored, row by row, then the factor (float32) that
took the weights to integers; the shape is that of the matrix itself. Embeddings are stored as they
are.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pytransformer.errors import CheckpointError
from pytransformer.loaders.tensor_source import FloatArray, read_floats

_VERSION = 1
_HEADER = struct.Struct("<4Q")
_START = struct.Struct("<2Q")
_MAX_ITEMS = 1 << 16
_MAX_NAME_BYTES = 1 << 10
_MAX_DIMENSIONS = 8

# Types that are read as they stand: name in safetensors, bytes of an element.
_PLAIN = {
    0x402: ("F16", 2), 0x404: ("F32", 4), 0x408: ("F64", 8),
    0x101: ("I8", 1), 0x102: ("I16", 2), 0x104: ("I32", 4), 0x108: ("I64", 8),
    0x201: ("U8", 1), 0x202: ("U16", 2), 0x204: ("U32", 4), 0x208: ("U64", 8),
}  # fmt: skip
# Marian and Bergamot number them differently.
_QUANTISED = {0x10001: ("I8", 1), 0x4101: ("I8", 1), 0x10002: ("I16", 2), 0x4102: ("I16", 2)}
# Bits of all types whose order of elements depends on a processor.
_PACKED = 0x800 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000
# Such a matrix is read by rows, not as a factor of a product, so it is not stored transposed.
_UNTRANSPOSED = "Wemb"
_LEAST_FACTOR = 1e-30


@dataclass(frozen=True)
class _Item:
    dtype: str
    shape: tuple[int, ...]
    offset: int  # byte in the file
    size: int  # bytes
    quantised: bool


def is_binary(path: Path) -> bool:
    """Whether the file begins as a binary model does; one that cannot be read does not."""
    try:
        with open(path, "rb") as file:
            start = file.read(_START.size + _HEADER.size)
    except OSError:
        return False
    if len(start) < _START.size + _HEADER.size:
        return False
    version, count = _START.unpack_from(start)
    name_bytes, kind, dimensions, _ = _HEADER.unpack_from(start, _START.size)
    return (
        version == _VERSION
        and 0 < count <= _MAX_ITEMS
        and 0 < name_bytes <= _MAX_NAME_BYTES
        and dimensions <= _MAX_DIMENSIONS
        and (kind in _PLAIN or bool(kind & _PACKED))
    )


class BinaryFile:
    """The tensors of one binary model, as float32; a :class:`TensorSource`.

    Raises CheckpointError that names the file and the item if one is malformed, of a type that
    belongs to one kind of processor, or cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with open(self.path, "rb") as file:
            self._items = _read_items(self.path, file)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: item.shape for name, item in self._items.items()}

    @property
    def has_integers(self) -> bool:
        """Whether matrices are stored as integers."""
        return any(item.quantised for item in self._items.values())

    def dtype(self, name: str) -> str:
        return self._items[name].dtype

    def read(self, name: str) -> FloatArray:
        item = self._items[name]
        count = math.prod(item.shape)
        if not item.quantised:
            plain = read_floats(self.path, item.dtype, item.offset, count, f"tensor {name!r}")
            return plain.reshape(item.shape)
        kind = np.dtype("<i1" if item.dtype == "I8" else "<i2")
        stored = np.fromfile(self.path, kind, count, offset=item.offset)
        factor_offset = item.offset + count * kind.itemsize
        factor = read_floats(self.path, "F32", factor_offset, 1, f"tensor {name!r}")
        # Of factors below, even single integers would become infinite.
        if stored.size != count or not _LEAST_FACTOR <= factor[0] < np.inf:
            raise CheckpointError(
                f"{self.path}: tensor {name!r} should end with its scale, a number from 1e-30 on"
            )
        shape = item.shape if _UNTRANSPOSED in name else item.shape[::-1]
        values: FloatArray = (stored.astype(np.float32) / factor).reshape(shape)
        return values if _UNTRANSPOSED in name else values.T

    def read_bytes(self, name: str, limit: int) -> bytes:
        """The bytes of an item of one-byte numbers, of `limit` at most."""
        item = self._items[name]
        size = math.prod(item.shape)
        if item.quantised or item.dtype not in ("I8", "U8") or size > limit:
            raise CheckpointError(
                f"{self.path}: {name!r} should be at most {limit} numbers of one byte"
            )
        with open(self.path, "rb") as file:
            file.seek(item.offset)
            return file.read(size)


def _read_items(path: Path, file: BinaryIO) -> dict[str, _Item]:
    file_bytes = os.fstat(file.fileno()).st_size
    reader = _Reader(path, file, file_bytes)
    version, count = _START.unpack(reader.take(_START.size))
    if version != _VERSION or count > _MAX_ITEMS:
        raise CheckpointError(
            f"{path}: version {version} with {count} items, expected version {_VERSION}, and at "
            f"most {_MAX_ITEMS} items"
        )
    headers = list(_HEADER.iter_unpack(reader.take(_HEADER.size * count)))
    for name_bytes, _, dimensions, _ in headers:
        if not 0 < name_bytes <= _MAX_NAME_BYTES or dimensions > _MAX_DIMENSIONS:
            raise CheckpointError(
                f"{path}: an item with {name_bytes} bytes of name and {dimensions} dimensions"
            )
    names = [_name(path, reader.take(header[0])) for header in headers]
    if len(set(names)) != count:
        raise CheckpointError(f"{path}: an item occurs twice")
    shapes = [struct.unpack(f"<{n}i", reader.take(4 * n)) for _, _, n, _ in headers]
    (padding,) = struct.unpack("<Q", reader.take(8))
    sizes = [header[3] for header in headers]
    offsets = list(_offsets(reader.position + padding, sizes))
    if offsets[-1] > file_bytes:
        raise CheckpointError(
            f"{path}: cut short, it has {file_bytes} bytes of the {offsets[-1]} that it announces"
        )
    return {
        name: _item(path, name, header[1], shape, begin, end - begin)
        for name, header, shape, (begin, end) in zip(
            names, headers, shapes, pairwise(offsets), strict=True
        )
    }


def _offsets(start: int, sizes: list[int]) -> Iterator[int]:
    """Where each item begins, and where the last one ends."""
    yield start
    for size in sizes:
        start += size
        yield start


def _item(
    path: Path, name: str, kind: int, shape: tuple[int, ...], offset: int, size: int
) -> _Item:
    if kind in _PLAIN:
        dtype, item_bytes = _PLAIN[kind]
        needed = math.prod(shape) * item_bytes
    elif kind in _QUANTISED:
        dtype, item_bytes = _QUANTISED[kind]
        needed = math.prod(shape) * item_bytes + 4
    else:
        raise CheckpointError(
            f"{path}: item {name!r} has the type {kind:#x}, made for one kind of processor or "
            "unknown; expected float32, intgemm8 or intgemm16 (convert the model from its npz)"
        )
    # Items are padded.
    if any(length < 0 for length in shape) or needed > size:
        raise CheckpointError(f"{path}: item {name!r} has {size} bytes, less than {shape} needs")
    return _Item(dtype, shape, offset, size, kind in _QUANTISED)


def _name(path: Path, content: bytes) -> str:
    text = content[:-1]
    if content[-1:] != b"\0" or b"\0" in text or not text.isascii():
        raise CheckpointError(f"{path}: {text[:40]!r} is no name of an item")
    return text.decode("ascii")


class _Reader:
    """Reads a file from its start; what is missing is an error."""

    def __init__(self, path: Path, file: BinaryIO, file_bytes: int) -> None:
        self._path = path
        self._file = file
        self._file_bytes = file_bytes
        self.position = 0

    def take(self, size: int) -> bytes:
        if size > self._file_bytes - self.position:
            raise CheckpointError(f"{self._path}: cut short, or no binary model of Marian")
        content = self._file.read(size)
        self.position += size
        return content
