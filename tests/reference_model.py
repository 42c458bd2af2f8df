"""The Transformer in plain NumPy and float64, from the paper's formulas: what the engine computes.

Section numbers are those of "Attention Is All You Need" (Vaswani et al. 2017). The model is read
from a :class:`pytransformer.model_spec.Checkpoint`, with every knob that the paper's descendants
turn. It knows no cache, no batch and no packing: each call computes all positions anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import reference
from pytransformer.model_spec import Checkpoint, StackSpec

Array = npt.NDArray[np.float64]
Sublayer = Callable[[Array], Array]


@dataclass(frozen=True)
class Rounding:
    """What smaller number formats do to numbers on their way.

    Attributes:
        activations: to rows [rows, inputs] that enter the product with the weights of a name.
        cache: to keys and values that the decoder keeps.
    """

    activations: Callable[[str, Array], Array] = lambda _, x: x
    cache: Callable[[Array], Array] = lambda x: x


class ReferenceModel:
    """An encoder-decoder Transformer; sequences are ids of tokens, one sentence at a time."""

    def __init__(self, checkpoint: Checkpoint, rounding: Rounding | None = None) -> None:
        self._rounding = rounding or Rounding()
        self._spec = checkpoint.model
        self._tensors = {name: np.asarray(t, np.float64) for name, t in checkpoint.tensors.items()}

        # Of the latest call, [heads, queries, keys], by the name of the sublayer.
        self._weights: dict[str, Array] = {}

    def encode(self, source: Sequence[int]) -> Array:
        """States [tokens, d_model] of the encoder (section 3.1)."""
        stack = self._spec.encoder
        x = self._embed("encoder", stack, source)
        for i in range(stack.num_layers):
            layer = f"encoder.layers.{i}"
            x = self._self_attention(f"{layer}.self_attention", stack, x, causal=False)
            x = self._feed_forward(f"{layer}.feed_forward", stack, x)
        return self._norm("encoder.norm", stack, x) if stack.final_norm else x

    def logits(self, source: Sequence[int], target: Sequence[int]) -> Array:
        """Logits [len(target), vocab_size] after each token of `target` (sections 3.1 and 3.4)."""
        stack = self._spec.decoder
        states = self.encode(source)
        x = self._embed("decoder", stack, target)
        for i in range(stack.num_layers):
            layer = f"decoder.layers.{i}"
            x = self._self_attention(f"{layer}.self_attention", stack, x, causal=True)
            x = self._cross_attention(f"{layer}.cross_attention", stack, x, states)
            x = self._feed_forward(f"{layer}.feed_forward", stack, x)
        if stack.final_norm:
            x = self._norm("decoder.norm", stack, x)
        tied = self._spec.tied_output
        weight = self._embedding_name("decoder") if tied else "output.weight"
        return self._product(weight, x, "output.bias")

    def attention(self, source: Sequence[int], target: Sequence[int]) -> tuple[Array, Array, Array]:
        """The weights [layers, heads, queries, keys] in encoder, decoder and between them."""
        self.logits(source, target)

        def maps(side: str, stack: StackSpec, sublayer: str, queries: int, keys: int) -> Array:
            layers = range(stack.num_layers)
            found = [self._weights[f"{side}.layers.{i}.{sublayer}"] for i in layers]
            return np.array(found).reshape(stack.num_layers, stack.num_heads, queries, keys)

        encoder, decoder = self._spec.encoder, self._spec.decoder
        m, n = len(source), len(target)
        return (
            maps("encoder", encoder, "self_attention", m, m),
            maps("decoder", decoder, "self_attention", n, n),
            maps("decoder", decoder, "cross_attention", n, m),
        )

    def _embedding_name(self, side: str) -> str:
        return f"{'shared' if self._spec.shared_embedding else side}.embedding.weight"

    def _embed(self, side: str, stack: StackSpec, ids: Sequence[int]) -> Array:
        """Sections 3.4 and 3.5: the embedding, scaled, plus the position."""
        positions = self._positions(side, stack)
        embedding = self._tensors[self._embedding_name(side)]
        x = reference.embed(ids, embedding, stack.embedding_scale, positions)
        return self._norm(f"{side}.embedding.norm", stack, x) if stack.embedding_norm else x

    def _positions(self, side: str, stack: StackSpec) -> Array | None:
        """Section 3.5: the row of the first token, and of all that may follow."""
        spec = stack.positions
        if spec.kind == "none":
            return None
        if spec.kind == "learned":
            table = self._tensors[f"{side}.positions.weight"]
        else:
            table = reference.positional_encoding(
                spec.offset + spec.max_length,
                stack.d_model,
                interleaved=spec.kind == "sinusoidal_interleaved",
            )
        return table[spec.offset :]

    def _self_attention(self, name: str, stack: StackSpec, x: Array, *, causal: bool) -> Array:
        """Sections 3.1 and 3.2.3: every position attends to all, or to those up to itself."""

        def sublayer(inputs: Array) -> Array:
            return self._attention(name, stack, inputs, inputs, causal=causal)

        return self._residual(name, stack, x, sublayer)

    def _cross_attention(self, name: str, stack: StackSpec, x: Array, states: Array) -> Array:
        """Section 3.2.3: queries of the decoder, keys and values of the encoder's output."""

        def sublayer(inputs: Array) -> Array:
            return self._attention(name, stack, inputs, states, causal=False)

        return self._residual(name, stack, x, sublayer)

    def _feed_forward(self, name: str, stack: StackSpec, x: Array) -> Array:
        """Section 3.3, equation 2, with any activation in place of max(0, x)."""

        def sublayer(inputs: Array) -> Array:
            hidden = reference.activation(stack.activation, self._linear(f"{name}.up", inputs))
            return self._linear(f"{name}.down", hidden)

        return self._residual(name, stack, x, sublayer)

    def _residual(self, name: str, stack: StackSpec, x: Array, sublayer: Sublayer) -> Array:
        """Section 3.1: LayerNorm(x + Sublayer(x)), or x + Sublayer(LayerNorm(x)) with pre-norm."""
        if stack.norm_position == "pre":
            return x + sublayer(self._norm(f"{name}.norm", stack, x))
        return self._norm(f"{name}.norm", stack, x + sublayer(x))

    def _attention(
        self, name: str, stack: StackSpec, queries: Array, states: Array, *, causal: bool
    ) -> Array:
        """Section 3.2.2: Concat(head_1, ..., head_h) W^O."""
        query = self._linear(f"{name}.query", queries)
        key = self._linear(f"{name}.key", states)
        value = self._linear(f"{name}.value", states)
        if name.startswith("decoder."):
            key, value = self._rounding.cache(key), self._rounding.cache(value)
        heads, maps = [], []
        for head in range(stack.num_heads):
            columns = slice(head * stack.head_dim, (head + 1) * stack.head_dim)
            scores = query[:, columns] @ key[:, columns].T * stack.attention_scale
            if causal:  # section 3.2.3: no connection to what comes later
                scores = np.where(np.tri(*scores.shape, dtype=bool), scores, -np.inf)
            maps.append(reference.softmax(scores))
            heads.append(maps[-1] @ value[:, columns])
        self._weights[name] = np.array(maps)
        return self._linear(f"{name}.output", np.concatenate(heads, axis=1))

    def _linear(self, name: str, x: Array) -> Array:
        return self._product(f"{name}.weight", x, f"{name}.bias")

    def _product(self, weight: str, x: Array, bias: str) -> Array:
        rounded = self._rounding.activations(weight, x)
        return reference.linear(rounded, self._tensors[weight], self._tensors.get(bias))

    def _norm(self, name: str, stack: StackSpec, x: Array) -> Array:
        return reference.layer_norm(
            x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"], stack.norm_epsilon
        )
