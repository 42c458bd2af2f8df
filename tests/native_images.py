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
