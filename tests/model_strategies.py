"""Hypothesis strategies for architectures: every knob, and sizes that fit no register."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from pytransformer.model_spec import (
    Autoregression,
    AverageSpec,
    DistanceSpec,
    HeadSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
)
from random_models import decoder_spec, encoder_spec

ACTIVATIONS = ["relu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu", "tanh"]

# Self-attention as often as both others, since it alone has distances.
AUTOREGRESSIONS: list[Autoregression] = [
    "self_attention",
    "self_attention",
    "ssru",
    "average_attention",
]

_positions = st.builds(
    PositionSpec,
    kind=st.sampled_from(
        ["none", "sinusoidal", "sinusoidal_interleaved", "sinusoidal_tensor2tensor", "learned"]
    ),
    max_length=st.integers(40, 80),
    offset=st.integers(0, 3),
)
_distances = st.one_of(
    st.none(),
    st.builds(
        DistanceSpec, kind=st.sampled_from(["bias", "vectors"]), max_distance=st.integers(0, 45)
    ),
    st.builds(DistanceSpec, kind=st.just("rotary"), theta=st.sampled_from([50.0, 10000.0])),
)
_averages = st.builds(
    AverageSpec,
    num_layers=st.integers(0, 3),
    width=st.integers(1, 60),
    activation=st.sampled_from(ACTIVATIONS),
    gated=st.booleans(),
)
_heads = st.builds(
    HeadSpec,
    pooler_size=st.sampled_from([0, 1, 17, 90]),
    pooler_activation=st.sampled_from(ACTIVATIONS),
    labels=st.integers(0, 20).map(lambda count: tuple(map(str, range(count)))),
    chances=st.sampled_from(["softmax", "sigmoid", "none"]),
)
_plain_stacks = st.builds(
    StackSpec,
    num_layers=st.integers(0, 3),
    d_model=st.just(0),
    num_heads=st.integers(1, 5),
    head_dim=st.integers(1, 40),
    d_ff=st.integers(1, 90),
    vocab_size=st.integers(2, 200),
    activation=st.sampled_from(ACTIVATIONS),
    norm_position=st.sampled_from(["pre", "post", "none"]),
    final_norm=st.booleans(),
    embedding_norm=st.booleans(),
    embedding_scale=st.sampled_from([1.0, 4.0, 8.5]),
    attention_scale=st.sampled_from([0.1, 0.3, 1.0]),
    norm_epsilon=st.sampled_from([1e-6, 1e-5, 1e-3]),
    positions=_positions,
    norm=st.sampled_from(["layer", "rms", "deviation"]),
    gated=st.booleans(),
    feed_forward_depth=st.sampled_from([2, 2, 3, 4]),
    distances=_distances,
)


@st.composite
def _stacks(draw: st.DrawFn, least_width: int) -> StackSpec:
    """A stack of either side; what does not go together is made to."""
    spec = dataclasses.replace(draw(_plain_stacks), d_model=draw(st.integers(least_width, 70)))
    if spec.gated:
        spec = dataclasses.replace(spec, feed_forward_depth=2)
    if spec.norm_position == "none":  # large scores would magnify what float32 rounds away
        spec = dataclasses.replace(spec, embedding_scale=1.0)
    if spec.distances is not None and spec.distances.kind == "rotary":
        spec = dataclasses.replace(spec, head_dim=spec.head_dim + spec.head_dim % 2)
    return spec


@st.composite
def _decoders(draw: st.DrawFn, least_width: int) -> StackSpec:
    """A stack that may be autoregressive without self-attention."""
    spec = draw(_stacks(least_width))
    kind = draw(st.sampled_from(AUTOREGRESSIONS))
    if kind == "self_attention":
        return spec
    average = draw(_averages) if kind == "average_attention" else None
    return dataclasses.replace(spec, autoregression=kind, average=average, distances=None)


@st.composite
def models(draw: st.DrawFn, least_width: int = 2) -> ModelSpec:
    """Any encoder-decoder Transformer with up to 3 layers a side and positions for 40 tokens.

    Norms over few numbers, which may be alike, magnify what is rounded away: where that matters, a
    stack has the `least_width`.
    """
    encoder, decoder = draw(_stacks(least_width)), draw(_decoders(least_width))
    shared = draw(st.booleans())
    if shared:
        decoder = dataclasses.replace(
            decoder, d_model=encoder.d_model, vocab_size=encoder.vocab_size
        )
    return ModelSpec(encoder, decoder, shared, tied_output=draw(st.booleans()))


@st.composite
def encoders(draw: st.DrawFn, least_width: int = 2) -> ModelSpec:
    """Any encoder alone, of tokens of one or more types or of vectors, with or without a head."""
    spec = draw(_stacks(least_width))
    kind = draw(st.sampled_from(["tokens", "tokens", "types", "vectors"]))
    if kind == "types" and spec.positions.kind == "learned":
        positions = dataclasses.replace(spec.positions, segments=draw(st.integers(2, 4)))
        spec = dataclasses.replace(spec, positions=positions)
    if kind == "vectors":
        spec = dataclasses.replace(spec, vector_size=draw(st.integers(1, 40)))
    return encoder_spec(spec, draw(st.one_of(st.none(), _heads)))


@st.composite
def decoders(draw: st.DrawFn, least_width: int = 2) -> ModelSpec:
    """Any decoder alone."""
    return decoder_spec(draw(_decoders(least_width)), tied_output=draw(st.booleans()))
