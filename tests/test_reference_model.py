"""Every knob of the model specification against the paper's formulas in NumPy and float64.

MarianMT has few of them; the checkpoints are made of random weights directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_strategies import decoders, models
from pytransformer import _native
from pytransformer.model_spec import (
    NO_TOKEN,
    AverageSpec,
    Checkpoint,
    DistanceSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
)
from random_models import (
    make_engine,
    model_spec,
    random_checkpoint,
    sentences,
    stack,
)
from reference_model import ReferenceModel
from rounded_models import inexact_model

# Of the root mean square of a row of logits, or of states.
TOLERANCE = 1e-4
# Times what comes of errors of some units in float32's last place, where that is much.
MARGIN = 5.0
LEAST_WIDTH = 8

WIDE = {"d_model": 50, "num_heads": 5, "d_ff": 21}

slow = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# One change of the specification each; "encoder" and "decoder" change both stacks if alone.
KNOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pre-norm": {"norm_position": "pre"},
    "pre-norm-final": {"norm_position": "pre", "final_norm": True},
    "post-norm-final": {"final_norm": True},
    "embedding-norm": {"embedding_norm": True},
    "relu": {"activation": "relu"},
    "gelu": {"activation": "gelu"},
    "gelu-tanh": {"activation": "gelu_tanh"},
    "gelu-sigmoid": {"activation": "gelu_sigmoid"},
    "silu": {"activation": "silu"},
    "tanh": {"activation": "tanh"},
    "no-norms": {"norm_position": "none"},
    "no-norms-but-the-final": {"norm_position": "none", "final_norm": True},
    "rms": {"norm": "rms", "embedding_norm": True},
    "rms-pre-norm": {"norm": "rms", "norm_position": "pre", "final_norm": True},
    "deviation": {"norm": "deviation", "embedding_norm": True},
    "deviation-pre-norm": {"norm": "deviation", "norm_position": "pre", "final_norm": True},
    "deviation-epsilon": {"norm": "deviation", "norm_epsilon": 0.3},
    "gated": {"gated": True, "activation": "gelu_tanh"},
    "gated-pre-norm": {"gated": True, "activation": "silu", "norm_position": "pre"},
    "deep": {"feed_forward_depth": 3},
    "deeper": {"feed_forward_depth": 5, "norm_position": "pre"},
    "no-embedding-scale": {"embedding_scale": 1.0},
    "attention-scale": {"attention_scale": 0.11},
    "epsilon": {"norm_epsilon": 0.3},
    "interleaved": {"positions": PositionSpec("sinusoidal_interleaved", 70)},
    "interleaved-odd": {"positions": PositionSpec("sinusoidal_interleaved", 70), "d_model": 21},
    "sinusoids-odd": {"d_model": 21},
    "tensor2tensor": {"positions": PositionSpec("sinusoidal_tensor2tensor", 70)},
    "tensor2tensor-odd": {
        "positions": PositionSpec("sinusoidal_tensor2tensor", 70, 2),
        "d_model": 21,
    },
    "tensor2tensor-narrow": {
        "positions": PositionSpec("sinusoidal_tensor2tensor", 70),
        "d_model": 3,
    },
    "sinusoids-offset": {"positions": PositionSpec("sinusoidal", 70, 3)},
    "learned": {"positions": PositionSpec("learned", 70)},
    "learned-offset": {"positions": PositionSpec("learned", 70, 2)},
    "no-positions": {"positions": PositionSpec("none", 70)},
    "head-size-7-of-20": {"head_dim": 7, "num_heads": 3},
    "head-size-33-of-20": {"head_dim": 33},
    "one-head": {"num_heads": 1},
    "biases": {"distances": DistanceSpec("bias", 7)},
    "biases-without-end": {"distances": DistanceSpec("bias", 100)},
    "one-bias": {"distances": DistanceSpec("bias", 0)},
    "biases-pre-norm": {"distances": DistanceSpec("bias", 12), "norm_position": "pre"},
    "vectors": {"distances": DistanceSpec("vectors", 7)},
    "vectors-without-end": {"distances": DistanceSpec("vectors", 100)},
    "one-vector": {"distances": DistanceSpec("vectors", 0)},
    "vectors-of-33": {"distances": DistanceSpec("vectors", 4), "head_dim": 33},
    "rotary": {"distances": DistanceSpec("rotary")},
    "rotary-of-2": {"distances": DistanceSpec("rotary", theta=100.0), "head_dim": 2},
    "rotary-of-34": {"distances": DistanceSpec("rotary", theta=100.0), "head_dim": 34},
    "width-1": {"d_model": 1, "num_heads": 1, "head_dim": 1, "d_ff": 1},
    "no-layers": {"num_layers": 0},
}

wide = stack(**WIDE, norm_position="pre", final_norm=True, activation="gelu")
RELATIVES: dict[str, Any] = {"norm": "rms", "gated": True, "activation": "gelu_sigmoid"}
EVERYWHERE: dict[str, ModelSpec] = {
    "wide": model_spec(encoder=wide, decoder=wide),
    "biases": model_spec(
        encoder=stack(**RELATIVES, distances=DistanceSpec("bias", 9)),
        decoder=stack(**RELATIVES, distances=DistanceSpec("bias", 9)),
    ),
    "vectors-and-ssru": model_spec(
        encoder=stack(norm="deviation", distances=DistanceSpec("vectors", 9)),
        decoder=stack(norm="deviation", activation="tanh", autoregression="ssru"),
    ),
    "rotary-and-average": model_spec(
        encoder=stack(distances=DistanceSpec("rotary"), feed_forward_depth=3),
        decoder=stack(autoregression="average_attention", average=AverageSpec(2, 27, "relu", True)),
    ),
    "vectors-and-rotary": model_spec(
        encoder=stack(distances=DistanceSpec("rotary"), activation="silu"),
        decoder=stack(distances=DistanceSpec("vectors", 9), norm_position="none"),
    ),
    "rotary": model_spec(decoder=stack(distances=DistanceSpec("rotary", theta=300.0))),
}

# Changes of the two stacks apart from one another, and of the model as a whole.
SIDES: dict[str, ModelSpec] = {
    "separate-embeddings": model_spec(shared_embedding=False),
    "separate-output": model_spec(tied_output=False),
    "everything-separate": model_spec(shared_embedding=False, tied_output=False),
    "two-vocabularies": model_spec(decoder=stack(vocab_size=43), shared_embedding=False),
    "wide-encoder": model_spec(encoder=stack(**WIDE), shared_embedding=False),
    "wide-decoder": model_spec(decoder=stack(**WIDE), shared_embedding=False),
    "deep-encoder": model_spec(encoder=stack(num_layers=4), decoder=stack(num_layers=1)),
    "deep-decoder": model_spec(encoder=stack(num_layers=1), decoder=stack(num_layers=4)),
    "no-encoder-layers": model_spec(encoder=stack(num_layers=0)),
    "no-decoder-layers": model_spec(decoder=stack(num_layers=0)),
    "mixed-norms": model_spec(encoder=stack(norm_position="pre", final_norm=True)),
    "mixed-heads": model_spec(encoder=stack(num_heads=4, head_dim=16), decoder=stack(head_dim=3)),
    "norm-of-one-side": model_spec(decoder=stack(embedding_norm=True)),
}


# What takes the place of a decoder's self-attention.
AUTOREGRESSION: dict[str, dict[str, Any]] = {
    "ssru": {"autoregression": "ssru"},
    "ssru-pre-norm": {"autoregression": "ssru", "norm_position": "pre", "final_norm": True},
    "ssru-odd": {"autoregression": "ssru", "d_model": 33},
    "average": {"autoregression": "average_attention", "average": AverageSpec(2, 27, "relu", True)},
    "average-pre-norm": {
        "autoregression": "average_attention",
        "average": AverageSpec(2, 70, "gelu", True),
        "norm_position": "pre",
    },
    "average-odd": {
        "autoregression": "average_attention",
        "average": AverageSpec(3, 9, "silu", True),
        "d_model": 33,
    },
    "average-without-gates": {
        "autoregression": "average_attention",
        "average": AverageSpec(2, 27, "tanh", False),
    },
    "average-of-one-layer": {
        "autoregression": "average_attention",
        "average": AverageSpec(1, 27, "relu", True),
    },
    "average-without-layers": {
        "autoregression": "average_attention",
        "average": AverageSpec(0, 1, "relu", True),
    },
    "average-alone": {
        "autoregression": "average_attention",
        "average": AverageSpec(0, 1, "relu", False),
    },
}

# Both have heads that are together as wide as the model.
WITHOUT_OUTPUT: dict[str, tuple[StackSpec, tuple[str, ...]]] = {
    "self-attention": (stack(), ("self_attention.output",)),
    "cross-attention": (stack(), ("cross_attention.output",)),
    "both": (stack(norm_position="pre"), ("self_attention.output", "cross_attention.output")),
    "ssru": (stack(autoregression="ssru"), ("ssru.output", "cross_attention.output")),
}


def assert_agrees(
    spec: ModelSpec,
    seed: int,
    bias_share: float = 1.0,
    isa: str = "",
    without: tuple[str, ...] = (),
) -> None:
    """Encoder states and logits, for a short and a long source and target."""
    checkpoint = random_checkpoint(spec, seed, bias_share=bias_share, without=without)
    engine = make_engine(checkpoint, isa=isa)
    peers = ReferenceModel(checkpoint), inexact_model(checkpoint)
    sources = sentences(2, spec.encoder.vocab_size, 1, 40, seed)
    for source, target in zip(sources, targets(checkpoint, seed), strict=True):
        assert_close(engine.encode(source), *(peer.encode(source) for peer in peers))
        logits = engine.logits(source, target)
        assert_close(logits, *(peer.logits(source, target) for peer in peers))


def targets(checkpoint: Checkpoint, seed: int) -> list[list[int]]:
    """One of a token, and a long one that begins with none."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, checkpoint.model.decoder.vocab_size, 20).tolist()
    return [tokens[:1], [NO_TOKEN, *tokens[1:]]]


