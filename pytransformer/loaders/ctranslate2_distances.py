"""How self-attention of CTranslate2's models sees the distance of key and query."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.ctranslate2_attributes import Attributes
from pytransformer.loaders.ctranslate2_file import Ctranslate2File
from pytransformer.loaders.distance_buckets import exact_buckets
from pytransformer.model_spec import DistanceSpec

_ALIKE = ("rotary_dim", "rotary_interleave", "rotary_base", "relative_attention_max_distance")
# Models have 128 or so. A table for all heads and distances must not be larger than the model.
_MAX_DISTANCE = 4096
_MAX_BIASES = 2**19


def read_distances(
    file: Ctranslate2File, attributes: Attributes, side: str, head_dim: int, num_layers: int
) -> DistanceSpec | None:
    """What all layers say; None where tokens have positions instead."""
    for name in _ALIKE:
        found = {
            file.attributes.get(f"{side}/layer_{layer}/self_attention/{name}")
            for layer in range(num_layers)
        }
        if len(found) > 1:
            raise UnsupportedModelError(
                f"{file.path}: {side}: {name} differs from layer to layer, which is not supported"
            )
    scope = f"{side}/layer_0/self_attention"
    if f"{scope}/rotary_dim" in attributes:
        return _rotary(file, attributes, scope, head_dim)
    keys = file.shapes.get(f"{scope}/relative_position_keys")
    if keys is not None:
        if len(keys) != 2 or keys[0] % 2 == 0:
            raise CheckpointError(
                f"{file.path}: {scope}/relative_position_keys is {keys}, expected an odd number "
                "of rows, one for each distance"
            )
        return DistanceSpec("vectors", max_distance=keys[0] // 2)
    buckets = file.shapes.get(f"{scope}/relative_attention_bias")
    if buckets is None:
        return None
    name = f"{scope}/relative_attention_max_distance"
    exact = exact_buckets(buckets[0], both_ways=side == "encoder")
    if len(buckets) != 2 or exact == 0 or name not in attributes:
        raise CheckpointError(
            f"{file.path}: {scope}/relative_attention_bias is {buckets}, expected rows for some "
            f"buckets, and {name}"
        )
    most = max(exact + 1, min(_MAX_DISTANCE, _MAX_BIASES // max(1, buckets[1])))
    return DistanceSpec("bias", max_distance=attributes.integer(name, 0, exact + 1, most))


def _rotary(
    file: Ctranslate2File, attributes: Attributes, scope: str, head_dim: int
) -> DistanceSpec:
    width = attributes.integer(f"{scope}/rotary_dim", 0, 0, 2**20)
    if width not in (0, head_dim) or head_dim % 2:
        raise UnsupportedModelError(
            f"{file.path}: {scope}/rotary_dim is {width}: turning a part of the {head_dim} "
            "columns of a head is not supported"
        )
    theta = attributes.number(f"{scope}/rotary_base", 10000.0)
    if theta <= 0:
        raise CheckpointError(f"{file.path}: {scope}/rotary_base is {theta}, expected more than 0")
    return DistanceSpec("rotary", theta=theta)


def halves_from_pairs(num_heads: int, head_dim: int) -> npt.NDArray[Any]:
    """The rows of a projection whose heads turn neighbouring columns, so that halves are turned."""
    rows = np.arange(num_heads * head_dim).reshape(num_heads, head_dim // 2, 2)
    return cast("npt.NDArray[Any]", rows.swapaxes(1, 2).reshape(-1))
