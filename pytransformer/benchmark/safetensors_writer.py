"""Writes float32 tensors as a safetensors file, one at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_FLOAT_BYTES = 4


def write_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], FloatArray]
) -> None:
    """Writes the tensors named in `shapes`, whose values `read` gives by name.

    Only one of them is in memory at a time.
    """
    # transformers asks which library the tensors were written for.
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in shapes.items():
        end = position + math.prod(shape) * _FLOAT_BYTES
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": (position, end)}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            values = np.ascontiguousarray(read(name), "<f4")
            assert values.shape == shape
            file.write(values.data)
