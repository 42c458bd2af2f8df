"""Reader of the files that `torch.save` writes; it needs no PyTorch and runs no code.

The pickle in such a file describes an object in which a tensor is a view (offset, size, stride) of
a storage. It is read by :mod:`pytransformer.loaders.pickle_machine`; where the storages lie is
known to :mod:`pytransformer.loaders.pytorch_container`. Views are checked against their storages
before a byte of a weight is read.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pytransformer.errors import CheckpointError
from pytransformer.loaders.pickle_machine import (
    Constructor,
    ForbiddenGlobalError,
    Global,
    PickleMachine,
)
from pytransformer.loaders.pytorch_container import (
    LEGACY_MAGIC,
    ZIP_MAGIC,
    Container,
    Storage,
    open_container,
)
from pytransformer.loaders.tensor_source import MAX_DIMENSIONS, FloatArray, read_floats

# Storage classes: safetensors name of the element type, bytes of an element.
_STORAGES = {
    "torch.DoubleStorage": ("F64", 8),
    "torch.FloatStorage": ("F32", 4),
    "torch.HalfStorage": ("F16", 2),
    "torch.BFloat16Storage": ("BF16", 2),
    "torch.LongStorage": ("I64", 8),
    "torch.IntStorage": ("I32", 4),
    "torch.ShortStorage": ("I16", 2),
    "torch.CharStorage": ("I8", 1),
    "torch.ByteStorage": ("U8", 1),
    "torch.BoolStorage": ("BOOL", 1),
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the file."""

    storage: Storage
    offset: int  # elements
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements


_TENSORS: dict[str, Constructor | None] = {
    "collections.OrderedDict": lambda *arguments: _ordered_dict(*arguments),
    "torch._utils._rebuild_tensor": lambda *arguments: _rebuild_tensor(*arguments),
    "torch._utils._rebuild_tensor_v2": lambda *arguments: _rebuild_tensor(*arguments),
    "torch._utils._rebuild_parameter": lambda *arguments: _rebuild_parameter(*arguments),
    **dict.fromkeys(_STORAGES),
}


class PytorchObject:
    """The object that was saved in a file, as data.

    Args:
        path: the file.
        table: which names the pickle may use besides tensors, and what stands for each: a
            constructor, or None for what may be passed around but not called.
        lenient: let records stand for all other names, too.

    Attributes:
        root: the object, in which :class:`StoredTensor` stands for a tensor.

    Raises CheckpointError that names the file if it is malformed or its pickle uses other names.
    """

    def __init__(
        self,
        path: Path,
        table: Mapping[str, Constructor | None] | None = None,
        *,
        lenient: bool = False,
    ) -> None:
        self.path = path
        self._storages: dict[str, Storage] = {}
        try:
            with open(path, "rb") as file:
                self._read(file, {**_TENSORS, **(table or {})}, lenient)
        except CheckpointError:
            raise
        except ForbiddenGlobalError as error:
            raise CheckpointError(
                f"{path}: the pickle names {error}, which is no part of a checkpoint that is known "
                "here; nothing was run"
            ) from None
        except (ValueError, TypeError, LookupError, struct.error) as error:
            raise CheckpointError(f"{path}: broken pickle: {error}") from None

    def _read(self, file: BinaryIO, table: Mapping[str, Constructor | None], lenient: bool) -> None:
        container = open_container(self.path, file)
        file.seek(container.pickle_start)

        def storage(persistent_id: object) -> Storage:
            return self._storage(container, persistent_id)

        machine = PickleMachine(file, container.pickle_bytes, table, storage, lenient=lenient)
        self.root: Any = machine.run()
        self._places = container.locate(self._storages, file.tell())

    def _storage(self, container: Container, persistent_id: object) -> Storage:
        """Resolves ('storage', class, key, location, number of elements[, part])."""
        if not isinstance(persistent_id, tuple) or len(persistent_id) not in (5, 6):
            raise ValueError("malformed reference to a storage")
        kind, storage_class, key, _, count = persistent_id[:5]
        if kind != "storage" or not isinstance(storage_class, Global) or not isinstance(key, str):
            raise ValueError("malformed reference to a storage")
        if storage_class.name not in _STORAGES or not _is_count(count):
            raise ValueError("malformed reference to a storage")
        whole = self._storages.get(key)
        if whole is None:
            whole = Storage(key, *_STORAGES[storage_class.name], count)
            container.check(whole)
            self._storages[key] = whole
        elif (whole.dtype, whole.count) != (_STORAGES[storage_class.name][0], count):
            raise ValueError(f"storage {key!r} is described in two ways")
        return _part(whole, persistent_id[5]) if len(persistent_id) == 6 else whole

    def read(self, tensor: StoredTensor, what: str) -> FloatArray:
        """Reads a tensor of `root` as float32; `what` names it in messages."""
        storage = tensor.storage
        needed = _extent(tensor.shape, tensor.strides)
        skipped = (storage.first + tensor.offset) * storage.element_bytes
        start = self._places[storage.key] + skipped
        values = read_floats(self.path, storage.dtype, start, needed, what)
        strides = [stride * values.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
        return np.ascontiguousarray(view)


class StateDict:
    """Named tensors of a saved object; a :class:`TensorSource`."""

    def __init__(self, saved: PytorchObject, tensors: Mapping[str, StoredTensor]) -> None:
        self._saved = saved
        self._tensors = tensors

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def dtype(self, name: str) -> str:
        return self._tensors[name].storage.dtype

    def read(self, name: str) -> FloatArray:
        return self._saved.read(self._tensors[name], f"tensor {name!r}")


class PytorchFile(StateDict):
    """The tensors of a file that holds a state dict and nothing else; a :class:`TensorSource`.

    Raises CheckpointError that names the file if it is malformed or its pickle names anything but
    tensors.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        saved = PytorchObject(Path(path))
        if not is_state_dict(saved.root):
            raise CheckpointError(f"{path}: not a state dict, which maps names to tensors")
        super().__init__(saved, saved.root)


def is_pytorch_file(path: Path) -> bool:
    """Whether a file begins as those that `torch.save` writes."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(len(LEGACY_MAGIC))
    return start == LEGACY_MAGIC or start.startswith(ZIP_MAGIC)


def is_state_dict(value: object) -> bool:
    """Whether a part of a saved object maps names to tensors."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, StoredTensor) for name, tensor in value.items()
    )


def _part(whole: Storage, part: object) -> Storage:
    """The part of an array that (key, first element, number of elements) names, if it is one."""
    if part is None:
        return whole
    if not isinstance(part, tuple) or len(part) != 3 or not _is_count_tuple(part[1:]):
        raise ValueError("malformed reference to a part of a storage")
    first, count = part[1:]
    if first + count > whole.count:
        raise ValueError("a part that reaches beyond its storage")
    return Storage(whole.key, whole.dtype, whole.element_bytes, count, first)


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _rebuild_parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise ValueError("a parameter without a tensor")
    return tensor


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage) or not _is_count(offset):
        raise ValueError("a tensor without a storage")
    if not _is_count_tuple(shape) or not _is_count_tuple(strides) or len(shape) != len(strides):
        raise ValueError("a tensor with a malformed shape")
    # A view may repeat elements (stride 0); weights do not, and a huge one would fill the memory.
    if math.prod(shape) > storage.count or offset + _extent(shape, strides) > storage.count:
        raise ValueError("a tensor that reaches beyond its storage")
    return StoredTensor(storage, offset, shape, strides)


def _extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from a view's first to its last one."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_count_tuple(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS:
        return False
    return all(_is_count(item) for item in value)
