"""The reader of PyTorch's files, against PyTorch and against hostile files."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mutations import damaged
from pytransformer.errors import CheckpointError
from pytransformer.loaders.pytorch_file import PytorchFile


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
    storage_id = b"(" + _atom("storage") + f"ctorch\n{storage}\n".encode() + _atom(key)
    storage_id += _atom("cpu") + _atom(count) + b"tQ"
    tuples = [b"(" + b"".join(map(_atom, values)) + b"t" for values in (shape, strides)]
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage_id + _atom(offset)
    tensor += b"".join(tuples) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + _atom("a") + tensor + b"s."


def _atom(value: str | float) -> bytes:
    """The opcodes that push one value."""
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value)) + value.encode()
    return pickle.dumps(value, 2)[2:-1]


def assert_equal_to(path: Path, state: dict[str, torch.Tensor]) -> None:
    file = PytorchFile(path)
    assert file.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name, tensor in state.items():
        values = file.read(name)
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, tensor.detach().float().numpy())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values(tmp_path: Path, dtype: torch.dtype) -> None:
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
    torch.save(state, tmp_path / "x.bin")
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


class Call:
    """Pickles to a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch {}", r"(posix|nt)\.system"),
        (builtins.eval, "open({!r}, 'w')", r"builtin.*\.eval"),
        (builtins.exec, "open({!r}, 'w')", r"builtin.*\.exec"),
        (builtins.__import__, "antigravity", r"builtin.*\.__import__"),
        (importlib.import_module, "antigravity", r"importlib\.import_module"),
        (torch.load, "{}", r"torch\.serialization\.load"),
    ],
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_that_calls_something(
    tmp_path: Path, function: Callable[..., Any], argument: str, name: str, protocol: int
) -> None:
    witness = tmp_path / "witness"
    call = Call(function, argument.format(str(witness)))
    path = archive(tmp_path, pickle.dumps({"a": call}, protocol))
    # PyTorch writes protocol 2. Others have opcodes that the reader does not know at all.
    with pytest.raises(CheckpointError, match=name if protocol == 2 else f"{name}|opcode"):
        PytorchFile(path)
    assert not witness.exists()
    assert "antigravity" not in sys.modules


def test_the_calls_above_would_have_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    pickle.loads(pickle.dumps(Call(builtins.eval, f"open({str(witness)!r}, 'w')"), 2))
    assert witness.exists()


def test_saved_object_of_a_class(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Linear(2, 2)}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        PytorchFile(tmp_path / "x.bin")


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


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\xff}.",
        b"}}.",
        b"(.",
        b"t.",
        b"R.",
        b"Q.",
        b"b.",
        b"s.",
        b"(u.",
        b"a.",
        b"e.",
        b"h\x00.",
        b"}r\xff\xff\xff\xff0.",
        b"X\xff\xff\xff\xffabc.",
        b"X\x01\x00\x00\x00\xff.",
        b"\x8a\xff\x01.",
        b"ccollections",
        b"ccollections\nOrderedDict\n.",
        b"ccollections\nOrderedDict\n(K\x01K\x02tR.",
        b"ctorch\nFloatStorage\n)R.",
        b"}}K\x01s.",
        b"}()}s.",
        b"]K\x01a.",
        b"}K\x01K\x02s.",
        b"}X\x01\x00\x00\x00aK\x02s.",
        b"(" * 100_000,
        # Nested tuples that share their parts: 2 ** 60 hashes if one became a key.
        b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
    ],
)
def test_malformed_pickle(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"x\.bin"):
        PytorchFile(archive(tmp_path, program))


def test_huge_memo_index_needs_no_memory(tmp_path: Path) -> None:
    program = b"\x80\x02}r\xff\xff\xff\xff."
    assert PytorchFile(archive(tmp_path, program)).shapes == {}


def test_huge_pickle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no state dict"):
        PytorchFile(archive(tmp_path, bytes((1 << 24) + 1)))


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


def test_legacy_format(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before version 1\.6"):
        PytorchFile(tmp_path / "x.bin")


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100, b"PK\5\6" + bytes(18)])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.bin: not a PyTorch checkpoint"):
        PytorchFile(tmp_path / "x.bin")


def test_not_a_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="not a state dict"):
        PytorchFile(tmp_path / "x.bin")


def test_damage(tmp_path: Path) -> None:
    sound = io.BytesIO()
    torch.save({"a": torch.randn(3, 2), "b": torch.randn(4, 3).half().T}, sound)
    path = tmp_path / "x.bin"
    for content in damaged(sound.getvalue(), 400):
        path.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            file = PytorchFile(path)
            for name in file.shapes:
                file.read(name)