def assert_close(ours: np.ndarray, expected: np.ndarray, inexact: np.ndarray) -> None:
    """But for what the model magnifies of errors in float32's last places."""
    assert ours.shape == expected.shape
    size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
    magnified = np.abs(inexact - expected).max()
    assert (np.abs(ours - expected) <= TOLERANCE * size + MARGIN * magnified).all()


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob(knob: str) -> None:
    both = stack(**KNOBS[knob])
    assert_agrees(model_spec(encoder=both, decoder=both), seed=1)


@pytest.mark.parametrize("case", SIDES)
def test_different_sides(case: str) -> None:
    assert_agrees(SIDES[case], seed=2)


@pytest.mark.parametrize("knob", AUTOREGRESSION)
def test_decoders_without_self_attention(knob: str) -> None:
    spec = model_spec(decoder=stack(**AUTOREGRESSION[knob]), shared_embedding=False)
    assert_agrees(spec, seed=3)


@pytest.mark.parametrize("case", WITHOUT_OUTPUT)
def test_absent_outputs_of_attention(case: str) -> None:
    decoder, without = WITHOUT_OUTPUT[case]
    assert_agrees(model_spec(decoder=decoder), seed=5, without=without)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("bias_share", [0.0, 0.5])
def test_absent_biases(bias_share: float, norm_position: str) -> None:
    """Without any, and with some: the key may lack one where query and value have theirs."""
    both = stack(norm_position=norm_position)
    for seed in range(3):
        assert_agrees(model_spec(encoder=both, decoder=both), seed, bias_share)


@pytest.mark.parametrize("isa", _native.supported_isas())
@pytest.mark.parametrize("case", EVERYWHERE)
def test_every_instruction_set(isa: str, case: str) -> None:
    assert_agrees(EVERYWHERE[case], seed=4, isa=isa)


@given(
    spec=models(LEAST_WIDTH), seed=st.integers(0, 1000), bias_share=st.sampled_from([0.0, 0.7, 1.0])
)
@slow
def test_any_architecture(spec: ModelSpec, seed: int, bias_share: float) -> None:
    assert_agrees(spec, seed, bias_share)


@given(
    spec=decoders(LEAST_WIDTH),
    seed=st.integers(0, 1000),
    bias_share=st.sampled_from([0.0, 0.7, 1.0]),
)
@slow
def test_any_decoder_alone(spec: ModelSpec, seed: int, bias_share: float) -> None:
    checkpoint = random_checkpoint(spec, seed, bias_share=bias_share)
    engine = make_engine(checkpoint)
    peers = ReferenceModel(checkpoint), inexact_model(checkpoint)
    for target in targets(checkpoint, seed):
        assert_close(engine.logits([], target), *(peer.logits([], target) for peer in peers))
