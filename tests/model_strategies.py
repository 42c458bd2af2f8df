"""Hypothesis strategies for architectures: every knob, and sizes that fit no register."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from pytransformer.model_spec import ModelSpec, PositionSpec, StackSpec

_positions = st.builds(
    PositionSpec,
    kind=st.sampled_from(["none", "sinusoidal", "sinusoidal_interleaved", "learned"]),
    max_length=st.integers(40, 80),
    offset=st.integers(0, 3),
)
_stacks = st.builds(
    StackSpec,
    num_layers=st.integers(0, 3),
    d_model=st.integers(2, 70),
    num_heads=st.integers(1, 5),
    head_dim=st.integers(1, 40),
    d_ff=st.integers(1, 90),
    vocab_size=st.integers(2, 200),
    activation=st.sampled_from(["relu", "gelu", "gelu_tanh", "silu"]),
    norm_position=st.sampled_from(["pre", "post"]),
    final_norm=st.booleans(),
    embedding_norm=st.booleans(),
    embedding_scale=st.sampled_from([1.0, 4.0, 8.5]),
    attention_scale=st.sampled_from([0.1, 0.3, 1.0]),
    norm_epsilon=st.sampled_from([1e-6, 1e-5, 1e-3]),
    positions=_positions,
)


@st.composite
def models(draw: st.DrawFn) -> ModelSpec:
    """Any encoder-decoder Transformer with up to 3 layers a side and positions for 40 tokens."""
    encoder, decoder = draw(_stacks), draw(_stacks)
    shared = draw(st.booleans())
    if shared:
        decoder = dataclasses.replace(
            decoder, d_model=encoder.d_model, vocab_size=encoder.vocab_size
        )
    return ModelSpec(encoder, decoder, shared, tied_output=draw(st.booleans()))
