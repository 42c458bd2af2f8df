"""The architecture of OpenNMT-py's Transformer, and where each of its tensors is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.ctranslate2_distances import halves_from_pairs
from pytransformer.loaders.distance_buckets import spread_buckets
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_embeddings import same_values
from pytransformer.loaders.pytorch_records import choice, positive, refuse_changes
from pytransformer.loaders.stack_plan import Rows, StackNames, Stored
from pytransformer.loaders.tensor_plan import Planned, Shape, TensorPlan
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    Activation,
    DistanceSpec,
    ModelSpec,
    NormKind,
    PositionKind,
    PositionSpec,
    StackSpec,
)

_LAYERS = {"encoder": "encoder.transformer.{}.", "decoder": "decoder.transformer_layers.{}."}
_EMBEDDING = "{}.embeddings.make_embedding.emb_luts.0.weight"
_POSITIONS = "{}.embeddings.make_embedding.pe.pe"
_OUTPUTS = ("generator.weight", "generator.0.weight")  # the latter until version 2
_DISTANCES = "self_attn.relative_positions_embeddings.weight"
_BUCKETS = "self_attn.relative_attention_bias.weight"
_PROJECTIONS = {
    "query": "linear_query",
    "key": "linear_keys",
    "value": "linear_values",
    "output": "final_linear",
}
_ACTIVATIONS: dict[str, tuple[Activation, bool]] = {  # and whether it is gated
    "relu": ("relu", False),
    "gelu": ("gelu", False),
    "silu": ("silu", True),
    "gated-gelu": ("gelu", True),
}
_NORMS: dict[str, NormKind] = {"standard": "layer", "rms": "rms"}
_POSITION_KINDS: dict[str, PositionKind] = {
    "SinusoidalInterleaved": "sinusoidal_interleaved",
    "SinusoidalConcat": "sinusoidal_tensor2tensor",
}
_ROTARY, _ALIBI = -1, -2  # as numbers of relative positions
_POSITION_ROWS = 5000
_MAX_LAYERS = 1000
_MAX_DISTANCE = 4096

# Options that change what is computed, with the values that change nothing.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "model_type": ("text",),
    "model_task": ("seq2seq",),
    "encoder_type": ("transformer",),
    "decoder_type": ("transformer",),
    "self_attn_type": ("scaled-dot", "scaled-dot-flash"),
    "copy_attn": (False,),
    "generator_function": ("softmax", "log_softmax"),
    "parallel_residual": (False,),
    "shared_layer_norm": (False,),
    "num_experts": (0,),
    "sliding_window": (0,),
    "lora_layers": ([],),
    "lora_embedding": (False,),
    "quant_layers": ([],),
    "quant_type": ("",),
}


def read_model(
    options: Settings, source: TensorSource, source_size: int, target_size: int
) -> ModelSpec:
    """The architecture that the options and the shapes of the weights tell."""
    refuse_changes(options, _WITHOUT_EFFECT)
    embeddings = [_EMBEDDING.format(side) for side in _LAYERS]
    return ModelSpec(
        encoder=_stack(options, source, "encoder", source_size),
        decoder=_stack(options, source, "decoder", target_size),
        shared_embedding=same_values(source, *embeddings),
        tied_output=same_values(source, embeddings[1], _output(source)),
    )


def tensor_plan(
    options: Settings, source: TensorSource, model: ModelSpec
) -> tuple[TensorPlan, dict[str, Shape]]:
    """Where every tensor comes from, and which may be stored besides."""
    plan: dict[str, Planned] = {}
    allowed: dict[str, Shape] = {}
    for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        canonical = "shared" if model.shared_embedding else side
        shape = (stack.vocab_size, stack.d_model)
        plan[f"{canonical}.embedding.weight"] = Planned(_EMBEDDING.format(side), shape)
        allowed[_EMBEDDING.format(side)] = shape
        table = (_POSITION_ROWS, 1, stack.d_model)
        if stack.positions.kind == "learned":
            stored = Planned(_POSITIONS.format(side), table, _without_batch)
            plan[f"{side}.positions.weight"] = stored
        elif stack.positions.kind != "none":
            allowed[_POSITIONS.format(side)] = table
        names = _names(options, source, side, stack)
        plan.update(names.plan(side, stack, model.encoder.d_model))
        plan.update(_distance_tables(options, side, stack))
    output = _output(source)
    shape = (model.decoder.vocab_size, model.decoder.d_model)
    allowed[output] = shape
    if not model.tied_output:
        plan["output.weight"] = Planned(output, shape)
    plan["output.bias"] = Planned(output.removesuffix("weight") + "bias", shape[:1])
    return plan, allowed


def _stack(options: Settings, source: TensorSource, side: str, vocab_size: int) -> StackSpec:
    d_model = _shape(options, source, _EMBEDDING.format(side))[1]
    num_heads = options.integer("heads", 8, minimum=1, maximum=2**15)
    if d_model % num_heads or d_model == 0:
        raise CheckpointError(f"{options.path}: {num_heads} heads cannot share {d_model} columns")
    head_dim = d_model // num_heads
    activation, gated = choice(options, "pos_ffn_activation_fn", "relu", _ACTIVATIONS)
    positions = _positions(options, source, side)
    has_positions = positions.kind != "none"
    layers = options.integer("layers", -1, minimum=-1, maximum=_MAX_LAYERS)
    key = f"{side[:3]}_layers"
    return StackSpec(
        num_layers=layers if layers > 0 else options.integer(key, 2, maximum=_MAX_LAYERS),
        d_model=d_model,
        num_heads=num_heads,
        head_dim=head_dim,
        d_ff=_shape(options, source, f"{_LAYERS[side].format(0)}feed_forward.w_1.weight")[0],
        vocab_size=vocab_size,
        activation=activation,
        norm_position="pre",
        final_norm=True,
        embedding_norm=False,
        embedding_scale=math.sqrt(d_model) if has_positions else 1.0,
        attention_scale=head_dim**-0.5,
        norm_epsilon=positive(options, "norm_eps", 1e-6),
        positions=positions,
        norm=choice(options, "layer_norm", "standard", _NORMS),
        gated=gated,
        distances=_distances(options, head_dim),
    )


def _shape(options: Settings, source: TensorSource, name: str) -> Shape:
    """The shape of a stored matrix from which sizes are read."""
    shape = source.shapes.get(name)
    if shape is None or len(shape) != 2:
        found = "missing" if shape is None else f"{shape}, not a matrix"
        raise CheckpointError(f"{options.path}: {name} is {found}")
    return shape


def _positions(options: Settings, source: TensorSource, side: str) -> PositionSpec:
    if not options.flag("position_encoding", False):
        return PositionSpec("none", _POSITION_ROWS)
    kind = choice(options, "position_encoding_type", "SinusoidalInterleaved", _POSITION_KINDS)
    # Positions are stored, too; rounded to half precision they are no longer what is computed.
    stored = _POSITIONS.format(side)
    is_rounded = stored in source.shapes and source.dtype(stored) in ("F16", "BF16")
    return PositionSpec("learned" if is_rounded else kind, _POSITION_ROWS)


def _without_batch(table: FloatArray) -> FloatArray:
    return table[:, 0]


def _distances(options: Settings, head_dim: int) -> DistanceSpec | None:
    furthest = options.integer("max_relative_positions", 0, minimum=-2, maximum=_MAX_DISTANCE)
    if furthest == _ALIBI:
        raise UnsupportedModelError(
            f"{options.path}: max_relative_positions = {_ALIBI} (ALiBi) is not supported"
        )
    if furthest == _ROTARY:
        width = options.integer("rotary_dim", 0)
        if width not in (0, head_dim) or head_dim % 2:
            raise UnsupportedModelError(
                f"{options.path}: rotary_dim {width} is not supported with heads of {head_dim}"
            )
        return DistanceSpec("rotary", theta=positive(options, "rotary_theta", 10000.0))
    buckets = options.integer("relative_positions_buckets", 0)
    if buckets == 0:
        return DistanceSpec("vectors", furthest) if furthest else None
    if not 4 <= buckets < furthest:
        raise options.error("relative_positions_buckets", "from 4 to max_relative_positions - 1")
    return DistanceSpec("bias", furthest)


def _distance_tables(
    options: Settings, side: str, stack: StackSpec
) -> Iterator[tuple[str, Planned]]:
    spec = stack.distances
    if spec is None or spec.kind == "rotary":
        return
    for i in range(stack.num_layers):
        tables, layer = f"{side}.layers.{i}.self_attention.distances", _LAYERS[side].format(i)
        if spec.kind == "vectors":
            # The same vectors are added to keys and to values.
            vectors = Planned(layer + _DISTANCES, (2 * spec.max_distance + 1, stack.head_dim))
            yield f"{tables}.keys", vectors
            yield f"{tables}.values", vectors
        else:
            shape = (options.integer("relative_positions_buckets", 0), stack.num_heads)
            spread = partial(
                spread_buckets, max_distance=spec.max_distance, both_ways=side == "encoder"
            )
            yield f"{tables}.bias", Planned(layer + _BUCKETS, shape, spread)


def _names(options: Settings, source: TensorSource, side: str, stack: StackSpec) -> StackNames:
    """The names of a stack; as in OpenNMT-py, all layers have biases if the first one has."""
    first = _LAYERS[side].format(0)
    biases = {
        "feed_forward": f"{first}feed_forward.w_1.bias" in source.shapes,
        "self_attention": f"{first}self_attn.linear_query.bias" in source.shapes,
    }
    biases["cross_attention"] = biases["self_attention"]

    def has_bias(name: str) -> bool:
        return stack.norm != "rms" if name.endswith("norm") else biases[name.partition(".")[0]]

    linears, norms = (
        {},
        {"norm": f"{side}.layer_norm.", "feed_forward.norm": "feed_forward.layer_norm."},
    )
    up, gate = ("w_3", "w_1") if stack.gated else ("w_1", "")
    for ours, theirs in (("up", up), ("gate", gate), ("down", "w_2")):
        if theirs:
            linears[f"feed_forward.{ours}"] = Stored(f"feed_forward.{theirs}.")
    attentions = {"self_attention": ("self_attn", "layer_norm")}
    if side == "decoder":
        attentions = {
            "self_attention": ("self_attn", "layer_norm_1"),
            "cross_attention": ("context_attn", "layer_norm_2"),
        }
    for attention, (theirs, norm) in attentions.items():
        norms[f"{attention}.norm"] = f"{norm}."
        for part, stored in _PROJECTIONS.items():
            rows, height = _rows(options, stack, attention, part)
            linears[f"{attention}.{part}"] = Stored(f"{theirs}.{stored}.", rows, height)
    # The custom norms of the first versions have other names.
    is_custom = f"{side}.layer_norm.a_2" in source.shapes
    weight, bias = ("a_2", "b_2") if is_custom else ("weight", "bias")
    return StackNames(_LAYERS[side], linears, norms, has_bias, norm_weight=weight, norm_bias=bias)


def _rows(
    options: Settings, stack: StackSpec, attention: str, part: str
) -> tuple[Rows | None, int]:
    """Which rows of a stored projection make up the model's, and how many are stored.

    None are all, as they are. Several heads may read the same keys and values (`num_kv`), and a
    head may turn neighbouring columns, where the engine turns halves.
    """
    heads, size = stack.num_heads, stack.head_dim
    is_rotary = stack.distances is not None and stack.distances.kind == "rotary"
    is_turned = is_rotary and attention == "self_attention" and part in ("query", "key")
    in_pairs = is_turned and options.flag("rotary_interleave", True)
    stored = (options.integer("num_kv", 0) or heads) if part in ("key", "value") else heads
    if heads % stored:
        raise options.error("num_kv", f"a divisor of {heads} heads")
    if stored == heads and not in_pairs:
        return None, 0
    rows = halves_from_pairs(heads, size) if in_pairs else np.arange(heads * size)
    head, column = np.divmod(rows, size)
    return head // (heads // stored) * size + column, stored * size


def _output(source: TensorSource) -> str:
    return next((name for name in _OUTPUTS if name in source.shapes), _OUTPUTS[0])
