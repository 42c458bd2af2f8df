"""The readers of Marian's files: npz, binary and YAML; sound ones and hostile ones."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marian_files import (
    BERGAMOTS,
    FLOAT32,
    INT8,
    MARIANS,
    MARIANS_INT16,
    Item,
    binary_model,
    floats,
    integers,
    text,
)
from mutations import damaged, refused, rewritten
from pytransformer.errors import CheckpointError
from pytransformer.loaders.marian_binary import BinaryFile, is_binary
from pytransformer.loaders.npz_file import NpzFile

MATRIX = np.random.RandomState(0).normal(size=(3, 5)).astype(np.float32)
OPTIONS = "special:model.yml"


def npz(path: Path, **arrays: Any) -> Path:
    with (path / "x.npz").open("wb") as file:
        np.savez(file, **arrays)
    return path / "x.npz"


def archive(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path / "x.npz", "w", compression) as output:
        for name, content in entries.items():
            output.writestr(name, content)
    return path / "x.npz"


def npy(header: str, data: bytes = b"", magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    """An array with any header; its own is spelled as NumPy does it."""
    encoded = header.encode() + b"\n"
    return magic + struct.pack("<H", len(encoded)) + encoded + data


def described(descr: str = "<f4", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"


def read_all(source: NpzFile | BinaryFile) -> None:
    for name, shape in source.shapes.items():
        assert math.prod(shape) <= source.path.stat().st_size
        with contextlib.suppress(CheckpointError):
            source.read(name)


# --- npz ---------------------------------------------------------------------------------------


def test_npz_values(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "matrix": MATRIX,
        "half": MATRIX.astype(np.float16),
        "double": MATRIX.astype(np.float64),
        "scalar": np.float32(3),
        "empty": np.zeros((0, 4), np.float32),
        "cube": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "by columns, but one": np.asfortranarray(MATRIX[:, 0]),
        OPTIONS: np.frombuffer(b"a: 1\0\0", np.int8),
    }
    file = NpzFile(npz(tmp_path, **arrays))
    assert file.shapes == {name: np.shape(values) for name, values in arrays.items()}
    for name, values in arrays.items():
        if name != OPTIONS:
            assert file.read(name).dtype == np.float32
            np.testing.assert_array_equal(file.read(name), np.asarray(values, np.float32))
    assert [file.dtype(name) for name in ("matrix", "half", "double", OPTIONS)] == [
        "F32", "F16", "F64", "I8"
    ]  # fmt: skip
    assert file.read_bytes(OPTIONS, 6) == b"a: 1\0\0"


def test_npz_of_integers_are_no_weights(tmp_path: Path) -> None:
    file = NpzFile(npz(tmp_path, a=np.zeros(4, np.int64), b=np.zeros(9, np.int8)))
    with pytest.raises(CheckpointError, match=r"x\.npz.*'a' holds I64"):
        file.read("a")
    for name, limit in (("a", 100), ("b", 8)):
        with pytest.raises(CheckpointError, match=rf"'{name}' should be at most {limit} numbers"):
            file.read_bytes(name, limit)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (npy(described(), bytes(7)), "7 bytes|not its shape"),
        (npy(described(), bytes(9)), "not its shape"),
        (npy(described(shape="(2, 3)"), bytes(8)), "not its shape"),
        (npy(described(shape="(99999999999,)")), "not its shape"),
        (npy(described(shape="(99999999999, 99999999999, 0)"), bytes(4)), "not its shape"),
        (npy(described(shape="(9999999999999,)"), bytes(8)), "no array"),
        (npy(described(shape="(-2,)"), bytes(8)), "no array"),
        (npy(described(shape="(2 3)"), bytes(8)), "no array"),
        (npy(described(shape="(" + "1, " * 9 + ")"), bytes(4)), "no array"),
        (npy(described(shape="(__import__('os').getpid(),)"), bytes(8)), "no array"),
        (npy(described(descr=">f4"), bytes(8)), "holds >f4"),
        (npy(described(descr="<c8"), bytes(16)), "holds <c8"),
        (npy(described(descr="|O"), bytes(16)), "no array"),
        (npy(described(order="True", shape="(2, 2)"), bytes(16)), "by columns"),
        (npy("{'shape': (2,)}", bytes(8)), "no array"),
        (npy(described(), bytes(8), magic=b"\x93NUMPZ\x01\x00"), "no array"),
        (npy(described())[:12], "no array"),
        (npy(described() + " " * 5000, bytes(8)), "no array"),
        (b"", "no array"),
    ],
)
def test_broken_array(tmp_path: Path, entry: bytes, fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.npz.*({fault})"):
        NpzFile(archive(tmp_path, {"a.npy": entry}))


@pytest.mark.parametrize("name", ["a", "../../etc/passwd", "a.npz", "/a.txt"])
def test_entry_of_another_kind(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"x\.npz.*is no array"):
        NpzFile(archive(tmp_path, {name: npy(described(), bytes(8))}))


def test_names_are_no_paths(tmp_path: Path) -> None:
    file = NpzFile(archive(tmp_path, {"../../a.npy": npy(described(), bytes(8))}))
    assert file.read("../../a").tolist() == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_compressed_npz(tmp_path: Path) -> None:
    """A gigabyte of zeros takes a megabyte."""
    with pytest.raises(CheckpointError, match=r"x\.npz.*compressed"):
        NpzFile(archive(tmp_path, {"a.npy": bytes(1 << 20)}, zipfile.ZIP_DEFLATED))


def test_same_array_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as output:
        output.writestr("a.npy", npy(described(), bytes(8)))
        with pytest.warns(UserWarning, match="Duplicate"):
            output.writestr("a.npy", npy(described(), bytes(8)))
    with pytest.raises(CheckpointError, match="occurs twice"):
        NpzFile(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100, b"PK\5\6" + bytes(18)])
def test_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    if content.startswith(b"PK\5"):
        assert NpzFile(tmp_path / "x.npz").shapes == {}
        return
    with pytest.raises(CheckpointError, match=r"x\.npz: not an npz file"):
        NpzFile(tmp_path / "x.npz")


def test_damaged_npz(tmp_path: Path) -> None:
    sound = io.BytesIO()
    np.savez(sound, a=MATRIX, b=MATRIX.astype(np.float16), options=np.zeros(9, np.int8))
    files = rewritten(tmp_path / "x.npz", damaged(sound.getvalue(), 2500))
    assert 1000 < sum(refused(lambda path: read_all(NpzFile(path)), path) for path in files) < 2500


# --- binary ------------------------------------------------------------------------------------


def write(path: Path, content: bytes) -> Path:
    (path / "x.bin").write_bytes(content)
    return path / "x.bin"


def small_model() -> dict[str, Item]:
    return {
        "Wemb": integers(MATRIX, transposed=False),
        "encoder_l1_self_Wq": integers(MATRIX),
        "encoder_l1_self_Wk": integers(MATRIX, MARIANS),
        "encoder_l1_self_Wv": integers(MATRIX, MARIANS_INT16),
        "encoder_l1_self_Wo": floats(MATRIX),
        "none_QuantMultA": floats(np.ones(1, np.float32)),
        OPTIONS: text("type: transformer\n"),
    }


def test_binary_values(tmp_path: Path) -> None:
    path = write(tmp_path, binary_model(small_model()))
    assert is_binary(path)
    file = BinaryFile(path)
    assert file.has_integers
    assert file.read_bytes(OPTIONS, 100) == b"type: transformer\n\0"
    factor = np.float32(127 / np.abs(MATRIX).max())
    for name in ("Wemb", "encoder_l1_self_Wq", "encoder_l1_self_Wk"):
        # Exactly the integers, divided by the factor.
        np.testing.assert_array_equal(file.read(name), np.rint(MATRIX * factor) / factor)
    np.testing.assert_array_equal(file.read("encoder_l1_self_Wv"), np.rint(MATRIX * 1024) / 1024)
    np.testing.assert_array_equal(file.read("encoder_l1_self_Wo"), MATRIX)
    types = [file.dtype(name) for name in ("Wemb", "encoder_l1_self_Wv", "encoder_l1_self_Wo")]
    assert types == ["I8", "I16", "F32"]


def test_float32_has_no_integers(tmp_path: Path) -> None:
    items = {"a": floats(MATRIX), OPTIONS: text("type: transformer\n")}
    assert not BinaryFile(write(tmp_path, binary_model(items))).has_integers


HUGE = Item(FLOAT32, (2**31 - 1, 2**31 - 1), bytes(4))


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (HUGE, "less than"),
        (Item(FLOAT32, (-1, 4), bytes(16)), "less than"),
        (Item(FLOAT32, (65, 1), bytes(256)), "less than"),
        (Item(BERGAMOTS, (253,), bytes(256)), "less than"),
        (Item(0x801, (2,), bytes(8)), "type 0x801"),
        (Item(0x11001, (2,), bytes(8)), "type 0x11001"),
        (Item(0x999999, (2,), bytes(8)), "type 0x999999"),
        (Item(FLOAT32, (1,) * 9, bytes(4)), "9 dimensions"),
    ],
)
def test_broken_item(tmp_path: Path, item: Item, fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.bin.*{fault}"):
        BinaryFile(write(tmp_path, binary_model({"a": item})))


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan])
def test_scale_that_is_none(tmp_path: Path, factor: float) -> None:
    item = Item(BERGAMOTS, (2, 2), bytes(4) + struct.pack("<f", factor))
    file = BinaryFile(write(tmp_path, binary_model({"a_W1": item})))
    with pytest.raises(CheckpointError, match=r"x\.bin.*'a_W1' should end with its scale"):
        file.read("a_W1")


def test_binary_cut_short(tmp_path: Path) -> None:
    content = binary_model(small_model())
    for length in (0, 7, 16, 47, 100, 256, 300, 512, len(content) // 2, len(content) - 1):
        with pytest.raises(CheckpointError, match=r"x\.bin: cut short"):
            BinaryFile(write(tmp_path, content[:length]))


@pytest.mark.parametrize(
    ("start", "fault"),
    [
        (struct.pack("<2Q", 2, 1), "version 2"),
        (struct.pack("<2Q", 1, 2**40), "1099511627776 items"),
        (struct.pack("<2Q", 1, 60_000), "cut short"),
        (struct.pack("<6Q", 1, 1, 2**50, FLOAT32, 1, 4), "bytes of name"),
        (struct.pack("<6Q", 1, 1, 0, FLOAT32, 1, 4), "bytes of name"),
        (struct.pack("<6Q", 1, 1, 2, FLOAT32, 2**50, 4), "dimensions"),
        (struct.pack("<6Q2siQ", 1, 1, 2, FLOAT32, 1, 4, b"ab", 1, 0), "no name"),
        (struct.pack("<6Q2siQ", 1, 1, 2, FLOAT32, 1, 4, b"\xff\0", 1, 0), "no name"),
        (struct.pack("<6Q2siQ", 1, 1, 2, FLOAT32, 1, 4, b"a\0", 1, 2**63), "cut short"),
        (struct.pack("<6Q2siQ", 1, 1, 2, FLOAT32, 1, 2**63, b"a\0", 1, 0), "cut short"),
    ],
)
def test_broken_start(tmp_path: Path, start: bytes, fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.bin.*{fault}"):
        BinaryFile(write(tmp_path, start + bytes(64)))


def test_same_item_twice(tmp_path: Path) -> None:
    content = binary_model({"ab": floats(MATRIX), "ac": floats(MATRIX)})
    with pytest.raises(CheckpointError, match="twice"):
        BinaryFile(write(tmp_path, content.replace(b"ac\0", b"ab\0")))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4" + bytes(100),
        b"\x06\0\0\0\x10\0TransformerSpec\0" + bytes(100),
        struct.pack("<6Q", 1, 0, 1, FLOAT32, 1, 4),
        struct.pack("<6Q", 1, 2**20, 1, FLOAT32, 1, 4),
        struct.pack("<6Q", 1, 3, 2, 7, 1, 4),
        struct.pack("<6Q", 1, 3, 2**20, INT8, 1, 4),
        struct.pack("<6Q", 2, 3, 2, FLOAT32, 1, 4),
        struct.pack("<6Q", 0xF11A48D5013417F5, 3, 2, FLOAT32, 1, 4),
    ],
)
def test_other_files_are_no_binary_models(tmp_path: Path, content: bytes) -> None:
    assert not is_binary(write(tmp_path, content))
    assert not is_binary(tmp_path / "nothing")
    assert not is_binary(tmp_path)


def test_damaged_binary(tmp_path: Path) -> None:
    sound = binary_model(small_model())
    # Most of it is padding.
    files = rewritten(tmp_path / "x.bin", damaged(sound, 2500, reach=900))

    def read(path: Path) -> None:
        is_binary(path)
        read_all(BinaryFile(path))

    assert 1000 < sum(refused(read, path) for path in files) < 2500
