"""Makes small random models in CTranslate2's format, for each of the things that it can say."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Variables = dict[str, Array]

_TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
_BEGIN = ["<unk>", "<s>", "</s>"]


@dataclass(frozen=True)
class Bfloat16:
    """Numbers whose upper halves are stored."""

    values: Array

    @property
    def bits(self) -> Array:
        return (self.values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@dataclass(frozen=True)
class Variant:
    """What is said about a model; by default as CTranslate2's converters say it of a plain one.

    `attributes` replace or add scalars, None removes one; `config` is that of config.json.
    """

    d_model: int = 16
    head_dim: int = 4
    d_ff: int = 20
    encoder_layers: int = 2
    decoder_layers: int = 2
    heads: int = 4
    vocab: tuple[int, int] = (23, 23)
    shared: bool = True
    tied: bool = True
    pre_norm: bool = True
    rms: bool = False
    gated: bool = False
    activation: int = 0
    embedding_norm: bool = False
    stored_positions: bool = True
    biases: bool = True
    relative: int = 0
    buckets: int = 0
    own_buckets: bool = False  # for each layer
    rotary: tuple[bool, float] | None = None  # interleaved, base
    end_bias: float = 0.0  # makes translations end
    attributes: Mapping[str, float | int | None] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


class _Maker:
    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        # Its stream of numbers is frozen.
        self.random = np.random.RandomState(7)
        self.variables: Variables = {}

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> Array:
        return (mean + scale * self.random.standard_normal(shape)).astype(np.float32)

    def linear(self, name: str, rows: int, columns: int) -> None:
        self.variables[f"{name}/weight"] = self.normal(rows, columns, scale=columns**-0.5)
        if self.variant.biases:
            self.variables[f"{name}/bias"] = self.normal(rows, scale=0.2)

    def norm(self, name: str) -> None:
        d_model = self.variant.d_model
        self.variables[f"{name}/gamma"] = self.normal(d_model, scale=0.2, mean=1.0)
        if not self.variant.rms:
            self.variables[f"{name}/beta"] = self.normal(d_model, scale=0.2)

    def attention(self, name: str, *, is_self: bool, side: str) -> None:
        v = self.variant
        width = v.heads * v.head_dim
        self.norm(f"{name}/layer_norm")
        if is_self:
            self.linear(f"{name}/linear_0", 3 * width, v.d_model)
            self.linear(f"{name}/linear_1", v.d_model, width)
            self.distances(name, side)
        else:
            self.linear(f"{name}/linear_0", width, v.d_model)
            self.linear(f"{name}/linear_1", 2 * width, v.d_model)
            self.linear(f"{name}/linear_2", v.d_model, width)

    def distances(self, name: str, side: str) -> None:
        v = self.variant
        if v.relative:
            for part in ("keys", "values"):
                table = self.normal(2 * v.relative + 1, v.head_dim)
                self.variables[f"{name}/relative_position_{part}"] = table
        if v.buckets:
            first = f"{side}/layer_0/self_attention/relative_attention_bias"
            table = None if v.own_buckets else self.variables.get(first)
            if table is None:
                table = self.normal(v.buckets, v.heads)
            self.variables[f"{name}/relative_attention_bias"] = table
            self.variables[f"{name}/relative_attention_max_distance"] = np.array(9, np.int32)
        if v.rotary is not None:
            interleaved, base = v.rotary
            self.variables[f"{name}/rotary_dim"] = np.array(0, np.int32)
            self.variables[f"{name}/rotary_interleave"] = np.array(interleaved, np.int8)
            self.variables[f"{name}/rotary_base"] = np.array(base, np.float32)

    def stack(self, side: str, layers: int) -> None:
        v = self.variant
        for i in range(layers):
            name = f"{side}/layer_{i}"
            self.attention(f"{name}/self_attention", is_self=True, side=side)
            if side == "decoder":
                self.attention(f"{name}/attention", is_self=False, side=side)
            self.norm(f"{name}/ffn/layer_norm")
            self.linear(f"{name}/ffn/linear_0", v.d_ff, v.d_model)
            if v.gated:
                self.linear(f"{name}/ffn/linear_0_noact", v.d_ff, v.d_model)
            self.linear(f"{name}/ffn/linear_1", v.d_model, v.d_ff)
        if v.pre_norm:
            self.norm(f"{side}/layer_norm")
        if v.embedding_norm:
            self.norm(f"{side}/layernorm_embedding")
        has_distances = v.relative or v.buckets or v.rotary is not None
        if v.stored_positions and not has_distances:
            table = self.normal(24, v.d_model, scale=0.5)
            self.variables[f"{side}/position_encodings/encodings"] = table

    def scalars(self, side: str) -> None:
        v = self.variant
        self.variables[f"{side}/num_heads"] = np.array(v.heads, np.int16)
        self.variables[f"{side}/pre_norm"] = np.array(v.pre_norm, np.int8)
        self.variables[f"{side}/activation"] = np.array(v.activation, np.int8)
        self.variables[f"{side}/scale_embeddings"] = np.array(1, np.int8)

    def make(self) -> tuple[Variables, dict[str, str]]:
        v = self.variant
        aliases = {}
        self.variables["decoder/embeddings/weight"] = self.normal(v.vocab[1], v.d_model, scale=0.5)
        if v.shared:
            aliases["encoder/embeddings_0/weight"] = "decoder/embeddings/weight"
        else:
            table = self.normal(v.vocab[0], v.d_model, scale=0.5)
            self.variables["encoder/embeddings_0/weight"] = table
        if v.tied:
            aliases["decoder/projection/weight"] = "decoder/embeddings/weight"
        else:
            self.variables["decoder/projection/weight"] = self.normal(v.vocab[1], v.d_model)
        if v.biases:
            self.variables["decoder/projection/bias"] = self.normal(v.vocab[1], scale=0.5)
            self.variables["decoder/projection/bias"][_BEGIN.index("</s>")] += v.end_bias
        self.stack("encoder", v.encoder_layers)
        self.stack("decoder", v.decoder_layers)
        for side in ("encoder", "decoder"):
            self.scalars(side)
        self.variables["encoder/embeddings_merge"] = np.array(0, np.int8)
        self.variables["encoder/multi_query_attention"] = np.array(0, np.int8)
        for name in ("alibi", "alibi_use_positive_positions", "scale_alibi"):
            self.variables[f"decoder/{name}"] = np.array(0, np.int8)
        self.variables["decoder/alignment_layer"] = np.array(-1, np.int16)
        self.variables["decoder/alignment_heads"] = np.array(1, np.int16)
        self.variables["decoder/start_from_zero_embedding"] = np.array(0, np.int8)
        for name, value in v.attributes.items():
            if value is None:
                del self.variables[name]
            else:
                kind = np.float32 if isinstance(value, float) else np.int32
                self.variables[name] = np.array(value, np.int8 if kind is np.int32 else kind)
        return self.variables, aliases


def make_variables(variant: Variant) -> tuple[Variables, dict[str, str]]:
    """The variables of a model by name, and its aliases."""
    return _Maker(variant).make()


def quantised(variables: Variables, kind: str) -> Variables:
    """The variables with matrices, or all floats, in another type; as CTranslate2 stores them."""
    found: dict[str, Any] = {}
    for name, values in variables.items():
        matrix = name.endswith("weight") and values.ndim == 2
        if kind == "int8" and matrix:
            scale = 127 / np.abs(values).max(axis=1)
            found[name] = np.rint(values * scale[:, None]).astype(np.int8)
            found[f"{name}_scale"] = scale.astype(np.float32)
        elif kind == "int16" and matrix:
            scale = np.float32(1024 / np.abs(values).max())
            found[name] = np.rint(values * scale).astype(np.int16)
            found[f"{name}_scale"] = np.array(scale)
        elif kind == "float16" and values.ndim and values.dtype == np.float32:
            found[name] = values.astype(np.float16)
        elif kind == "bfloat16" and values.ndim and values.dtype == np.float32:
            found[name] = Bfloat16(values)
        else:
            found[name] = values
    return found


def model_bin(
    variables: Mapping[str, Any],
    aliases: Mapping[str, str] | None = None,
    *,
    version: int = 6,
    spec: str = "TransformerSpec",
    revision: int = 7,
) -> bytes:
    """The content of a model.bin."""
    parts = [struct.pack("<I", version), _text(spec), struct.pack("<I", revision)]
    parts.append(struct.pack("<I", len(variables)))
    for name, values in variables.items():
        kind = "bfloat16" if isinstance(values, Bfloat16) else values.dtype.name
        stored = values.bits if isinstance(values, Bfloat16) else values
        parts += [_text(name), struct.pack("<B", stored.ndim)]
        parts += [struct.pack("<I", size) for size in stored.shape]
        if version >= 4:
            parts.append(struct.pack("<BI", _TYPES.index(kind), stored.nbytes))
        else:
            parts.append(struct.pack("<BI", stored.itemsize, stored.size))
        parts.append(stored.tobytes())
    if version >= 3:
        parts.append(struct.pack("<I", len(aliases or {})))
        parts += [_text(alias) + _text(name) for alias, name in (aliases or {}).items()]
    return b"".join(parts)


def _text(text: str) -> bytes:
    return struct.pack("<H", len(text.encode()) + 1) + text.encode() + b"\0"


def vocabulary(size: int, side: str = "") -> list[str]:
    """So many tokens, the special ones first."""
    return [*_BEGIN, *(f"{side}{i}" for i in range(size - len(_BEGIN)))]


def write_model(path: Path, variant: Variant, kind: str = "float32") -> Path:
    """Writes a directory; gives its path."""
    path.mkdir(parents=True, exist_ok=True)
    variables, aliases = make_variables(variant)
    (path / "model.bin").write_bytes(model_bin(quantised(variables, kind), aliases))
    config = {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "decoder_start_token": "<s>",
        "add_source_bos": False,
        "add_source_eos": False,
        "layer_norm_epsilon": None,
        **variant.config,
    }
    (path / "config.json").write_text(json.dumps(config))
    if variant.shared:
        lists = {"shared": vocabulary(variant.vocab[0])}
    else:
        lists = {
            "source": vocabulary(variant.vocab[0], "s"),
            "target": vocabulary(variant.vocab[1], "t"),
        }
    for name, tokens in lists.items():
        (path / f"{name}_vocabulary.json").write_text(json.dumps(tokens))
    return path


# Its translations differ in length and in what they say.
LIVELY = Variant(pre_norm=False, tied=False, end_bias=4.0)

VARIANTS = {
    "plain": Variant(),
    "post_norm": Variant(pre_norm=False, shared=False, tied=False, vocab=(19, 26)),
    "final_norm_behind_post_norm": Variant(attributes={"encoder/pre_norm": 0}),
    "embedding_norm": Variant(pre_norm=False, embedding_norm=True, activation=3),
    "computed_positions": Variant(stored_positions=False, activation=2),
    "no_biases": Variant(biases=False, activation=1),
    "rms": Variant(rms=True, biases=False, activation=4),
    "gated": Variant(gated=True, activation=1),
    "tanh": Variant(activation=5, encoder_layers=1, decoder_layers=3),
    "relative": Variant(relative=3, attributes={"encoder/scale_embeddings": 0}),
    "buckets": Variant(
        buckets=8,
        head_dim=6,
        rms=True,
        biases=False,
        attributes={
            **{
                f"{side}/layer_{i}/{name}/queries_scale": 1.0
                for side, name in (
                    ("encoder", "self_attention"),
                    ("decoder", "self_attention"),
                    ("decoder", "attention"),
                )
                for i in range(2)
            },
            "decoder/scale_outputs": 0.25,
            "encoder/scale_embeddings": 0,
            "decoder/scale_embeddings": 0,
        },
    ),
    "own_buckets": Variant(buckets=10, own_buckets=True),
    "rotary": Variant(rotary=(False, 10000.0)),
    "rotary_interleaved": Variant(rotary=(True, 500.0)),
    "wide_heads": Variant(head_dim=6),
    "zero_start": Variant(
        attributes={"decoder/start_from_zero_embedding": 1, "decoder/scale_embeddings": 3.5}
    ),
    "scaled_outputs": Variant(pre_norm=False, attributes={"decoder/scale_outputs": 0.3}),
    "epsilon": Variant(config={"layer_norm_epsilon": 0.05}),
    "adds_tokens": Variant(
        config={
            "add_source_bos": True,
            "add_source_eos": True,
            "decoder_start_token": "</s>",
        }
    ),
}
