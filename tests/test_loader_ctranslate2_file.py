"""The reader of model.bin: every version and type, and hostile files."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ctranslate2_models import (
    VARIANTS,
    Bfloat16,
    Variant,
    make_variables,
    model_bin,
    quantised,
    write_model,
)
from mutations import damaged
from pytransformer import CheckpointError, loaders
from pytransformer.loaders.ctranslate2_file import Ctranslate2File, is_model_file
from pytransformer.quantization import quantise_int8
from pytransformer.tokenizers import create

SMALL = Variant(d_model=4, d_ff=3, heads=2, head_dim=2, encoder_layers=1, decoder_layers=1)


def write(path: Path, content: bytes) -> Path:
    file = path / "model.bin"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("version", [4, 5, 6])
def test_types(tmp_path: Path, version: int) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((3, 5)).astype(np.float32)
    variables = {
        "a": matrix,
        "b": matrix.astype(np.float16),
        "c": Bfloat16(matrix),
        "d/weight": np.arange(-7, 8, dtype=np.int8).reshape(3, 5),
        "d/weight_scale": np.array([1, 2, 0.5], np.float32),
        "e/weight": np.array([[30000, -5]], np.int16),
        "e/weight_scale": np.array(4, np.float32),
        "f/weight": np.array([[2500]], np.int16),
        "g": np.array(-3, np.int32),
        "h": np.array(0.5, np.float16),
        "i": np.frombuffer("ä".encode(), np.int8),
    }
    content = model_bin(variables, {"x": "a", "y/weight": "d/weight", "z": "x"}, version=version)
    file = Ctranslate2File(write(tmp_path, content))
    assert (file.version, file.spec_name, file.revision) == (version, "TransformerSpec", 7)
    assert set(file.shapes) == {
        "a", "b", "c", "d/weight", "e/weight", "f/weight", "x", "y/weight", "z"
    }  # fmt: skip
    assert file.attributes == {"g": -3, "h": 0.5}
    assert file.texts == {"i": "ä"}
    for name in ("a", "x", "z"):
        np.testing.assert_array_equal(file.read(name), matrix)
    np.testing.assert_array_equal(file.read("b"), matrix.astype(np.float16).astype(np.float32))
    upper = matrix.view(np.uint32) & np.uint32(0xFFFF0000)
    np.testing.assert_array_equal(file.read("c"), upper.view(np.float32))
    expected = variables["d/weight"] / np.float32([[1], [2], [0.5]])
    for name in ("d/weight", "y/weight"):
        np.testing.assert_array_equal(file.read(name), expected)
        assert (file.dtype(name), file.read(name).dtype) == ("I8", np.float32)
    np.testing.assert_array_equal(file.read("e/weight"), [[7500, -1.25]])
    np.testing.assert_array_equal(file.read("f/weight"), [[2.5]])


@pytest.mark.parametrize("version", [2, 3])
def test_types_of_old_versions_are_told_by_their_width(tmp_path: Path, version: int) -> None:
    variables = {
        "a": np.ones((2, 3), np.float32),
        "b/weight": np.full((1, 2), 500, np.int16),
        "c/weight": np.full((1, 2), 8, np.int8),
        "c/weight_scale": np.array([4], np.float32),
        "d": np.array(9, np.int8),
        "e": np.array(1.5, np.float32),
    }
    aliases = {"f": "a"} if version == 3 else {}
    file = Ctranslate2File(write(tmp_path, model_bin(variables, aliases, version=version)))
    assert file.attributes == {"d": 9, "e": 1.5}
    assert ("f" in file.shapes) == (version == 3)
    np.testing.assert_array_equal(file.read("b/weight"), [[0.5, 0.5]])
    np.testing.assert_array_equal(file.read("c/weight"), [[2, 2]])


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_quantised_matrices_are_divided_by_their_scales(tmp_path: Path, kind: str) -> None:
    variables, aliases = make_variables(VARIANTS["plain"])
    stored = quantised(variables, kind)
    file = Ctranslate2File(write(tmp_path, model_bin(stored, aliases)))
    for name, values in variables.items():
        if not name.endswith("weight"):
            continue
        scale = stored[f"{name}_scale"]
        scale = scale[:, None] if scale.ndim else scale
        np.testing.assert_array_equal(file.read(name), stored[name] / scale)
        np.testing.assert_allclose(file.read(name), values, atol=0.51 / scale.min())
    for alias, name in aliases.items():
        np.testing.assert_array_equal(file.read(alias), file.read(name))


def test_int8_is_kept_as_it_is_stored(tmp_path: Path) -> None:
    """What the engine rounds again is the same."""
    variables, aliases = make_variables(VARIANTS["post_norm"])
    stored = quantised(variables, "int8")
    file = Ctranslate2File(write(tmp_path, model_bin(stored, aliases)))
    names = [name for name in file.shapes if file.dtype(name) == "I8"]
    assert len(names) > 20
    for name in names:
        values, _ = quantise_int8(file.read(name))
        np.testing.assert_array_equal(values, stored[aliases.get(name, name)])


GOOD = {"a/weight": np.ones((2, 2), np.int8), "a/weight_scale": np.ones(2, np.float32)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends early"),
        (struct.pack("<IH", 6, 0), "does not end with a zero"),
        (struct.pack("<IH", 6, 9) + b"Transfo", "ends early"),
        (struct.pack("<I", 1) + b"x" * 50, "binary version 1 "),
        (model_bin(GOOD)[:-1], "ends early"),
        (model_bin(GOOD) + b"\0", "1 bytes behind the end"),
        (model_bin({"a/weight": GOOD["a/weight"]}), "'a/weight' has no scale"),
        (
            model_bin({**GOOD, "a/weight_scale": np.ones(3, np.float32)}),
            r"the scale of 'a/weight' is F32 \(3,\)",
        ),
        (
            model_bin({**GOOD, "a/weight_scale": np.ones(2, np.int32)}),
            r"the scale of 'a/weight' is I32",
        ),
        (model_bin({"a": np.ones((2, 2), np.int32)}), "'a' has no scale"),
        (model_bin(GOOD, {"b": "c"}), "alias 'b' stands for 'c', which is not there"),
        (model_bin(GOOD, {"a/weight": "a/weight"}), "alias 'a/weight' is there twice"),
        (model_bin({"a": np.zeros((1,) * 9, np.float32)}), "has 9 dimensions"),
        (model_bin({"t": np.array([-1], np.int8)}), "'t' is not UTF-8"),
        (model_bin(GOOD).replace(b"\x02\0\0\0\x02\0\0\0\x01", b"\x02\0\0\0\x02\0\0\0\x09"), "type"),
        (model_bin(GOOD).replace(b"\x04\0\0\0\x01\x01", b"\x05\0\0\0\x01\x01"), "do not fit"),
    ],
)
def test_malformed_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(CheckpointError, match=message) as error:
        Ctranslate2File(file)
    assert str(file) in str(error.value)


def test_a_name_may_come_once(tmp_path: Path) -> None:
    content = bytearray(model_bin({"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)}))
    content[content.index(b"\x02\0b\0") + 2] = ord("a")
    with pytest.raises(CheckpointError, match="'a' is there twice"):
        Ctranslate2File(write(tmp_path, bytes(content)))


def test_counts_that_the_file_cannot_hold(tmp_path: Path) -> None:
    """Great numbers cost nothing."""
    head = struct.pack("<I", 6) + b"\x10\0TransformerSpec\0" + struct.pack("<I", 7)
    huge = head + struct.pack("<I", 1) + b"\x02\0a\0\x02" + b"\xff" * 8 + b"\0" + b"\xff" * 4
    for content in (head + b"\xff" * 4, head + struct.pack("<I", 199_999), huge):
        file = write(tmp_path, content)
        tracemalloc.start()
        with pytest.raises(CheckpointError):
            Ctranslate2File(file)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (model_bin({}), True),
        (model_bin({}, version=9, spec="FutureSpec"), True),
        (b"", False),
        (b"PK\x03\x04" + b"\0" * 99, False),
        (struct.pack("<Q", 2) + b"{}", False),
        (b"\x06\0\0\0\x04\0a b\0", False),
    ],
)
def test_recognised_by_its_first_bytes(tmp_path: Path, content: bytes, expected: bool) -> None:
    assert is_model_file(write(tmp_path, content)) == expected
    assert not is_model_file(tmp_path / "nowhere")


def read_all(path: Path) -> bool:
    """Whether a directory can be read; other errors than ours go through."""
    try:
        checkpoint = loaders.load(path)
        create(checkpoint.tokenizer, checkpoint.files)
        for values in checkpoint.tensors.values():
            assert np.isfinite(values).all()
    except CheckpointError as error:
        if str(path) not in str(error):
            raise
        return False
    return True


def mutants(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Damage everywhere, and half of it in the first bytes, which say what follows."""
    yield from damaged(content, count // 2, seed)
    yield from damaged(content, count // 2, seed + 1, reach=200)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("model.bin", 700),
        ("source_vocabulary.json", 400),
        ("target_vocabulary.txt", 400),
        ("config.json", 600),
    ],
)
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_damaged_directories(tmp_path: Path, name: str, count: int, kind: str) -> None:
    """Over 4,000 of them."""
    variant = Variant(**{**SMALL.__dict__, "shared": False, "vocab": (6, 7), "relative": 2})
    path = write_model(tmp_path, variant, kind)
    if name.endswith(".txt"):
        tokens = (path / "target_vocabulary.json").read_text()
        (path / "target_vocabulary.json").unlink()
        (path / name).write_text("\n".join(tokens[2:-2].split('", "')))
    content = (path / name).read_bytes()
    assert read_all(path)
    refused = 0
    for mutant in mutants(content, count, seed=len(name)):
        (path / name).write_bytes(mutant)
        refused += not read_all(path)
    assert refused > count / 10
