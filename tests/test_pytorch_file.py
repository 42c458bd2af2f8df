"""The reader of PyTorch's files: the tensors of sound ones, and archives that are wrong."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mutations import damaged
from pytorch_archives import archive, atom, state_with_tensor
from pytransformer.errors import CheckpointError
from pytransformer.loaders.pytorch_file import PytorchFile


def assert_equal_to(path: Path, state: dict[str, torch.Tensor]) -> None:
    file = PytorchFile(path)
    assert file.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name, tensor in state.items():
        values = file.read(name)
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, tensor.detach().float().numpy())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values(tmp_path: Path, dtype: torch.dtype, legacy: bool) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 5).to(dtype)
    state = {
        "matrix": matrix,
        "transposed": matrix.T,
        "slice": matrix[1:5:2, 1:4],
        "row": matrix[3],
        "scalar": matrix[2, 2],
        "empty": matrix[:0],
        "again": matrix,
        "parameter": torch.nn.Parameter(torch.randn(3).to(dtype)),
    }
    torch.save(state, tmp_path / "x.bin", _use_new_zipfile_serialization=not legacy)
    assert_equal_to(tmp_path / "x.bin", state)


def test_state_dict_of_a_module(tmp_path: Path) -> None:
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16)
    torch.save(layer.state_dict(), tmp_path / "x.bin")
    assert_equal_to(tmp_path / "x.bin", layer.state_dict())


def test_many_tensors_use_the_long_forms_of_opcodes(tmp_path: Path) -> None:
    state = OrderedDict((f"tensor {i}", torch.full((i % 3,), float(i))) for i in range(400))
    torch.save(state, tmp_path / "x.bin")
    assert_equal_to(tmp_path / "x.bin", state)


def test_own_pickles_are_valid(tmp_path: Path) -> None:
    path = archive(tmp_path, state_with_tensor((2, 2), (2, 1)))
    assert PytorchFile(path).read("a").tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [
        ({"shape": (5,)}, "beyond"),
        ({"offset": 1}, "beyond"),
        ({"offset": -1}, "storage"),
        ({"offset": 2**63}, "storage"),
        ({"offset": 2**62}, "beyond"),
        ({"strides": (2,)}, "beyond"),
        ({"strides": (-1,), "offset": 3}, "shape"),
        ({"strides": (2**62,)}, "beyond"),
        ({"strides": (1, 1)}, "shape"),
        ({"shape": (-4,)}, "shape"),
        ({"shape": (2.0,)}, "shape"),
        ({"shape": (True,)}, "shape"),
        ({"shape": (2**40,), "strides": (0,)}, "beyond"),
        ({"shape": (2**40, 2**40), "strides": (0, 0)}, "beyond"),
        ({"count": 5}, "16 bytes"),
        ({"count": -4}, "reference"),
        ({"count": 2**62}, "16 bytes"),
        ({"count": 4.0}, "reference"),
        ({"storage": "HalfStorage"}, "16 bytes"),
        ({"storage": "QInt8Storage"}, r"torch\.QInt8Storage"),
        ({"key": "1"}, "missing"),
        ({"key": "../../etc/passwd"}, "missing"),
    ],
    ids=str,
)
def test_tensor_out_of_bounds(tmp_path: Path, numbers: dict[str, Any], fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.bin.*{fault}"):
        PytorchFile(archive(tmp_path, state_with_tensor(**numbers)))


def test_compressed_entry(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as output:
        output.writestr("x/data.pkl", state_with_tensor())
        output.writestr("x/data/0", bytes(1 << 20))
    with pytest.raises(CheckpointError, match="compressed"):
        PytorchFile(path)


def test_entry_that_claims_to_be_larger_than_the_file(tmp_path: Path) -> None:
    path = archive(tmp_path, state_with_tensor(count=2**28), {"data/0": bytes(16)})
    content = path.read_bytes()
    head, directory = content[: content.rindex(b"PK\1\2")], content[content.rindex(b"PK\1\2") :]
    sizes = struct.pack("<II", 2**30, 2**30)
    path.write_bytes(head + directory[:20] + sizes + directory[28:])
    with pytest.raises(CheckpointError, match="beyond the end"):
        PytorchFile(path)


def test_big_endian(tmp_path: Path) -> None:
    entries = {"data/0": bytes(16), "byteorder": b"big"}
    with pytest.raises(CheckpointError, match="big-endian"):
        PytorchFile(archive(tmp_path, state_with_tensor(), entries))


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100, b"PK\5\6" + bytes(18)])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.bin: not a PyTorch checkpoint"):
        PytorchFile(tmp_path / "x.bin")


def test_not_a_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="not a state dict"):
        PytorchFile(tmp_path / "x.bin")


def legacy(state: Any) -> bytes:
    """What PyTorch wrote before version 1.6."""
    output = io.BytesIO()
    torch.save(state, output, _use_new_zipfile_serialization=False)
    return output.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"M\xe9\x03.", b"M\xea\x03.", "unknown version"),
        (b"little_endian", b"little_andian", "big-endian"),
        (b"cpuq", b"cpuQ", "broken pickle"),
        (struct.pack("<q", 6), struct.pack("<q", 7), "28 bytes, not 6 x F32"),
        (struct.pack("<q", 6), struct.pack("<q", -1), "bytes, not 6 x F32"),
    ],
    ids=["version", "endian", "pickle", "count", "negative count"],
)
def test_broken_legacy_file(tmp_path: Path, old: bytes, new: bytes, fault: str) -> None:
    content = legacy({"a": torch.randn(3, 2)})
    assert content.count(old) == 1
    path = tmp_path / "x.bin"
    path.write_bytes(content.replace(old, new))
    with pytest.raises(CheckpointError, match=rf"x\.bin: .*{fault}"):
        PytorchFile(path)


@pytest.mark.parametrize("lost", [1, 10, 24, 30])
def test_legacy_file_cut_short(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(legacy({"a": torch.randn(3, 2)})[:-lost])
    with pytest.raises(CheckpointError, match=r"x\.bin: "):
        PytorchFile(path)


def test_part_of_a_legacy_storage(tmp_path: Path) -> None:
    """Files of the first PyTorch versions name parts of storages in their references."""
    content = legacy({"a": torch.arange(6.0)})
    reference = b"K\x06Ntq"  # 6 elements, no part
    assert content.count(reference) == 1
    part = b"K\x06" + b"(" + atom("part") + b"K\x02K\x03t" + b"tq"
    view = b"QK\x00K\x06\x85"
    (before, after) = content.replace(reference, part).split(b"QK\x00K\x06\x85")
    (tmp_path / "x.bin").write_bytes(before + view.replace(b"\x06", b"\x03") + after)
    assert PytorchFile(tmp_path / "x.bin").read("a").tolist() == [2, 3, 4]
    (tmp_path / "x.bin").write_bytes(before.replace(b"K\x02K\x03t", b"K\x04K\x03t") + view + after)
    with pytest.raises(CheckpointError, match="a part that reaches beyond its storage"):
        PytorchFile(tmp_path / "x.bin")


def test_shape_of_many_dimensions(tmp_path: Path) -> None:
    """The product of a hundred thousand sizes would take minutes."""
    many = (2**62,) * 100_000
    with pytest.raises(CheckpointError, match="shape"):
        PytorchFile(archive(tmp_path, state_with_tensor(many, many)))


@pytest.mark.parametrize("legacy_format", [False, True], ids=["zip", "legacy"])
def test_damage(tmp_path: Path, legacy_format: bool) -> None:
    state = {"a": torch.randn(3, 2), "b": torch.randn(4, 3).half().T}
    sound = io.BytesIO()
    torch.save(state, sound, _use_new_zipfile_serialization=not legacy_format)
    path = tmp_path / "x.bin"
    readable = 0
    for content in damaged(sound.getvalue(), 2000):
        path.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            file = PytorchFile(path)
            for name in file.shapes:
                file.read(name)
            readable += 1
    assert 0 < readable < 2000
