"""The engine finds what the reference finds: with narrow beams, with wide ones, however drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from decoding_cases import COMPLETE, PADDING, SEARCHES, VOCABULARY, WIDE
from decoding_engine import engine_model, plain, run
from decoding_strategies import Case, cases
from pytransformer import _native
from random_models import END, lively_checkpoint, make_engine, sentences
from reference_rules import ReferenceOptions, assert_same, broken_rules
from reference_search import beam_search, exhaustive, rescore

# The engine adds up in float32.
SCORE_TOLERANCE = 5e-5

# What transformers does not have, and what is easily wrong together.
OWN: dict[str, dict[str, Any]] = {
    "patient": {"patience": 2.5, "early_stopping": True},
    "impatient": {"patience": 0.5, "early_stopping": True, "length_penalty": 0.6},
    "patience-rounds-up": {"patience": 0.625, "early_stopping": "never"},
    "no-patience": {"patience": 0.0},
    "marian": {"beam_rule": "marian"},
    "marian-has-no-patience": {"beam_rule": "marian", "patience": 0.5, "early_stopping": True},
    "marian-and-limits": {
        "beam_rule": "marian",
        "max_length_factor": 0.75,
        "min_decoding_length": 3,
        "length_penalty": 0.6,
    },
    "marian-behind-a-prefix": {
        "beam_rule": "marian",
        "target_prefix": (4, 9),
        "end_ids": (END, 5),
        "forced_end_id": END,
    },
    "marian-with-phrases": {"beam_rule": "marian", "force_phrases": ((9, 4), (3,))},
    "coverage": {"coverage_penalty": 0.8, "forced_end_id": END},
    "coverage-of-a-prefix": {"coverage_penalty": 0.8, "target_prefix": (3, 8), "patience": 2.0},
    "factor": {"max_length_factor": 0.75, "forced_end_id": END},
    "factor-and-prefix": {"max_length_factor": 0.1, "target_prefix": (4, 9, 11)},
    "factor-and-phrases": {"max_length_factor": 0.1, "force_phrases": ((3, 8), (9,))},
    "factor-and-first-token": {"max_length_factor": 0.1, "forced_bos_id": 9},
    "factor-beyond-the-maximum": {"max_length_factor": 9.0},
    "only-the-first-token": {"forced_bos_id": 9, "max_decoding_length": 1},
    "only-the-first-token-and-end": {
        "forced_bos_id": 9,
        "max_decoding_length": 1,
        "forced_end_id": END,
        "coverage_penalty": 0.5,
    },
    "biased": {"target_prefix": (4, 9, 11, 4), "prefix_bias_beta": 0.3},
    "biased-much": {
        "target_prefix": (4, 9, 11, 4),
        "prefix_bias_beta": 0.9,
        "repetition_penalty": 1.5,
        "coverage_penalty": 0.2,
    },
    "biased-behind-the-first-token": {
        "target_prefix": (4, 9, 11),
        "prefix_bias_beta": 0.7,
        "forced_bos_id": 4,
    },
    "biased-behind-another-first-token": {
        "target_prefix": (4,),
        "prefix_bias_beta": 0.7,
        "forced_bos_id": 9,
    },
    "alternatives": {"return_alternatives": True, "num_hypotheses": 6},
    "probable-alternatives": {
        "return_alternatives": True,
        "num_hypotheses": 9,
        "min_alternative_expansion_prob": 0.03,
        "repetition_penalty": 1.6,
        "target_prefix": (4, 9),
    },
    "alternatives-behind-the-first-token": {
        "return_alternatives": True,
        "num_hypotheses": 4,
        "forced_bos_id": 7,
        "coverage_penalty": 0.4,
    },
    "alternatives-at-the-limit": {
        "return_alternatives": True,
        "num_hypotheses": 5,
        "max_decoding_length": 1,
    },
    "alternatives-and-end-at-the-limit": {
        "return_alternatives": True,
        "num_hypotheses": 5,
        "max_decoding_length": 2,
        "target_prefix": (3,),
        "forced_end_id": END,
    },
    "alternatives-of-nothing": {
        "return_alternatives": True,
        "num_hypotheses": 5,
        "max_decoding_length": 1,
        "forced_bos_id": 9,
        "forced_end_id": END,
    },
    "alternatives-with-a-phrase": {
        "return_alternatives": True,
        "num_hypotheses": 5,
        "force_phrases": ((3, 8),),
    },
    "phrase": {"force_phrases": ((9, 4),)},
    "phrases": {"force_phrases": ((9, 4), (3,), (9, 8)), "forced_end_id": END},
    "phrase-twice": {"force_phrases": ((9, 4), (9, 4))},
    "phrases-in-one-another": {"force_phrases": ((9, 4), (8, 9, 4, 3), (4,))},
    "phrase-that-repeats": {"force_phrases": ((9, 4, 9, 3), (4, 4))},
    # One may be said where another one is given up for it.
    "phrases-that-interrupt": {"force_phrases": ((17, 20, 15), (20,), (13, 17, 10, 10))},
    "phrases-that-just-fit": {"force_phrases": ((9, 4, 9), (3,)), "max_decoding_length": 4},
    "phrase-begun-in-the-prefix": {"force_phrases": ((9, 4, 3),), "target_prefix": (8, 9, 4)},
    "phrase-with-the-first-token": {"force_phrases": ((9, 4, 3),), "forced_bos_id": 9},
    "phrase-against-repetition": {"force_phrases": ((9, 9, 9),), "no_repeat_ngram_size": 1},
    "phrases-and-penalties": {
        "force_phrases": ((9, 4), (3,)),
        "repetition_penalty": 1.3,
        "coverage_penalty": 0.3,
        "patience": 2.0,
        "min_decoding_length": 7,
    },
    "stops-loops": {"stop_loops": True, "repetition_penalty": 0.5, "max_decoding_length": 30},
    "stops-loops-of-alternatives": {
        "stop_loops": True,
        "repetition_penalty": 0.4,
        "return_alternatives": True,
        "num_hypotheses": 4,
        "target_prefix": (4,) * 7,
        "max_decoding_length": 16,
        "forced_end_id": END,
    },
    "stops-loops-with-phrases": {
        "stop_loops": True,
        "repetition_penalty": 0.4,
        "force_phrases": ((9, 4),),
        "max_decoding_length": 16,
    },
    "loops": {"repetition_penalty": 0.5, "max_decoding_length": 20, "forced_end_id": END},
    "allowed": {"allowed_ids": (END, 2, 3, 4, 7, 9, 11, 12, 13, 18)},
    "allowed-and-changed": {
        "allowed_ids": (END, 2, 3, 4, 7, 9, 11, 12, 13, 18),
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "suppressed_ids": (PADDING, 9),
        "target_prefix": (5, 9),
    },
    "allowed-and-phrases": {
        "allowed_ids": (END, 2, 3, 4, 7, 9, 11, 12, 13, 18),
        "force_phrases": ((9, 4), (3,)),
    },
    "end-is-forbidden": {"suppressed_ids": (PADDING, END), "forced_end_id": END},
    "two-ends-and-phrases": {"end_ids": (END, 5), "force_phrases": ((9, 4),)},
}

# Normalised again, with all that forbids or changes tokens.
RENORMALISED: dict[str, dict[str, Any]] = {
    "at-least": {"min_decoding_length": 6},
    "no-pair-twice": {"no_repeat_ngram_size": 2, "repetition_penalty": 1.4},
    "rewarded": {"repetition_penalty": 0.6, "suppress_sequences": ((10, 5), (7, END))},
    "many-are-forbidden": {"suppressed_ids": (PADDING, *range(2, 18)), "end_ids": (END, 5)},
    "allowed": {"allowed_ids": (END, 2, 3, 9, 13, 18), "suppressed_ids": (3, PADDING)},
    "biased": {"target_prefix": (4, 9, 11), "prefix_bias_beta": 0.4, "repetition_penalty": 1.5},
    "phrases": {"force_phrases": ((9, 4), (3,)), "no_repeat_ngram_size": 2},
    "alternatives": {
        "return_alternatives": True,
        "num_hypotheses": 6,
        "min_alternative_expansion_prob": 0.05,
        "suppressed_ids": (PADDING, 9, 13),
        "repetition_penalty": 1.3,
        "target_prefix": (4, 9),
    },
    "marian": {"beam_rule": "marian", "min_decoding_length": 5, "repetition_penalty": 1.2},
    "covering": {"coverage_penalty": 0.4, "min_decoding_length": 5},
}
OWN |= {
    f"renormalised-{name}": {"renormalize_logits": True, **RENORMALISED[name]}
    for name in RENORMALISED
}

GROUPS: dict[str, dict[str, Any]] = {
    "alike": {"beam_size": 4, "num_beam_groups": 2},
    "diverse": {"beam_size": 6, "num_beam_groups": 3, "diversity_penalty": 0.7},
    "of-one-beam": {"beam_size": 4, "num_beam_groups": 4, "diversity_penalty": 2.5},
    "with-penalties": {
        "beam_size": 6,
        "num_beam_groups": 2,
        "diversity_penalty": 1.2,
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "length_penalty": 0.6,
        "forced_end_id": END,
    },
    "with-phrases": {
        "beam_size": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 0.9,
        "force_phrases": ((9, 4), (3,)),
    },
    "biased": {
        "beam_size": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 0.9,
        "target_prefix": (4, 9, 11),
        "prefix_bias_beta": 0.5,
    },
    "patient": {
        "beam_size": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 0.9,
        "patience": 1.5,
        "early_stopping": True,
    },
    "stop-loops": {
        "beam_size": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 0.1,
        "stop_loops": True,
        "repetition_penalty": 0.5,
        "max_decoding_length": 20,
    },
}


@pytest.fixture(scope="module")
def engine() -> _native.Engine:
    return make_engine(lively_checkpoint(2, VOCABULARY))


@pytest.fixture(scope="module")
def tiny_engine() -> _native.Engine:
    """Few enough tokens that every translation can be looked at."""
    return make_engine(lively_checkpoint(1, 7))


def assert_searches_agree(
    engine: _native.Engine, sources: list[list[int]], options: ReferenceOptions
) -> None:
    found = run(engine, sources, options)
    for source, hypotheses in zip(sources, found, strict=True):
        model = engine_model(engine, source)
        ours, reference = plain(hypotheses), beam_search(model, options)
        assert reference
        assert_same(ours, reference, SCORE_TOLERANCE)
        if not (options.force_phrases and options.no_repeat_ngram_size):
            assert [broken_rules(mine, options, len(source)) for mine in ours] == [[]] * len(ours)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("name", [*SEARCHES, *OWN])
def test_beams(name: str, beam_size: int, engine: _native.Engine) -> None:
    values = {
        "max_decoding_length": 12,
        "suppressed_ids": (PADDING,),
        "num_hypotheses": beam_size,
        **{**SEARCHES, **OWN}[name],
    }
    options = ReferenceOptions(PADDING, beam_size=beam_size, **values)
    if beam_size == 1 and not options.return_alternatives:
        # More hypotheses would be as many searches, all alike.
        assert options.num_hypotheses == 1
    assert_searches_agree(engine, sentences(6, VOCABULARY, 1, 12, seed=5), options)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_next_to_nothing_is_left_to_normalise(beam_size: int) -> None:
    """The end token, which may not come yet, takes all but 1e-12 of the probability or less."""
    checkpoint = lively_checkpoint(2, VOCABULARY)
    bias = checkpoint.tensors["output.bias"].copy()
    bias[END] += 40
    tensors = {**checkpoint.tensors, "output.bias": bias}
    engine = make_engine(replace(checkpoint, tensors=tensors))
    options = ReferenceOptions(
        PADDING,
        beam_size=beam_size,
        min_decoding_length=7,
        repetition_penalty=1.2,
        renormalize_logits=True,
    )
    sources = sentences(6, VOCABULARY, 1, 12, seed=5)
    left = engine.logits(sources[0], [PADDING])[0].astype(np.float64)
    assert np.logaddexp.reduce(np.delete(left, END)) < left[END] - 20
    assert_searches_agree(engine, sources, options)


@pytest.mark.parametrize("name", GROUPS)
def test_groups_of_beams(name: str, engine: _native.Engine) -> None:
    values = {"max_decoding_length": 12, "suppressed_ids": (PADDING,), **GROUPS[name]}
    options = ReferenceOptions(PADDING, **{"num_hypotheses": values["beam_size"], **values})
    assert_searches_agree(engine, sentences(6, VOCABULARY, 1, 12, seed=5), options)


@pytest.mark.parametrize("name", COMPLETE)
def test_wide_beams_find_the_best_of_all(name: str, tiny_engine: _native.Engine) -> None:
    """With the attention of a real model, and so with a coverage that differs."""
    values = {"suppressed_ids": (6,), **WIDE, **COMPLETE[name]}
    options = ReferenceOptions(6, **values)
    for source in ([3, 1, 4, END], [2, END]):
        model = engine_model(tiny_engine, source)
        (found,) = run(tiny_engine, [source], options)
        ours, every = plain(found), exhaustive(model, options)
        kept = len(every) if options.return_alternatives else options.capacity
        assert_same(ours, every[:kept], SCORE_TOLERANCE)
        for hypothesis in ours[:20]:
            expected = rescore(model, options, hypothesis)
            assert hypothesis.score == pytest.approx(expected, abs=SCORE_TOLERANCE)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
def test_drawn_options(case: Case) -> None:
    engine = make_engine(lively_checkpoint(case.seed, case.vocab_size))
    assert_searches_agree(engine, case.sources[:3], case.options)
