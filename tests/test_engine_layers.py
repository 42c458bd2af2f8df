"""Searches over all kinds of layers: what decoders remember, and steps of many tokens."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from decoding_engine import engine_model, native_options, plain, run
from decoding_strategies import Case, cases
from model_strategies import decoders, models
from pytransformer import _native, native
from pytransformer.model_spec import ModelSpec
from random_models import (
    LIVELY,
    lively_checkpoint,
    make_engine,
    random_checkpoint,
    sentences,
)
from reference_rules import ReferenceOptions, Tokens, assert_same
from reference_search import Array, EngineModel, LanguageModel, beam_search, rescore

SCORE_TOLERANCE = 5e-5  # the engine adds up in float32

each_kind = pytest.mark.parametrize("kind", LIVELY)
each_type = pytest.mark.parametrize("compute_type", ["float32", "bfloat16", "int8", "int4"])
drawn = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@functools.lru_cache(maxsize=32)
def engine_of(
    kind: str, seed: int = 0, vocab_size: int = 23, compute_type: str = "float32"
) -> _native.Engine:
    image = native.build_image(lively_checkpoint(seed, vocab_size, kind), compute_type)
    return _native.Engine(_native.Model.from_buffer(image, kind), 1, 1, "")


@each_kind
@given(case=cases())
@settings(drawn, max_examples=60)
def test_searches_are_the_references(kind: str, case: Case) -> None:
    """Beams change places and share what they remember; a prefix is read in one step."""
    engine = engine_of(kind, case.seed, case.vocab_size)
    assert_searches_agree(engine, case.sources[:3], case.options)


@given(spec=models(), seed=st.integers(0, 1000), beam_size=st.sampled_from([1, 3]))
@settings(drawn, max_examples=100)
def test_searches_of_any_architecture(spec: ModelSpec, seed: int, beam_size: int) -> None:
    assume(spec.decoder.vocab_size > 12)
    engine = make_engine(random_checkpoint(spec, seed, end_bias=2.0))
    options = ReferenceOptions(
        spec.decoder.vocab_size - 1,
        beam_size=beam_size,
        num_hypotheses=beam_size,
        target_prefix=(3, 9)[: seed % 3],
        max_decoding_length=12,
    )
    assert_searches_agree(engine, sentences(2, spec.encoder.vocab_size, 1, 20, seed), options)


@given(
    spec=decoders(),
    seed=st.integers(0, 1000),
    beam_size=st.sampled_from([1, 3]),
    prompt_size=st.integers(1, 9),
)
@settings(drawn, max_examples=100)
def test_searches_behind_a_prompt(
    spec: ModelSpec, seed: int, beam_size: int, prompt_size: int
) -> None:
    """A decoder alone goes on behind what it is given, which is no part of the result."""
    vocab_size = spec.decoder.vocab_size
    assume(vocab_size > 12)
    engine = make_engine(random_checkpoint(spec, seed, end_bias=2.0))
    prompts = [
        np.random.default_rng([seed, i]).integers(1, vocab_size, prompt_size + i).tolist()
        for i in range(2)
    ]
    values: dict[str, Any] = {
        "beam_size": beam_size,
        "num_hypotheses": beam_size,
        "target_prefix": (3, 9)[: seed % 3],
        "min_decoding_length": seed % 5,
        "max_decoding_length": 12,
    }
    found = run(engine, prompts, ReferenceOptions(0, **values))
    for prompt, hypotheses in zip(prompts, found, strict=True):
        options = ReferenceOptions(prompt[-1], **values)
        assert_same_search(hypotheses, Prompted(engine, prompt[:-1]), options)


class Prompted:
    """A decoder alone behind a prompt, whose last token is the first that a search gives."""

    def __init__(self, engine: _native.Engine, before: list[int]) -> None:
        self._engine = engine
        self._before = before

    def step(self, tokens: Tokens) -> tuple[Array, Array]:
        logits = self._engine.logits([], [*self._before, *tokens])[-1]
        return logits.astype(np.float64), np.zeros(1)


def assert_searches_agree(
    engine: _native.Engine, sources: list[list[int]], options: ReferenceOptions
) -> None:
    for source, hypotheses in zip(sources, run(engine, sources, options), strict=True):
        # A decoder without layers has no attention, on which a penalty for coverage might depend.
        layers = engine.attention(source, [options.start_id])[2].size
        model = engine_model(engine, source) if layers else EngineModel(engine, source)
        assert_same_search(hypotheses, model, options)


def assert_same_search(
    found: list[_native.Hypothesis], model: LanguageModel, options: ReferenceOptions
) -> None:
    expected = beam_search(model, options)
    assert expected
    assert_same(plain(found), expected, SCORE_TOLERANCE, lambda mine: rescore(model, options, mine))


@each_type
@each_kind
def test_steps_of_many_tokens_and_of_one(kind: str, compute_type: str) -> None:
    """A step of all tokens says of each what a step behind the others says, bit for bit."""
    engine = engine_of(kind, compute_type=compute_type)
    target = np.random.default_rng(3).integers(0, 23, 19).tolist()
    for source in sentences(2, 23, 1, 20, seed=2):
        together = engine.logits(source, target)
        for size in range(1, len(target)):
            alone = engine.logits(source, target[:size])
            np.testing.assert_array_equal(alone, together[:size])


@each_type
@each_kind
@pytest.mark.parametrize("beam_size", [1, 4])
def test_scoring_says_what_the_search_said(kind: str, compute_type: str, beam_size: int) -> None:
    """Token by token, beams that change places, or all in one step: bit for bit."""
    engine = engine_of(kind, compute_type=compute_type)
    options = ReferenceOptions(
        22, beam_size=beam_size, num_hypotheses=beam_size, max_decoding_length=25
    )
    sources = sentences(9, 23, 1, 20, seed=4)
    found = run(engine, sources, options, return_end_token=True)
    pairs = [(source, h) for source, several in zip(sources, found, strict=True) for h in several]
    requests = [_native.Request(source, hypothesis.ids) for source, hypothesis in pairs]
    scores = engine.submit(requests, native_options(options, score_targets=True)).result()
    assert [scored.log_probs for (scored,) in scores] == [h.log_probs for _, h in pairs]


@each_type
@each_kind
def test_prefixes_go_on_as_searches(kind: str, compute_type: str) -> None:
    """Greedy search, begun with tokens of its own result, finds the same."""
    engine = engine_of(kind, compute_type=compute_type)
    options = ReferenceOptions(22, max_decoding_length=20)
    for source in sentences(4, 23, 1, 20, seed=6):
        ((whole,),) = run(engine, [source], options)
        for size in range(1, len(whole.ids), 3):
            prefix = tuple(whole.ids[:size])
            ((found,),) = run(
                engine, [source], ReferenceOptions(22, max_decoding_length=20, target_prefix=prefix)
            )
            assert found.ids == whole.ids
            assert found.log_probs == whole.log_probs[size:]
