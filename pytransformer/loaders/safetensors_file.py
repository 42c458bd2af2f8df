"""Reader of safetensors files (https://github.com/huggingface/safetensors).

Written here because the library cannot hand bfloat16 to NumPy. The header comes from a file that
nobody vouches for, so every number in it is checked: the tensors must lie one after another,
without holes or overlaps, and fill the file to its end.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.tensor_source import MAX_DIMENSIONS, FloatArray, read_floats

# The library's own limit; real headers have some hundred kilobytes.
MAX_HEADER_BYTES = 100_000_000

_ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """The tensors of one safetensors file; a :class:`TensorSource`.

    Raises CheckpointError that names the file if any part of the header is malformed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header, self._data_start, data_bytes = _read_header(self.path)
        metadata = header.pop("__metadata__", {})
        if not _is_text_map(metadata):
            raise CheckpointError(f"{self.path}: __metadata__ is not a map of text to text")
        self.metadata: Mapping[str, str] = MappingProxyType(metadata)
        self._entries = {name: self._entry(name, value) for name, value in header.items()}
        self._check_layout(data_bytes)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self._entries.items()}

    def dtype(self, name: str) -> str:
        return self._entries[name].dtype

    def read(self, name: str) -> FloatArray:
        entry = self._entries[name]
        start, count = self._data_start + entry.begin, math.prod(entry.shape)
        values = read_floats(self.path, entry.dtype, start, count, f"tensor {name!r}")
        return values.reshape(entry.shape)

    def _entry(self, name: str, value: Any) -> _Entry:
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
            raise CheckpointError(
                f"{self.path}: tensor {name!r} needs dtype, shape and data_offsets"
            )
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _ELEMENT_BYTES:
            raise CheckpointError(f"{self.path}: tensor {name!r} has an unknown dtype")
        if not _is_count_list(shape) or not _is_count_list(offsets) or len(offsets) != 2:
            raise CheckpointError(f"{self.path}: tensor {name!r} has a malformed shape or offsets")
        begin, end = offsets
        if end - begin != math.prod(shape) * _ELEMENT_BYTES[dtype]:
            raise CheckpointError(f"{self.path}: tensor {name!r} has offsets that belie its shape")
        return _Entry(dtype, tuple(shape), begin, end)

    def _check_layout(self, data_bytes: int) -> None:
        position = 0
        for name, entry in sorted(
            self._entries.items(), key=lambda item: (item[1].begin, item[1].end)
        ):
            if entry.begin != position:
                fault = "overlaps its predecessor" if entry.begin < position else "follows a hole"
                raise CheckpointError(f"{self.path}: tensor {name!r} {fault}")
            position = entry.end
            if position > data_bytes:
                raise CheckpointError(
                    f"{self.path}: cut short, tensor {name!r} ends after the file"
                )
        if position != data_bytes:
            raise CheckpointError(
                f"{self.path}: {data_bytes - position} bytes follow the last tensor"
            )


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The parsed header, where the tensors' bytes start, and how many there are."""
    with open(path, "rb") as file:
        file_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(8), "little")
        if file_bytes < 8 or header_bytes > min(MAX_HEADER_BYTES, file_bytes - 8):
            raise CheckpointError(f"{path}: not a safetensors file, or cut short in its header")
        text = file.read(header_bytes)
    if len(text) != header_bytes or not text.startswith(b"{"):
        raise CheckpointError(f"{path}: not a safetensors file, its header is not a JSON object")
    try:
        header = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: broken safetensors header: {error}") from None
    assert isinstance(header, dict)  # the text starts with a brace
    start = 8 + header_bytes
    return header, start, file_bytes - start


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _is_count_list(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return False
    return all(type(item) is int and 0 <= item < 2**63 for item in value)


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
