"""The architecture of CTranslate2's Transformer, and where each of its tensors is stored.

Projections are stored fused: those of queries, keys and values of self-attention in one matrix, of
keys and values of cross-attention in another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.ctranslate2_attributes import Attributes
from pytransformer.loaders.ctranslate2_distances import halves_from_pairs, read_distances
from pytransformer.loaders.ctranslate2_file import Ctranslate2File
from pytransformer.loaders.distance_buckets import spread_buckets
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_embeddings import same_values
from pytransformer.loaders.stack_plan import StackNames, Stored
from pytransformer.loaders.tensor_plan import Planned, Shape
from pytransformer.loaders.tensor_source import FloatArray
from pytransformer.model_spec import Activation, ModelSpec, NormKind, PositionSpec, StackSpec

SIDES = ("encoder", "decoder")
# By their numbers.
_ACTIVATIONS: tuple[Activation | None, ...] = (
    "relu", "gelu_tanh", "silu", "gelu", "gelu_sigmoid", "tanh", None,
)  # fmt: skip
_MAX_LAYERS = 1000
_MAX_HEADS = 2**15
# CTranslate2 computes as many positions as a text needs; their table must not be huge.
_COMPUTED_POSITIONS = 2048
_MAX_WIDTH = 2**14
_DECODER_EMBEDDING = "decoder/embeddings/weight"
_OUTPUT = "decoder/projection/weight"
_OUTPUT_BIAS = "decoder/projection/bias"
_POSITIONS = "{}/position_encodings/encodings"
_BUCKETS = "{}/layer_{}/self_attention/relative_attention_bias"


def read_model(file: Ctranslate2File, attributes: Attributes, config: Settings) -> ModelSpec:
    """The architecture, as shapes, names and attributes tell it."""
    encoder, decoder = (_stack(file, attributes, config, side) for side in SIDES)
    tied = _same(file, _DECODER_EMBEDDING, _OUTPUT)
    return ModelSpec(
        encoder=encoder,
        decoder=decoder,
        shared_embedding=_same(file, encoder_embedding(file), _DECODER_EMBEDDING),
        tied_output=tied and (decoder.final_norm or _output_scale(attributes) == 1),
    )


def _same(file: Ctranslate2File, first: str, second: str) -> bool:
    return same_values(file, file.stored_name(first), file.stored_name(second))


def encoder_embedding(file: Ctranslate2File) -> str:
    """The name of the encoder's embedding, which depends on the age of the converter."""
    name = "encoder/embeddings/weight"
    return name if name in file.shapes else "encoder/embeddings_0/weight"


