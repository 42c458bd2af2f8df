"""Which tensors a native file holds, and how each is packed from a checkpoint's.

docs/native-format.md is the definition; this module follows it line by line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pytransformer.model_spec import ModelSpec, StackSpec
from pytransformer.native_entry import Entry, Matrix, row_blocks
from pytransformer.panels import FORMATS, PANEL, Tensor, pad
from pytransformer.quantization import FloatArray

Tensors = Mapping[str, FloatArray]


def pack_panels(weight: FloatArray) -> FloatArray:
    """Packs a matrix [outputs, inputs] into panels [pad(outputs) / 16, pad(inputs), 16]."""
    pack = FORMATS["float32"].pack
    return np.concatenate([pack(rows)[0] for rows in row_blocks(weight)])


def entries(model: ModelSpec, tensors: Tensors) -> Iterator[Entry | Matrix]:
    """The weights of a native file. Nothing is read before they are asked to fill memory.

    All matrices of the model are among them, and of the vectors those that `tensors` has or must
    have.
    """
    encoder, decoder = model.encoder, model.decoder
    if model.shared_embedding:
        yield _matrix(tensors, "shared.embedding.weight", encoder.vocab_size, encoder.d_model)
    if model.architecture != "decoder":
        yield from _stack(tensors, "encoder", model, encoder)
    if model.architecture == "encoder":
        yield from _head(tensors, model)
        return
    yield from _stack(tensors, "decoder", model, decoder)
    if model.architecture == "encoder_decoder":
        yield from _cross_key_value(tensors, decoder, encoder.d_model)
    if not model.tied_output:
        yield _matrix(tensors, "output.weight", decoder.vocab_size, decoder.d_model)
    if "output.bias" in tensors:
        yield _vector(tensors, "output.bias", decoder.vocab_size)


def _head(tensors: Tensors, model: ModelSpec) -> Iterator[Entry | Matrix]:
    head, inputs = model.head, model.encoder.d_model
    if head is not None and head.pooler_size:
        yield from _linear(tensors, "pooler", head.pooler_size, inputs)
        inputs = head.pooler_size
    if head is not None and head.labels:
        yield from _linear(tensors, "classifier", len(head.labels), inputs)


def _stack(
    tensors: Tensors, side: str, model: ModelSpec, stack: StackSpec
) -> Iterator[Entry | Matrix]:
    if stack.vector_size:
        yield from _linear(tensors, f"{side}.vectors", stack.d_model, stack.vector_size)
    elif not model.shared_embedding:
        yield _matrix(tensors, f"{side}.embedding.weight", stack.vocab_size, stack.d_model)
    if stack.embedding_norm:
        yield from _norm(tensors, f"{side}.embedding.norm", stack.d_model)
    if stack.positions.kind == "learned":
        yield _positions(tensors, f"{side}.positions.weight", stack)
    crosses = side == "decoder" and model.architecture == "encoder_decoder"
    for layer in range(stack.num_layers):
        yield from _layer(tensors, f"{side}.layers.{layer}", stack, crosses=crosses)
    if stack.final_norm:
        yield from _norm(tensors, f"{side}.norm", stack.d_model)


def _layer(
    tensors: Tensors, name: str, stack: StackSpec, *, crosses: bool
) -> Iterator[Entry | Matrix]:
    if stack.autoregression == "ssru":
        yield from _ssru(tensors, f"{name}.ssru", stack)
    elif stack.autoregression == "average_attention":
        yield from _average(tensors, f"{name}.average", stack)
    else:
        yield from _self_attention(tensors, f"{name}.self_attention", stack)
    if crosses:
        attention = f"{name}.cross_attention"
        yield from _to_heads(
            tensors, f"{attention}.query", [f"{attention}.query"], stack, stack.d_model
        )
        yield from _from_heads(tensors, f"{attention}.output", stack)
        yield from _layers_norm(tensors, attention, stack)
    yield from _feed_forward(tensors, f"{name}.feed_forward", stack)


def _self_attention(tensors: Tensors, name: str, stack: StackSpec) -> Iterator[Entry | Matrix]:
    parts = [f"{name}.{part}" for part in ("query", "key", "value")]
    yield from _to_heads(tensors, f"{name}.qkv", parts, stack, stack.d_model)
    yield from _from_heads(tensors, f"{name}.output", stack)
    yield from _layers_norm(tensors, name, stack)
    if stack.distances is None or stack.distances.kind == "rotary":
        return
    distances = 2 * stack.distances.max_distance + 1
    if stack.distances.kind == "bias":
        yield _rows(tensors, f"{name}.distances.bias", stack.num_heads, distances)
    else:
        yield _rows(tensors, f"{name}.distances.keys", distances, stack.head_dim)
        yield _rows(tensors, f"{name}.distances.values", distances, stack.head_dim)


def _ssru(tensors: Tensors, name: str, stack: StackSpec) -> Iterator[Entry | Matrix]:
    width = stack.d_model
    one_head = dataclasses.replace(stack, num_heads=1, head_dim=width)
    parts = [f"{name}.input", f"{name}.forget"]
    yield from _to_heads(tensors, f"{name}.input_forget", parts, one_head, width)
    if f"{name}.output.weight" in tensors:
        yield from _linear(tensors, f"{name}.output", width, width)
    yield from _layers_norm(tensors, name, stack)


def _average(tensors: Tensors, name: str, stack: StackSpec) -> Iterator[Entry | Matrix]:
    assert stack.average is not None
    between = [stack.average.width] * (stack.average.num_layers - 1)
    widths = [stack.d_model, *between, stack.d_model]
    for layer in range(stack.average.num_layers):
        yield from _linear(tensors, f"{name}.layers.{layer}", widths[layer + 1], widths[layer])
    if stack.average.gated:
        for gate in ("input_gate", "forget_gate"):
            yield from _linear(tensors, f"{name}.{gate}", stack.d_model, stack.d_model)
    yield from _layers_norm(tensors, name, stack)


def _feed_forward(tensors: Tensors, name: str, stack: StackSpec) -> Iterator[Entry | Matrix]:
    yield from _linear(tensors, f"{name}.up", stack.d_ff, stack.d_model)
    if stack.gated:
        yield from _linear(tensors, f"{name}.gate", stack.d_ff, stack.d_model)
    for layer in range(stack.feed_forward_depth - 2):
        yield from _linear(tensors, f"{name}.middle.{layer}", stack.d_ff, stack.d_ff)
    yield from _linear(tensors, f"{name}.down", stack.d_model, stack.d_ff)
    yield from _layers_norm(tensors, name, stack)


def _cross_key_value(
    tensors: Tensors, decoder: StackSpec, encoder_width: int
) -> Iterator[Entry | Matrix]:
    parts = [
        f"decoder.layers.{layer}.cross_attention.{part}"
        for layer in range(decoder.num_layers)
        for part in ("key", "value")
    ]
    if parts:
        yield from _to_heads(
            tensors, "decoder.cross_attention.key_value", parts, decoder, encoder_width
        )


def _linear(tensors: Tensors, name: str, outputs: int, inputs: int) -> Iterator[Entry | Matrix]:
    yield _matrix(tensors, f"{name}.weight", outputs, inputs)
    if f"{name}.bias" in tensors:
        yield _vector(tensors, f"{name}.bias", outputs)


def _norm(tensors: Tensors, name: str, width: int) -> Iterator[Entry]:
    yield _vector(tensors, f"{name}.weight", width)
    yield _vector(tensors, f"{name}.bias", width)


def _layers_norm(tensors: Tensors, layer: str, stack: StackSpec) -> Iterator[Entry]:
    if stack.norm_position != "none":
        yield from _norm(tensors, f"{layer}.norm", stack.d_model)


def _vector(tensors: Tensors, name: str, size: int) -> Entry:
    """A vector; a bias that the model lacks is zero."""

    def fill(target: FloatArray) -> None:
        if name in tensors or not name.endswith(".bias"):
            target[:size] = tensors[name]

    return Entry((Tensor(name, "F32", (pad(size),)),), fill)


def _rows(tensors: Tensors, name: str, rows: int, columns: int) -> Entry:
    def fill(target: FloatArray) -> None:
        target[:, :columns] = tensors[name]

    return Entry((Tensor(name, "F32", (rows, pad(columns))),), fill)


def _positions(tensors: Tensors, name: str, stack: StackSpec) -> Entry:
    positions = stack.positions
    rows = positions.offset + positions.max_length * positions.segments
    return _rows(tensors, name, rows, stack.d_model)


def _matrix(tensors: Tensors, name: str, outputs: int, inputs: int) -> Matrix:
    def blocks() -> Iterator[FloatArray]:
        return row_blocks(tensors[name])

    return Matrix(name, pad(outputs) // PANEL, pad(inputs), blocks)


def _to_heads(
    tensors: Tensors, name: str, parts: Sequence[str], stack: StackSpec, inputs: int
) -> Iterator[Entry | Matrix]:
    """Projections to heads, one under another; every head is padded by itself."""
    heads, head_dim = stack.num_heads, stack.head_dim
    width = heads * pad(head_dim)
    total = len(parts) * width

    def blocks() -> Iterator[FloatArray]:
        for part in parts:
            padded = _pad_axis(tensors[f"{part}.weight"].reshape(heads, head_dim, inputs), 1)
            yield from row_blocks(padded.reshape(width, inputs))

    def fill_bias(target: FloatArray) -> None:
        for i, part in enumerate(parts):
            if f"{part}.bias" in tensors:
                padded = _pad_axis(tensors[f"{part}.bias"].reshape(heads, head_dim), 1)
                target[i * width : (i + 1) * width] = padded.reshape(width)

    yield Matrix(f"{name}.weight", total // PANEL, pad(inputs), blocks)
    if any(f"{part}.bias" in tensors for part in parts):
        yield Entry((Tensor(f"{name}.bias", "F32", (total,)),), fill_bias)


def _from_heads(tensors: Tensors, name: str, stack: StackSpec) -> Iterator[Entry | Matrix]:
    """The projection back from the heads, each padded by itself, to d_model.

    A model without one gets the identity.
    """
    heads, head_dim, d_model = stack.num_heads, stack.head_dim, stack.d_model
    width = heads * pad(head_dim)

    def blocks() -> Iterator[FloatArray]:
        stored = f"{name}.weight" in tensors
        weight = tensors[f"{name}.weight"] if stored else np.eye(d_model, dtype=np.float32)
        padded = _pad_axis(weight.reshape(d_model, heads, head_dim), 2)
        return row_blocks(padded.reshape(d_model, width))

    yield Matrix(f"{name}.weight", pad(d_model) // PANEL, width, blocks)
    if f"{name}.bias" in tensors:
        yield _vector(tensors, f"{name}.bias", d_model)


def _pad_axis(array: FloatArray, axis: int) -> FloatArray:
    missing = pad(array.shape[axis]) - array.shape[axis]
    if missing == 0:
        return array
    return np.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])
