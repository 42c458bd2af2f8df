"""From the names that a framework gives to the tensors of its layers to a plan of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pytransformer.loaders.tensor_plan import Planned, Shape
from pytransformer.loaders.tensor_source import FloatArray
from pytransformer.model_spec import StackSpec

Rows = npt.NDArray[Any]
_Named = tuple[str, Planned]


@dataclass(frozen=True)
class Stored:
    """What the names of a linear layer's or a norm's tensors begin with.

    `rows` are the rows of the stored matrix, which has `height` of them, that make up the model's,
    if the two differ: a part of it, or others in their order.
    """

    name: str
    rows: Rows | None = None
    height: int = 0


@dataclass(frozen=True)
class StackNames:
    """How a framework names the tensors of one stack.

    Attributes:
        layer: what the names within a layer begin with; `{}` is the number of the layer.
        linears: linear layers by their canonical names within a layer.
        norms: norms likewise, and "norm" and "embedding.norm", which belong to no layer.
        has_bias: whether the linear layer or the norm of a canonical name has a bias.
        weight, bias: what the names of a linear layer's tensors end with.
        norm_weight, norm_bias: what those of a norm end with.
    """

    layer: str
    linears: Mapping[str, Stored]
    norms: Mapping[str, str]
    has_bias: Callable[[str], bool] = field(default=lambda _: True)
    weight: str = "weight"
    bias: str = "bias"
    norm_weight: str = "weight"
    norm_bias: str = "bias"

    def plan(self, side: str, stack: StackSpec, states_width: int) -> Iterator[_Named]:
        """Where the tensors of a stack come from, embeddings, positions and output excepted.

        `states_width` is the width of what cross-attention reads.
        """
        for i in range(stack.num_layers):
            for name, stored in self.linears.items():
                shape = linear_shape(stack, name, states_width)
                prefix = self.layer.format(i) + stored.name
                yield from self._linear(f"{side}.layers.{i}", name, prefix, shape, stored)
        for name, prefix in self.norms.items():
            if name in ("norm", "embedding.norm"):
                yield from self._norm(f"{side}.{name}", name, prefix, stack.d_model)
                continue
            for i in range(stack.num_layers):
                stored_prefix = self.layer.format(i) + prefix
                yield from self._norm(
                    f"{side}.layers.{i}.{name}", name, stored_prefix, stack.d_model
                )

    def _linear(
        self, layer: str, name: str, prefix: str, shape: Shape, stored: Stored
    ) -> Iterator[_Named]:
        transform = None if stored.rows is None else partial(_take, stored.rows)
        height, width = stored.height or shape[0], shape[1]
        yield f"{layer}.{name}.weight", Planned(prefix + self.weight, (height, width), transform)
        if self.has_bias(name):
            yield f"{layer}.{name}.bias", Planned(prefix + self.bias, (height,), transform)

    def _norm(self, canonical: str, name: str, prefix: str, d_model: int) -> Iterator[_Named]:
        yield f"{canonical}.weight", Planned(prefix + self.norm_weight, (d_model,))
        if self.has_bias(name):
            yield f"{canonical}.bias", Planned(prefix + self.norm_bias, (d_model,))


def fused(attention: str, prefix: str, width: int) -> dict[str, Stored]:
    """Query, key and value of an attention, stored one below the other; each `width` rows."""
    return {
        f"{attention}.{part}": Stored(prefix, np.arange(i * width, (i + 1) * width), 3 * width)
        for i, part in enumerate(("query", "key", "value"))
    }


def linear_shape(stack: StackSpec, name: str, states_width: int) -> Shape:
    """Shape of a linear layer's weight, by its canonical name within a layer."""
    heads_width = stack.num_heads * stack.head_dim
    part = name.rpartition(".")[2]
    if part == "down":
        return stack.d_model, stack.d_ff
    if name.startswith("feed_forward."):
        return stack.d_ff, stack.d_model
    if part == "output":
        return stack.d_model, heads_width
    reads_states = name.startswith("cross_attention.") and part in ("key", "value")
    return heads_width, states_width if reads_states else stack.d_model


def _take(rows: Rows, values: FloatArray) -> FloatArray:
    return values[rows]
