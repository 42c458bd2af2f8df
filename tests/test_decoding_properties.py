"""What holds of every translation, whatever the options: drawn at random."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decoding_engine import native_options, native_request, plain, run
from decoding_strategies import Case, cases
from pytransformer import _native
from random_models import END, lively_checkpoint, make_engine, search_options, sentences
from reference_rules import ReferenceOptions, broken_rules

# All that is said of a hypothesis; floats as they are, since they must be equal bit for bit.
Found = tuple[list[int], float, list[float], str]

SCORE_TOLERANCE = 1e-5

drawn = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
any_case = st.booleans().flatmap(lambda sampling: cases(sampling=sampling))


@functools.lru_cache(maxsize=8)
def engine_of(seed: int, vocab_size: int, intra_threads: int = 1) -> _native.Engine:
    return make_engine(lively_checkpoint(seed, vocab_size), intra_threads=intra_threads)


def engine_for(case: Case, intra_threads: int = 1) -> _native.Engine:
    return engine_of(case.seed, case.vocab_size, intra_threads)


def start(
    engine: _native.Engine,
    sources: Sequence[list[int]],
    options: ReferenceOptions,
    **changes: Any,
) -> _native.Job:
    """A job whose sentences have seeds of their own."""
    requests = [native_request(source, options, seed=sum(source)) for source in sources]
    return engine.submit(requests, native_options(options, **changes))


def everything(job: _native.Job) -> list[list[Found]]:
    return [
        [(found.ids, found.score, found.log_probs, found.reason) for found in hypotheses]
        for hypotheses in job.result()
    ]


@drawn
@given(case=any_case, order=st.randoms(use_true_random=False), batch_size=st.integers(1, 3))
def test_neighbours_change_nothing(case: Case, order: Any, batch_size: int) -> None:
    """Alone, beside others in any order, with more threads, beside a job of another kind."""
    engine = engine_for(case)
    options, sources = case.options, case.sources
    alone = [everything(start(engine, [source], options))[0] for source in sources]
    assert everything(start(engine, sources, options)) == alone
    places = list(range(len(sources)))
    order.shuffle(places)
    mixed = [sources[i] for i in places]
    expected = [alone[i] for i in places]
    assert everything(start(engine, mixed, options, max_batch_size=batch_size)) == expected
    assert everything(start(engine_for(case, intra_threads=2), mixed, options)) == expected
    others = [_native.Request(source) for source in sentences(4, case.vocab_size, 1, 12)]
    wide = search_options(options.start_id, beam_size=9, num_hypotheses=9)
    beside = engine.submit(others, wide)
    assert everything(start(engine, mixed, options)) == expected
    assert len(beside.result()) == len(others)


@drawn
@given(case=any_case)
def test_hypotheses_are_in_order_and_keep_all_rules(case: Case) -> None:
    options = case.options
    jobs = start(engine_for(case), case.sources, options)
    for source, hypotheses in zip(case.sources, jobs.result(), strict=True):
        assert 1 <= len(hypotheses) <= options.num_hypotheses
        scores = [found.score for found in hypotheses]
        assert scores == sorted(scores, reverse=True)
        if options.sampling_topk == 1:
            # Those of one group differ in their tokens or in their end token.
            most = options.num_beam_groups * len(options.end_ids)
            ids = [tuple(found.ids) for found in hypotheses]
            assert max(map(ids.count, ids)) <= most
        for hypothesis in plain(hypotheses):
            assert broken_rules(hypothesis, options, len(source)) == []


@drawn
@given(case=any_case)
def test_log_probs_are_those_of_scoring(case: Case) -> None:
    """Bit for bit; a forced token counts as certain."""
    engine, options = engine_for(case), replace(case.options, renormalize_logits=False)
    found = start(engine, case.sources, options, return_end_token=True).result()
    requests, pairs = [], []
    for source, hypotheses in zip(case.sources, found, strict=True):
        allowed = None if options.allowed_ids is None else _native.TokenList(options.allowed_ids)
        for hypothesis in hypotheses:
            requests.append(_native.Request(source, hypothesis.ids, allowed=allowed))
            pairs.append((source, hypothesis))
    scores = engine.submit(requests, native_options(options, score_targets=True)).result()
    for (source, hypothesis), (scored,) in zip(pairs, scores, strict=True):
        assert scored.ids == hypothesis.ids
        expected = scored.log_probs[len(options.forced_prefix) :]
        if options.first_forced:
            expected[0] = 0.0
        if len(hypothesis.ids) > options.limit(len(source)):
            expected[-1] = 0.0
        assert hypothesis.log_probs == expected


@drawn
@given(case=any_case)
def test_scores_follow_from_log_probs(case: Case) -> None:
    options = case.options
    changed = (
        options.repetition_penalty != 1
        and options.beam_size > 1
        and not options.renormalize_logits,
        options.diversity_penalty,
        options.prefix_bias_beta and options.beam_size > 1,
        options.coverage_penalty,
    )
    if any(changed):
        return
    for hypotheses in start(
        engine_for(case), case.sources, options, return_end_token=True
    ).result():
        for found in hypotheses:
            length = len(found.log_probs)
            assert length == len(found.ids) - len(options.forced_prefix)
            expected = sum(found.log_probs) / length**options.length_penalty
            assert found.score == pytest.approx(expected, rel=SCORE_TOLERANCE, abs=SCORE_TOLERANCE)


@drawn
@given(case=any_case, return_end_token=st.booleans())
def test_streamed_tokens_are_those_of_the_best(case: Case, return_end_token: bool) -> None:
    """Each place is told of once, in order, with what it scores; then the end."""
    engine, options = engine_for(case), case.options
    job = start(engine, case.sources, options, stream=True, return_end_token=return_end_token)
    told: list[list[_native.TokenEvent]] = [[] for _ in case.sources]
    while events := job.events():
        for event in events:
            told[event.sentence].append(event)
    prefix = len(options.forced_prefix)
    quiet = start(engine, case.sources, options, return_end_token=return_end_token)
    results = job.result()
    assert [[h.ids for h in found] for found in results] == [
        [h.ids for h in found] for found in quiet.result()
    ]
    for events, (best, *_) in zip(told, results, strict=True):
        *tokens, end = events
        assert end.token == -1
        assert end.last
        assert [event.token for event in tokens] == best.ids[prefix:]
        assert [event.step for event in tokens] == list(range(prefix, len(best.ids)))
        log_probs = best.log_probs[: len(tokens)]
        assert [event.log_prob for event in tokens] == log_probs
        assert not any(event.last for event in tokens[:-1])


@drawn
@given(case=cases(sampling=True))
def test_samples_depend_on_their_seed_alone(case: Case) -> None:
    """More samples of the same seed begin with the same ones; another seed gives others."""
    engine, options = engine_for(case), case.options
    source = case.sources[0]
    native = native_options(options)
    native.num_hypotheses = 12
    first, again, other = (
        engine.submit([native_request(source, options, seed)], native).result()[0]
        for seed in (1, 1, 2)
    )
    texts = [[found.ids for found in hypotheses] for hypotheses in (first, again, other)]
    assert texts[0] == texts[1]
    native.num_hypotheses = 5
    few = engine.submit([native_request(source, options, 1)], native).result()[0]
    assert all(found.ids in texts[0] for found in few)
    if len({tuple(ids) for ids in texts[0]}) > 9:
        assert texts[0] != texts[2]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_stopped_sentence_begins_as_the_whole(beam_size: int) -> None:
    engine = engine_of(2, 23)
    options = ReferenceOptions(22, beam_size=beam_size, max_decoding_length=30)
    sources = sentences(6, 23, 1, 12, seed=5)
    whole = run(engine, sources, options)
    job = start(engine, sources, options, stream=True)
    wanted = dict.fromkeys(range(len(sources)), 2)
    while events := job.events():
        for event in events:
            if event.step + 1 == wanted.get(event.sentence):
                job.stop(event.sentence, 2)
    for (mine, *_), (full, *_) in zip(job.result(), whole, strict=True):
        if mine.reason == "stop":
            assert mine.ids == full.ids[:2]
            assert len(mine.log_probs) == 2
        else:
            assert mine.ids == full.ids


def test_sentences_may_be_stopped_before_they_begin() -> None:
    """They wait behind others that take long."""
    engine = engine_of(2, 23)
    options = ReferenceOptions(22, max_decoding_length=30, target_prefix=(4, 9))
    others = start(engine, sentences(20_000, 23, 12, 12), options, max_batch_size=1)
    sources = sentences(20, 23, 12, 12, seed=5)
    job = start(engine, sources, options, stream=True, return_attention=True)
    for index in range(len(sources)):
        job.stop(index, 1)
    others.cancel()
    ended: set[int] = set()
    while events := job.events():
        ended.update(event.sentence for event in events if event.token < 0)
    assert ended == set(range(len(sources)))
    found = [hypotheses[0] for hypotheses in job.result()]
    assert {found.reason for found in found} == {"stop"}
    assert {tuple(found.ids) for found in found} == {(4,)}


def test_what_has_no_tokens_scores_nothing() -> None:
    engine = engine_of(2, 23)
    options = search_options(22, score_targets=True)
    targets: list[list[int]] = [[], [3, END], []]
    requests = [_native.Request([5, END], target) for target in targets]
    found = [hypotheses[0] for hypotheses in engine.submit(requests, options).result()]
    assert [h.ids for h in found] == targets
    assert [len(h.log_probs) for h in found] == [0, 2, 0]
