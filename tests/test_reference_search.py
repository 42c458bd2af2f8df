"""The reference search: the same as transformers' `generate`, as every sequence, as by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from transformers import LogitsProcessorList, MarianMTModel, TopKLogitsWarper, TopPLogitsWarper

import huggingface_peer as peer
from decoding_cases import COMPLETE, PADDING, SEARCHES, VOCABULARY, WIDE
from decoding_strategies import Case, cases
from huggingface_models import random_marian
from huggingface_searches import search
from pytransformer import _native
from random_models import lively_checkpoint, make_engine, sentences
from reference_rules import (
    ReferenceHypothesis,
    ReferenceOptions,
    Tokens,
    assert_same,
    broken_rules,
)
from reference_search import (
    Array,
    EngineModel,
    beam_search,
    exhaustive,
    log_softmax,
    rescore,
    sampling_distribution,
)

SCORE_TOLERANCE = 1e-4


class TableModel:
    """Random logits and attention for every sequence, which depend on all of its tokens."""

    def __init__(self, seed: int, vocab_size: int = 6, source_length: int = 4) -> None:
        self.seed, self.vocab_size, self.source_length = seed, vocab_size, source_length
        self.start = vocab_size  # beyond all others, so that it is never generated
        self._known: dict[Tokens, tuple[Array, Array]] = {}

    def step(self, tokens: Tokens) -> tuple[Array, Array]:
        if tokens not in self._known:
            rng = np.random.default_rng([self.seed, *tokens])
            logits = 2.0 * rng.normal(size=self.vocab_size + 1)
            logits[self.start] = -np.inf
            self._known[tokens] = logits, rng.dirichlet(np.full(self.source_length, 0.3))
        return self._known[tokens]


class ConstantModel:
    """The same probabilities behind everything, for what is computed by hand."""

    def __init__(self, probabilities: Sequence[float], attention: Sequence[float] = (1.0,)) -> None:
        self._answer = np.log(np.array(probabilities)), np.array(attention)

    def step(self, tokens: Tokens) -> tuple[Array, Array]:
        return self._answer


@pytest.fixture(scope="module")
def marian_pair(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[MarianMTModel, _native.Engine]:
    return random_marian(
        tmp_path_factory.mktemp("small"),
        lively=True,
        seed=3,
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
    )


@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("name", SEARCHES)
def test_searches_as_transformers(
    name: str, beam_size: int, marian_pair: tuple[MarianMTModel, _native.Engine]
) -> None:
    model, engine = marian_pair
    values = {"max_decoding_length": 12, "suppressed_ids": (PADDING,), **SEARCHES[name]}
    options = ReferenceOptions(
        PADDING, beam_size=beam_size, num_hypotheses=min(beam_size, 3), **values
    )
    sources = sentences(4, VOCABULARY, 1, 12, seed=5)
    for source, theirs in zip(sources, search(model, sources, options), strict=True):
        ours = beam_search(EngineModel(engine, source), options)
        for mine, (ids, ended, score) in zip(ours, theirs, strict=True):
            assert mine.ids == ids
            assert options.is_ended(mine, len(source)) == ended
            assert broken_rules(mine, options, len(source)) == []
            expected = raw_score(model, source, mine, options) if beam_size == 1 else score
            assert mine.score == pytest.approx(expected, abs=SCORE_TOLERANCE)


def raw_score(
    model: MarianMTModel, source: list[int], found: ReferenceHypothesis, options: ReferenceOptions
) -> float:
    """The mean log-probability by the model alone; forced tokens have probability 1."""
    rows = peer.log_probabilities(model, source, found.ids).tolist()
    own = list(zip(rows, found.ids, strict=False))[len(options.forced_prefix) :]
    values = [row[token] for row, token in own]
    if options.first_forced:
        values[0] = 0.0
    if options.is_ended(found, len(source)):
        forced = len(found.ids) == options.max_decoding_length
        values.append(0.0 if forced else max(rows[-1][end] for end in options.end_ids))
    return float(sum(values) / len(values) ** options.length_penalty)


@pytest.mark.parametrize(("k", "p", "temperature"), [(5, 1.0, 1.0), (0, 0.8, 0.7), (7, 0.5, 1.6)])
def test_sampling_as_transformers(k: int, p: float, temperature: float) -> None:
    model = TableModel(1, vocab_size=15)
    for tokens in [(), (3,), (3, 3, 8)]:
        options = ReferenceOptions(
            model.start, sampling_topk=k, sampling_topp=p, sampling_temperature=temperature
        )
        logits = torch.tensor(model.step((model.start, *tokens))[0])[None]
        warpers = LogitsProcessorList([TopKLogitsWarper(k or 16), TopPLogitsWarper(p)])
        expected = warpers(torch.zeros((1, 1)), logits / temperature).softmax(dim=-1)[0].numpy()
        assert np.allclose(sampling_distribution(model, options, tokens), expected, atol=1e-12)


@pytest.mark.parametrize("name", COMPLETE)
def test_wide_beams_find_the_best_of_all(name: str) -> None:
    found: set[Tokens] = set()
    for seed in range(2):
        model = TableModel(seed)
        options = ReferenceOptions(model.start, **{**WIDE, **COMPLETE[name]})
        ours, every = beam_search(model, options), exhaustive(model, options)
        kept = len(every) if options.return_alternatives else options.capacity
        assert_same(ours, every[:kept], tolerance=1e-9)
        for hypothesis in ours[:20]:
            assert rescore(model, options, hypothesis) == pytest.approx(hypothesis.score, abs=1e-9)
        found.update(hypothesis.ids for hypothesis in ours)
    assert len(found) > 1


def test_wide_beams_stop_all_loops() -> None:
    model = TableModel(0, vocab_size=3)
    values = {**WIDE, "max_decoding_length": 9, "stop_loops": True, "repetition_penalty": 0.5}
    options = ReferenceOptions(model.start, **values)
    ours = beam_search(model, options)
    assert_same(ours, exhaustive(model, options), tolerance=1e-9)
    loops = [hypothesis for hypothesis in ours if hypothesis.reason == "loop"]
    assert {len(hypothesis.ids) for hypothesis in loops} == {8, 9}
    free = beam_search(model, replace(options, stop_loops=False))
    assert len(free) > len(ours)


def test_coverage_by_hand() -> None:
    """Two tokens and the end attend 0.6 and 1.5 in all; the last position is never seen."""
    model = ConstantModel([0.9, 0.05, 0.05], attention=[0.2, 0.5, 0.0])
    options = ReferenceOptions(2, coverage_penalty=3.0, min_decoding_length=2)
    (found,) = beam_search(model, options)
    assert found.ids == (1, 1)
    expected = (2 * math.log(0.05) + math.log(0.9)) / 3 + 3.0 * math.log(0.6)
    assert found.score == pytest.approx(expected)


def test_bias_by_hand() -> None:
    model = ConstantModel([0.2, 0.7, 0.1, 0.0001])
    options = ReferenceOptions(
        3, beam_size=50, max_decoding_length=2, target_prefix=(2, 2), prefix_bias_beta=0.6
    )
    scores = {hypothesis.ids: hypothesis.score for hypothesis in exhaustive(model, options)}
    total = 1.0001
    follows, leaves = math.log(0.4 * 0.1 / total + 0.6), math.log(0.4 * 0.7 / total)
    assert scores[2, 2] == pytest.approx(follows)
    assert scores[2, 1] == pytest.approx((follows + leaves) / 2)
    assert scores[1, 2] == pytest.approx((leaves + math.log(0.1 / total)) / 2)
    (best,) = beam_search(model, options)
    assert best.ids == (2, 2)


def test_diversity_by_hand() -> None:
    """Three groups of one beam: each takes what the earlier ones left, or pays for it."""
    model = ConstantModel([0.04, 0.5, 0.3, 0.16])
    options = ReferenceOptions(
        3, beam_size=3, num_beam_groups=3, num_hypotheses=3, max_decoding_length=2
    )
    options = replace(options, diversity_penalty=0.6, suppressed_ids=(0,))
    one, two = math.log(0.5), math.log(0.3)
    # In the first step 2 is better than 1 less 0.6 for the second group, and 1 than 2 less 0.6 and
    # than 3 for the third. In the second step all end at the maximum length: nothing goes on.
    expected = [((1, 1), one), ((2, 1), (two + one) / 2), ((1, 1), (one - 0.6 + one) / 2)]
    found = beam_search(model, options)
    assert [hypothesis.ids for hypothesis in found] == [ids for ids, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected])


def test_groups_without_a_penalty_are_alike() -> None:
    model = TableModel(4)
    options = ReferenceOptions(model.start, beam_size=2, num_hypotheses=2, max_decoding_length=6)
    one = beam_search(model, options)
    three = beam_search(model, replace(options, beam_size=6, num_beam_groups=3, num_hypotheses=6))
    assert three == [hypothesis for hypothesis in one for _ in range(3)]


def test_a_bank_for_each_count_of_tokens() -> None:
    """One beam holds an unlikely phrase in a place that plain search would never reach."""
    model = TableModel(2)
    options = ReferenceOptions(model.start, max_decoding_length=5, force_phrases=((3, 3), (4,)))
    (found,) = beam_search(model, options)
    assert broken_rules(found, options, model.source_length) == []
    wider = beam_search(model, replace(options, beam_size=3))
    best = exhaustive(model, options)[0]
    assert found.score <= wider[0].score <= best.score


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_drawn_options_can_be_kept(case: Case) -> None:
    engine = make_engine(lively_checkpoint(case.seed, case.vocab_size))
    for source in case.sources[:2]:
        model = EngineModel(engine, source)
        found = beam_search(model, case.options)
        assert found
        assert found == sorted(found, key=lambda hypothesis: -hypothesis.score)
        for hypothesis in found:
            assert broken_rules(hypothesis, case.options, len(source)) == []
            if case.options.num_beam_groups == 1:
                score = rescore(model, case.options, hypothesis)
                assert score == pytest.approx(hypothesis.score, abs=1e-9)
        assert np.isclose(np.exp(log_softmax(model.step((case.options.start_id,))[0])).sum(), 1)
