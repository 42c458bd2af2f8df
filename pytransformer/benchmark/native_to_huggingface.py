"""Turns a native MarianMT file back into a directory that transformers reads.

The inverse of `pytransformer convert`, written from docs/native-format.md alone, so that the tests
that use it would show a wrong packing: weights are taken out of their panels and stripped of their
padding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.benchmark.safetensors_writer import write_safetensors
from pytransformer.errors import UnsupportedModelError

Array = npt.NDArray[Any]

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new", "silu": "silu"}
_DTYPES = {"F32": "<f4", "U8": "u1"}


def write_directory(native_file: Path, directory: Path) -> None:
    """Writes config.json, generation_config.json, the weights and the tokenizer's files.

    Raises:
        UnsupportedModelError: the model is no MarianMT model, or its weights are rounded already.
    """
    config, packed = _read(native_file)
    if config["family"] != "marian":
        raise UnsupportedModelError(
            f"{native_file}: only MarianMT models can be written for other engines"
        )
    directory.mkdir(parents=True, exist_ok=True)
    settings = config["tokenizer"]["settings"]
    _write_json(directory / "config.json", _config(config))
    _write_json(directory / "generation_config.json", _generation(config))
    state = dict(_state(config, packed))
    shapes = {name: value.shape for name, value in state.items()}
    write_safetensors(directory / "model.safetensors", shapes, state.__getitem__)
    for name, place in settings["files"].items():
        content = packed[place["tensor"]][: place["length"]].tobytes()
        if name.endswith("_vocabulary.json"):
            name = {"source": "vocab.json", "target": "target_vocab.json"}[name.split("_")[0]]
            tokens = json.loads(content)
            content = json.dumps({token: i for i, token in enumerate(tokens) if token}).encode()
        (directory / name).write_bytes(content)
    kept = ("unk_token", "eos_token", "pad_token", "source_lang", "target_lang", "separate_vocabs")
    tokenizer = {key: settings[key] for key in kept if key in settings}
    _write_json(
        directory / "tokenizer_config.json", {"tokenizer_class": "MarianTokenizer", **tokenizer}
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The configuration, and the tensors where they lie in the mapped file."""
    data = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    config = json.loads(header.pop("__metadata__")["config"])
    if other := sorted({entry["dtype"] for entry in header.values()} - set(_DTYPES)):
        raise UnsupportedModelError(
            f"{path}: its weights are stored as {', '.join(other)}, which other engines cannot "
            "read; give the checkpoint that it was made from"
        )
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = data[start + begin : start + end].view(_DTYPES[entry["dtype"]])
        tensors[name] = np.asarray(values).reshape(entry["shape"])
    return config, tensors


def _state(config: dict[str, Any], packed: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Every weight under transformers' name."""
    model = config["model"]
    shared = model["shared_embedding"]
    for side in ("encoder", "decoder"):
        stack = model[side]
        name = "model.shared" if shared else f"model.{side}.embed_tokens"
        source = "shared" if shared else side
        table = packed[f"{source}.embedding.weight"]
        yield f"{name}.weight", _matrix(table)[: stack["vocab_size"], : stack["d_model"]]
        for layer in range(stack["num_layers"]):
            names = f"{side}.layers.{layer}"
            for part, values in _layer(packed, names, stack, side == "decoder"):
                yield f"model.{names}.{part}", values
    stack = model["decoder"]
    yield from _cross_keys_and_values(packed, stack, model["encoder"]["d_model"])
    if not model["tied_output"]:
        yield "lm_head.weight", _matrix(packed["output.weight"])[: stack["vocab_size"]]
    if "output.bias" in packed:
        yield "final_logits_bias", packed["output.bias"][None, : stack["vocab_size"]]


def _layer(
    packed: Mapping[str, Array], name: str, stack: dict[str, Any], is_decoder: bool
) -> Iterator[tuple[str, Array]]:
    d_model, d_ff = stack["d_model"], stack["d_ff"]
    attentions = [("self_attention", "self_attn", "qkv", "qkv")]
    if is_decoder:
        attentions.append(("cross_attention", "encoder_attn", "query", "q"))
    for ours, theirs, projection, letters in attentions:
        yield from _to_heads(packed, f"{name}.{ours}.{projection}", theirs, letters, stack, d_model)
        weight = _matrix(packed[f"{name}.{ours}.output.weight"])
        heads = weight.reshape(len(weight), stack["num_heads"], -1)[..., : stack["head_dim"]]
        yield f"{theirs}.out_proj.weight", heads.reshape(len(weight), -1)[:d_model]
        yield f"{theirs}.out_proj.bias", packed[f"{name}.{ours}.output.bias"][:d_model]
        yield from _norm(packed, f"{name}.{ours}.norm", f"{theirs}_layer_norm", d_model)
    for ours, theirs, shape in (("up", "fc1", (d_ff, d_model)), ("down", "fc2", (d_model, d_ff))):
        weight = _matrix(packed[f"{name}.feed_forward.{ours}.weight"])
        yield f"{theirs}.weight", weight[: shape[0], : shape[1]]
        yield f"{theirs}.bias", packed[f"{name}.feed_forward.{ours}.bias"][: shape[0]]
    yield from _norm(packed, f"{name}.feed_forward.norm", "final_layer_norm", d_model)


def _cross_keys_and_values(
    packed: Mapping[str, Array], stack: dict[str, Any], inputs: int
) -> Iterator[tuple[str, Array]]:
    """The decoder's layers one under another, each with its key and its value."""
    if stack["num_layers"] == 0:
        return
    letters = "kv" * stack["num_layers"]
    source = "decoder.cross_attention.key_value"
    for i, (name, values) in enumerate(_to_heads(packed, source, "", letters, stack, inputs)):
        layer = i // 4  # weight and bias of key and value
        yield f"model.decoder.layers.{layer}.encoder_attn{name}", values


def _to_heads(
    packed: Mapping[str, Array],
    source: str,
    target: str,
    letters: str,
    stack: dict[str, Any],
    inputs: int,
) -> Iterator[tuple[str, Array]]:
    """Projections to heads, one under another; every head is padded by itself."""
    shape = (len(letters), stack["num_heads"], -1)
    weight = _matrix(packed[f"{source}.weight"])[:, :inputs]
    weights = weight.reshape(*shape, inputs)[:, :, : stack["head_dim"]]
    # A head's padding is known from its count: outputs / parts / heads.
    biases = packed[f"{source}.bias"].reshape(shape)[:, :, : stack["head_dim"]]
    for letter, part, bias in zip(letters, weights, biases, strict=True):
        yield f"{target}.{letter}_proj.weight", part.reshape(-1, inputs)
        yield f"{target}.{letter}_proj.bias", bias.reshape(-1)


def _norm(
    packed: Mapping[str, Array], source: str, target: str, width: int
) -> Iterator[tuple[str, Array]]:
    for part in ("weight", "bias"):
        yield f"{target}.{part}", packed[f"{source}.{part}"][:width]


def _matrix(panels: Array) -> Array:
    """[panels, inputs, 16] -> [outputs, inputs], the padding included."""
    matrix: Array = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])
    return matrix


