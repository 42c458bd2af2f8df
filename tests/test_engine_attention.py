"""The engine's attention maps against the paper's formulas in NumPy and float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_strategies import models
from pytransformer import _native, native
from pytransformer.model_spec import Checkpoint, ModelSpec
from random_models import (
    LIVELY,
    lively_checkpoint,
    make_engine,
    model_spec,
    random_checkpoint,
    sentences,
    stack,
)
from reference_model import ReferenceModel
from rounded_models import inexact_model

TOLERANCE = 1e-5
# Layer norm over few numbers, and large scores, magnify what float32 rounds away: times what comes
# of errors of some units in its last place.
MARGIN = 5.0
LEAST_WIDTH = 16
TOLERANCE_OF_ANY = 5e-5

Maps = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


def assert_agrees(
    checkpoint: Checkpoint, seed: int, isa: str = "", tolerance: float = TOLERANCE
) -> None:
    """For short and long sources and targets, some of one token."""
    engine = make_engine(checkpoint, isa=isa)
    model, inexact = ReferenceModel(checkpoint), inexact_model(checkpoint)
    rng = np.random.default_rng(seed)
    sources = sentences(2, checkpoint.model.encoder.vocab_size, 1, 40, seed)
    for source, length in zip(sources, (1, 19), strict=True):
        target = rng.integers(0, checkpoint.model.decoder.vocab_size, length).tolist()
        found = engine.attention(source, target)
        if checkpoint.model.decoder.autoregression == "self_attention":
            check_shares(found)
        peers = model.attention(source, target), inexact.attention(source, target)
        for ours, expected, magnified in zip(found, *peers, strict=True):
            assert ours.shape == expected.shape
            allowed = tolerance + MARGIN * np.abs(magnified - expected).max(initial=0.0)
            np.testing.assert_allclose(ours, expected, rtol=0, atol=allowed)


def check_shares(maps: Maps) -> None:
    """Rows are shares of one, and the decoder looks at nothing that is still to come."""
    for weights in maps:
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=2e-6)
    steps = maps[1].shape[-1]
    assert not maps[1][:, :, ~np.tri(steps, dtype=bool)].any()


@pytest.mark.parametrize("isa", _native.supported_isas())
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_every_instruction_set(isa: str, norm_position: str) -> None:
    """Stacks that have nothing in common."""
    encoder = stack(num_layers=3, d_model=50, num_heads=5, norm_position=norm_position)
    decoder = stack(num_layers=2, num_heads=3, head_dim=7, norm_position=norm_position)
    spec = model_spec(encoder=encoder, decoder=decoder, shared_embedding=False)
    assert_agrees(random_checkpoint(spec, 3), 3, isa)


@pytest.mark.parametrize("isa", _native.supported_isas())
@pytest.mark.parametrize("kind", LIVELY)
def test_every_kind_of_layers(kind: str, isa: str) -> None:
    """Distances change what is looked at; without self-attention a decoder's maps are zeros."""
    assert_agrees(lively_checkpoint(1, kind=kind), 2, isa)


@pytest.mark.parametrize(
    "changes", [{}, {"head_dim": 33}, {"d_model": 21, "num_heads": 1}], ids=str
)
def test_odd_shapes(changes: dict[str, Any]) -> None:
    both = stack(**changes)
    for seed in range(5):
        assert_agrees(random_checkpoint(model_spec(encoder=both, decoder=both), seed), seed)


@given(spec=models(LEAST_WIDTH), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_architecture(spec: ModelSpec, seed: int) -> None:
    assert_agrees(random_checkpoint(spec, seed), seed, tolerance=TOLERANCE_OF_ANY)


@pytest.mark.parametrize("compute_type", ["bfloat16", "int8", "int4"])
def test_smaller_number_formats(compute_type: str) -> None:
    """They are maps, too, and near those of float32."""
    checkpoint = lively_checkpoint()
    image = native.build_image(checkpoint, compute_type)
    engine = _native.Engine(_native.Model.from_buffer(image, "small"), 1, 1)
    source, target = sentences(1, 61, 30, 30)[0], [60, *range(1, 20)]
    found = engine.attention(source, target)
    check_shares(found)
    exact = make_engine(checkpoint).attention(source, target)
    for ours, expected in zip(found, exact, strict=True):
        distance = 0.5 * np.abs(ours - expected).sum(axis=-1)
        assert distance.mean() < {"bfloat16": 0.02, "int8": 0.05, "int4": 0.3}[compute_type]


def test_impossible_sources_and_targets() -> None:
    engine = make_engine(lively_checkpoint())
    for ids in ([], [61], [1, -1], [1] * 71):
        with pytest.raises(ValueError, match="source "):
            engine.attention(ids, [60])
        with pytest.raises(ValueError, match="target "):
            engine.attention([1, 0], ids)
