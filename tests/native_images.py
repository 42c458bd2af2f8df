"""What a native image holds, read without the package."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np


def config_text(image: np.ndarray) -> str:
    """As it stands in the header."""
    header_bytes = struct.unpack("<Q", image[:8].tobytes())[0]
    header = json.loads(image[8 : 8 + header_bytes].tobytes())
    return header["__metadata__"]["config"]


def config_of(image: np.ndarray) -> dict[str, Any]:
    """As an object."""
    return json.loads(config_text(image))


def stored_tensors(image: np.ndarray) -> dict[str, tuple[str, list[int], np.ndarray]]:
    """Type, shape and bytes of every tensor, in the header's order."""
    start = 8 + struct.unpack("<Q", image[:8].tobytes())[0]
    header = json.loads(image[8:start].tobytes())
    del header["__metadata__"]
    return {
        name: (value["dtype"], value["shape"], image[start:][slice(*value["data_offsets"])])
        for name, value in header.items()
    }


def image_of(config: str, tensors: dict[str, tuple[str, list[int], np.ndarray]]) -> np.ndarray:
    """An image that holds these tensors, fit or unfit; aligned as the engine wants it."""
    metadata = {"format": "pytransformer", "format_version": "1", "config": config}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape, content) in tensors.items():
        begin, end = end, end + content.size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text = text.ljust(len(text) + -(8 + len(text)) % 64)
    parts = [np.frombuffer(struct.pack("<Q", len(text)) + text, np.uint8)]
    parts += [content for _, _, content in tensors.values()]
    return aligned(np.concatenate(parts))


def aligned(content: np.ndarray) -> np.ndarray:
    """A copy of bytes that starts at a multiple of 64."""
    memory = np.zeros(content.size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    memory[start : start + content.size] = content
    return memory[start : start + content.size]