def _config(config: dict[str, Any]) -> dict[str, Any]:
    encoder, decoder = config["model"]["encoder"], config["model"]["decoder"]
    generation = config["generation"]
    if {stack["positions"]["kind"] for stack in (encoder, decoder)} != {"sinusoidal"}:
        raise UnsupportedModelError("only sinusoidal positions can be written for other engines")
    values: dict[str, Any] = {
        "model_type": "marian",
        "d_model": encoder["d_model"],
        "vocab_size": encoder["vocab_size"],
        "decoder_vocab_size": decoder["vocab_size"],
        "share_encoder_decoder_embeddings": config["model"]["shared_embedding"],
        "tie_word_embeddings": config["model"]["tied_output"],
        "activation_function": _ACTIVATIONS[encoder["activation"]],
        "scale_embedding": encoder["embedding_scale"] != 1.0,
        "max_position_embeddings": encoder["positions"]["max_length"],
        "pad_token_id": generation["decoder_start_token_id"],
        "decoder_start_token_id": generation["decoder_start_token_id"],
        "eos_token_id": generation["end_token_id"],
        "forced_eos_token_id": generation["forced_end_token_id"],
    }
    for side, stack in (("encoder", encoder), ("decoder", decoder)):
        values[f"{side}_layers"] = stack["num_layers"]
        values[f"{side}_attention_heads"] = stack["num_heads"]
        values[f"{side}_ffn_dim"] = stack["d_ff"]
    return values


def _generation(config: dict[str, Any]) -> dict[str, Any]:
    ours = config["generation"]
    forced = ours["forced_end_token_id"]
    # Older files lack some of them.
    more_ends = ours.get("more_end_token_ids", [])
    words = [[token] for token in ours["suppress_token_ids"]]
    words += ours.get("suppress_sequences", [])
    shortest = ours["min_decoding_length"]
    return {
        "decoder_start_token_id": ours["decoder_start_token_id"],
        "pad_token_id": ours["decoder_start_token_id"],
        "eos_token_id": [ours["end_token_id"], *more_ends] if more_ends else ours["end_token_id"],
        "forced_bos_token_id": ours.get("forced_bos_token_id"),
        "forced_eos_token_id": forced,
        "bad_words_ids": words or None,
        # There, lengths count the start token and the end token.
        "max_length": ours["max_decoding_length"] + (1 if forced is None else 2),
        "min_length": shortest + 1 if shortest else 0,
        "num_beams": ours["beam_size"],
        "length_penalty": ours["length_penalty"],
        "early_stopping": ours["early_stopping"],
        "repetition_penalty": ours.get("repetition_penalty", 1.0),
        "no_repeat_ngram_size": ours.get("no_repeat_ngram_size", 0),
    }


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
