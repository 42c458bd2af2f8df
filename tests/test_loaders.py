"""Checkpoints of Hugging Face: what is read from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MarianMTModel

from checkpoints import (
    MarianCheckpoint,
    Weights,
    copy_of,
    edit_json,
    make_marian,
    read_state,
    write_state,
)
from pytransformer import loaders, native
from pytransformer.benchmark.native_to_huggingface import write_directory
from pytransformer.errors import CheckpointError, UnsupportedModelError

_PARTS = {
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "output": "out_proj",
    "self_attention": "self_attn",
    "cross_attention": "encoder_attn",
}


def expected_tensors(model: MarianMTModel) -> dict[str, np.ndarray]:
    """The model's weights under our names, derived from transformers' names one by one."""
    result = {}
    for name, tensor in model.state_dict().items():
        parts = name.removeprefix("model.").split(".")
        if parts[0] == "final_logits_bias":
            result["output.bias"] = tensor.reshape(-1).numpy()
        if parts[0] == "shared":
            result["shared.embedding.weight"] = tensor.numpy()
        if "layers" not in parts:
            continue
        prefix, rest = ".".join(parts[:3]), ".".join(parts[3:])
        rest = rest.replace("self_attn_layer_norm", "self_attention.norm")
        rest = rest.replace("encoder_attn_layer_norm", "cross_attention.norm")
        rest = rest.replace("final_layer_norm", "feed_forward.norm")
        rest = rest.replace("fc1", "feed_forward.up").replace("fc2", "feed_forward.down")
        for ours, theirs in _PARTS.items():
            rest = rest.replace(theirs, ours)
        result[f"{prefix}.{rest}"] = tensor.numpy()
    return result


def assert_same_tensors(path: Path, model: MarianMTModel) -> None:
    tensors = loaders.load(path).tensors
    expected = expected_tensors(model)
    assert set(tensors) == set(expected)
    for name, values in expected.items():
        assert tensors[name].dtype == np.float32
        np.testing.assert_array_equal(tensors[name], values, err_msg=name)


@pytest.mark.parametrize("weights", ["safetensors", "safetensors_shards", "bin", "bin_shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_weights(tmp_path: Path, weights: Weights, dtype: torch.dtype) -> None:
    checkpoint = make_marian(tmp_path, weights=weights, dtype=dtype)
    assert_same_tensors(tmp_path, checkpoint.model)
    assert (len(list(tmp_path.glob("*0000*"))) > 1) == weights.endswith("shards")


def test_architecture(marian: MarianCheckpoint) -> None:
    checkpoint = loaders.load(marian.path)
    encoder, decoder = checkpoint.model.encoder, checkpoint.model.decoder
    assert checkpoint.family == "marian"
    assert checkpoint.model.shared_embedding
    assert checkpoint.model.tied_output
    assert (encoder.num_layers, encoder.num_heads, encoder.head_dim, encoder.d_ff) == (2, 2, 12, 20)
    assert (decoder.num_layers, decoder.num_heads, decoder.head_dim, decoder.d_ff) == (3, 3, 8, 33)
    assert encoder.d_model == decoder.d_model == 24
    assert encoder.activation == "silu"
    assert encoder.embedding_scale == math.sqrt(24)
    assert encoder.attention_scale == 12**-0.5
    assert encoder.positions.kind == decoder.positions.kind == "sinusoidal"
    assert encoder.positions.max_length == 64
    assert encoder.vocab_size == decoder.vocab_size == len(marian.tokenizer)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", "relu"),
        ("gelu", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_fast", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("silu", "silu"),
    ],
)
def test_activation(tmp_path: Path, name: str, expected: str) -> None:
    make_marian(tmp_path, activation_function=name, scale_embedding=False)
    model = loaders.load(tmp_path).model
    assert model.decoder.activation == expected
    assert model.encoder.embedding_scale == 1.0


@pytest.mark.parametrize(
    "change",
    [{"activation_function": "mish"}, {"normalize_before": True}, {"is_encoder_decoder": False}],
    ids=str,
)
def test_unsupported_config(
    marian: MarianCheckpoint, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "config.json", change)
    with pytest.raises(UnsupportedModelError, match=next(iter(change)).split("_")[0] + "|decoder"):
        loaders.load(path)


def test_separate_embeddings(tmp_path: Path) -> None:
    made = make_marian(tmp_path, separate_vocabs=True)
    checkpoint = loaders.load(tmp_path)
    state = made.model.state_dict()
    assert not checkpoint.model.shared_embedding
    assert checkpoint.model.tied_output
    assert checkpoint.model.encoder.vocab_size != checkpoint.model.decoder.vocab_size
    for side in ("encoder", "decoder"):
        stored = state[f"model.{side}.embed_tokens.weight"].numpy()
        np.testing.assert_array_equal(checkpoint.tensors[f"{side}.embedding.weight"], stored)


def test_untied_output(tmp_path: Path) -> None:
    made = make_marian(tmp_path, separate_vocabs=True, tie_word_embeddings=False)
    checkpoint = loaders.load(tmp_path)
    assert not checkpoint.model.tied_output
    stored = made.model.state_dict()["lm_head.weight"].numpy()
    np.testing.assert_array_equal(checkpoint.tensors["output.weight"], stored)


def test_tied_tensors_may_be_stored_once_under_any_name(
    marian: MarianCheckpoint, tmp_path: Path
) -> None:
    names = (
        "model.shared.weight",
        "lm_head.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    )
    for i, name in enumerate(names):
        path = copy_of(marian, tmp_path / str(i))
        state = read_state(path)
        embedding = next(state.pop(other) for other in names if other in state)
        write_state(path, {**state, name: embedding})
        assert_same_tensors(path, marian.model)


def test_missing_bias_of_the_output(marian: MarianCheckpoint, tmp_path: Path) -> None:
    path = copy_of(marian, tmp_path)
    state = read_state(path)
    del state["final_logits_bias"]
    write_state(path, state)
    assert "output.bias" not in loaders.load(path).tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_stored_positions(marian: MarianCheckpoint, tmp_path: Path, dtype: torch.dtype) -> None:
    path = copy_of(marian, tmp_path)
    name = "model.encoder.embed_positions.weight"
    sinusoids = marian.model.state_dict()[name].to(dtype)
    write_state(path, {**read_state(path), name: sinusoids})
    checkpoint = loaders.load(path)
    assert checkpoint.model.encoder.positions.kind == "sinusoidal"
    assert "encoder.positions.weight" not in checkpoint.tensors

    learned = sinusoids + torch.randn(sinusoids.shape).to(dtype) * 0.1
    write_state(path, {**read_state(path), name: learned})
    checkpoint = loaders.load(path)
    assert checkpoint.model.encoder.positions.kind == "learned"
    assert checkpoint.model.decoder.positions.kind == "sinusoidal"
    np.testing.assert_array_equal(
        checkpoint.tensors["encoder.positions.weight"], learned.float().numpy()
    )


def test_generation_defaults(tmp_path: Path) -> None:
    generation = {
        "num_beams": 6,
        "length_penalty": 0.6,
        "early_stopping": True,
        "max_length": 40,
        "min_length": 5,
        "bad_words_ids": [[7], [3], [0], [4, 5], [9], [4, 5], [0, 2]],
        "eos_token_id": [0, 9, 0],
        "forced_bos_token_id": 11,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 4,
    }
    make_marian(tmp_path, generation=generation)
    spec = loaders.load(tmp_path).generation
    pad = json.loads((tmp_path / "vocab.json").read_text())["<pad>"]
    assert spec.decoder_start_token_id == pad
    assert spec.end_token_id == spec.forced_end_token_id == 0
    assert spec.more_end_token_ids == (9,)
    assert spec.forced_bos_token_id == 11
    assert spec.repetition_penalty == 1.3
    assert spec.no_repeat_ngram_size == 4
    assert spec.beam_size == 6
    assert spec.length_penalty == 0.6
    assert spec.early_stopping is True
    assert spec.suppress_token_ids == (3, 7)  # an end token as a bad word has no effect
    assert spec.suppress_sequences == ((4, 5), (0, 2))
    assert spec.max_decoding_length == 38  # without start token and forced end token
    assert spec.min_decoding_length == 4


@pytest.mark.parametrize(
    "generation",
    [
        {},
        {"forced_eos_token_id": None, "max_length": 20},
        {
            "num_beams": 6,
            "length_penalty": 0.6,
            "early_stopping": "never",
            "max_length": 40,
            "min_length": 5,
            "bad_words_ids": [[7], [3], [4, 5]],
            "eos_token_id": [0, 9],
            "forced_bos_token_id": 11,
            "repetition_penalty": 1.3,
            "no_repeat_ngram_size": 4,
        },
    ],
    ids=["plain", "no-forced-end", "all"],
)
def test_generation_settings_survive_the_way_to_a_native_file_and_back(
    tmp_path: Path, generation: dict[str, Any]
) -> None:
    make_marian(tmp_path / "model", generation=generation)
    expected = loaders.load(tmp_path / "model").generation
    native.write(loaders.load(tmp_path / "model"), tmp_path / "native")
    write_directory(tmp_path / "native", tmp_path / "back")
    assert loaders.load(tmp_path / "back").generation == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_length": 40, "forced_eos_token_id": None}, 39),
        ({"max_length": 4000}, 63),  # the decoder has 64 positions, the start token takes one
        ({"max_new_tokens": 20}, 19),
        ({}, 63),
    ],
    ids=str,
)
def test_max_decoding_length(
    marian: MarianCheckpoint, tmp_path: Path, change: dict[str, Any], expected: int
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "generation_config.json", change)
    assert loaders.load(path).generation.max_decoding_length == expected


def test_lengths_are_those_of_transformers(tmp_path: Path) -> None:
    made = make_marian(tmp_path, generation={"max_length": 12, "min_length": 12})
    spec = loaders.load(tmp_path).generation
    ids = made.model.generate(torch.tensor([[5, 6, 7, 0]]))[0].tolist()
    tokens = [i for i in ids[1:] if i != 0]
    assert ids[-1] == 0
    assert len(tokens) == spec.max_decoding_length == 10


def test_generation_settings_in_config_json(marian: MarianCheckpoint, tmp_path: Path) -> None:
    path = copy_of(marian, tmp_path)
    (path / "generation_config.json").unlink()
    edit_json(path / "config.json", {"num_beams": 4, "early_stopping": "never"})
    spec = loaders.load(path).generation
    assert spec.beam_size == 4
    assert spec.early_stopping == "never"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_beams", 0),
        ("length_penalty", "x"),
        ("early_stopping", 3),
        ("max_length", [1]),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1.5),
        ("no_repeat_ngram_size", 1.5),
        ("no_repeat_ngram_size", -1),
        ("bad_words_ids", [3]),
        ("bad_words_ids", [[]]),
        ("bad_words_ids", [["a", "b"]]),
        ("suppress_tokens", 3),
        ("forced_bos_token_id", "a"),
        ("forced_bos_token_id", [3, 4]),
        ("eos_token_id", [0, "a"]),
        ("eos_token_id", True),
    ],
)
def test_wrong_generation_setting(
    marian: MarianCheckpoint, tmp_path: Path, key: str, value: Any
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "generation_config.json", {key: value})
    with pytest.raises(CheckpointError, match=rf"generation_config.json.*{key}"):
        loaders.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decoder_start_token_id", 9999),
        ("eos_token_id", 9999),
        ("eos_token_id", [0, 9999]),
        ("forced_bos_token_id", 9999),
        ("bad_words_ids", [[9999]]),
        ("bad_words_ids", [[3, 9999]]),
    ],
)
def test_token_id_beyond_the_vocabulary(
    marian: MarianCheckpoint, tmp_path: Path, key: str, value: Any
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "generation_config.json", {key: value})
    with pytest.raises(CheckpointError, match=key):
        loaders.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder_repetition_penalty", 1.5),
        ("num_beam_groups", 2),
        ("begin_suppress_tokens", [3]),
        ("do_sample", True),
        ("forced_eos_token_id", 3),  # which is no end token
    ],
)
def test_unsupported_generation_settings_warn(
    marian: MarianCheckpoint, tmp_path: Path, key: str, value: Any
) -> None:
    path = copy_of(marian, tmp_path)
    edit_json(path / "generation_config.json", {key: value})
    with pytest.warns(UserWarning, match=f"ignored: {key}"):
        loaders.load(path)
