"""The reader of safetensors files, against the library and against malformed files."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from mutations import damaged
from pytransformer.errors import CheckpointError
from pytransformer.loaders.safetensors_file import SafetensorsFile


def write(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = path / "x.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


def entry(begin: int, end: int, shape: Any = None, dtype: Any = "F32") -> dict[str, Any]:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    state = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(2, 1, 4).to(dtype)}
    state["empty"], state["scalar"] = torch.zeros(0, 3).to(dtype), torch.tensor(1.5).to(dtype)
    safetensors.torch.save_file(state, tmp_path / "x.safetensors", {"note": "hello"})
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert file.metadata == {"note": "hello"}
    assert file.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name, tensor in state.items():
        assert file.read(name).dtype == np.float32
        np.testing.assert_array_equal(file.read(name), tensor.float().numpy())


@given(st.binary(min_size=2, max_size=64))
def test_every_bfloat16(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    content = content[: len(content) // 2 * 2]
    expected = torch.frombuffer(bytearray(content), dtype=torch.bfloat16).float().numpy()
    header = {"a": entry(0, len(content), [len(content) // 2], "BF16")}
    file = SafetensorsFile(write(tmp_path_factory.mktemp("bf16"), header, content))
    np.testing.assert_array_equal(file.read("a"), expected)


def test_integers_are_listed_but_not_read(tmp_path: Path) -> None:
    file = SafetensorsFile(write(tmp_path, {"a": entry(0, 4, [4], "U8")}, bytes(4)))
    assert file.shapes == {"a": (4,)}
    with pytest.raises(CheckpointError, match="U8"):
        file.read("a")


@pytest.mark.parametrize(
    ("header", "data_bytes", "fault"),
    [
        ({"a": entry(0, 8)}, 4, "cut short"),
        ({"a": entry(0, 8)}, 12, "follow the last"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "overlaps"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8, "overlaps"),
        ({"a": entry(0, 8), "b": entry(12, 16)}, 16, "hole"),
        ({"a": entry(4, 8)}, 8, "hole"),
        ({"a": entry(8, 4, [1])}, 8, "belie"),
        ({"a": entry(0, 8, [3])}, 8, "belie"),
        ({"a": entry(0, 8, [2**62, 4])}, 8, "belie"),
        ({"a": entry(0, 8, [2**63])}, 8, "malformed"),
        ({"a": entry(-8, 0, [2])}, 8, "malformed"),
        ({"a": entry(0, 2**64)}, 8, "malformed"),
        ({"a": entry(0, 8, [2.0])}, 8, "malformed"),
        ({"a": entry(0, 4, [True])}, 4, "malformed"),
        ({"a": entry(0, 8, "2")}, 8, "malformed"),
        ({"a": entry(0, 8, dtype="F33")}, 8, "dtype"),
        ({"a": entry(0, 8, dtype=["F32"])}, 8, "dtype"),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8, "needs"),
        ({"a": {**entry(0, 8), "x": 1}}, 8, "needs"),
        ({"a": 3}, 8, "needs"),
        ({"__metadata__": {"a": 1}}, 0, "metadata"),
        ({"__metadata__": []}, 0, "metadata"),
        ([1], 0, "JSON object"),
        (b'{"a":1,"a":2}', 0, "twice"),
        (b'{"a":{"dtype":"F32","dtype":"F32"}}', 0, "twice"),
        (b"{" + b'"a":{' * 100_000, 0, "broken"),
        (b'{"\xff":1}', 0, "broken"),
        (b'{"a": ' + b"9" * 5000 + b"}", 0, "broken"),
        (b"", 0, "JSON object"),
    ],
)
def test_malformed(tmp_path: Path, header: Any, data_bytes: int, fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.safetensors.*{fault}"):
        SafetensorsFile(write(tmp_path, header, bytes(data_bytes)))


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 100_000_001, 3])
def test_header_longer_than_the_file(tmp_path: Path, length: int) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="cut short"):
        SafetensorsFile(file)


@pytest.mark.parametrize("size", [0, 1, 7, 8])
def test_tiny_file(tmp_path: Path, size: int) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(bytes(size))
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        SafetensorsFile(file)


def test_file_that_shrinks_after_opening(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": entry(0, 8)}, bytes(8))
    file = SafetensorsFile(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="ends early"):
        file.read("a")


def test_damage(tmp_path: Path) -> None:
    state = {"a": torch.randn(3, 5), "b": torch.randn(2).half(), "c": torch.zeros(0)}
    sound = tmp_path / "sound.safetensors"
    safetensors.torch.save_file(state, sound, {"note": "hello"})
    path = tmp_path / "x.safetensors"
    for content in damaged(sound.read_bytes(), 400):
        path.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            file = SafetensorsFile(path)
            for name in file.shapes:
                file.read(name)
