"""Matrices in panels of 16 outputs, in every compute type (docs/native-format.md).

A row holds the weights of one output. In every type it is a row of 32-bit words: 1 float32, 2
bfloat16, 4 int8 or 8 int4 each. A panel is 16 rows, word by word, so that a line of 64 bytes holds
one word of each of 16 outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pytransformer.quantization import (
    GROUP,
    FloatArray,
    dequantise_int4,
    dequantise_int8,
    from_bfloat16,
    quantise_int4,
    quantise_int8,
    to_bfloat16,
)

PANEL = 16

Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]
Words: TypeAlias = npt.NDArray[np.uint32]

_LOW_NIBBLES = np.uint32(0x0F0F0F0F)


@dataclass(frozen=True)
class Tensor:
    """What the header of a native file says of a tensor, but for its place."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class PanelFormat:
    """How a matrix is stored in one compute type.

    Attributes:
        tensors: the tensors of a matrix by its name and its numbers of panels and inputs (padded):
            the weights and, where the type has any, their scales.
        pack: arrays of these shapes from rows [16 * panels, inputs].
        unpack: rows from such arrays and the number of inputs.
    """

    tensors: Callable[[str, int, int], tuple[Tensor, ...]]
    pack: Callable[[FloatArray], Arrays]
    unpack: Callable[[Arrays, int], FloatArray]


def pad(size: int) -> int:
    """Rounds up to a multiple of 16."""
    return -(-size // PANEL) * PANEL


def _float32_tensors(name: str, panels: int, inputs: int) -> tuple[Tensor, ...]:
    return (Tensor(name, "F32", (panels, inputs, PANEL)),)


def _pack_float32(rows: FloatArray) -> Arrays:
    return (_to_panels(rows.view(np.uint32)).view(np.float32),)


def _unpack_float32(arrays: Arrays, inputs: int) -> FloatArray:
    (weights,) = arrays
    return _to_rows(weights.view(np.uint32)).view(np.float32)


def _bfloat16_tensors(name: str, panels: int, inputs: int) -> tuple[Tensor, ...]:
    return (Tensor(name, "BF16", (panels, inputs // 2, PANEL, 2)),)


def _pack_bfloat16(rows: FloatArray) -> Arrays:
    words = _to_panels(to_bfloat16(rows).view(np.uint32))
    return (words.view(np.uint16).reshape(*words.shape, 2),)


def _unpack_bfloat16(arrays: Arrays, inputs: int) -> FloatArray:
    (weights,) = arrays
    return from_bfloat16(_to_rows(_words(weights)).view(np.uint16))


def _int8_tensors(name: str, panels: int, inputs: int) -> tuple[Tensor, ...]:
    return (
        Tensor(name, "I8", (panels, inputs // 4, PANEL, 4)),
        Tensor(f"{name}.scales", "F32", (PANEL * panels,)),
    )


def _pack_int8(rows: FloatArray) -> Arrays:
    values, scales = quantise_int8(rows)
    words = _to_panels(values.view(np.uint32))
    return words.view(np.int8).reshape(*words.shape, 4), scales


def _unpack_int8(arrays: Arrays, inputs: int) -> FloatArray:
    weights, scales = arrays
    return dequantise_int8(_to_rows(_words(weights)).view(np.int8), scales)


def _int4_tensors(name: str, panels: int, inputs: int) -> tuple[Tensor, ...]:
    groups = -(-inputs // GROUP)
    return (
        Tensor(name, "U8", (panels, groups, 4, PANEL, 4)),
        # Of groups an even number, so that the bytes are a multiple of 64.
        Tensor(f"{name}.scales", "BF16", (panels, groups + groups % 2, PANEL)),
    )


def _pack_int4(rows: FloatArray) -> Arrays:
    values, scales = quantise_int4(rows)
    nibbles: Words = (values + 8).view(np.uint32)
    words = _to_panels(np.bitwise_or(nibbles[:, 0::2], nibbles[:, 1::2] << 4))
    panels, groups = len(words), scales.shape[1]
    padded = np.zeros((panels, groups + groups % 2, PANEL), np.uint16)
    padded[:, :groups] = scales.reshape(panels, PANEL, groups).transpose(0, 2, 1)
    return words.view(np.uint8).reshape(panels, groups, 4, PANEL, 4), padded


def _unpack_int4(arrays: Arrays, inputs: int) -> FloatArray:
    weights, padded = arrays
    panels, groups = weights.shape[:2]
    words = _to_rows(_words(weights).reshape(panels, -1, PANEL))
    nibbles = np.stack([words & _LOW_NIBBLES, words >> 4 & _LOW_NIBBLES], axis=2)
    values = nibbles.view(np.int8).reshape(len(words), -1) - np.int8(8)
    scales = padded[:, :groups].transpose(0, 2, 1).reshape(len(words), groups)
    return dequantise_int4(values, scales, inputs)


FORMATS: Mapping[str, PanelFormat] = {
    "float32": PanelFormat(_float32_tensors, _pack_float32, _unpack_float32),
    "bfloat16": PanelFormat(_bfloat16_tensors, _pack_bfloat16, _unpack_bfloat16),
    "int8": PanelFormat(_int8_tensors, _pack_int8, _unpack_int8),
    "int4": PanelFormat(_int4_tensors, _pack_int4, _unpack_int4),
}


def _words(weights: npt.NDArray[Any]) -> Words:
    """The 32-bit words of stored weights whose last dimension is one word."""
    words: Words = weights.view(np.uint32)
    return words[..., 0]


def _to_panels(words: Words) -> Words:
    """Panels [rows / 16, words, 16] of rows of words [rows, words]."""
    by_panel = words.reshape(-1, PANEL, words.shape[1])
    return np.ascontiguousarray(by_panel.transpose(0, 2, 1))


def _to_rows(panels: Words) -> Words:
    """The inverse of :func:`_to_panels`."""
    count, width, _ = panels.shape
    return np.ascontiguousarray(panels.transpose(0, 2, 1)).reshape(count * PANEL, width)
