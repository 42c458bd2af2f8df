"""Batches as `forward_batch` takes and returns them: lists of different lengths, or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.ctranslate2.storage_view import StorageView


def batch_inputs(inputs: Any, lengths: Any) -> list[list[Any]]:
    """The tokens or ids of each input.

    Args:
        inputs: lists of tokens or of ids, or a StorageView of ids [inputs, longest].
        lengths: how many ids of each row count, a StorageView [inputs]; needed for the latter.

    Raises:
        TypeError: arguments of other types.
        ValueError: a dense array without its lengths, or with others than it can have.
    """
    if lengths is not None and not isinstance(lengths, StorageView):
        raise TypeError(f"lengths is {type(lengths).__name__}, expected a StorageView")
    if isinstance(inputs, StorageView):
        return _rows(np.asarray(inputs), lengths)
    if isinstance(inputs, (str, bytes)) or not hasattr(inputs, "__getitem__"):
        raise TypeError(f"inputs is {type(inputs).__name__}, expected lists of tokens or of ids")
    return [_items(item) for item in inputs]


def _rows(ids: npt.NDArray[Any], lengths: StorageView | None) -> list[list[Any]]:
    if lengths is None:
        raise ValueError("lengths vector is required when passing a dense input")
    counts = np.asarray(lengths)
    if ids.ndim != 2 or ids.dtype != np.int32 or counts.dtype != np.int32:
        raise ValueError(
            f"inputs is {ids.dtype} with {ids.ndim} dimensions and lengths {counts.dtype}, "
            "expected int32 with 2 dimensions, and int32"
        )
    if counts.shape != (len(ids),):
        raise ValueError(
            f"Expected lengths vector to have size {len(ids)}, but got size {counts.size} instead"
        )
    if any(not 0 < count <= ids.shape[1] for count in counts):
        raise ValueError(f"lengths is {counts.tolist()}, expected 1 to {ids.shape[1]}")
    return [row[:count].tolist() for row, count in zip(ids, counts, strict=True)]


def _items(item: Any) -> list[Any]:
    if isinstance(item, (str, bytes)) or not hasattr(item, "__getitem__"):
        raise TypeError(f"inputs hold {type(item).__name__}, expected lists of tokens or of ids")
    found = item.tolist() if isinstance(item, np.ndarray) else list(item)
    if not all(isinstance(one, str) for one in found) and not all(map(_is_id, found)):
        raise TypeError("inputs hold other things than tokens (str), or than ids (int)")
    return found


def _is_id(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def padded(rows: Sequence[npt.NDArray[np.float32]]) -> StorageView:
    """Rows [length, width] as one array [rows, longest, width], with zeros behind shorter ones."""
    longest = max(map(len, rows), default=0)
    width = rows[0].shape[1] if rows else 0
    values = np.zeros((len(rows), longest, width), np.float32)
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    return StorageView(values)
