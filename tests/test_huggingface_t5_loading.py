"""What the files of T5 and its relatives may hold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints import edit_json
from pytransformer import loaders
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.memory import load_from_memory
from t5_models import (
    END,
    PADDING,
    VOCABULARY,
    assert_same_logits,
    change_config,
    make_t5,
    read_by_transformers,
    weights,
    write_weights,
)


@pytest.mark.parametrize(
    ("output", "stored"),
    [
        (False, {"tie_word_embeddings": None}),
        (True, {"tie_word_embeddings": True, "scale_decoder_outputs": False}),
        (True, {"tie_word_embeddings": True}),
        (True, {"tie_word_embeddings": False, "scale_decoder_outputs": True}),
        (False, {"scale_decoder_outputs": False}),
    ],
)
def test_scale_of_the_outputs(output: bool, stored: dict[str, Any], tmp_path: Path) -> None:
    """As transformers 5 takes it from configurations of its own and of older versions."""
    model = make_t5(tmp_path, output=output, stored=stored)
    assert_same_logits(tmp_path, model)


def test_umt5_with_an_output_of_its_own_does_not_scale(tmp_path: Path) -> None:
    """As it was trained; transformers 5 divides by the root of d_model."""
    model = make_t5(tmp_path, "umt5", output=True)
    with torch.no_grad():
        model.lm_head.weight *= 36**0.5
    assert_same_logits(tmp_path, model)


@pytest.mark.parametrize(
    "stored",
    [
        {"feed_forward_proj": "gated-gelu", "dense_act_fn": "relu"},
        {"feed_forward_proj": "gated-gelu", "dense_act_fn": None, "is_gated_act": None},
        {"feed_forward_proj": "relu", "dense_act_fn": "silu", "is_gated_act": True},
        {"n_positions": 16, "num_decoder_layers": None, "d_ff": 53},
        {"decoder_start_token_id": None, "pad_token_id": None, "eos_token_id": None},
    ],
)
def test_configurations(stored: dict[str, Any], tmp_path: Path) -> None:
    """What older configurations hold besides, or leave out."""
    gated = "n_positions" not in stored and "eos_token_id" not in stored
    projection = "gated-gelu" if gated else "relu"
    make_t5(tmp_path, feed_forward_proj=projection, num_decoder_layers=3, stored=stored)
    (tmp_path / "generation_config.json").unlink()
    assert_same_logits(tmp_path, read_by_transformers(tmp_path))
    nothing = {key: None for key in stored if key.endswith("token_id")}
    content = {**json.loads((tmp_path / "config.json").read_text()), **nothing}
    (tmp_path / "config.json").write_text(json.dumps(content))
    generation = loaders.load(tmp_path).generation
    assert (generation.decoder_start_token_id, generation.end_token_id) == (PADDING, END)
    assert generation.max_decoding_length > 200


@pytest.mark.parametrize("name", ["mt5", "umt5"])
def test_defaults_of_multilingual_models(name: str, tmp_path: Path) -> None:
    sizes = {"d_ff": 1024, "num_layers": 8, "num_heads": 6, "feed_forward_proj": "gated-gelu"}
    left_out = dict.fromkeys((*sizes, "dense_act_fn", "is_gated_act", "num_decoder_layers"))
    model = make_t5(tmp_path, name, **sizes, num_decoder_layers=8, stored=left_out)
    assert_same_logits(tmp_path, model)


def test_copies_of_the_embedding(tmp_path: Path) -> None:
    """As torch.save wrote them, with a bias that nothing uses."""
    model = make_t5(tmp_path)
    state = dict(model.state_dict())
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    state[name] = torch.zeros(32, 3)
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    checkpoint = loaders.load(tmp_path)
    assert checkpoint.model.tied_output
    assert checkpoint.model.shared_embedding
    assert_same_logits(tmp_path, model)


@pytest.mark.parametrize("name", ["encoder.embed_tokens.weight", "lm_head.weight"])
def test_embedding_under_another_name(name: str, tmp_path: Path) -> None:
    model = make_t5(tmp_path)
    state = weights(model, output=False)
    state[name] = state.pop("shared.weight")
    write_weights(tmp_path, state)
    assert_same_logits(tmp_path, read_by_transformers(tmp_path))


def test_embeddings_of_their_own(tmp_path: Path) -> None:
    model = make_t5(tmp_path)
    state = weights(model, output=False)
    state["decoder.embed_tokens.weight"] = torch.randn(state["shared.weight"].shape)
    state["lm_head.weight"] = state["shared.weight"].clone()
    write_weights(tmp_path, state)
    assert not loaders.load(tmp_path).model.shared_embedding
    assert_same_logits(tmp_path, read_by_transformers(tmp_path))


def test_weights_in_memory(tmp_path: Path) -> None:
    """A state dict has the embedding under all of its names."""
    model = make_t5(tmp_path)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    names = ("spiece.model", "tokenizer_config.json")
    files = {name: (tmp_path / name).read_bytes() for name in names}
    config = json.loads((tmp_path / "config.json").read_text())
    built, loaded = load_from_memory(config, tensors, files), loaders.load(tmp_path)
    assert built.model == loaded.model
    assert (built.tokenizer, built.files) == (loaded.tokenizer, loaded.files)
    assert built.tensors.keys() == loaded.tensors.keys()
    for name, tensor in loaded.tensors.items():
        np.testing.assert_array_equal(built.tensors[name], tensor)


def test_missing_output(tmp_path: Path) -> None:
    """One that is said to be there is not made of the embedding."""
    make_t5(tmp_path)
    change_config(tmp_path, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=r"missing: lm_head.weight \(71, 36\)"):
        loaders.load(tmp_path)


def test_all_misfits_in_one_error(tmp_path: Path) -> None:
    state = weights(make_t5(tmp_path), output=False)
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    state[bias] = torch.zeros(16, 3)
    state["encoder.block.1.layer.1.DenseReluDense.wi_0.weight"] = torch.zeros(53, 36)
    del state["decoder.final_layer_norm.weight"]
    write_weights(tmp_path, state)
    with pytest.raises(CheckpointError) as error:
        loaders.load(tmp_path)
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "left over: encoder.block.1.layer.1.DenseReluDense.wi_0.weight (53, 36)",
        "missing: decoder.final_layer_norm.weight (36,)",
        f"wrong shape: {bias} is (16, 3), should be (32, 3)",
    ]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"relative_attention_num_buckets": 3}, "relative_attention_num_buckets.* 4 to"),
        ({"relative_attention_max_distance": 16}, "relative_attention_max_distance.* 17 to"),
        ({"relative_attention_max_distance": 10**6}, "relative_attention_max_distance.* to 65536"),
        ({"feed_forward_proj": "double-gelu"}, "feed_forward_proj"),
        ({"feed_forward_proj": "gated-gelu-new"}, "feed_forward_proj"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"d_kv": 0}, "d_kv"),
        ({"d_model": 0}, "d_model"),
        ({"num_layers": 10**6}, "num_layers"),
        ({"decoder_start_token_id": VOCABULARY}, "decoder_start_token_id"),
        ({"vocab_size": 40}, "shared.weight"),
    ],
)
def test_broken_configuration(stored: dict[str, Any], message: str, tmp_path: Path) -> None:
    make_t5(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    edit_json(tmp_path / "config.json", {"dense_act_fn": None, **stored})
    with pytest.raises(CheckpointError, match=message):
        loaders.load(tmp_path)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"dense_act_fn": "mish"}, "dense_act_fn 'mish'"),
        ({"is_encoder_decoder": False}, "encoder and decoder"),
        ({"num_heads": 10**6}, "1000000 heads"),
    ],
)
def test_unsupported_configuration(stored: dict[str, Any], message: str, tmp_path: Path) -> None:
    make_t5(tmp_path)
    edit_json(tmp_path / "config.json", stored)
    with pytest.raises(UnsupportedModelError, match=message):
        loaders.load(tmp_path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = weights(make_t5(tmp_path), output=False)
    state["encoder.block.0.layer.0.SelfAttention.q.weight"][1, 2] = float("nan")
    write_weights(tmp_path, state)
    with pytest.raises(CheckpointError, match="NaN or infinite weights"):
        loaders.load(tmp_path)
