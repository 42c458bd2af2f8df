"""Random MarianMT checkpoints of known shapes: what the weights are does not change the speed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sentencepiece

from pytransformer.benchmark.safetensors_writer import write_safetensors
from pytransformer.errors import OptionError

# As Hugging Face initialises a model: logits stay small, so no sum of exponentials overflows.
_STANDARD_DEVIATION = 0.02
_END = 0

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """Sizes of a MarianMT model, named as in its config.json."""

    d_model: int
    ffn_dim: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocab_size: int
    max_position_embeddings: int = 512


SHAPES = {
    "base": Shape(512, 2048, 8, 6, 6, 58101),
    "base32k": Shape(512, 2048, 8, 6, 6, 32000),
    "tiny": Shape(256, 1536, 8, 6, 2, 32000),
}


def find_shape(name: str) -> Shape:
    """The shape of that name; raises OptionError that lists those that there are."""
    if name not in SHAPES:
        raise OptionError(f"unknown shape {name!r}; known are {', '.join(SHAPES)}")
    return SHAPES[name]


def write_checkpoint(shape: Shape, directory: Path, seed: int = 0) -> None:
    """Writes a Hugging Face MarianMT directory with random weights and made-up pieces.

    The pieces are "▁0", "▁1", …; the last id is the padding token, as in opus-mt models. The
    sentencepiece files are those of a tiny real model, since benchmarks pass tokens, not text.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / "config.json", _config(shape))
    _write_json(directory / "generation_config.json", _generation(shape))
    rng = np.random.default_rng(seed)
    shapes = dict(_tensors(shape))
    write_safetensors(
        directory / "model.safetensors", shapes, lambda name: _values(rng, name, shapes[name])
    )
    _write_tokenizer(shape.vocab_size, directory)


def random_sentences(lengths: Sequence[int], vocab_size: int, seed: int = 0) -> list[list[str]]:
    """Sentences of so many tokens each, drawn from the made-up pieces."""
    rng = np.random.default_rng(seed)
    return [[f"▁{i}" for i in rng.integers(0, vocab_size - 3, size=length)] for length in lengths]


def _config(shape: Shape) -> dict[str, Any]:
    padding = shape.vocab_size - 1
    values: dict[str, Any] = {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "d_model": shape.d_model,
        "vocab_size": shape.vocab_size,
        "decoder_vocab_size": shape.vocab_size,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "activation_function": "swish",
        "scale_embedding": True,
        "max_position_embeddings": shape.max_position_embeddings,
        "pad_token_id": padding,
        "decoder_start_token_id": padding,
        "eos_token_id": _END,
        "forced_eos_token_id": _END,
    }
    for side, layers in (("encoder", shape.encoder_layers), ("decoder", shape.decoder_layers)):
        values[f"{side}_layers"] = layers
        values[f"{side}_attention_heads"] = shape.heads
        values[f"{side}_ffn_dim"] = shape.ffn_dim
    return values


def _generation(shape: Shape) -> dict[str, Any]:
    padding = shape.vocab_size - 1
    return {
        "bad_words_ids": [[padding]],
        "decoder_start_token_id": padding,
        "eos_token_id": _END,
        "forced_eos_token_id": _END,
        "max_length": shape.max_position_embeddings,
        "num_beams": 1,
        "pad_token_id": padding,
    }


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes as Hugging Face stores them; sinusoidal positions are computed."""
    d_model, ffn_dim = shape.d_model, shape.ffn_dim
    yield "final_logits_bias", (1, shape.vocab_size)
    yield "model.shared.weight", (shape.vocab_size, d_model)
    for side, layers in (("encoder", shape.encoder_layers), ("decoder", shape.decoder_layers)):
        attentions = ["self_attn"] if side == "encoder" else ["self_attn", "encoder_attn"]
        for layer in range(layers):
            prefix = f"model.{side}.layers.{layer}"
            for attention in attentions:
                for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    yield f"{prefix}.{attention}.{projection}.weight", (d_model, d_model)
                    yield f"{prefix}.{attention}.{projection}.bias", (d_model,)
            yield f"{prefix}.fc1.weight", (ffn_dim, d_model)
            yield f"{prefix}.fc1.bias", (ffn_dim,)
            yield f"{prefix}.fc2.weight", (d_model, ffn_dim)
            yield f"{prefix}.fc2.bias", (d_model,)
            for norm in (
                *(f"{attention}_layer_norm" for attention in attentions),
                "final_layer_norm",
            ):
                yield f"{prefix}.{norm}.weight", (d_model,)
                yield f"{prefix}.{norm}.bias", (d_model,)


def _values(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> FloatArray:
    if name.endswith("norm.weight"):
        return np.ones(shape, np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    values = rng.standard_normal(shape, np.float32)
    values *= _STANDARD_DEVIATION
    if name == "model.shared.weight":
        values[-1] = 0.0  # the padding token's
    return values


def _write_tokenizer(vocab_size: int, directory: Path) -> None:
    pieces = ["</s>", "<unk>", *(f"▁{i}" for i in range(vocab_size - 3)), "<pad>"]
    _write_json(directory / "vocab.json", {piece: i for i, piece in enumerate(pieces)})
    _write_json(directory / "tokenizer_config.json", {"tokenizer_class": "MarianTokenizer"})
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a small text of a few plain words"] * 20),
        model_writer=model,
        vocab_size=30,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    for name in ("source.spm", "target.spm"):
        (directory / name).write_bytes(model.getvalue())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
