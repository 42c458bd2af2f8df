"""What the readers of tensor files have in common.

A :class:`TensorSource` knows the shapes of its tensors from the file's header and reads one tensor
at a time, so that a load never holds two copies of all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pytransformer.errors import CheckpointError

FloatArray = npt.NDArray[np.float32]

MAX_DIMENSIONS = 32  # NumPy's limit before its version 2

# Float types by their safetensors names, and how their bits are read. NumPy has no bfloat16: its
# bits are the upper half of a float32.
STORED_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class TensorSource(Protocol):
    """Named tensors in a file, or in several."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor in the source, by name."""

    def dtype(self, name: str) -> str:
        """The element type of a tensor, by its safetensors name."""

    def read(self, name: str) -> FloatArray:
        """Reads one tensor as float32; raises CheckpointError or OSError that name the file."""


def read_floats(path: Path, dtype: str, offset: int, count: int, what: str) -> FloatArray:
    """Reads `count` numbers of a float type at byte `offset` of a file, as float32."""
    if dtype not in STORED_FLOATS:
        raise CheckpointError(f"{path}: {what} holds {dtype}, not floating-point weights")
    stored = np.fromfile(path, dtype=STORED_FLOATS[dtype], count=count, offset=offset)
    if stored.size != count:
        raise CheckpointError(
            f"{path}: {what} ends early, the file became shorter while it was read"
        )
    if dtype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    # A float64 beyond the range of float32 becomes infinite, which the loader reports by name.
    with np.errstate(over="ignore"):
        return stored.astype(np.float32, copy=False)


def all_finite(values: FloatArray) -> bool:
    """Whether no number is NaN or infinite, without a temporary of the array's size."""
    return values.size == 0 or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


class LazyTensors(Mapping[str, FloatArray]):
    """Tensors by canonical name, each read anew whenever it is asked for."""

    def __init__(self, readers: Mapping[str, Callable[[], FloatArray]]) -> None:
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> FloatArray:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __contains__(self, name: object) -> bool:
        return name in self._readers
