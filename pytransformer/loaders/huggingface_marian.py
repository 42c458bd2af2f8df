"""MarianMT models (the OPUS-MT family) as Hugging Face stores them.

Names and arithmetic are those of transformers' modeling_marian: post-norm layers, sinusoidal
positions, biases on every linear layer. Of the settings in old configurations that transformers no
longer reads, `normalize_before` is refused if true, since nothing else would betray that the layers
were trained with the norm first; `add_final_layer_norm` and `normalize_embedding` show as tensors
left over, `static_position_embeddings` as stored positions, `add_bias_logits` as
`final_logits_bias`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, open_weights, read_json_object
from pytransformer.loaders.huggingface_generation import read_generation
from pytransformer.loaders.huggingface_marian_tokenizer import read_tokenizer
from pytransformer.loaders.tensor_plan import Planned, Shape, bind
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    Activation,
    Checkpoint,
    ModelSpec,
    PositionSpec,
    StackSpec,
    TokenizerSpec,
)

DESCRIPTION = (
    "a Hugging Face MarianMT directory (config.json with model_type 'marian', weights, source.spm, "
    "target.spm, vocab.json)"
)

_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
_SIDES = ("encoder", "decoder")
_SHARED = "model.shared.weight"
_LM_HEAD = "lm_head.weight"
_LOGITS_BIAS = "final_logits_bias"
_EMBEDDING = "model.{}.embed_tokens.weight"
_POSITIONS = "model.{}.embed_positions.weight"
# Stored sinusoids may carry the rounding of their type, or of a formula evaluated in float32.
_POSITION_TOLERANCE = {"F64": 1e-4, "F32": 1e-4, "F16": 1e-3, "BF16": 5e-3}
_MAX_LAYERS = 1000  # far beyond any model, and few enough to list what is missing
_LAYER_NORM_EPSILON = 1e-5  # PyTorch's default, which MarianMT never changes
_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}


def recognises(path: Path) -> bool:
    """Whether there is a config.json here that says `"model_type": "marian"`."""
    config = path / "config.json"
    return config.is_file() and read_json_object(config).get("model_type") == "marian"


def load(path: Path) -> Checkpoint:
    """Reads the directory; see :func:`pytransformer.loaders.load`."""
    config = Settings.read(path / "config.json")
    _refuse_unsupported(config)
    source = open_weights(path)
    shared = config.flag("share_encoder_decoder_embeddings", True)
    embeddings = _resolve_embeddings(source, shared, config.flag("tie_word_embeddings", True))
    sizes = _vocab_sizes(config, shared)
    model = ModelSpec(
        encoder=_stack(config, "encoder", sizes[0], source),
        decoder=_stack(config, "decoder", sizes[1], source),
        shared_embedding=_same(source, embeddings["encoder"], embeddings["decoder"]),
        tied_output=_same(source, embeddings["output"], embeddings["decoder"]),
    )
    plan = dict(_plan(model, embeddings, source))
    tensors = bind(path, source, plan, _derived(model, shared))
    files, settings = read_tokenizer(path, *sizes)
    return Checkpoint(
        family="marian",
        model=model,
        generation=read_generation(path, config, sizes[1], model.decoder.positions.max_length),
        tokenizer=TokenizerSpec("marian", settings),
        tensors=tensors,
        files=files,
    )


def _refuse_unsupported(config: Settings) -> None:
    name = config.text("activation_function", "gelu")
    if name not in _ACTIVATIONS:
        known = ", ".join(sorted(_ACTIVATIONS))
        raise UnsupportedModelError(
            f"{config.path}: activation_function {name!r} is not one of {known}"
        )
    if config.flag("normalize_before", False):
        raise UnsupportedModelError(f"{config.path}: normalize_before (pre-norm) is not MarianMT")
    if not config.flag("is_encoder_decoder", True):
        raise UnsupportedModelError(f"{config.path}: a decoder without an encoder cannot translate")


def _vocab_sizes(config: Settings, shared: bool) -> tuple[int, int]:
    size = config.integer("vocab_size", 58101, minimum=1)
    return size, size if shared else config.integer("decoder_vocab_size", size, minimum=1)


def _stack(config: Settings, side: str, vocab_size: int, source: TensorSource) -> StackSpec:
    d_model = config.integer("d_model", 1024, minimum=1)
    num_heads = config.integer(f"{side}_attention_heads", 16, minimum=1)
    if d_model % num_heads:
        raise CheckpointError(
            f"{config.path}: d_model {d_model} is not divisible by {num_heads} heads"
        )
    head_dim = d_model // num_heads
    max_length = config.integer("max_position_embeddings", 1024, minimum=2)
    learned = _has_learned_positions(source, _POSITIONS.format(side), (max_length, d_model))
    return StackSpec(
        num_layers=config.integer(f"{side}_layers", 12, maximum=_MAX_LAYERS),
        d_model=d_model,
        num_heads=num_heads,
        head_dim=head_dim,
        d_ff=config.integer(f"{side}_ffn_dim", 4096, minimum=1),
        vocab_size=vocab_size,
        activation=_ACTIVATIONS[config.text("activation_function", "gelu")],
        norm_position="post",
        final_norm=False,
        embedding_norm=False,
        embedding_scale=math.sqrt(d_model) if config.flag("scale_embedding", False) else 1.0,
        attention_scale=head_dim**-0.5,
        norm_epsilon=_LAYER_NORM_EPSILON,
        positions=PositionSpec("learned" if learned else "sinusoidal", max_length),
    )


def _has_learned_positions(source: TensorSource, name: str, shape: Shape) -> bool:
    """Whether positions are stored that are not the sinusoids which MarianMT would compute."""
    if name not in source.shapes:
        return False
    if source.shapes[name] != shape:
        return True  # the shape is reported together with all others
    difference = np.abs(source.read(name) - sinusoids(*shape))
    return not difference.max() <= _POSITION_TOLERANCE[source.dtype(name)]


def sinusoids(positions: int, d_model: int) -> FloatArray:
    """Sinusoidal positions [positions, d_model]: all sines, then all cosines (Marian's order)."""
    angles = np.arange(positions)[:, None] / np.power(10000, np.arange(0, d_model, 2) / d_model)
    table = np.concatenate([np.sin(angles), np.cos(angles[:, : d_model // 2])], axis=1)
    return cast(FloatArray, table.astype(np.float32))


def _resolve_embeddings(source: TensorSource, shared: bool, tied: bool) -> dict[str, str]:
    """Which stored tensor serves as encoder embedding, decoder embedding and output matrix.

    Tensors that are tied to one another may be stored once, under any of their names, or several
    times. As in transformers, a tensor that is there is used, even where the configuration says
    that it is tied to one with other values.
    """
    encoder, decoder = (_EMBEDDING.format(side) for side in _SIDES)
    candidates = {
        "encoder": [encoder, *([_SHARED, decoder] if shared else [])],
        "decoder": [decoder, *([_SHARED, encoder] if shared else [])],
        "output": [
            _LM_HEAD,
            *([decoder, _SHARED, encoder] if tied and shared else [decoder] if tied else []),
        ],
    }
    if tied:
        candidates["decoder"].append(_LM_HEAD)
        candidates["encoder"] += [_LM_HEAD] if shared else []
    chosen = {}
    for role, names in candidates.items():
        # If none is there, the usual name is reported as missing.
        usual = _SHARED if shared and (tied or role != "output") else names[0]
        chosen[role] = next((name for name in names if name in source.shapes), usual)
    return chosen


def _same(source: TensorSource, first: str, second: str) -> bool:
    if first == second:
        return True
    if source.shapes.get(first) is None or source.shapes.get(first) != source.shapes.get(second):
        return False
    return bool(np.array_equal(source.read(first), source.read(second)))


def _plan(
    model: ModelSpec, embeddings: Mapping[str, str], source: TensorSource
) -> Iterator[tuple[str, Planned]]:
    """Where every tensor of the model comes from, by canonical name."""
    for side, stack in zip(_SIDES, (model.encoder, model.decoder), strict=True):
        canonical = "shared" if model.shared_embedding else side
        shape = (stack.vocab_size, stack.d_model)
        yield f"{canonical}.embedding.weight", Planned(embeddings[side], shape)
        if stack.positions.kind == "learned":
            positions = Planned(_POSITIONS.format(side), _position_shape(stack))
            yield f"{side}.positions.weight", positions
        for layer in range(stack.num_layers):
            for name, stored, layer_shape in _layer(stack, is_decoder=side == "decoder"):
                planned = Planned(f"model.{side}.layers.{layer}.{stored}", layer_shape)
                yield f"{side}.layers.{layer}.{name}", planned
    decoder = model.decoder
    if not model.tied_output:
        shape = (decoder.vocab_size, decoder.d_model)
        yield "output.weight", Planned(embeddings["output"], shape)
    if _LOGITS_BIAS in source.shapes:
        yield "output.bias", Planned(_LOGITS_BIAS, (1, decoder.vocab_size), flat=True)


def _layer(stack: StackSpec, *, is_decoder: bool) -> Iterator[tuple[str, str, Shape]]:
    """Canonical name, stored name and shape of every tensor of one layer."""
    d_model, d_ff = stack.d_model, stack.d_ff
    linear: list[tuple[str, str, Shape]] = [
        ("feed_forward.up", "fc1", (d_ff, d_model)),
        ("feed_forward.down", "fc2", (d_model, d_ff)),
    ]
    norms = [("feed_forward.norm", "final_layer_norm")]
    attentions = {"self_attention": "self_attn"}
    if is_decoder:
        attentions["cross_attention"] = "encoder_attn"
    for name, stored in attentions.items():
        for ours, theirs in _PROJECTIONS.items():
            linear.append((f"{name}.{ours}", f"{stored}.{theirs}", (d_model, d_model)))
        norms.append((f"{name}.norm", f"{stored}_layer_norm"))
    for name, stored, shape in linear:
        yield f"{name}.weight", f"{stored}.weight", shape
        yield f"{name}.bias", f"{stored}.bias", shape[:1]
    for name, stored in norms:
        yield f"{name}.weight", f"{stored}.weight", (d_model,)
        yield f"{name}.bias", f"{stored}.bias", (d_model,)


def _derived(model: ModelSpec, shared: bool) -> dict[str, Shape]:
    """Tensors that may be stored as well: copies of tied ones, and computed positions."""
    encoder, decoder = model.encoder, model.decoder
    names: dict[str, Shape] = {_LM_HEAD: (decoder.vocab_size, decoder.d_model)}
    for side, stack in zip(_SIDES, (encoder, decoder), strict=True):
        names[_POSITIONS.format(side)] = _position_shape(stack)
        names[_EMBEDDING.format(side)] = (stack.vocab_size, stack.d_model)
    if shared:
        names[_SHARED] = (encoder.vocab_size, encoder.d_model)
    return names


def _position_shape(stack: StackSpec) -> Shape:
    return stack.positions.max_length, stack.d_model
