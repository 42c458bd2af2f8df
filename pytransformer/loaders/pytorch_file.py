"""Reader of PyTorch's zip format (`torch.save` since 1.6) that needs no PyTorch and runs no code.

The archive holds `<prefix>/data.pkl`, a pickle in which a tensor is a view (offset, size, stride)
of a storage, and one uncompressed entry `<prefix>/data/<key>` per storage. The pickle is read by
:mod:`pytransformer.loaders.pickle_machine`; views are checked against their storages before a byte
of a weight is read.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pytransformer.errors import CheckpointError
from pytransformer.loaders.pickle_machine import ForbiddenGlobalError, Global, PickleMachine
from pytransformer.loaders.tensor_source import FloatArray, read_floats

# A state dict of a thousand tensors takes about 200 kB.
MAX_PICKLE_BYTES = 1 << 24
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

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


@dataclass(frozen=True)
class _Storage:
    dtype: str
    offset: int  # byte in the archive
    count: int  # elements


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int  # elements
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements


class PytorchFile:
    """The tensors of one `pytorch_model.bin`; a :class:`TensorSource`.

    Raises CheckpointError that names the file if it is malformed or its pickle names anything but
    tensors.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._entries, self._prefix = _read_directory(self.path)
        self._check_byte_order()
        self._tensors = self._read_state_dict()

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def dtype(self, name: str) -> str:
        return self._tensors[name].storage.dtype

    def read(self, name: str) -> FloatArray:
        tensor = self._tensors[name]
        storage = tensor.storage
        needed = _extent(tensor.shape, tensor.strides)
        start = storage.offset + tensor.offset * dict(_STORAGES.values())[storage.dtype]
        values = read_floats(self.path, storage.dtype, start, needed, f"tensor {name!r}")
        strides = [stride * values.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(values, tensor.shape, strides, writeable=False)
        return np.ascontiguousarray(view)

    def _check_byte_order(self) -> None:
        entry = self._entries.get(f"{self._prefix}/byteorder")
        if entry is not None and self._read_entry(entry) != b"little":
            raise CheckpointError(
                f"{self.path}: written on a big-endian machine, which is not supported"
            )

    def _read_entry(self, entry: tuple[int, int]) -> bytes:
        offset, size = entry
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(min(size, MAX_PICKLE_BYTES))

    def _read_state_dict(self) -> dict[str, _Tensor]:
        entry = self._entries[f"{self._prefix}/data.pkl"]
        if entry[1] > MAX_PICKLE_BYTES:
            raise CheckpointError(f"{self.path}: a pickle of {entry[1]} bytes is no state dict")
        table = {
            "collections.OrderedDict": _ordered_dict,
            "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
            "torch._utils._rebuild_parameter": _rebuild_parameter,
            **dict.fromkeys(_STORAGES),
        }
        try:
            state = PickleMachine(self._read_entry(entry), table, self._storage).run()
        except CheckpointError:
            raise
        except ForbiddenGlobalError as error:
            raise CheckpointError(
                f"{self.path}: the pickle names {error}, which is no part of a state dict of "
                "tensors; nothing was run"
            ) from None
        except (ValueError, TypeError, LookupError, struct.error) as error:
            raise CheckpointError(f"{self.path}: broken pickle: {error}") from None
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in state.items()
        ):
            raise CheckpointError(f"{self.path}: not a state dict, which maps names to tensors")
        return state

    def _storage(self, persistent_id: object) -> _Storage:
        """Resolves ('storage', class, key, location, number of elements)."""
        if not isinstance(persistent_id, tuple) or len(persistent_id) != 5:
            raise ValueError("malformed reference to a storage")
        kind, storage_class, key, _, count = persistent_id
        if kind != "storage" or not isinstance(storage_class, Global) or not isinstance(key, str):
            raise ValueError("malformed reference to a storage")
        if storage_class.name not in _STORAGES or not _is_count(count):
            raise ValueError("malformed reference to a storage")
        entry = self._entries.get(f"{self._prefix}/data/{key}")
        if entry is None:
            raise CheckpointError(f"{self.path}: storage {key!r} is missing from the archive")
        dtype, element_bytes = _STORAGES[storage_class.name]
        offset, size = entry
        if size != count * element_bytes:
            raise CheckpointError(
                f"{self.path}: storage {key!r} has {size} bytes, not {count} x {dtype}"
            )
        return _Storage(dtype, offset, count)


def _read_directory(path: Path) -> tuple[dict[str, tuple[int, int]], str]:
    """Byte offset and size of every entry's data, and the prefix of the archive's names."""
    with open(path, "rb") as file:
        if file.read(len(_LEGACY_MAGIC)) == _LEGACY_MAGIC:
            raise CheckpointError(
                f"{path}: PyTorch's format from before version 1.6; load and save it once with a "
                "newer PyTorch"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (
            zipfile.BadZipFile,
            ValueError,
            NotImplementedError,
            EOFError,
            struct.error,
        ) as error:
            raise CheckpointError(f"{path}: not a PyTorch checkpoint: {error}") from None
        file_bytes = os.fstat(file.fileno()).st_size
        entries = {info.filename: _locate(path, file, info, file_bytes) for info in infos}
    if len(entries) != len(infos):
        raise CheckpointError(f"{path}: an entry of the archive occurs twice")
    prefixes = [
        name.rpartition("/")[0] for name in entries if name.rpartition("/")[2] == "data.pkl"
    ]
    if len(prefixes) != 1:
        raise CheckpointError(
            f"{path}: not a PyTorch checkpoint, the archive has no data.pkl of its own"
        )
    return entries, prefixes[0]


def _locate(path: Path, file: BinaryIO, info: zipfile.ZipInfo, file_bytes: int) -> tuple[int, int]:
    # PyTorch stores entries as they are; refusing compression also refuses decompression bombs.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise CheckpointError(f"{path}: entry {info.filename!r} is compressed")
    file.seek(max(info.header_offset, 0))
    header = file.read(30)
    if info.header_offset < 0 or len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise CheckpointError(f"{path}: entry {info.filename!r} has no header where it should be")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    offset = info.header_offset + 30 + name_bytes + extra_bytes
    if offset + info.file_size > file_bytes:
        raise CheckpointError(f"{path}: entry {info.filename!r} reaches beyond the end of the file")
    return offset, info.file_size


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _rebuild_parameter(tensor: Any, *_: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise ValueError("a parameter without a tensor")
    return tensor


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not _is_count(offset):
        raise ValueError("a tensor without a storage")
    if not _is_count_tuple(shape) or not _is_count_tuple(strides) or len(shape) != len(strides):
        raise ValueError("a tensor with a malformed shape")
    # A view may repeat elements (stride 0); weights do not, and a huge one would fill the memory.
    if math.prod(shape) > storage.count or offset + _extent(shape, strides) > storage.count:
        raise ValueError("a tensor that reaches beyond its storage")
    return _Tensor(storage, offset, shape, strides)


def _extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from a view's first to its last one."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_count_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_count(item) for item in value)
