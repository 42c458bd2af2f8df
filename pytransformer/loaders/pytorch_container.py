"""Where a file that `torch.save` wrote holds its pickle and the bytes of its storages.

Since version 1.6 PyTorch writes a zip archive with `<prefix>/data.pkl` and one uncompressed entry
`<prefix>/data/<key>` per storage. Before, it wrote five pickles one after another (a magic number,
a version, facts about the machine, the object, the storages' keys) and then, for each key, the
number of elements (8 bytes) and the elements. All numbers are checked before a byte of a weight is
read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from pytransformer.errors import CheckpointError
from pytransformer.loaders.pickle_machine import PickleMachine
from pytransformer.loaders.stored_archive import stored_entries

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
ZIP_MAGIC = b"PK\x03\x04"

# A state dict of a thousand tensors takes about 200 kB, a vocabulary with the count of every word
# of a large corpus some ten megabytes.
MAX_PICKLE_BYTES = 1 << 27
_LEGACY_VERSION = 1001


@dataclass(frozen=True, slots=True)
class Storage:
    """An array of numbers in the file, or a part of one."""

    key: str
    dtype: str  # by its safetensors name
    element_bytes: int
    count: int  # elements
    first: int = 0  # element of the array at which the part begins


class Container(Protocol):
    """One of the two formats."""

    pickle_start: int
    pickle_bytes: int  # at most

    def check(self, storage: Storage) -> None:
        """Raises CheckpointError if a whole array cannot be in the file."""

    def locate(self, storages: Mapping[str, Storage], pickle_end: int) -> Mapping[str, int]:
        """The byte in the file at which each of the arrays starts; raises CheckpointError."""


def open_container(path: Path, file: BinaryIO) -> Container:
    """The container in a file; raises CheckpointError if it is neither."""
    if file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC:
        return _Legacy(path, file)
    return _Zip(path, file)


class _Zip:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._entries = stored_entries(path, "a PyTorch checkpoint")
        self._prefix = _pickle_prefix(path, self._entries)
        self.pickle_start, self.pickle_bytes = self._entries[f"{self._prefix}/data.pkl"]
        if self.pickle_bytes > MAX_PICKLE_BYTES:
            raise CheckpointError(f"{path}: a pickle of {self.pickle_bytes} bytes is no checkpoint")
        order = self._entries.get(f"{self._prefix}/byteorder")
        if order is not None:
            file.seek(order[0])
            _check_byte_order(path, file.read(min(order[1], 10)) == b"little")

    def check(self, storage: Storage) -> None:
        entry = self._entries.get(f"{self._prefix}/data/{storage.key}")
        if entry is None:
            raise CheckpointError(f"{self._path}: storage {storage.key!r} is missing")
        size = entry[1]
        if size != storage.count * storage.element_bytes:
            raise _wrong_size(self._path, storage, size)

    def locate(self, storages: Mapping[str, Storage], pickle_end: int) -> Mapping[str, int]:
        return {key: self._entries[f"{self._prefix}/data/{key}"][0] for key in storages}


def _pickle_prefix(path: Path, names: Iterable[str]) -> str:
    """The prefix of an archive's names: what stands before /data.pkl."""
    prefixes = [name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == "data.pkl"]
    if len(prefixes) != 1:
        raise CheckpointError(
            f"{path}: not a PyTorch checkpoint, the archive has no data.pkl of its own"
        )
    return prefixes[0]


class _Legacy:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._file_bytes = os.fstat(file.fileno()).st_size
        version, machine = self._plain_pickle(), self._plain_pickle()
        if version != _LEGACY_VERSION or not isinstance(machine, dict):
            raise CheckpointError(f"{path}: not a PyTorch checkpoint: unknown version")
        _check_byte_order(path, machine.get("little_endian") is True)
        self.pickle_start = file.tell()
        self.pickle_bytes = min(MAX_PICKLE_BYTES, self._file_bytes - self.pickle_start)

    def check(self, storage: Storage) -> None:
        if storage.count * storage.element_bytes > self._file_bytes:
            raise _wrong_size(self._path, storage, self._file_bytes)

    def locate(self, storages: Mapping[str, Storage], pickle_end: int) -> Mapping[str, int]:
        self._file.seek(pickle_end)
        keys = self._plain_pickle()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise CheckpointError(f"{self._path}: broken list of storages")
        if missing := storages.keys() - set(keys):
            raise CheckpointError(f"{self._path}: storage {min(missing)!r} is missing")
        places: dict[str, int] = {}
        for key in keys:
            # Only what the pickle refers to has a known type; torch.save writes nothing else.
            if key not in storages or key in places:
                raise CheckpointError(f"{self._path}: storage {key!r} belongs to no tensor")
            places[key] = self._skip(storages[key])
        return places

    def _skip(self, storage: Storage) -> int:
        """Moves behind an array; gives the byte at which it starts."""
        count = int.from_bytes(self._file.read(8), "little")
        start = self._file.tell()
        if count != storage.count:
            raise _wrong_size(self._path, storage, count * storage.element_bytes)
        end = start + count * storage.element_bytes
        if end > self._file_bytes:
            raise CheckpointError(
                f"{self._path}: cut short, storage {storage.key!r} ends after the file"
            )
        self._file.seek(end)
        return start

    def _plain_pickle(self) -> object:
        """The next pickle, which names nothing; raises ValueError or alike if it is malformed."""
        limit = min(MAX_PICKLE_BYTES, self._file_bytes - self._file.tell())
        return PickleMachine(self._file, limit, {}, _no_storage).run()


def _no_storage(_: object) -> object:
    raise ValueError("a reference to a storage where none can be")


def _check_byte_order(path: Path, little_endian: bool) -> None:
    if not little_endian:
        raise CheckpointError(f"{path}: written on a big-endian machine, which is not supported")


def _wrong_size(path: Path, storage: Storage, size: int) -> CheckpointError:
    return CheckpointError(
        f"{path}: storage {storage.key!r} has {size} bytes, not {storage.count} x {storage.dtype}"
    )
