"""The native file: its layout, and writing it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints import MarianCheckpoint, make_marian
from mutations import damaged
from native_images import config_of, config_text
from pytransformer import _native, loaders, native
from pytransformer.errors import CheckpointError
from pytransformer.loaders.safetensors_file import SafetensorsFile
from pytransformer.model_spec import Checkpoint
from pytransformer.native_header import is_native, read_config


@pytest.fixture(scope="module")
def checkpoint(marian: MarianCheckpoint) -> Checkpoint:
    return loaders.load(marian.path)


@pytest.fixture(scope="module")
def image(checkpoint: Checkpoint) -> np.ndarray:
    return native.build_image(checkpoint)


@pytest.fixture(scope="module")
def stored(image: np.ndarray) -> dict[str, np.ndarray]:
    return safetensors.numpy.load(image.tobytes())


def unpack(packed: np.ndarray) -> np.ndarray:
    """The padded matrix of a packed one: W[16 p + j, k] = packed[p, k, j]."""
    panels, inputs, _ = packed.shape
    weight = np.empty((panels * 16, inputs), np.float32)
    for p in range(panels):
        for k in range(inputs):
            for j in range(16):
                weight[16 * p + j, k] = packed[p, k, j]
    return weight


def padded(array: np.ndarray) -> np.ndarray:
    return np.pad(array, [(0, -size % 16) for size in array.shape])


def heads_padded(array: np.ndarray, heads: int) -> np.ndarray:
    """Pads the first dimension head by head."""
    parts = np.split(array, heads)
    return np.concatenate([np.pad(p, [(0, -len(p) % 16)] + [(0, 0)] * (p.ndim - 1)) for p in parts])


@given(st.integers(1, 70), st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_pack_panels(outputs: int, inputs: int) -> None:
    weight = np.arange(1, outputs * inputs + 1, dtype=np.float32).reshape(outputs, inputs)
    packed = native.pack_panels(weight)
    assert packed.shape == (-(-outputs // 16), -(-inputs // 16) * 16, 16)
    np.testing.assert_array_equal(unpack(packed), padded(weight))


def test_container(image: np.ndarray, checkpoint: Checkpoint) -> None:
    assert image.dtype == np.uint8
    assert image.ctypes.data % 64 == 0
    header_bytes = struct.unpack("<Q", image[:8].tobytes())[0]
    header = json.loads(image[8 : 8 + header_bytes].tobytes())
    metadata = header.pop("__metadata__")
    assert (8 + header_bytes) % 64 == 0
    assert set(metadata) == {"format", "format_version", "config"}
    assert metadata["format"] == "pytransformer"
    assert metadata["format_version"] == "1"
    for tensor in header.values():
        begin, end = tensor["data_offsets"]
        assert begin % 64 == end % 64 == 0
        assert end > begin
    assert 8 + header_bytes + max(t["data_offsets"][1] for t in header.values()) == image.size


def test_every_tensor_of_the_format_is_there(stored: dict[str, np.ndarray]) -> None:
    names = {"shared.embedding.weight", "output.bias"}
    names |= {f"decoder.cross_attention.key_value.{part}" for part in ("weight", "bias")}
    for side, layers in (("encoder", 2), ("decoder", 3)):
        linear = ["self_attention.qkv", "self_attention.output", "self_attention.norm"]
        linear += ["feed_forward.up", "feed_forward.down", "feed_forward.norm"]
        if side == "decoder":
            linear += [f"cross_attention.{part}" for part in ("query", "output", "norm")]
        names |= {
            f"{side}.layers.{layer}.{name}.{part}"
            for layer in range(layers)
            for name in linear
            for part in ("weight", "bias")
        }
    assert {name for name in stored if not name.startswith("file.")} == names


def test_embedding_and_vectors(stored: dict[str, np.ndarray], checkpoint: Checkpoint) -> None:
    tensors = checkpoint.tensors
    embedding = unpack(stored["shared.embedding.weight"])
    np.testing.assert_array_equal(embedding, padded(tensors["shared.embedding.weight"]))
    np.testing.assert_array_equal(stored["output.bias"], padded(tensors["output.bias"]))
    for name in ("encoder.layers.1.feed_forward", "decoder.layers.2.feed_forward"):
        for part in ("up", "down"):
            weight, bias = tensors[f"{name}.{part}.weight"], tensors[f"{name}.{part}.bias"]
            np.testing.assert_array_equal(unpack(stored[f"{name}.{part}.weight"]), padded(weight))
            np.testing.assert_array_equal(stored[f"{name}.{part}.bias"], padded(bias))
    norm = "decoder.layers.0.cross_attention.norm.bias"
    np.testing.assert_array_equal(stored[norm], padded(tensors[norm]))


@pytest.mark.parametrize(
    ("packed", "parts", "heads"),
    [
        ("encoder.layers.1.self_attention.qkv", ["query", "key", "value"], 2),
        ("decoder.layers.0.self_attention.qkv", ["query", "key", "value"], 3),
        ("decoder.layers.2.cross_attention.query", ["query"], 3),
    ],
)
def test_projections_to_heads(
    stored: dict[str, np.ndarray], checkpoint: Checkpoint, packed: str, parts: list[str], heads: int
) -> None:
    module = packed.rpartition(".")[0]
    assert_stacked(stored, checkpoint, packed, [f"{module}.{part}" for part in parts], heads)


def test_keys_and_values_of_all_layers(
    stored: dict[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    parts = [
        f"decoder.layers.{i}.cross_attention.{kv}" for i in range(3) for kv in ("key", "value")
    ]
    assert_stacked(stored, checkpoint, "decoder.cross_attention.key_value", parts, 3)


def assert_stacked(
    stored: dict[str, np.ndarray], checkpoint: Checkpoint, packed: str, parts: list[str], heads: int
) -> None:
    tensors = checkpoint.tensors
    weight = np.concatenate([heads_padded(tensors[f"{part}.weight"], heads) for part in parts])
    bias = np.concatenate([heads_padded(tensors[f"{part}.bias"], heads) for part in parts])
    np.testing.assert_array_equal(unpack(stored[f"{packed}.weight"]), padded(weight))
    np.testing.assert_array_equal(stored[f"{packed}.bias"], bias)


@pytest.mark.parametrize(
    ("name", "heads"),
    [("encoder.layers.0.self_attention.output", 2), ("decoder.layers.1.cross_attention.output", 3)],
)
def test_projections_from_heads(
    stored: dict[str, np.ndarray], checkpoint: Checkpoint, name: str, heads: int
) -> None:
    weight = heads_padded(checkpoint.tensors[f"{name}.weight"].T, heads).T
    np.testing.assert_array_equal(unpack(stored[f"{name}.weight"]), padded(weight))


def test_absent_biases(checkpoint: Checkpoint) -> None:
    """A projection without bias counts as zero beside others, and is absent alone."""
    attention = "encoder.layers.0.self_attention"
    absent = {f"{attention}.key.bias", f"{attention}.output.bias", "output.bias"}
    absent |= {f"decoder.layers.0.self_attention.{part}.bias" for part in ("query", "key", "value")}
    tensors = {name: value for name, value in checkpoint.tensors.items() if name not in absent}
    image = native.build_image(dataclasses.replace(checkpoint, tensors=tensors))
    stored = safetensors.numpy.load(image.tobytes())
    assert f"{attention}.output.bias" not in stored
    assert "output.bias" not in stored
    assert "decoder.layers.0.self_attention.qkv.bias" not in stored
    query, key, value = np.split(stored[f"{attention}.qkv.bias"], 3)
    assert not key.any()
    assert query.any()
    assert value.any()


def test_other_tensors(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Separate embeddings, an output matrix of its own, learned positions, optional norms."""
    make_marian(tmp_path, separate_vocabs=True, tie_word_embeddings=False)
    separate = loaders.load(tmp_path)
    positions = dataclasses.replace(separate.model.encoder.positions, kind="learned")
    encoder = dataclasses.replace(
        separate.model.encoder, positions=positions, embedding_norm=True, final_norm=True
    )
    more = {"encoder.positions.weight": np.ones((64, 24), np.float32)}
    for name in ("encoder.embedding.norm", "encoder.norm"):
        more |= {f"{name}.{part}": np.ones(24, np.float32) for part in ("weight", "bias")}
    changed = dataclasses.replace(
        separate,
        model=dataclasses.replace(separate.model, encoder=encoder),
        tensors={**separate.tensors, **more},
    )
    stored = safetensors.numpy.load(native.build_image(changed).tobytes())
    for name in ("encoder.embedding.weight", "decoder.embedding.weight", "output.weight"):
        np.testing.assert_array_equal(unpack(stored[name]), padded(separate.tensors[name]))
    np.testing.assert_array_equal(stored["encoder.positions.weight"][:, :24], 1)
    np.testing.assert_array_equal(stored["encoder.positions.weight"][:, 24:], 0)
    np.testing.assert_array_equal(stored["encoder.norm.weight"], padded(np.ones(24)))
    assert "encoder.embedding.norm.bias" in stored
    assert "shared.embedding.weight" not in stored


