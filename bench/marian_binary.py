"""Bergamot's binary int8 models (its own form; Marian's int8 files look alike but differ)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_VERSION = 1
_ALIGNMENT = 256
_FLOAT32, _INT8, _INTGEMM8 = 0x404, 0x101, 0x4101
# The matrices of layers, which are stored transposed.
_MATRIX = re.compile(r"_W[qkvo12f]?$")


class _Item(NamedTuple):
    name: str
    type: int
    shape: tuple[int, ...]
    data: bytes


def is_matrix(name: str) -> bool:
    """Whether a tensor is one of those that are stored as transposed int8."""
    return _MATRIX.search(name) is not None


def write_int8(
    tensors: Mapping[str, Floats],
    options: str,
    path: Path,
    activation_scales: Mapping[str, float] | None = None,
) -> None:
    """Writes matrices in int8 and everything else in float32.

    `activation_scales` are the factors that take each matrix's input to int8.
    """
    items = list(_items(tensors, options, activation_scales or {}))
    headers = b"".join(
        struct.pack("<4Q", len(item.name) + 1, item.type, len(item.shape), len(item.data))
        for item in items
    )
    names = b"".join(item.name.encode("ascii") + b"\0" for item in items)
    shapes = b"".join(struct.pack(f"<{len(item.shape)}i", *item.shape) for item in items)
    head = struct.pack("<2Q", _VERSION, len(items)) + headers + names + shapes
    padding = -(len(head) + 8) % _ALIGNMENT
    with path.open("wb") as file:
        file.write(head + struct.pack("<Q", padding) + bytes(padding))
        for item in items:
            file.write(item.data)


def _items(
    tensors: Mapping[str, Floats], options: str, scales: Mapping[str, float]
) -> Iterator[_Item]:
    for name, values in tensors.items():
        if name == "Wemb" or is_matrix(name):
            stored = values if name == "Wemb" else values.T
            yield _Item(name, _INTGEMM8, values.shape, _padded(_quantized(stored)))
        else:
            yield _Item(name, _FLOAT32, values.shape, _padded(values.tobytes()))
    for name, scale in scales.items():
        yield _Item(f"{name}_QuantMultA", _FLOAT32, (1,), _padded(struct.pack("<f", scale)))
    text = _padded(options.encode() + b"\0")
    yield _Item("special:model.yml", _INT8, (len(text),), text)


def _quantized(values: Floats) -> bytes:
    """The int8 values row by row, then the factor that took the weights to them."""
    factor = np.float32(127 / np.abs(values).max())
    rounded = np.clip(np.rint(values * factor), -127, 127).astype(np.int8)
    stored: bytes = rounded.tobytes() + factor.tobytes()
    return stored


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
