"""Every knob of the model specification against the paper's formulas in NumPy and float64.

MarianMT has few of them; the checkpoints are made of random weights directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_strategies import models
from pytransformer import _native
from pytransformer.model_spec import ModelSpec, PositionSpec
from random_models import make_engine, model_spec, random_checkpoint, sentences, stack
from reference_model import ReferenceModel

# Of the root mean square of a row of logits, or of states.
TOLERANCE = 1e-4

WIDE = {"d_model": 50, "num_heads": 5, "d_ff": 21}

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
    "silu": {"activation": "silu"},
    "no-embedding-scale": {"embedding_scale": 1.0},
    "attention-scale": {"attention_scale": 0.11},
    "epsilon": {"norm_epsilon": 0.3},
    "interleaved": {"positions": PositionSpec("sinusoidal_interleaved", 70)},
    "interleaved-odd": {"positions": PositionSpec("sinusoidal_interleaved", 70), "d_model": 21},
    "sinusoids-odd": {"d_model": 21},
    "sinusoids-offset": {"positions": PositionSpec("sinusoidal", 70, 3)},
    "learned": {"positions": PositionSpec("learned", 70)},
    "learned-offset": {"positions": PositionSpec("learned", 70, 2)},
    "no-positions": {"positions": PositionSpec("none", 70)},
    "head-size-7-of-20": {"head_dim": 7, "num_heads": 3},
    "head-size-33-of-20": {"head_dim": 33},
    "one-head": {"num_heads": 1},
    "width-1": {"d_model": 1, "num_heads": 1, "head_dim": 1, "d_ff": 1},
    "no-layers": {"num_layers": 0},
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


def assert_agrees(spec: ModelSpec, seed: int, bias_share: float = 1.0, isa: str = "") -> None:
    """Encoder states and logits, for a short and a long source and target."""
    checkpoint = random_checkpoint(spec, seed, bias_share=bias_share)
    engine = make_engine(checkpoint, isa=isa)
    model = ReferenceModel(checkpoint)
    rng = np.random.default_rng(seed)
    for source, length in zip(
        sentences(2, spec.encoder.vocab_size, 1, 40, seed), (1, 19), strict=True
    ):
        target = rng.integers(0, spec.decoder.vocab_size, length).tolist()
        assert_close(engine.encode(source), model.encode(source))
        assert_close(engine.logits(source, target), model.logits(source, target))


def assert_close(ours: np.ndarray, expected: np.ndarray) -> None:
    assert ours.shape == expected.shape
    size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
    assert (np.abs(ours - expected) <= TOLERANCE * size).all()


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob(knob: str) -> None:
    both = stack(**KNOBS[knob])
    assert_agrees(model_spec(encoder=both, decoder=both), seed=1)


@pytest.mark.parametrize("case", SIDES)
def test_different_sides(case: str) -> None:
    assert_agrees(SIDES[case], seed=2)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("bias_share", [0.0, 0.5])
def test_absent_biases(bias_share: float, norm_position: str) -> None:
    """Without any, and with some: the key may lack one where query and value have theirs."""
    both = stack(norm_position=norm_position)
    for seed in range(3):
        assert_agrees(model_spec(encoder=both, decoder=both), seed, bias_share)


@pytest.mark.parametrize("isa", _native.supported_isas())
def test_every_instruction_set(isa: str) -> None:
    wide = stack(**WIDE, norm_position="pre", final_norm=True, activation="gelu")
    assert_agrees(model_spec(encoder=wide, decoder=wide), seed=4, isa=isa)


@given(spec=models(), seed=st.integers(0, 1000), bias_share=st.sampled_from([0.0, 0.7, 1.0]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_architecture(spec: ModelSpec, seed: int, bias_share: float) -> None:
    assert_agrees(spec, seed, bias_share)
