"""Writes Marian's binary models, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
FLOAT32, INT8, MARIANS, BERGAMOTS, MARIANS_INT16 = 0x404, 0x101, 0x10001, 0x4101, 0x10002


@dataclass(frozen=True)
class Item:
    type: int
    shape: tuple[int, ...]
    data: bytes


def binary_model(items: Mapping[str, Item], version: int = 1) -> bytes:
    """The file; data are padded to 256 bytes, as Marian's allocator does."""
    data = [item.data + bytes(-len(item.data) % 256) for item in items.values()]
    head = struct.pack("<2Q", version, len(items))
    for (name, item), padded in zip(items.items(), data, strict=True):
        head += struct.pack("<4Q", len(name) + 1, item.type, len(item.shape), len(padded))
    head += b"".join(name.encode() + b"\0" for name in items)
    head += b"".join(struct.pack(f"<{len(item.shape)}i", *item.shape) for item in items.values())
    padding = -(len(head) + 8) % 256
    return head + struct.pack("<Q", padding) + bytes(padding) + b"".join(data)


def floats(values: Floats) -> Item:
    return Item(FLOAT32, values.shape, values.astype("<f4").tobytes())


def text(content: str) -> Item:
    data = content.encode() + b"\0"
    return Item(INT8, (len(data),), data)


def integers(values: Floats, kind: int = BERGAMOTS, *, transposed: bool = True) -> Item:
    """A matrix in int8, or in int16, and the factor that took it there."""
    dtype, factor = (
        ("<i2", 1024.0) if kind == MARIANS_INT16 else ("<i1", 127 / np.abs(values).max())
    )
    rounded = np.rint((values.T if transposed else values) * np.float32(factor)).astype(dtype)
    return Item(kind, values.shape, rounded.tobytes() + struct.pack("<f", factor))
