"""The same translations, scores and chances as transformers, with every option that it has too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MarianMTModel,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from decoding_engine import native_options, native_request, plain, run
from huggingface_models import END, random_marian
from huggingface_searches import generate, search
from pytransformer import _native
from random_models import sentences
from reference_rules import ReferenceOptions, broken_rules
from reference_search import Array

VOCABULARY = 61
PADDING = VOCABULARY - 1  # starts translations too
LINES = 500  # in greedy search, and as many with beams
LEAST_IDENTICAL = 0.995
SCORE_TOLERANCE = 1e-4
# A fair draw fails one test in so many.
LEAST_CHANCE = 1e-4

Pair = tuple[MarianMTModel, _native.Engine]

OPTIONS: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.3},
    "repetition_reward": {"repetition_penalty": 0.7},
    "no_repeat_ngram_size-1": {"no_repeat_ngram_size": 1},
    "no_repeat_ngram_size-2": {"no_repeat_ngram_size": 2},
    "no_repeat_ngram_size-3": {"no_repeat_ngram_size": 3, "min_decoding_length": 15},
    "bad_words_ids": {},  # the commonest pairs, triples and a token
    "min_decoding_length": {"min_decoding_length": 14},
    "max_decoding_length": {"max_decoding_length": 6},
    "no-forced-end": {"max_decoding_length": 9, "forced_end_id": None},
    "several-ends": {"end_ids": (END, 19, 58)},
    "several-ends-at-least-9": {"end_ids": (END, 19, 58), "min_decoding_length": 9},
    "forced_bos_token_id": {"forced_bos_id": 17},
    "prefix": {"target_prefix": (9, 33, 8)},
    "all-at-once": {
        "target_prefix": (9, 33, 8),
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 2,
        "min_decoding_length": 8,
        "max_decoding_length": 15,
        "end_ids": (END, 19),
        "early_stopping": "never",
        "length_penalty": 0.6,
        "suppress_sequences": ((5, 9), (8, 21, 4)),
    },
}


# Rules whose forbidden or changed tokens leave the others a greater or a smaller share.
RENORMALISED: dict[str, dict[str, Any]] = {
    "least-length": {"min_decoding_length": 14},
    "no-pair-twice": {"no_repeat_ngram_size": 2},
    "repeats-less": {"repetition_penalty": 1.3},
    "all-at-once": {
        "target_prefix": (9, 33, 8),
        "repetition_penalty": 0.8,
        "no_repeat_ngram_size": 2,
        "min_decoding_length": 8,
        "end_ids": (END, 19),
        "suppressed_ids": (PADDING, *range(20, 30)),
        "suppress_sequences": ((5, 9), (8, 21, 4)),
    },
}
OPTIONS |= {
    f"renormalised-{name}": {"renormalize_logits": True, **values}
    for name, values in RENORMALISED.items()
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return random_marian(
        tmp_path_factory.mktemp("lively"),
        lively=True,
        seed=3,
        vocab_size=VOCABULARY,
        d_model=48,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=100,
        decoder_ffn_dim=100,
    )


@pytest.fixture(scope="module")
def sources() -> list[list[int]]:
    return sentences(LINES, VOCABULARY, 1, 30, seed=7)


def reference_options(**changes: Any) -> ReferenceOptions:
    values = {
        "max_decoding_length": 20,
        "forced_end_id": END,
        "suppressed_ids": (PADDING,),
        **changes,
    }
    return ReferenceOptions(PADDING, **values)


def common_sequences(engine: _native.Engine, sources: list[list[int]]) -> list[tuple[int, ...]]:
    """The pairs and triples that come most often in greedy search."""
    found = [tuple(h[0].ids) for h in run(engine, sources, reference_options())]
    counts = [
        Counter(ids[i : i + n] for ids in found for i in range(len(ids) - n + 1)) for n in (2, 3)
    ]
    return [sequence for count in counts for sequence, _ in count.most_common(12)]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_thousand_lines(name: str, pair: Pair, sources: list[list[int]]) -> None:
    model, engine = pair
    values = OPTIONS[name]
    if name == "bad_words_ids":
        values = {"suppress_sequences": (*common_sequences(engine, sources), (12,))}
    same = 0
    changed = 0
    for beam_size in (1, 4):
        options = reference_options(beam_size=beam_size, **values)
        ours = run(engine, sources, options)
        theirs = search(model, sources, options)
        free = run(engine, sources, reference_options(beam_size=beam_size))
        for source, mine, others, plainly in zip(sources, ours, theirs, free, strict=True):
            (hypothesis,), ((ids, ended, score),) = plain(mine), others
            assert broken_rules(hypothesis, options, len(source)) == []
            changed += mine[0].ids != plainly[0].ids
            if hypothesis.ids != ids:
                continue
            same += 1
            assert options.is_ended(hypothesis, len(source)) == ended
            if beam_size > 1:
                assert hypothesis.score == pytest.approx(score, abs=SCORE_TOLERANCE)
    assert same >= LEAST_IDENTICAL * 2 * LINES
    # An option that changes nothing would prove nothing.
    assert changed > 0.2 * LINES


def test_log_probs_of_greedy_search(pair: Pair, sources: list[list[int]]) -> None:
    """What the model alone says, even where a penalty or a rule has had its way."""
    model, engine = pair
    for values in ({}, {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2}):
        options = reference_options(forced_end_id=None, **values)
        output = generate(model, sources, options, output_logits=True)
        steps = model.compute_transition_scores(
            output.sequences, output.logits, normalize_logits=True
        )
        assert_log_probs(engine, sources, options, output.sequences, steps)


def test_log_probs_of_beams(pair: Pair, sources: list[list[int]]) -> None:
    model, engine = pair
    options = reference_options(forced_end_id=None, beam_size=4)
    output = generate(model, sources, options)
    steps = model.compute_transition_scores(output.sequences, output.scores, output.beam_indices)
    assert_log_probs(engine, sources, options, output.sequences, steps)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("name", RENORMALISED)
def test_renormalised_log_probs(
    name: str, beam_size: int, pair: Pair, sources: list[list[int]]
) -> None:
    model, engine = pair
    values = {**RENORMALISED[name], "target_prefix": ()}
    options = reference_options(
        forced_end_id=None, beam_size=beam_size, renormalize_logits=True, **values
    )
    output = generate(model, sources, options)
    beams = output.beam_indices if beam_size > 1 else None
    steps = model.compute_transition_scores(output.sequences, output.scores, beams)
    assert_log_probs(engine, sources, options, output.sequences, steps)


def assert_log_probs(
    engine: _native.Engine,
    sources: list[list[int]],
    options: ReferenceOptions,
    sequences: torch.Tensor,
    steps: torch.Tensor,
) -> None:
    found = run(engine, sources, options, return_end_token=True)
    same = 0
    rows = zip(found, sequences[:, 1:].tolist(), steps.tolist(), strict=True)
    for (hypothesis,), row, expected in rows:
        ids = hypothesis.ids
        assert len(hypothesis.log_probs) == len(ids)
        if ids == row[: len(ids)]:
            same += 1
            assert hypothesis.log_probs == pytest.approx(expected[: len(ids)], abs=SCORE_TOLERANCE)
            total = sum(hypothesis.log_probs) / len(ids) ** options.length_penalty
            assert hypothesis.score == pytest.approx(total, abs=SCORE_TOLERANCE)
    assert same >= LEAST_IDENTICAL * LINES


SAMPLING: dict[str, dict[str, Any]] = {
    "whole-vocabulary": {"sampling_topk": 0},
    "topk": {"sampling_topk": 6},
    "topp": {"sampling_topk": 0, "sampling_topp": 0.8, "sampling_temperature": 1.5},
    "cold": {"sampling_topk": 0, "sampling_temperature": 0.6},
    "hot": {"sampling_topk": 0, "sampling_temperature": 1.8},
    "topk-and-topp": {"sampling_topk": 9, "sampling_topp": 0.7, "sampling_temperature": 2.0},
    "topp-of-a-long-list": {
        "sampling_topk": 50,
        "sampling_topp": 0.9,
        "sampling_temperature": 1.5,
    },
}


@pytest.mark.parametrize("name", SAMPLING)
def test_chances(name: str, pair: Pair) -> None:
    """First tokens, and second ones behind the commonest first ones, are drawn as they should."""
    model, engine = pair
    options = reference_options(
        max_decoding_length=2, forced_end_id=None, num_hypotheses=1024, **SAMPLING[name]
    )
    source = [5, 40, 12, 33, 8, END]
    drawn = list(samples(engine, source, options, seeds=range(8)))
    assert len(drawn) == 8 * 1024
    firsts = Counter(ids[0] for ids in drawn)
    assert_drawn_from(firsts, distribution(model, source, [], options))
    for first, count in firsts.most_common(2):
        if first == END:
            continue
        seconds = Counter(ids[1] for ids in drawn if ids[0] == first)
        assert seconds.total() == count
        assert_drawn_from(seconds, distribution(model, source, [first], options))


def test_chances_of_what_is_repeated(pair: Pair) -> None:
    """Penalties and forbidden tokens come before the draw; the chances are shared out anew."""
    model, engine = pair
    options = reference_options(
        max_decoding_length=4,
        forced_end_id=None,
        num_hypotheses=1024,
        sampling_topk=8,
        sampling_topp=0.95,
    )
    source, prefix = [9, 3, 27, END], [11, 4, 11]
    likely = np.argsort(-distribution(model, source, prefix, options))
    options = replace(
        options,
        repetition_penalty=1.5,
        target_prefix=(int(likely[0]), 4, int(likely[0])),
        suppressed_ids=(PADDING, int(likely[1])),
    )
    drawn = list(samples(engine, source, options, seeds=range(4)))
    expected = distribution(model, source, options.target_prefix, options)
    assert_drawn_from(Counter(ids[3] for ids in drawn), expected)


def samples(
    engine: _native.Engine, source: list[int], options: ReferenceOptions, seeds: Sequence[int]
) -> Iterator[list[int]]:
    requests = [native_request(source, options, seed) for seed in seeds]
    native = native_options(options, return_end_token=True)
    for hypotheses in engine.submit(requests, native).result():
        yield from (hypothesis.ids for hypothesis in hypotheses)


def distribution(
    model: MarianMTModel, source: list[int], target: Sequence[int], options: ReferenceOptions
) -> Array:
    """What transformers draws the next token from."""
    tokens = torch.tensor([[options.start_id, *target]])
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=tokens).logits[:, -1]
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(options.repetition_penalty),
            SuppressTokensLogitsProcessor(list(options.suppressed_ids)),
            TemperatureLogitsWarper(options.sampling_temperature),
            TopKLogitsWarper(options.sampling_topk or VOCABULARY),
            TopPLogitsWarper(options.sampling_topp),
        ]
    )
    probabilities: Array = processors(tokens, logits).softmax(dim=-1)[0].double().numpy()
    return probabilities


def assert_drawn_from(counts: Counter[int], probabilities: Array) -> None:
    """Pearson's chi-square test; tokens of which fewer than 5 are expected count together."""
    total = counts.total()
    seen = np.array([counts[token] for token in range(len(probabilities))], dtype=np.float64)
    assert seen[probabilities == 0].sum() == 0
    expected = total * probabilities
    rare = expected < 5
    bins = [*zip(seen[~rare], expected[~rare], strict=True)]
    if expected[rare].sum() > 0:
        bins.append((seen[rare].sum(), expected[rare].sum()))
    assert len(bins) > 1
    statistic = sum((s - e) ** 2 / e for s, e in bins)
    half = torch.tensor([(len(bins) - 1) / 2, statistic / 2], dtype=torch.float64)
    chance = float(torch.special.gammaincc(half[0], half[1]))
    assert chance > LEAST_CHANCE, (statistic, len(bins))
