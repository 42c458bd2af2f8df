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
from pytransformer.model_spec import AverageSpec, Checkpoint, StackSpec

Array = npt.NDArray[np.float64]
Sublayer = Callable[[Array], Array]
Source = Sequence[int] | Array

NORMS = {
    "layer": reference.layer_norm,
    "rms": reference.rms_norm,
    "deviation": reference.deviation_norm,
}


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
    """A Transformer, or half of one; sequences are ids of tokens, one sentence at a time.

    Where the encoder reads vectors, a source is an array [vectors, vector_size].
    """

    def __init__(self, checkpoint: Checkpoint, rounding: Rounding | None = None) -> None:
        self._rounding = rounding or Rounding()
        self._spec = checkpoint.model
        self._tensors = {name: np.asarray(t, np.float64) for name, t in checkpoint.tensors.items()}

        # Of the latest call, [heads, queries, keys], by the name of the sublayer.
        self._weights: dict[str, Array] = {}

    def encode(self, source: Source, segments: Sequence[int] | None = None) -> Array:
        """States [tokens, d_model] of the encoder (section 3.1); `segments` are tokens' types."""
        stack = self._spec.encoder
        x = self._embed("encoder", stack, source, segments)
        for i in range(stack.num_layers):
            layer = f"encoder.layers.{i}"
            x = self._self_attention(f"{layer}.self_attention", stack, x, causal=False)
            x = self._feed_forward(f"{layer}.feed_forward", stack, x)
        return self._norm("encoder.norm", stack, x) if stack.final_norm else x

    def pooled(self, states: Array) -> Array:
        """What the pooler of a head makes of the first state, [pooler_size]."""
        head = self._spec.head
        assert head is not None
        return reference.activation(head.pooler_activation, self._linear("pooler", states[:1])[0])

    def label_logits(self, states: Array) -> Array:
        """What the classifier of a head makes of that, or of the first state, [labels]."""
        head = self._spec.head
        assert head is not None
        first = self.pooled(states)[np.newaxis] if head.pooler_size else states[:1]
        return np.asarray(self._linear("classifier", first)[0])

    def logits(self, source: Source, target: Sequence[int]) -> Array:
        """Logits [len(target), vocab_size] after each token of `target` (sections 3.1 and 3.4).

        A decoder alone has no use for a source.
        """
        stack = self._spec.decoder
        alone = self._spec.architecture == "decoder"
        states = None if alone else self.encode(source)
        x = self._embed("decoder", stack, target)
        for i in range(stack.num_layers):
            layer = f"decoder.layers.{i}"
            x = self._autoregression(layer, stack, x)
            if states is not None:
                x = self._cross_attention(f"{layer}.cross_attention", stack, x, states)
            x = self._feed_forward(f"{layer}.feed_forward", stack, x)
        if stack.final_norm:
            x = self._norm("decoder.norm", stack, x)
        tied = self._spec.tied_output
        weight = self._embedding_name("decoder") if tied else "output.weight"
        return self._product(weight, x, "output.bias")

    def attention(self, source: Source, target: Sequence[int]) -> tuple[Array, Array, Array]:
        """The weights [layers, heads, queries, keys] in encoder, decoder and between them.

        Zeros where a decoder has something else in the place of self-attention.
        """
        self.logits(source, target)

        def maps(side: str, stack: StackSpec, sublayer: str, queries: int, keys: int) -> Array:
            nothing = np.zeros((stack.num_heads, queries, keys))
            names = [f"{side}.layers.{i}.{sublayer}" for i in range(stack.num_layers)]
            found = [self._weights.get(name, nothing) for name in names]
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

    def _embed(
        self, side: str, stack: StackSpec, source: Source, segments: Sequence[int] | None = None
    ) -> Array:
        """Sections 3.4 and 3.5: the embedding, scaled, plus the position."""
        positions = self._positions(side, stack)
        if positions is not None and segments is not None:
            blocks = np.asarray(segments) * stack.positions.max_length
            positions = positions[np.arange(len(source)) + blocks]
        if stack.vector_size:
            x = self._linear(f"{side}.vectors", np.asarray(source))
            x = x if positions is None else x + positions[: len(x)]
        else:
            embedding = self._tensors[self._embedding_name(side)]
            x = reference.embed(source, embedding, stack.embedding_scale, positions)
        return self._norm(f"{side}.embedding.norm", stack, x) if stack.embedding_norm else x

    def _positions(self, side: str, stack: StackSpec) -> Array | None:
        """Section 3.5: the row of the first token, and of all that may follow."""
        spec = stack.positions
        if spec.kind == "none":
            return None
        if spec.kind == "learned":
            table = self._tensors[f"{side}.positions.weight"]
        elif spec.kind == "sinusoidal_tensor2tensor":
            table = reference.tensor2tensor_encoding(spec.offset + spec.max_length, stack.d_model)
        else:
            table = reference.positional_encoding(
                spec.offset + spec.max_length,
                stack.d_model,
                interleaved=spec.kind == "sinusoidal_interleaved",
            )
        return table[spec.offset :]

    def _autoregression(self, layer: str, stack: StackSpec, x: Array) -> Array:
        """What stands in a decoder's layer where the paper has its masked self-attention."""
        if stack.autoregression == "self_attention":
            return self._self_attention(f"{layer}.self_attention", stack, x, causal=True)
        if stack.autoregression == "ssru":
            name = f"{layer}.ssru"
            return self._residual(name, stack, x, lambda inputs: self._ssru(name, inputs))
        name, average = f"{layer}.average", stack.average
        assert average is not None
        return self._residual(name, stack, x, lambda inputs: self._average(name, average, inputs))

    def _ssru(self, name: str, inputs: Array) -> Array:
        """Kim et al. 2019: max(0, c_t)."""
        forget = reference.sigmoid(self._linear(f"{name}.forget", inputs))
        states = reference.simpler_recurrent_unit(self._linear(f"{name}.input", inputs), forget)
        return self._linear_or_identity(f"{name}.output", np.maximum(states, 0.0))

    def _average(self, name: str, average: AverageSpec, inputs: Array) -> Array:
        """Zhang et al. 2018: the layers over the mean, gated by the inputs themselves."""
        y = reference.running_mean(inputs)
        for j in range(average.num_layers):
            hidden = y if j == 0 else reference.activation(average.activation, y)
            y = self._linear(f"{name}.layers.{j}", hidden)
        if not average.gated:
            return y
        input_gate = reference.sigmoid(self._linear(f"{name}.input_gate", inputs))
        forget_gate = reference.sigmoid(self._linear(f"{name}.forget_gate", y))
        return input_gate * inputs + forget_gate * y

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
        """Section 3.3, equation 2, with any activation in place of max(0, x).

        Gated, it is equation 6 of Shazeer 2020: (activation(x W) * x V) W2.
        """

        def sublayer(inputs: Array) -> Array:
            up = self._linear(f"{name}.up", inputs)
            if stack.gated:
                gate = self._linear(f"{name}.gate", inputs)
                hidden = reference.activation(stack.activation, gate) * up
            else:
                hidden = reference.activation(stack.activation, up)
            for j in range(stack.feed_forward_depth - 2):
                middle = self._linear(f"{name}.middle.{j}", hidden)
                hidden = reference.activation(stack.activation, middle)
            return self._linear(f"{name}.down", hidden)

        return self._residual(name, stack, x, sublayer)

    def _residual(self, name: str, stack: StackSpec, x: Array, sublayer: Sublayer) -> Array:
        """Section 3.1: LayerNorm(x + Sublayer(x)), or x + Sublayer(LayerNorm(x)) with pre-norm."""
        if stack.norm_position == "none":
            return x + sublayer(x)
        if stack.norm_position == "pre":
            return x + sublayer(self._norm(f"{name}.norm", stack, x))
        return self._norm(f"{name}.norm", stack, x + sublayer(x))

    def _attention(
        self, name: str, stack: StackSpec, queries: Array, states: Array, *, causal: bool
    ) -> Array:
        """Section 3.2.2: Concat(head_1, ..., head_h) W^O."""
        query = self._by_heads(stack, self._linear(f"{name}.query", queries))
        key = self._by_heads(stack, self._linear(f"{name}.key", states))
        value = self._by_heads(stack, self._linear(f"{name}.value", states))
        distances = stack.distances if name.endswith("self_attention") else None
        if distances is not None and distances.kind == "rotary":
            query = np.array([reference.rotate(head, distances.theta) for head in query])
            key = np.array([reference.rotate(head, distances.theta) for head in key])
        if name.startswith("decoder."):
            key, value = self._rounding.cache(key), self._rounding.cache(value)
        query = query * stack.attention_scale
        scores = query @ key.transpose(0, 2, 1)
        columns = reference.distance_columns(
            len(queries), len(states), distances.max_distance if distances is not None else 0
        )
        if distances is not None and distances.kind == "bias":
            scores += self._tensors[f"{name}.distances.bias"][:, columns]
        if distances is not None and distances.kind == "vectors":
            vectors = self._tensors[f"{name}.distances.keys"][columns]
            scores += np.einsum("hqd,qkd->hqk", query, vectors)
        if causal:  # section 3.2.3: no connection to what comes later
            scores = np.where(np.tri(*columns.shape, dtype=np.bool_), scores, -np.inf)
        weights = self._weights[name] = reference.softmax(scores)
        heads = weights @ value
        if distances is not None and distances.kind == "vectors":
            vectors = self._tensors[f"{name}.distances.values"][columns]
            heads += np.einsum("hqk,qkd->hqd", weights, vectors)
        return self._linear_or_identity(f"{name}.output", np.concatenate(list(heads), axis=1))

    @staticmethod
    def _by_heads(stack: StackSpec, x: Array) -> Array:
        by_head = x.reshape(len(x), stack.num_heads, stack.head_dim)
        return np.asarray(by_head.transpose(1, 0, 2))

    def _linear_or_identity(self, name: str, x: Array) -> Array:
        return self._linear(name, x) if f"{name}.weight" in self._tensors else x

    def _linear(self, name: str, x: Array) -> Array:
        return self._product(f"{name}.weight", x, f"{name}.bias")

    def _product(self, weight: str, x: Array, bias: str) -> Array:
        rounded = self._rounding.activations(weight, x)
        return reference.linear(rounded, self._tensors[weight], self._tensors.get(bias))

    def _norm(self, name: str, stack: StackSpec, x: Array) -> Array:
        bias = self._tensors.get(f"{name}.bias")
        return NORMS[stack.norm](x, self._tensors[f"{name}.weight"], bias, stack.norm_epsilon)
