"""The names of Marian's parameters, by ours.

Matrices are stored [inputs, outputs] and vectors [1, outputs]; embeddings and the output layer
have a row for each token.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pytransformer.loaders.marian_options import Architecture
from pytransformer.loaders.tensor_plan import Planned, Shape
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import StackSpec

POSITIONS = "Wpos"
_OUTPUT = "decoder_ff_logit_out"
_ATTENTION = {"query": "q", "key": "k", "value": "v"}
# How the scales of activations end, which we find while we compute; and tables that merely make a
# search for the best tokens faster.
_SCALE_SUFFIX = "_QuantMultA"
_TABLES = ("lsh_output_codes", "lsh_output_rotation")

_Plan = Iterator[tuple[str, Planned]]


def plan_tensors(architecture: Architecture, source: TensorSource) -> _Plan:
    """Where every tensor of the model comes from, by canonical name."""
    spec = architecture.spec
    for side, stack, name in (
        ("encoder", spec.encoder, architecture.embeddings[0]),
        ("decoder", spec.decoder, architecture.embeddings[1]),
    ):
        canonical = "shared" if spec.shared_embedding else side
        shape = (stack.vocab_size, stack.d_model)
        yield f"{canonical}.embedding.weight", Planned(name, shape)
        if stack.embedding_norm:
            yield from _norm(stack, f"{side}.embedding.norm", f"{side}_emb", "_pre")
        if stack.positions.kind == "learned":
            rows = stack.positions.max_length
            yield f"{side}.positions.weight", Planned(POSITIONS, (rows, stack.d_model))
        if stack.final_norm:
            yield from _norm(stack, f"{side}.norm", f"{side}_top", "")
    for layer in range(spec.encoder.num_layers):
        yield from _encoder_layer(architecture, layer)
    for layer, number in enumerate(architecture.layers):
        yield from _decoder_layer(architecture, layer, f"decoder_l{number}")
    yield from _output(architecture, source)


def also_allowed(source: TensorSource) -> dict[str, Shape]:
    """What may be stored as well and is of no use here."""
    return {
        name: shape
        for name, shape in source.shapes.items()
        if name.endswith(_SCALE_SUFFIX) or name in _TABLES
    }


def _encoder_layer(architecture: Architecture, layer: int) -> _Plan:
    stack, name, stored = (
        architecture.spec.encoder,
        f"encoder.layers.{layer}",
        f"encoder_l{layer + 1}",
    )
    yield from _attention(architecture, stack, f"{name}.self_attention", f"{stored}_self")
    yield from _feed_forward(stack, f"{name}.feed_forward", f"{stored}_ffn")


def _decoder_layer(architecture: Architecture, layer: int, stored: str) -> _Plan:
    stack, name = architecture.spec.decoder, f"decoder.layers.{layer}"
    if stack.autoregression == "ssru":
        yield from _ssru(architecture, stack, f"{name}.ssru", f"{stored}_rnn")
    elif stack.autoregression == "average_attention":
        yield from _average(stack, f"{name}.average", f"{stored}_aan")
    else:
        yield from _attention(architecture, stack, f"{name}.self_attention", f"{stored}_self")
    yield from _attention(architecture, stack, f"{name}.cross_attention", f"{stored}_context")
    yield from _feed_forward(stack, f"{name}.feed_forward", f"{stored}_ffn")


def _attention(architecture: Architecture, stack: StackSpec, name: str, stored: str) -> _Plan:
    shape = (stack.d_model, stack.d_model)
    for part, letter in _ATTENTION.items():
        yield from _linear(f"{name}.{part}", stored, letter, shape)
    if architecture.projection:
        yield from _linear(f"{name}.output", stored, "o", shape)
    yield from _layer_norm(stack, f"{name}.norm", f"{stored}_Wo")


def _feed_forward(stack: StackSpec, name: str, stored: str) -> _Plan:
    depth, d_model, d_ff = stack.feed_forward_depth, stack.d_model, stack.d_ff
    yield from _linear(f"{name}.up", stored, "1", (d_model, d_ff))
    for j in range(depth - 2):
        yield from _linear(f"{name}.middle.{j}", stored, f"{j + 2}", (d_ff, d_ff))
    yield from _linear(f"{name}.down", stored, f"{depth}", (d_ff, d_model))
    yield from _layer_norm(stack, f"{name}.norm", f"{stored}_ffn")


def _ssru(architecture: Architecture, stack: StackSpec, name: str, stored: str) -> _Plan:
    shape = (stack.d_model, stack.d_model)
    yield f"{name}.input.weight", Planned(f"{stored}_W", shape, _transposed)
    yield from _linear(f"{name}.forget", stored, "f", shape)
    if architecture.unit_projection:
        yield from _linear(f"{name}.output", stored, "o", shape)
    prefix = stored if stack.norm_position == "pre" else f"{stored}_ffn"
    yield from _layer_norm(stack, f"{name}.norm", prefix)


def _average(stack: StackSpec, name: str, stored: str) -> _Plan:
    average, d_model = stack.average, stack.d_model
    assert average is not None
    widths = [d_model, *[average.width] * (average.num_layers - 1), d_model]
    for j in range(average.num_layers):
        shape = (widths[j], widths[j + 1])
        if j == average.num_layers - 1 and average.width == d_model:
            # The activation is behind all layers but the last, and Marian has none behind its own.
            yield f"{name}.layers.{j}.weight", Planned(f"{stored}_W1", shape, _identity)
        else:
            yield from _linear(f"{name}.layers.{j}", stored, f"{j + 1}", shape)
    if average.gated:
        yield from _linear(f"{name}.input_gate", stored, "i", (d_model, d_model))
        yield from _linear(f"{name}.forget_gate", stored, "f", (d_model, d_model))
    yield from _layer_norm(stack, f"{name}.norm", f"{stored}_ffn")


def _output(architecture: Architecture, source: TensorSource) -> _Plan:
    stack = architecture.spec.decoder
    size, d_model = stack.vocab_size, stack.d_model
    if not architecture.spec.tied_output:
        if f"{_OUTPUT}_W" in source.shapes:  # as old versions had it
            planned = Planned(f"{_OUTPUT}_W", (d_model, size), _transposed)
        else:
            planned = Planned(f"{_OUTPUT}_Wt", (size, d_model))
        yield "output.weight", planned
    if architecture.output_bias:
        yield "output.bias", Planned(f"{_OUTPUT}_b", (1, size), np.ravel)


def _linear(name: str, stored: str, letter: str, shape: Shape) -> _Plan:
    yield f"{name}.weight", Planned(f"{stored}_W{letter}", shape, _transposed)
    yield f"{name}.bias", Planned(f"{stored}_b{letter}", (1, shape[1]), np.ravel)


def _layer_norm(stack: StackSpec, name: str, stored: str) -> _Plan:
    if stack.norm_position != "none":
        yield from _norm(stack, name, stored, "_pre" if stack.norm_position == "pre" else "")


def _norm(stack: StackSpec, name: str, stored: str, suffix: str) -> _Plan:
    kind = "rms" if stack.norm == "rms" else "ln"
    shape = (1, stack.d_model)
    yield f"{name}.weight", Planned(f"{stored}_{kind}_scale{suffix}", shape, np.ravel)
    if stack.norm == "layer":
        yield f"{name}.bias", Planned(f"{stored}_ln_bias{suffix}", shape, np.ravel)


def _transposed(values: FloatArray) -> FloatArray:
    return np.ascontiguousarray(values.T)


def _identity(values: FloatArray) -> FloatArray:
    return np.eye(len(values), dtype=np.float32)
