"""Checkpoints that are broken, incomplete or something else: each is refused with its reason."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints import MarianCheckpoint, copy_of, edit_json, make_marian, read_state, write_state
from pytransformer import loaders
from pytransformer.errors import CheckpointError


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        loaders.load(tmp_path / "nowhere")


def test_directory_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(CheckpointError, match=r"(?s)holiday\.jpg.*MarianMT") as error:
        loaders.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_model_of_another_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(CheckpointError, match="whisper"):
        loaders.load(tmp_path)


def test_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        loaders.load(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "vocab.json"]
)
@pytest.mark.parametrize("content", [b'{"a": 1', b"\xff\xfe", b"[1]", b"[" * 100_000], ids=repr)
def test_broken_json(marian: MarianCheckpoint, tmp_path: Path, name: str, content: bytes) -> None:
    path = copy_of(marian, tmp_path)
    (path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        loaders.load(path)


@pytest.mark.parametrize("key", ["d_model", "encoder_layers", "max_position_embeddings"])
@pytest.mark.parametrize("value", ["24", -1, 2.5, True, 10**9 * 10], ids=repr)
def test_wrong_type_in_config(
    marian: MarianCheckpoint, tmp_path: Path, key: str, value: Any
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "config.json", {key: value})
    with pytest.raises(CheckpointError, match=rf"config.json: {key}"):
        loaders.load(path)


def test_all_misfits_in_one_error(marian: MarianCheckpoint, tmp_path: Path) -> None:
    path = copy_of(marian, tmp_path)
    state = read_state(path)
    del state["model.encoder.layers.0.fc1.weight"], state["model.decoder.layers.2.fc2.bias"]
    state["model.encoder.layers.1.fc1.weight"] = torch.zeros(3, 4)
    state["model.encoder.layers.9.fc1.weight"] = torch.zeros(2)
    write_state(path, state)
    with pytest.raises(CheckpointError) as error:
        loaders.load(path)
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert lines == [
        "left over: model.encoder.layers.9.fc1.weight (2,)",
        "missing: model.decoder.layers.2.fc2.bias (24,)",
        "missing: model.encoder.layers.0.fc1.weight (20, 24)",
        "wrong shape: model.encoder.layers.1.fc1.weight is (3, 4), should be (20, 24)",
    ]
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_finite(marian: MarianCheckpoint, tmp_path: Path, value: float) -> None:
    path = copy_of(marian, tmp_path)
    state = read_state(path)
    for name in ("model.encoder.layers.0.fc1.weight", "final_logits_bias"):
        state[name].view(-1)[3] = value
    write_state(path, state)
    with pytest.raises(CheckpointError, match=r"final_logits_bias\n.*encoder.layers.0.fc1.weight"):
        loaders.load(path)


def test_integer_weights(marian: MarianCheckpoint, tmp_path: Path) -> None:
    path = copy_of(marian, tmp_path)
    name = "model.encoder.layers.0.fc1.weight"
    state = read_state(path)
    write_state(path, {**state, name: state[name].to(torch.int8)})
    with pytest.raises(CheckpointError, match=rf"{name}.*I8"):
        loaders.load(path)


@pytest.mark.parametrize("name", ["source.spm", "target.spm", "vocab.json"])
def test_missing_tokenizer_file(marian: MarianCheckpoint, tmp_path: Path, name: str) -> None:
    path = copy_of(marian, tmp_path)
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        loaders.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"one": 9999},
        {"one": 5},
        {"one": -1},
        {"one": "5"},
        {"<unk>": None},
    ],
    ids=str,
)
def test_vocabulary_that_does_not_fit(
    marian: MarianCheckpoint, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "vocab.json", change)
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        loaders.load(path)


def test_no_weights(marian: MarianCheckpoint, tmp_path: Path) -> None:
    path = copy_of(marian, tmp_path)
    (path / "model.safetensors").rename(path / "tf_model.h5")
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*tf_model\.h5"):
        loaders.load(path)


@pytest.mark.parametrize(
    "file",
    ["../model.safetensors", "/model.safetensors", "..", "", "a/b.bin", "none.bin", 3, "x.pkl"],
)
def test_shard_elsewhere(marian: MarianCheckpoint, tmp_path: Path, file: Any) -> None:
    path = copy_of(marian, tmp_path / "deep")
    (path / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"weight_map": {"lm_head.weight": file}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"index\.json: .*shard"):
        loaders.load(path)


def test_shard_lacks_a_tensor(tmp_path: Path) -> None:
    make_marian(tmp_path, weights="bin_shards")
    index = tmp_path / "pytorch_model.bin.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    index.write_text(
        json.dumps({"weight_map": {**weight_map, "x": next(iter(weight_map.values()))}})
    )
    with pytest.raises(CheckpointError, match=r"not in the shards .*: x$"):
        loaders.load(tmp_path)
