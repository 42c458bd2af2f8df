"""What is read from checkpoints of BART's relatives, as versions old and new have stored them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints import edit_json, read_state, write_bin, write_state
from huggingface_families import FAMILIES, build, load, make_model
from pytransformer import loaders
from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.tensor_source import FloatArray
from pytransformer.model_spec import Checkpoint

ENCODER = "model.encoder.embed_tokens.weight"
DECODER = "model.decoder.embed_tokens.weight"
SHARED = "model.shared.weight"
OUTPUT = "lm_head.weight"
PROJECTION = "model.decoder.output_projection.weight"

each_family = pytest.mark.parametrize("name", FAMILIES)
each_with_head = pytest.mark.parametrize("name", [name for name in FAMILIES if name != "fsmt"])


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    """The same model, number by number."""
    assert found.model == expected.model
    assert set(found.tensors) == set(expected.tensors)
    for name, values in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], values, err_msg=name)


class StateDict:
    """Tensors in memory as a source."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self._state = state

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self._state.items()}

    def dtype(self, name: str) -> str:
        assert self._state[name].dtype == torch.float32
        return "F32"

    def read(self, name: str) -> FloatArray:
        return self._state[name].numpy()


@each_family
def test_state_dict(name: str, tmp_path: Path) -> None:
    model = make_model(tmp_path, name)
    assert_same(build(tmp_path, StateDict(model.state_dict())), load(tmp_path))


@pytest.mark.parametrize("shards", [1, 3])
@each_family
def test_pytorch_files(name: str, shards: int, tmp_path: Path) -> None:
    model = make_model(tmp_path, name)
    expected = load(tmp_path)
    state = model.state_dict()
    write_bin(tmp_path, state, shards)
    tensors = dict(expected.tensors)
    (tmp_path / "model.safetensors").unlink()
    assert_same(load(tmp_path), dataclasses.replace(expected, tensors=tensors))


@each_family
def test_model_without_its_output(name: str, tmp_path: Path) -> None:
    """Such as the weights of facebook/bart-large, whose names have no prefix."""
    config = {"tie_word_embeddings": True}
    model = make_model(tmp_path / "whole", name, **config)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.zero_()
    model.save_pretrained(tmp_path / "whole")
    model.model.save_pretrained(tmp_path / "bare")
    assert all(
        key.startswith(("encoder", "decoder", "shared")) for key in read_state(tmp_path / "bare")
    )
    whole, bare = load(tmp_path / "whole"), load(tmp_path / "bare")
    tensors = {key: values for key, values in whole.tensors.items() if key != "output.bias"}
    assert_same(bare, dataclasses.replace(whole, tensors=tensors))