def _stack(file: Ctranslate2File, attributes: Attributes, config: Settings, side: str) -> StackSpec:
    embedding = encoder_embedding(file) if side == "encoder" else _DECODER_EMBEDDING
    vocab_size, d_model = _matrix(file, embedding)
    if d_model > _MAX_WIDTH:
        raise UnsupportedModelError(
            f"{file.path}: {embedding} has {d_model} columns, more than {_MAX_WIDTH}"
        )
    first = f"{side}/layer_0"
    width = _matrix(file, f"{first}/self_attention/linear_0/weight")[0] // 3
    num_heads = attributes.integer(f"{side}/num_heads", 8, 1, _MAX_HEADS)
    if width == 0 or width % num_heads:
        raise CheckpointError(
            f"{file.path}: {side}/num_heads is {num_heads}, but {first}/self_attention has "
            f"{width} columns for them"
        )
    norm = _norm_kind(file, f"{first}/ffn/layer_norm")
    num_layers = _num_layers(file, side)
    distances = read_distances(file, attributes, side, width // num_heads, num_layers)
    return StackSpec(
        num_layers=num_layers,
        d_model=d_model,
        num_heads=num_heads,
        head_dim=width // num_heads,
        d_ff=_matrix(file, f"{first}/ffn/linear_0/weight")[0],
        vocab_size=vocab_size,
        activation=_activation(file, attributes, side),
        norm_position="pre" if attributes.flag(f"{side}/pre_norm", default=True) else "post",
        final_norm=f"{side}/layer_norm/gamma" in file.shapes,
        embedding_norm=f"{side}/layernorm_embedding/gamma" in file.shapes,
        embedding_scale=attributes.embedding_scale(side, d_model),
        attention_scale=_attention_scale(file, attributes, side, d_model // num_heads),
        norm_epsilon=_epsilon(config, norm),
        positions=PositionSpec("none", 1) if distances else _positions(file, side),
        norm=norm,
        gated=f"{first}/ffn/linear_0_noact/weight" in file.shapes,
        distances=distances,
    )


def _matrix(file: Ctranslate2File, name: str) -> Shape:
    shape = file.shapes.get(name)
    if shape is None or len(shape) != 2 or 0 in shape:
        raise CheckpointError(f"{file.path}: {name} is {shape or 'missing'}, expected a matrix")
    return shape


def _num_layers(file: Ctranslate2File, side: str) -> int:
    found = [re.match(rf"{side}/layer_(\d{{1,9}})/", name) for name in file.shapes]
    count = 1 + max(int(match[1]) for match in found if match)
    if count > _MAX_LAYERS:
        raise CheckpointError(f"{file.path}: {side}/layer_{count - 1}: too many layers")
    return count


def _activation(file: Ctranslate2File, attributes: Attributes, side: str) -> Activation:
    code = attributes.integer(f"{side}/activation", 0, 0, len(_ACTIVATIONS) - 1)
    activation = _ACTIVATIONS[code]
    if activation is None:
        raise UnsupportedModelError(
            f"{file.path}: {side}/activation is {code}, a sigmoid, which is not supported"
        )
    return activation


def _epsilon(config: Settings, norm: NormKind) -> float:
    epsilon = config.number("layer_norm_epsilon", 1e-5 if norm == "layer" else 1e-6)
    if epsilon < 0:
        raise config.error("layer_norm_epsilon", "a number of 0 or more")
    return epsilon


def _norm_kind(file: Ctranslate2File, name: str) -> NormKind:
    return "layer" if f"{name}/beta" in file.shapes else "rms"


def _attention_scale(
    file: Ctranslate2File, attributes: Attributes, side: str, usual_width: int
) -> float:
    """By what scores are multiplied, which is a single number for a stack here."""
    scales = set()
    for name in _attentions(file, side):
        head_dim = attributes.integer(f"{name}/head_dim", max(usual_width, 1), 1, 2**20)
        scales.add(attributes.number(f"{name}/queries_scale", 1 / math.sqrt(head_dim)))
        heads = attributes.integer(f"{side}/num_heads", 8, 1, _MAX_HEADS)
        keys = attributes.integer(f"{name}/num_heads_kv", heads, 1, _MAX_HEADS)
        if keys != heads:
            raise UnsupportedModelError(
                f"{file.path}: {name}/num_heads_kv is {keys}: fewer heads for keys than for "
                f"queries, {heads}, are not supported"
            )
    if len(scales) > 1:
        raise UnsupportedModelError(
            f"{file.path}: {side}: different values of queries_scale in one stack are not "
            f"supported: {sorted(scales)}"
        )
    return scales.pop()


def _attentions(file: Ctranslate2File, side: str) -> Iterator[str]:
    for layer in range(_num_layers(file, side)):
        yield f"{side}/layer_{layer}/self_attention"
        if side == "decoder":
            yield f"{side}/layer_{layer}/attention"


def _positions(file: Ctranslate2File, side: str) -> PositionSpec:
    stored = _POSITIONS.format(side)
    if stored in file.shapes:
        return PositionSpec("learned", _matrix(file, stored)[0])
    return PositionSpec("sinusoidal_tensor2tensor", _COMPUTED_POSITIONS, offset=1)


def _output_scale(attributes: Attributes) -> float:
    return attributes.number("decoder/scale_outputs", 1.0)


def tensor_plan(
    file: Ctranslate2File, attributes: Attributes, model: ModelSpec
) -> dict[str, Planned]:
    """Where every tensor of the model comes from, by canonical name."""
    plan: dict[str, Planned] = {}
    for side, stack in zip(SIDES, (model.encoder, model.decoder), strict=True):
        canonical = "shared" if model.shared_embedding else side
        embedding = _DECODER_EMBEDDING if side == "decoder" else encoder_embedding(file)
        shape = (stack.vocab_size, stack.d_model)
        plan[f"{canonical}.embedding.weight"] = Planned(embedding, shape)
        if stack.positions.kind == "learned":
            shape = (stack.positions.max_length, stack.d_model)
            plan[f"{side}.positions.weight"] = Planned(_POSITIONS.format(side), shape)
        names = _names(file, attributes, side, stack)
        plan.update(names.plan(side, stack, model.encoder.d_model))
        plan.update(_distances(file, side, stack))
    plan.update(_output(file, model))
    scale = _output_scale(attributes)
    if scale != 1:
        scaled = ("decoder.norm.weight", "decoder.norm.bias")
        for name in scaled if model.decoder.final_norm else ("output.weight",):
            if name in plan:
                plan[name] = replace(plan[name], transform=partial(_scaled, scale))
    return plan


def also_stored(file: Ctranslate2File, model: ModelSpec) -> dict[str, Shape]:
    """What is stored besides: second names of tensors, and what CTranslate2 does not look at."""
    unused = [_OUTPUT, encoder_embedding(file)]
    for side, stack in zip(SIDES, (model.encoder, model.decoder), strict=True):
        if stack.distances is not None:
            unused.append(_POSITIONS.format(side))
    return {name: file.shapes[name] for name in unused if name in file.shapes}


def _names(
    file: Ctranslate2File, attributes: Attributes, side: str, stack: StackSpec
) -> StackNames:
    """The names of a stack; all layers have biases where the first one has."""
    width = stack.num_heads * stack.head_dim
    linears = _parts("self_attention", ("query", "key", "value"), "self_attention/linear_0/", width)
    linears["self_attention.output"] = Stored("self_attention/linear_1/")
    norms = {"self_attention.norm": "self_attention/layer_norm/"}
    if side == "decoder":
        linears |= _parts("cross_attention", ("query",), "attention/linear_0/", width)
        linears |= _parts("cross_attention", ("key", "value"), "attention/linear_1/", width)
        linears["cross_attention.output"] = Stored("attention/linear_2/")
        norms["cross_attention.norm"] = "attention/layer_norm/"
    up = "ffn/linear_0_noact/" if stack.gated else "ffn/linear_0/"
    linears |= {"feed_forward.up": Stored(up), "feed_forward.down": Stored("ffn/linear_1/")}
    if stack.gated:
        linears["feed_forward.gate"] = Stored("ffn/linear_0/")
    norms["feed_forward.norm"] = "ffn/layer_norm/"
    if stack.final_norm:
        norms["norm"] = f"{side}/layer_norm/"
    if stack.embedding_norm:
        norms["embedding.norm"] = f"{side}/layernorm_embedding/"
    if attributes.flag(f"{side}/layer_0/self_attention/rotary_interleave", default=True):
        linears |= _turned(linears, stack)
    first = f"{side}/layer_0/"

    def has_bias(name: str) -> bool:
        if name.endswith("norm"):
            return stack.norm == "layer"
        return f"{first}{linears[name].name}bias" in file.shapes

    return StackNames(
        f"{side}/layer_{{}}/", linears, norms, has_bias, norm_weight="gamma", norm_bias="beta"
    )


def _parts(attention: str, parts: tuple[str, ...], stored: str, width: int) -> dict[str, Stored]:
    """Projections that are stored one under another, each with `width` rows."""
    rows = np.arange(len(parts) * width).reshape(len(parts), width)
    return {
        f"{attention}.{part}": Stored(stored, rows[i], rows.size) for i, part in enumerate(parts)
    }


def _turned(linears: Mapping[str, Stored], stack: StackSpec) -> dict[str, Stored]:
    """Rotary queries and keys whose neighbours turn together, in the order of our halves."""
    if stack.distances is None or stack.distances.kind != "rotary":
        return {}
    order = halves_from_pairs(stack.num_heads, stack.head_dim)
    found = {name: linears[name] for name in ("self_attention.query", "self_attention.key")}
    return {name: replace(one, rows=one.rows[order]) for name, one in found.items()}  # type: ignore[index]


def _distances(file: Ctranslate2File, side: str, stack: StackSpec) -> Iterator[tuple[str, Planned]]:
    spec = stack.distances
    for layer in range(stack.num_layers if spec is not None else 0):
        assert spec is not None
        ours = f"{side}.layers.{layer}.self_attention.distances"
        if spec.kind == "vectors":
            shape = (2 * spec.max_distance + 1, stack.head_dim)
            for name in ("keys", "values"):
                stored = f"{side}/layer_{layer}/self_attention/relative_position_{name}"
                yield f"{ours}.{name}", Planned(stored, shape)
        if spec.kind == "bias":
            stored = _BUCKETS.format(side, layer)
            spread = partial(
                spread_buckets, max_distance=spec.max_distance, both_ways=side == "encoder"
            )
            buckets = file.shapes[_BUCKETS.format(side, 0)][0]
            yield f"{ours}.bias", Planned(stored, (buckets, stack.num_heads), spread)


def _output(file: Ctranslate2File, model: ModelSpec) -> Iterator[tuple[str, Planned]]:
    vocab_size, d_model = model.decoder.vocab_size, model.decoder.d_model
    if not model.tied_output:
        yield "output.weight", Planned(_OUTPUT, (vocab_size, d_model))
    if _OUTPUT_BIAS in file.shapes:
        yield "output.bias", Planned(_OUTPUT_BIAS, (vocab_size,))


def _scaled(scale: float, values: FloatArray) -> FloatArray:
    scaled: FloatArray = values * np.float32(scale)
    return scaled
