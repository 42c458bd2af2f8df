"""Writes the native model file (docs/native-format.md) and reads its configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.config_reader import read_fields, read_object
from pytransformer.model_spec import Checkpoint, GenerationSpec, ModelSpec, TokenizerSpec
from pytransformer.native_layout import Entry, entries, pack_panels

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "build_image",
    "is_native",
    "pack_panels",
    "read_config",
    "write",
]

FORMAT = "pytransformer"
FORMAT_VERSION = "1"
ALIGNMENT = 64

_ITEM_BYTES = {"F32": 4, "U8": 1}
_DTYPES: Mapping[str, type[np.generic]] = {"F32": np.float32, "U8": np.uint8}
# No real header comes near it; a file that claims more is something else.
_MAX_HEADER_BYTES = 100_000_000

Image = npt.NDArray[np.uint8]


def build_image(checkpoint: Checkpoint) -> Image:
    """The whole native file in memory, aligned to 64 bytes.

    The image is allocated once, and the weights are read and packed into it one after another.
    Raises what reading the checkpoint's tensors raises.
    """
    file_entries, listing = _file_entries(checkpoint.files)
    plan = [*entries(checkpoint.model, checkpoint.tensors), *file_entries]
    header = _header(_with_files(checkpoint, listing).config_json(), plan)
    image = _aligned_zeros(len(header) + sum(map(_entry_bytes, plan)))
    image[: len(header)] = np.frombuffer(header, np.uint8)
    position = len(header)
    for entry in plan:
        end = position + _entry_bytes(entry)
        entry.fill(image[position:end].view(_DTYPES[entry.dtype]).reshape(entry.shape))
        position = end
    return image


def write(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Writes the native file at `path`, or nothing.

    It appears under its name when it is complete. Raises OSError that names `path`, for example
    when the disk is full, and then leaves no temporary file behind.
    """
    image = build_image(checkpoint)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", buffering=0) as file:
            _write_all(file.fileno(), image)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write the model: {error.strerror}", os.fspath(path)
        ) from error
    finally:
        # After success the name is gone; after a failure, or Ctrl+C, it must go.
        with contextlib.suppress(OSError):
            temporary.unlink()


def is_native(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a native model file, judged by its header and not by its name."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > min(_MAX_HEADER_BYTES, os.fstat(file.fileno()).st_size):
                return False
            header = json.loads(file.read(size))
    except (OSError, ValueError, RecursionError):
        return False
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(metadata, dict) and metadata.get("format") == FORMAT


def read_config(text: str) -> tuple[str, ModelSpec, GenerationSpec, TokenizerSpec]:
    """Family and specs from the JSON text in a native file's metadata.

    The strict inverse of :meth:`Checkpoint.config_json`: raises CheckpointError if a key is unknown
    or missing, or a value has the wrong type.
    """
    config = read_object(text)
    fields = {
        "family": str,
        "model": ModelSpec,
        "generation": GenerationSpec,
        "tokenizer": TokenizerSpec,
    }
    values = read_fields(fields, config, "config")
    return values["family"], values["model"], values["generation"], values["tokenizer"]


def _file_entries(files: Mapping[str, bytes]) -> tuple[list[Entry], dict[str, dict[str, Any]]]:
    """Byte tensors for the tokenizer's files, equal ones once, and where each file is found."""
    stored: dict[bytes, str] = {}
    plan: list[Entry] = []
    listing: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        digest = hashlib.sha256(content).digest()
        if digest not in stored:
            stored[digest] = f"file.{name}"
            plan.append(_file_entry(f"file.{name}", content))
        listing[name] = {"tensor": stored[digest], "length": len(content)}
    return plan, listing


def _file_entry(name: str, content: bytes) -> Entry:
    def fill(target: Image) -> None:
        target[: len(content)] = np.frombuffer(content, np.uint8)

    return Entry(name, "U8", (_round_up(len(content)),), fill)


def _with_files(checkpoint: Checkpoint, listing: dict[str, dict[str, Any]]) -> Checkpoint:
    settings = {**checkpoint.tokenizer.settings, "files": listing}
    return dataclasses.replace(
        checkpoint, tokenizer=TokenizerSpec(checkpoint.tokenizer.kind, settings)
    )


def _header(config: str, plan: list[Entry]) -> bytes:
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "config": config}
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for entry in plan:
        end = position + _entry_bytes(entry)
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": (position, end),
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(_round_up(8 + len(text)) - 8)
    return len(text).to_bytes(8, "little") + text


def _entry_bytes(entry: Entry) -> int:
    return math.prod(entry.shape) * _ITEM_BYTES[entry.dtype]


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _aligned_zeros(size: int) -> Image:
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def _write_all(descriptor: int, image: Image) -> None:
    # A single write may be cut short, and Linux limits it to 2 GiB.
    position = 0
    while position < image.size:
        position += os.write(descriptor, image[position : position + (1 << 30)].data)
