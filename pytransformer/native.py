"""Writes the native model file (docs/native-format.md)."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.compute_types import resolve
from pytransformer.model_spec import Checkpoint, TokenizerSpec
from pytransformer.native_entry import Entry, Matrix
from pytransformer.native_header import FORMAT, FORMAT_VERSION
from pytransformer.native_layout import entries, pack_panels
from pytransformer.panels import Tensor

__all__ = [
    "DTYPES",
    "Image",
    "assemble",
    "build_image",
    "pack_panels",
    "write",
    "write_image",
]

ALIGNMENT = 64

# By their safetensors names. NumPy has no bfloat16; its bits stand in uint16.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(np.uint16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
}
Image = npt.NDArray[np.uint8]


def build_image(checkpoint: Checkpoint, compute_type: str = "default") -> Image:
    """The whole native file in memory, aligned to 64 bytes.

    The image is allocated once, and the weights are read and packed into it one after another.
    "default" is the checkpoint's own: float32 whatever floats it is stored in, or int8.

    Raises:
        OptionError: an unknown compute type.
        CheckpointError: the weights hold NaN or infinity, which int8 and int4 have not.
        Exception: what reading the checkpoint's tensors raises.
    """
    matrix_type = resolve(compute_type, checkpoint.compute_type) or checkpoint.compute_type
    file_entries, listing = _file_entries(checkpoint.files)
    weights = [
        item.stored_as(matrix_type) if isinstance(item, Matrix) else item
        for item in entries(checkpoint.model, checkpoint.tensors)
    ]
    return assemble(_with_files(checkpoint, listing).config_json(), [*weights, *file_entries])


def assemble(config: str, plan: Sequence[Entry]) -> Image:
    """A native file in memory: the configuration in its header, then the planned tensors."""
    header = _header(config, [tensor for entry in plan for tensor in entry.tensors])
    size = sum(_size_bytes(tensor) for entry in plan for tensor in entry.tensors)
    image = _aligned_zeros(len(header) + size)
    image[: len(header)] = np.frombuffer(header, np.uint8)
    position = len(header)
    for entry in plan:
        targets = []
        for tensor in entry.tensors:
            end = position + _size_bytes(tensor)
            targets.append(image[position:end].view(DTYPES[tensor.dtype]).reshape(tensor.shape))
            position = end
        entry.fill(*targets)
    return image


def write(
    checkpoint: Checkpoint, path: str | os.PathLike[str], compute_type: str = "default"
) -> None:
    """Writes a checkpoint as a native file at `path`, or nothing.

    Raises what :func:`build_image` and :func:`write_image` raise.
    """
    write_image(build_image(checkpoint, compute_type), path)


def write_image(image: Image, path: str | os.PathLike[str]) -> None:
    """Writes the native file at `path`, or nothing.

    It appears under its name when it is complete. Raises OSError that names `path`, for example
    when the disk is full, and then leaves no temporary file behind.
    """
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

    return Entry((Tensor(name, "U8", (_round_up(len(content)),)),), fill)


def _with_files(checkpoint: Checkpoint, listing: dict[str, dict[str, Any]]) -> Checkpoint:
    settings = {**checkpoint.tokenizer.settings, "files": listing}
    return dataclasses.replace(
        checkpoint, tokenizer=TokenizerSpec(checkpoint.tokenizer.kind, settings)
    )


def _header(config: str, tensors: Sequence[Tensor]) -> bytes:
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "config": config}
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for tensor in tensors:
        end = position + _size_bytes(tensor)
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (position, end),
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(_round_up(8 + len(text)) - 8)
    return len(text).to_bytes(8, "little") + text


def _size_bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize


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
