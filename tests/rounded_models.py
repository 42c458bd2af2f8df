"""Checkpoints and reference models as smaller number formats leave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from pytransformer.model_spec import Checkpoint, StackSpec
from pytransformer.quantization import (
    FloatArray,
    dequantise_int4,
    dequantise_int8,
    from_bfloat16,
    quantise_int4,
    quantise_int8,
    to_bfloat16,
)
from reference_formats import LANES, round_bfloat16, round_rows
from reference_model import Array, ReferenceModel, Rounding

# The compute type of the matrix of a name.
TypeOf = Callable[[str], str]


def type_everywhere(compute_type: str) -> TypeOf:
    return lambda _: compute_type


def rounded_checkpoint(checkpoint: Checkpoint, type_of: TypeOf) -> Checkpoint:
    """The same with every matrix as a file holds it; vectors stay as they are."""
    tensors = dict(checkpoint.tensors)
    for name, value in tensors.items():
        if value.ndim == 2 and not name.endswith("positions.weight") and ".distances." not in name:
            side = checkpoint.model.encoder if name[:3] == "enc" else checkpoint.model.decoder
            by_heads = name.endswith("attention.output.weight")
            tensors[name] = _rounded(value, type_of(name), side if by_heads else None)
    return dataclasses.replace(checkpoint, tensors=tensors)


def rounding_model(
    checkpoint: Checkpoint, type_of: TypeOf, *, cache_type: str, fused: bool = True
) -> ReferenceModel:
    """The reference with the weights, the activations and the caches of compute types."""

    def activations(name: str, x: Array) -> Array:
        compute_type = type_of(name)
        if compute_type == "float32":
            return x
        return round_rows(compute_type, x.astype(np.float32), fused=fused).values

    def cache(x: Array) -> Array:
        return round_bfloat16(x) if cache_type == "bfloat16" else x

    return ReferenceModel(rounded_checkpoint(checkpoint, type_of), Rounding(activations, cache))


def inexact_model(checkpoint: Checkpoint) -> ReferenceModel:
    """The reference whose products read numbers that are off by some units in float32's last place.

    What differs then tells how much a model magnifies what float32 rounds away.
    """
    rng = np.random.default_rng(0)

    def inexact(x: Array) -> Array:
        return x * (1 + 4 * float(np.finfo(np.float32).eps) * rng.uniform(-1, 1, x.shape))

    return ReferenceModel(checkpoint, Rounding(lambda _, x: inexact(x), inexact))


def _rounded(weight: FloatArray, compute_type: str, heads: StackSpec | None) -> FloatArray:
    """Inputs that are heads lie in memory with each head padded, which int4's groups depend on."""
    rows = weight
    if heads is not None:
        missing = -heads.head_dim % LANES
        by_head = weight.reshape(len(weight), heads.num_heads, heads.head_dim)
        rows = np.pad(by_head, [(0, 0), (0, 0), (0, missing)]).reshape(len(weight), -1)
    if compute_type == "float32":
        pass
    elif compute_type == "bfloat16":
        rows = from_bfloat16(to_bfloat16(rows))
    elif compute_type == "int8":
        rows = dequantise_int8(*quantise_int8(rows))
    else:
        rows = dequantise_int4(*quantise_int4(rows), rows.shape[1])
    if heads is not None:
        by_head = rows.reshape(len(rows), heads.num_heads, -1)[:, :, : heads.head_dim]
        rows = by_head.reshape(weight.shape)
    return rows