@each_with_head
def test_tied_tensors_may_be_stored_once_under_any_name(name: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    expected = load(tmp_path)
    tensors = dict(expected.tensors)
    state = read_state(tmp_path)
    (stored,) = (key for key in (SHARED, ENCODER, DECODER, OUTPUT) if key in state)
    embedding = state.pop(stored)
    for names in ([SHARED], [ENCODER], [DECODER], [OUTPUT], [SHARED, ENCODER, DECODER, OUTPUT]):
        copies = {key: embedding.clone() for key in names}
        write_state(tmp_path, {**state, **copies})
        assert_same(load(tmp_path), dataclasses.replace(expected, tensors=tensors))


@each_with_head
def test_output_that_is_not_tied(name: str, tmp_path: Path) -> None:
    """Older versions had one embedding for both sides then, newer ones have two."""
    make_model(tmp_path, name, tie_word_embeddings=False)
    state = read_state(tmp_path)
    checkpoint = load(tmp_path)
    assert not checkpoint.model.tied_output
    assert not checkpoint.model.shared_embedding
    np.testing.assert_array_equal(checkpoint.tensors["output.weight"], state[OUTPUT])
    np.testing.assert_array_equal(checkpoint.tensors["encoder.embedding.weight"], state[ENCODER])

    older = {key: value for key, value in state.items() if key not in (ENCODER, DECODER)}
    write_state(tmp_path, older)
    checkpoint = load(tmp_path)
    assert not checkpoint.model.tied_output
    assert checkpoint.model.shared_embedding
    np.testing.assert_array_equal(checkpoint.tensors["output.weight"], state[OUTPUT])
    np.testing.assert_array_equal(checkpoint.tensors["shared.embedding.weight"], state[SHARED])

    del older[OUTPUT]
    write_state(tmp_path, older)
    with pytest.raises(CheckpointError, match=rf"missing: {OUTPUT}"):
        load(tmp_path)


def test_output_of_fsmt_is_tied_to_its_decoder(tmp_path: Path) -> None:
    make_model(tmp_path, "fsmt", src_vocab_size=71, tgt_vocab_size=83)
    state = read_state(tmp_path)
    assert not load(tmp_path).model.tied_output
    for gone, kept in ((PROJECTION, DECODER), (DECODER, PROJECTION)):
        write_state(tmp_path, {key: value for key, value in state.items() if key != gone})
        checkpoint = load(tmp_path)
        assert checkpoint.model.tied_output
        assert not checkpoint.model.shared_embedding
        np.testing.assert_array_equal(checkpoint.tensors["decoder.embedding.weight"], state[kept])
        np.testing.assert_array_equal(
            checkpoint.tensors["encoder.embedding.weight"], state[ENCODER]
        )


def test_equal_vocabularies_of_fsmt_are_stored_once(tmp_path: Path) -> None:
    make_model(tmp_path, "fsmt")
    state = read_state(tmp_path)
    write_state(tmp_path, {**state, ENCODER: state[DECODER].clone()})
    checkpoint = load(tmp_path)
    assert checkpoint.model.shared_embedding
    assert "encoder.embedding.weight" not in checkpoint.tensors


@each_with_head
def test_bias_of_the_output_may_be_missing(name: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    state = read_state(tmp_path)
    assert ("final_logits_bias" in state) == (name != "m2m_100")
    state.pop("final_logits_bias", None)
    write_state(tmp_path, state)
    assert "output.bias" not in load(tmp_path).tensors


@pytest.mark.parametrize(
    ("name", "stored", "kind"),
    [
        ("m2m_100", "weights", "sinusoidal_tensor2tensor"),
        ("fsmt", "weight", "sinusoidal_tensor2tensor"),
        ("pegasus", "weight", "sinusoidal"),
    ],
)
def test_computed_positions_may_be_stored(
    name: str, stored: str, kind: str, tmp_path: Path
) -> None:
    model = make_model(tmp_path, name)
    positions = getattr(model.get_encoder().embed_positions, stored).detach().clone()
    key = f"model.encoder.embed_positions.{stored}"
    state = read_state(tmp_path)
    state.pop(key, None)
    for table in (None, positions):
        write_state(tmp_path, state if table is None else {**state, key: table})
        assert load(tmp_path).model.encoder.positions.kind == kind
    others = positions + 0.1 * torch.randn(positions.shape)
    write_state(tmp_path, {**state, key: others})
    checkpoint = load(tmp_path)
    assert checkpoint.model.encoder.positions.kind == "learned"
    assert checkpoint.model.decoder.positions.kind == kind
    np.testing.assert_array_equal(checkpoint.tensors["encoder.positions.weight"], others)
    write_state(tmp_path, {**state, key: others[:-1].clone()})
    with pytest.raises(CheckpointError, match=f"wrong shape: {key}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "offset", "rows"),
    [("bart", 2, 72), ("mbart", 2, 72), ("m2m_100", 2, 72), ("pegasus", 0, 70), ("fsmt", 2, 72)],
)
def test_offset_of_positions(name: str, offset: int, rows: int, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    checkpoint = load(tmp_path)
    for stack in (checkpoint.model.encoder, checkpoint.model.decoder):
        assert (stack.positions.offset, stack.positions.max_length) == (offset, 70)
    if "decoder.positions.weight" in checkpoint.tensors:
        assert checkpoint.tensors["decoder.positions.weight"].shape == (rows, 45)


@pytest.mark.parametrize("name", ["m2m_100", "fsmt"])
def test_positions_are_counted_from_the_padding(name: str, tmp_path: Path) -> None:
    make_model(tmp_path, name, pad_token_id=6)
    assert load(tmp_path).model.decoder.positions.offset == 7
    edit_json(tmp_path / "generation_config.json", {"decoder_start_token_id": 6})
    with pytest.raises(UnsupportedModelError, match="decoder_start_token_id = 6 is the padding"):
        load(tmp_path)


@each_family
def test_marks_of_age_are_allowed(name: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    state = read_state(tmp_path)
    versions = {f"model.{side}.version": torch.tensor([3.0]) for side in ("encoder", "decoder")}
    write_state(tmp_path, {**state, **versions})
    load(tmp_path)


# What BART's family had in configurations that transformers no longer reads.
OLD_KEYS = {
    "bart": {"normalize_before": False, "normalize_embedding": True, "add_final_layer_norm": False},
    "mbart": {"normalize_before": True, "normalize_embedding": True, "add_final_layer_norm": True},
    "pegasus": {
        "normalize_before": True,
        "normalize_embedding": False,
        "add_final_layer_norm": True,
        "static_position_embeddings": True,
    },
    "fsmt": {"normalize_before": False, "static_position_embeddings": True},
    "m2m_100": {"normalize_before": True},
}


@each_family
def test_old_keys(name: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    keys = OLD_KEYS[name]
    edit_json(tmp_path / "config.json", keys)
    load(tmp_path)
    edit_json(tmp_path / "config.json", {"normalize_before": not keys["normalize_before"]})
    with pytest.raises(UnsupportedModelError, match=rf"config\.json: normalize_before.*'{name}'"):
        load(tmp_path)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@each_family
def test_all_misfits_are_listed(name: str, side: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    state = read_state(tmp_path)
    layer = f"model.{side}.layers.0"
    del state[f"{layer}.fc1.bias"]
    state[f"{layer}.fc2.weight"] = state[f"{layer}.fc2.weight"][:, 1:].contiguous()
    state[f"{layer}.experts.0.fc1.weight"] = torch.zeros(3, 4)
    write_state(tmp_path, state)
    with pytest.raises(CheckpointError) as error:
        load(tmp_path)
    for fault in (
        f"missing: {layer}.fc1.bias",
        f"wrong shape: {layer}.fc2.weight",
        f"left over: {layer}.experts.0.fc1.weight (3, 4)",
    ):
        assert fault in str(error.value)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("bart", "layernorm_embedding"),
        ("mbart", "layernorm_embedding"),
        ("mbart", "layer_norm"),
        ("m2m_100", "layer_norm"),
        ("pegasus", "layer_norm"),
    ],
)
def test_norms_of_the_stacks_are_needed(name: str, norm: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    state = read_state(tmp_path)
    for part in ("weight", "bias"):
        del state[f"model.encoder.{norm}.{part}"]
    write_state(tmp_path, state)
    with pytest.raises(CheckpointError, match=rf"missing: model\.encoder\.{norm}\.bias"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "norm"), [("bart", "layer_norm"), ("fsmt", "layernorm_embedding")]
)
def test_norms_that_the_family_lacks_are_left_over(name: str, norm: str, tmp_path: Path) -> None:
    make_model(tmp_path, name)
    state = {**read_state(tmp_path), f"model.decoder.{norm}.weight": torch.ones(45)}
    write_state(tmp_path, state)
    with pytest.raises(CheckpointError, match=rf"left over: model\.decoder\.{norm}\.weight"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"activation_function": "mish"}, UnsupportedModelError, "activation_function 'mish'"),
        ({"is_encoder_decoder": False}, UnsupportedModelError, "decoder without an encoder"),
        ({"decoder_attention_heads": 4}, CheckpointError, "45 is not divisible by 4 heads"),
        ({"d_model": "45"}, CheckpointError, "d_model should be an integer"),
        ({"encoder_layers": -1}, CheckpointError, "encoder_layers should be an integer"),
        ({"encoder_layers": 10**9}, CheckpointError, "encoder_layers should be an integer"),
        ({"max_position_embeddings": 10**12}, CheckpointError, "max_position_embeddings"),
        ({"scale_embedding": "yes"}, CheckpointError, "scale_embedding should be true or false"),
        ({"tie_word_embeddings": 1}, CheckpointError, "tie_word_embeddings should be true or"),
        ({"decoder_ffn_dim": 62}, CheckpointError, "wrong shape: model.decoder.layers.0.fc1.bias"),
    ],
    ids=str,
)
@each_family
def test_broken_configuration(
    name: str, change: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    make_model(tmp_path, name)
    edit_json(tmp_path / "config.json", change)
    with pytest.raises(error, match=message) as found:
        load(tmp_path)
    assert type(found.value) is error
    assert str(tmp_path) in str(found.value)


@pytest.mark.parametrize("kind", ["nllb-moe", "pegasus_x", "led", "bigbird_pegasus", "longt5"])
def test_unsupported_relatives(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(UnsupportedModelError, match=rf"type '{kind}' \(.*not supported"):
        loaders.load(tmp_path)


@pytest.mark.parametrize("content", ["[1]", "{", '{"model_type": ["bart"]}', "{}", "\ufeff"])
def test_foreign_files_of_the_same_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert not any(family.recognises(tmp_path) for family in FAMILIES.values())


@each_family
def test_each_family_is_known(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name}))
    with pytest.raises(CheckpointError, match="no weights"):
        loaders.load(tmp_path)
