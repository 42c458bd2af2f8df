"""Arrays as CTranslate2 hands them out, and the names of their types and places."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np
import numpy.typing as npt

_SHOWN = 3  # numbers at each end of what is printed


class DataType(enum.IntEnum):
    """Types of numbers."""

    float32 = 0
    int8 = 1
    int16 = 2
    int32 = 3
    float16 = 4
    bfloat16 = 5


class Device(enum.IntEnum):
    """Where an array lies."""

    cpu = 0
    cuda = 1


class StorageView:
    """An array; NumPy and PyTorch read it without a copy, through its array interface."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self._values = values

    @staticmethod
    def from_array(array: Any) -> StorageView:
        """A view of what has an array interface, such as NumPy's arrays and PyTorch's tensors.

        Raises ValueError if it has none, is read-only or not contiguous, or holds numbers of
        another type than int8, int16, int32, float16 and float32.
        """
        if not hasattr(array, "__array_interface__"):
            raise ValueError("Object does not implement the array interface")
        values = np.asarray(array)
        if not values.flags.c_contiguous:
            raise ValueError("StorageView does not support arrays with non contiguous memory")
        if not values.flags.writeable:
            raise ValueError("StorageView does not support read-only arrays")
        if values.dtype.name not in DataType.__members__:
            raise ValueError(f"Unsupported type: {values.dtype.str}")
        return StorageView(values)

    @property
    def dtype(self) -> DataType:
        """Type of its numbers."""
        return DataType[self._values.dtype.name]

    @property
    def shape(self) -> list[int]:
        """Its dimensions."""
        return list(self._values.shape)

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    @property
    def device_index(self) -> int:
        """Always 0."""
        return 0

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._values.__array_interface__

    def to(self, dtype: DataType) -> StorageView:
        """A copy with numbers of another type; ValueError for bfloat16, which NumPy lacks."""
        if dtype == DataType.bfloat16:
            raise ValueError("bfloat16 is not supported here")
        return StorageView(self._values.astype(DataType(dtype).name))

    def to_device(self, device: Device) -> StorageView:
        """A copy; ValueError for another device than the CPU."""
        if device != Device.cpu:
            raise ValueError("there is no other device than the CPU")
        return StorageView(self._values.copy())

    def __str__(self) -> str:
        flat = self._values.reshape(-1)
        if flat.size > 2 * _SHOWN:
            shown = [*map(_number, flat[:_SHOWN]), "...", *map(_number, flat[-_SHOWN:])]
        else:
            shown = [_number(value) for value in flat]
        shape = "x".join(map(str, self.shape)) or "scalar"
        return f" {' '.join(shown)}\n[cpu:0 {self.dtype.name} storage viewed as {shape}]"

    __repr__ = __str__


def _number(value: Any) -> str:
    return f"{value:g}" if math.isfinite(value) else str(value)