def test_files_are_stored_once(checkpoint: Checkpoint) -> None:
    files = {"a": b"same", "b": b"other " * 20, "c": b"same", "empty": b""}
    image = native.build_image(dataclasses.replace(checkpoint, files=files))
    stored = safetensors.numpy.load(image.tobytes())
    listing = config_of(image)["tokenizer"]["settings"]["files"]
    assert listing["a"] == listing["c"] == {"tensor": "file.a", "length": 4}
    assert "file.c" not in stored
    for name, content in files.items():
        tensor = stored[listing[name]["tensor"]]
        assert tensor.size % 64 == 0
        assert tensor[: listing[name]["length"]].tobytes() == content
        assert not tensor[listing[name]["length"] :].any()


def test_write(tmp_path: Path, checkpoint: Checkpoint, image: np.ndarray) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"an older file")
    native.write(checkpoint, path)
    assert path.read_bytes() == image.tobytes()
    assert os.listdir(tmp_path) == ["model.pt"]
    assert is_native(path)
    SafetensorsFile(path)  # our strict reader accepts it too
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pytransformer"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_write_that_fails_leaves_nothing(
    tmp_path: Path,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    error: BaseException,
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"an older file")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)) as raised:
        native.write(checkpoint, path)
    assert isinstance(error, KeyboardInterrupt) or str(path) in str(raised.value)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"an older file"


