"""Attention and logits of a translation are the model's own, whatever the search did with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decoding_engine import native_options, native_request, run
from decoding_strategies import Case, cases
from pytransformer import _native
from random_models import END, lively_checkpoint, make_engine, sentences
from reference_rules import ReferenceOptions

TOLERANCE = 1e-5
LAYERS, HEADS = 2, 3

drawn = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
any_case = st.booleans().flatmap(lambda sampling: cases(sampling=sampling))
some_heads = st.lists(st.integers(0, HEADS - 1), max_size=HEADS, unique=True)


def search(
    engine: _native.Engine, case: Case, **changes: Any
) -> list[tuple[list[int], _native.Hypothesis]]:
    """Each source with each of its hypotheses."""
    requests = [native_request(source, case.options) for source in case.sources]
    job = engine.submit(requests, native_options(case.options, return_end_token=True, **changes))
    return [
        (source, found)
        for source, hypotheses in zip(case.sources, job.result(), strict=True)
        for found in hypotheses
    ]


@drawn
@given(case=any_case, layer=st.integers(0, LAYERS - 1), heads=some_heads)
def test_attention(case: Case, layer: int, heads: list[int]) -> None:
    """The mean of the heads of the step that gave the token; none for a forced end token."""
    engine = make_engine(lively_checkpoint(case.seed, case.vocab_size))
    asked = {"attention_layer": layer, "attention_heads": heads}
    for source, found in search(engine, case, return_attention=True, **asked):
        rows = found.attention
        assert rows is not None
        assert rows.shape == (len(found.ids), len(source))
        forced_end = len(found.ids) > case.options.limit(len(source))
        tokens = found.ids[:-1] if forced_end else found.ids
        cross = engine.attention(source, [case.options.start_id, *tokens[:-1]])[2]
        expected = cross[layer, heads or slice(None)].mean(axis=0)
        assert np.allclose(rows[: len(tokens)], expected, atol=TOLERANCE)
        assert np.allclose(rows[: len(tokens)].sum(axis=1), 1, atol=TOLERANCE)
        assert not rows[len(tokens) :].any()


@drawn
@given(case=any_case)
def test_logits(case: Case) -> None:
    """Log-probabilities of all tokens, before options change or forbid any of them."""
    engine = make_engine(lively_checkpoint(case.seed, case.vocab_size))
    options = case.options
    for source, found in search(engine, case, return_logits=True):
        rows = found.logits
        assert rows is not None
        assert rows.shape == (len(found.log_probs), case.vocab_size)
        forced_end = len(found.ids) > options.limit(len(source))
        tokens = found.ids[:-1] if forced_end else found.ids
        logits = engine.logits(source, [options.start_id, *tokens[:-1]]).astype(np.float64)
        if options.allowed_ids is not None:
            logits[:, ~np.isin(np.arange(case.vocab_size), options.allowed_ids)] = -np.inf
        logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
        own = rows[: len(rows) - forced_end]
        assert np.allclose(own, logits[len(options.forced_prefix) :], atol=TOLERANCE)
        if forced_end:
            assert np.flatnonzero(np.isfinite(rows[-1])).tolist() == [options.forced_end_id]
            assert rows[-1].max() == 0
        if options.renormalize_logits:
            continue
        by_model = [*own[np.arange(len(own)), found.ids[len(options.forced_prefix) :][: len(own)]]]
        first = len(options.first_forced)
        assert found.log_probs[first : len(own)] == by_model[first:]


@drawn
@given(case=any_case, layer=st.integers(0, LAYERS - 1), heads=some_heads)
def test_records_change_nothing(case: Case, layer: int, heads: list[int]) -> None:
    """Coverage is that of the last layer, whichever one the caller wants to see."""
    engine = make_engine(lively_checkpoint(case.seed, case.vocab_size))
    asked: dict[str, Any] = {"attention_layer": layer, "attention_heads": heads}
    records = {"return_attention": True, "return_logits": True, **asked}
    plain, recorded = (
        [(found.ids, found.score, found.reason) for _, found in search(engine, case, **values)]
        for values in ({}, records)
    )
    assert plain == recorded


@pytest.mark.parametrize("beam_size", [1, 3])
def test_nothing_is_recorded_that_nobody_asks_for(beam_size: int) -> None:
    engine = make_engine(lively_checkpoint(0, 23))
    options = ReferenceOptions(22, beam_size=beam_size, coverage_penalty=0.5, forced_end_id=END)
    for (found,) in run(engine, sentences(3, 23, 1, 12), options):
        assert found.attention is None
        assert found.logits is None
