"""PyTorch's archives with pickles of one's own."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any


def archive(path: Path, program: bytes, entries: dict[str, bytes] | None = None) -> Path:
    """An archive in PyTorch's layout with a pickle of one's own."""
    file = path / "x.bin"
    with zipfile.ZipFile(file, "w") as output:
        output.writestr("x/data.pkl", program)
        for name, content in ({"data/0": bytes(16)} if entries is None else entries).items():
            output.writestr(f"x/{name}", content)
    return file


def state_with_tensor(
    shape: tuple[Any, ...] = (4,),
    strides: tuple[Any, ...] = (1,),
    offset: Any = 0,
    count: Any = 4,
    storage: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """The pickle of {"a": tensor} with any numbers in it."""
    storage_id = b"(" + atom("storage") + f"ctorch\n{storage}\n".encode() + atom(key)
    storage_id += atom("cpu") + atom(count) + b"tQ"
    tuples = [b"(" + b"".join(map(atom, values)) + b"t" for values in (shape, strides)]
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage_id + atom(offset)
    tensor += b"".join(tuples) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + atom("a") + tensor + b"s."


def atom(value: str | float) -> bytes:
    """The opcodes that push one value."""
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value)) + value.encode()
    return pickle.dumps(value, 2)[2:-1]
