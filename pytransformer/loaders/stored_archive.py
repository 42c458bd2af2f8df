"""Zip archives that store entries as they are: PyTorch's checkpoints, NumPy's npz files."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from pytransformer.errors import CheckpointError


def stored_entries(path: Path, what: str) -> dict[str, tuple[int, int]]:
    """Byte offset and size of every entry's data, by its name.

    `what` says in errors what the file should be. Raises CheckpointError that names the file if it
    is no archive, is cut short or holds a compressed entry, or two of one name.
    """
    with open(path, "rb") as file:
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
            raise CheckpointError(f"{path}: not {what}: {error}") from None
        file_bytes = os.fstat(file.fileno()).st_size
        entries = {info.filename: _locate(path, file, info, file_bytes) for info in infos}
    if len(entries) != len(infos):
        raise CheckpointError(f"{path}: an entry of the archive occurs twice")
    return entries


def _locate(path: Path, file: BinaryIO, info: zipfile.ZipInfo, file_bytes: int) -> tuple[int, int]:
    # To refuse compression is also to refuse decompression bombs.
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