def test_full_disk(tmp_path: Path, checkpoint: Checkpoint) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs to be root")
    try:
        with pytest.raises(OSError, match=r"model\.safetensors") as raised:
            native.write(checkpoint, tmp_path / "model.safetensors")
        assert raised.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_write_in_another_type(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "model"
    for compute_type in ("bfloat16", "int8", "int4"):
        native.write(checkpoint, path, compute_type)
        assert path.read_bytes() == native.build_image(checkpoint, compute_type).tobytes()
        file = SafetensorsFile(path)  # other readers of the container accept it
        assert len(file.shapes) > 40
        assert _native.Model.open(str(path)).compute_type == compute_type


def test_write_into_a_missing_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*model"):
        native.write(checkpoint, tmp_path / "nowhere" / "model")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 20) + b'{"__metadata__": {} }',
        struct.pack("<Q", 20) + b'{"__metadata__": [] }',
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
)
def test_is_not_native(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert not is_native(tmp_path / "x")


def test_directories_and_absent_files_are_not_native(
    tmp_path: Path, marian: MarianCheckpoint
) -> None:
    assert not is_native(tmp_path)
    assert not is_native(tmp_path / "nowhere")
    assert not is_native(marian.path / "model.safetensors")


def test_damaged_header(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "x"
    config = config_text(image).encode()
    for content in damaged(image.tobytes(), 200, reach=9000):
        path.write_bytes(content)
        assert is_native(path) in (True, False)
    for content in damaged(config, 400):
        with contextlib.suppress(CheckpointError):
            read_config(content.decode("utf-8", "replace"))
