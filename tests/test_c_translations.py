"""What the C interface translates is what Python translates, bit for bit, whatever the options."""

from __future__ import annotations

import ctypes
import itertools
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundled import ENGLISH, GERMAN, bundled_model
from c_interface import CLibrary, CTranslator, Found
from decoding_cases import PADDING, SEARCHES, VOCABULARY
from decoding_engine import native_options, native_request
from decoding_strategies import Case, cases
from pytransformer import Translator, native
from random_models import lively_checkpoint, make_engine, sentences
from reference_rules import ReferenceOptions
from test_decoding_reference import GROUPS, OWN
from test_streaming import OPTIONS as STREAMED
from test_streaming import TEXTS

Values = dict[str, Any]

# Options of Python's translator as the C interface has them, which knows neither text nor tokens.
SETS: list[Values] = [
    {},
    {"beam_size": 1},
    {"beam_size": 5, "num_hypotheses": 5},
    {"beam_size": 4, "patience": 2.0, "early_stopping": "never", "length_penalty": 0.6},
    {"beam_size": 3, "early_stopping": True, "coverage_penalty": 0.3},
    {"beam_size": 3, "num_hypotheses": 3, "beam_rule": "marian", "max_length_factor": 1.5},
    {"beam_size": 3, "num_hypotheses": 6, "patience": 2.0, "beam_rule": "ctranslate2"},
    {"beam_size": 6, "num_beam_groups": 3, "diversity_penalty": 0.8, "num_hypotheses": 6},
    {"beam_size": 2, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    {"beam_size": 2, "renormalize_logits": True, "repetition_penalty": 1.2},
    {"beam_size": 2, "max_decoding_length": 4, "return_end_token": True},
    {"beam_size": 2, "min_decoding_length": 30, "stop_loops": True},
    {"beam_size": 2, "max_input_length": 5},
    {"beam_size": 2, "disable_unk": True, "suppress_sequences": [[14], [6, 14]]},
    {"beam_size": 4, "force_phrases": [[96, 7], [280]]},
    {"beam_size": 2, "allowed_tokens": list(range(400))},
    {"beam_size": 2, "end_token": [7, 0]},
    {"beam_size": 2, "forced_bos_token_id": 9},
    {"beam_size": 2, "max_decoding_length": 5, "forced_eos_token_id": 0},
    {"beam_size": 2, "decoder_start_token_id": 5},
    {"beam_size": 2, "return_attention": True},
    {"beam_size": 1, "return_attention": True, "attention_layer": 0, "attention_heads": [1, 2]},
    {"beam_size": 1, "return_attention": True, "attention_layer": -2},
    {"return_alternatives": True, "num_hypotheses": 4, "min_alternative_expansion_prob": 0.01},
    {"sampling_topk": 10, "seed": 7, "num_hypotheses": 3},
    {"sampling_topk": 0, "sampling_topp": 0.7, "sampling_temperature": 1.3, "seed": 2**64 - 1},
    {"beam_size": 2, "max_batch_size": 2},
    {"beam_size": 2, "max_batch_size": 0},
    {"beam_size": 2, "max_batch_size": 20, "batch_type": "tokens"},
    {"beam_size": 2, "batch_type": "tokens"},
    {"return_scores": False},
    {"beam_size": 3, "num_hypotheses": 2, "return_scores": False},
]
# As above; a prefix of ids is put before each translation.
WITH_PREFIX: list[Values] = [
    {},
    {"beam_size": 3, "num_hypotheses": 2},
    {"beam_size": 3, "prefix_bias_beta": 0.4},
    {"beam_size": 2, "return_alternatives": True, "num_hypotheses": 3},
]
# Neither glossaries nor what is put in the place of unknown words is there in C, and several
# hypotheses are not those of a text of several lines.
NOT_IN_C = {"glossary", "glossary_mode", "replace_unknowns", "num_hypotheses"}
STREAMS = [options for options in STREAMED if not NOT_IN_C & options.keys()]


def c_names(options: Values) -> Values:
    """Python's options by C's names; scores are asked for unless they are refused."""
    named = {"return_scores": True, **options}
    if "end_token" in named:
        named["end_tokens"] = named.pop("end_token")
    return named


@pytest.fixture(scope="module")
def theirs() -> Translator:
    """The bundled model in Python."""
    return Translator(bundled_model())


@pytest.fixture(scope="module")
def ids(theirs: Translator) -> list[list[int]]:
    """Sources with their end tokens, and one that has nothing else."""
    encoded = [theirs.tokenizer.encode_ids(text, tgt_lang="en") for text in GERMAN[:5]]
    return [*encoded, theirs.tokenizer.encode_ids(ENGLISH[0], tgt_lang="de"), [0]]


def assert_same(
    found: Sequence[Sequence[Found]], expected: Sequence[Any], *, scored: bool, tokens: bool
) -> None:
    """The results of C and those of Translator.translate_batch."""
    assert len(found) == len(expected)
    for mine, result in zip(found, expected, strict=True):
        assert [one.ids for one in mine] == result.ids
        assert [one.finish_reason for one in mine] == result.finish_reasons
        if scored:
            assert [one.score for one in mine] == result.scores
            assert [one.log_probs for one in mine] == result.log_probs
        assert [one.tokens for one in mine] == (result.hypotheses if tokens else [[]] * len(mine))
        attention = [np.float32(one.attention) for one in mine if one.attention]
        given = [matrix for matrix in result.attention if matrix.size]
        assert [matrix.tolist() for matrix in attention] == [matrix.tolist() for matrix in given]


@pytest.mark.parametrize("options", SETS, ids=str)
def test_ids(
    options: Values, c_bundled: CTranslator, theirs: Translator, ids: list[list[int]]
) -> None:
    scored = options.get("return_scores", True)
    expected = theirs.translate_batch(ids, **{"return_scores": True, **options})
    found = c_bundled.translate_ids(ids, **c_names(options))
    assert_same(found, expected, scored=scored, tokens=False)


@pytest.mark.parametrize("options", WITH_PREFIX, ids=str)
def test_prefixes(
    options: Values, c_bundled: CTranslator, theirs: Translator, ids: list[list[int]]
) -> None:
    """Of ids and of tokens; some sentences have none."""
    prefixes: list[list[int]] = [[9, 14], [], [96], [5, 5], [14], [], []]
    expected = theirs.translate_batch(ids, prefixes, return_scores=True, **options)
    found = c_bundled.translate_ids(ids, prefixes, **c_names(options))
    assert_same(found, expected, scored=True, tokens=False)
    tokens_of = theirs.tokenizer.target_tokens
    found = c_bundled.translate_tokens(
        [theirs.tokenizer.source_tokens(sentence) for sentence in ids],
        [tokens_of(prefix) for prefix in prefixes],
        **c_names(options),
    )
    assert_same(found, expected, scored=True, tokens=True)


@pytest.mark.parametrize("options", [{}, {"beam_size": 3, "num_hypotheses": 3}], ids=str)
def test_tokens(options: Values, c_bundled: CTranslator, theirs: Translator) -> None:
    """With and without the end token, with one that the vocabulary lacks, and none at all."""
    sources = [theirs.tokenizer.encode(text, tgt_lang="en") for text in GERMAN]
    sources += [sources[0][:-1], ["▁Hund", "no such token", "🙂"], ["</s>"], []]
    expected = theirs.translate_batch(sources, return_scores=True, **options)
    found = c_bundled.translate_tokens(sources, **c_names(options))
    assert_same(found, expected, scored=True, tokens=True)


# -- Searches of all kinds -------------------------------------------------------------------------

SAME = (
    "beam_size", "num_hypotheses", "patience", "length_penalty", "coverage_penalty",
    "repetition_penalty", "no_repeat_ngram_size", "renormalize_logits", "num_beam_groups",
    "diversity_penalty", "early_stopping", "beam_rule", "max_decoding_length",
    "min_decoding_length", "max_length_factor", "stop_loops", "prefix_bias_beta",
    "return_alternatives", "min_alternative_expansion_prob", "sampling_topk", "sampling_topp",
    "sampling_temperature", "force_phrases",
)  # fmt: skip


def c_options(options: ReferenceOptions) -> Values:
    """The reference's options as the C interface has them."""
    values = {name: getattr(options, name) for name in SAME}
    forced, first = options.forced_end_id, options.forced_bos_id
    return {
        **values,
        "decoder_start_token_id": options.start_id,
        "forced_eos_token_id": -1 if forced is None else forced,
        "forced_bos_token_id": -1 if first is None else first,
        "end_tokens": options.end_ids,
        "allowed_tokens": options.allowed_ids or (),
        "suppress_sequences": [*([i] for i in options.suppressed_ids), *options.suppress_sequences],
        "return_scores": True,
        "seed": 5,
    }


def assert_engine_agrees(
    translator: CTranslator, engine: Any, sources: list[list[int]], options: ReferenceOptions
) -> None:
    requests = [native_request(source, options, seed=5) for source in sources]
    expected = engine.submit(requests, native_options(options)).result()
    prefixes = [options.target_prefix] * len(sources)
    found = translator.translate_ids(sources, prefixes, **c_options(options))
    assert [
        [(one.ids, one.score, one.log_probs, one.finish_reason) for one in hypotheses]
        for hypotheses in found
    ] == [
        [(one.ids, one.score, one.log_probs, one.reason) for one in hypotheses]
        for hypotheses in expected
    ]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_searches(beam_size: int, c_library: CLibrary) -> None:
    """Those that are compared with the reference."""
    checkpoint = lively_checkpoint(2, VOCABULARY)
    engine = make_engine(checkpoint)
    sources = sentences(4, VOCABULARY, 2, 12, seed=5)
    everything = {**SEARCHES, **OWN, **(GROUPS if beam_size > 1 else {})}
    with CTranslator(c_library, native.build_image(checkpoint)) as translator:
        for values in everything.values():
            width = values.get("beam_size", beam_size)
            given = {
                "max_decoding_length": 12, "suppressed_ids": (PADDING,), "num_hypotheses": width,
                "beam_size": width, **values,
            }  # fmt: skip
            assert_engine_agrees(translator, engine, sources, ReferenceOptions(PADDING, **given))


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(case=st.booleans().flatmap(lambda sampling: cases(sampling=sampling)))
def test_drawn_options(case: Case, c_library: CLibrary) -> None:
    checkpoint = lively_checkpoint(case.seed, case.vocab_size)
    # A sentence of the end token alone is not translated here.
    sources = [source for source in case.sources if len(source) > 1]
    # What is not allowed is what the reference's options say; here the end tokens always are.
    options = case.options
    if options.allowed_ids is not None:
        allowed = tuple(sorted({*options.allowed_ids, *options.end_ids}))
        options = replace(options, allowed_ids=allowed)
    with CTranslator(c_library, native.build_image(checkpoint)) as translator:
        assert_engine_agrees(translator, make_engine(checkpoint), sources, options)


# -- Text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", STREAMS, ids=str)
def test_texts(options: Values, c_bundled: CTranslator, theirs: Translator) -> None:
    """At once, and each by itself; lines of nothing, and line ends of all kinds, stay."""
    expected = theirs.translate(TEXTS, tgt_lang="en", **options)
    given = {**options, "tgt_lang": "en"}
    assert [c_bundled.translate(text, **given) for text in TEXTS] == expected
    found = c_bundled.translate_texts(TEXTS, **given)
    assert [hypotheses[0].text for hypotheses in found] == expected


def test_scores_of_texts(c_bundled: CTranslator, theirs: Translator) -> None:
    values: Values = {"beam_size": 4, "num_hypotheses": 4, "tgt_lang": "de"}
    expected = theirs.translate_n_best(ENGLISH, **values)
    found = c_bundled.translate_texts(ENGLISH, return_scores=True, **values)
    assert [[(one.text, one.score) for one in hypotheses] for hypotheses in found] == [
        [(one.text, one.score) for one in hypotheses] for hypotheses in expected
    ]


def test_nuls_in_a_text(c_bundled: CTranslator, theirs: Translator) -> None:
    for text in ("Ein\0Hund", "\0", "Ein Hund.\0\nZwei\0 Hunde.\0"):
        assert c_bundled.translate(text, tgt_lang="en") == theirs.translate(text, tgt_lang="en")


def test_encoding_and_decoding(c_bundled: CTranslator, theirs: Translator) -> None:
    for text in (*GERMAN, *TEXTS, "\0", "Straße", "ﬁ"):
        line = text.replace("\n", " ")
        expected = theirs.tokenizer.encode_ids(line, tgt_lang="en")
        assert c_bundled.encode(line, tgt_lang="en") == expected
        ids = theirs.tokenizer.target_ids(theirs.tokenizer.encode_target(line))
        assert c_bundled.decode(ids) == theirs.tokenizer.decode(ids)
    assert c_bundled.languages("source") == list(theirs.source_languages)
    assert c_bundled.languages("target") == list(theirs.target_languages)


# -- Streams ---------------------------------------------------------------------------------------


class Pieces:
    """A callback that keeps what it gets."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def __call__(self, _: int | None, text: int, piece: int, length: int) -> int:
        self.told.append((text, ctypes.string_at(piece, length).decode()))
        return 0

    def of(self, text: int) -> list[str]:
        return [piece for owner, piece in self.told if owner == text]


class Events:
    """A callback that keeps the tokens of each sentence, and which have ended."""

    def __init__(self) -> None:
        self.told: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
        self.ended: list[int] = []

    def __call__(self, _: int | None, sentence: int, step: int, token: int, log_prob: float) -> int:
        assert sentence not in self.ended
        if token < 0:
            self.ended.append(sentence)
        else:
            self.told[sentence].append((step, token, log_prob))
        return 0


def boundaries(pieces: Sequence[str]) -> set[int]:
    return set(itertools.accumulate(map(len, pieces)))


@pytest.mark.parametrize("options", STREAMS, ids=str)
def test_pieces(options: Values, c_bundled: CTranslator, theirs: Translator) -> None:
    """They make the text, come in order, and are as fine as Python's."""
    given = {**options, "tgt_lang": "en"}
    for text in TEXTS:
        pieces = Pieces()
        expected = c_bundled.translate(text, on_text=pieces, **given)
        assert "".join(pieces.of(0)) == expected
        assert all(pieces.of(0))
        stream = list(theirs.translate_stream(text, **given))
        assert "".join(stream) == expected
        if "\n" not in text:  # Python may get the tokens of several steps at once
            assert boundaries(stream) <= boundaries(pieces.of(0))


def test_pieces_of_several_texts(c_bundled: CTranslator) -> None:
    pieces = Pieces()
    found = c_bundled.translate_texts(TEXTS, tgt_lang="en", beam_size=2, on_text=pieces)
    texts = [hypotheses[0].text for hypotheses in found]
    assert ["".join(pieces.of(i)) for i in range(len(TEXTS))] == texts
    assert [text for text, _ in pieces.told] == sorted(text for text, _ in pieces.told)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 4},
        {"beam_size": 2, "return_end_token": True},
        {"beam_size": 1, "return_end_token": True},
        {"beam_size": 2, "forced_bos_token_id": 9},
        {"sampling_topk": 5, "seed": 3},
    ],
    ids=str,
)
def test_token_events(
    options: Values, c_bundled: CTranslator, theirs: Translator, ids: list[list[int]]
) -> None:
    """Those of generate_tokens: of every sentence, and of one behind a prefix."""
    sources = ids[:-1]
    for prefixes in (None, [[9, 14]] * len(sources)):
        events = Events()
        found = c_bundled.translate_ids(
            sources, prefixes, on_token=events, return_scores=True, **options
        )
        assert sorted(events.ended) == list(range(len(sources)))
        for index, source in enumerate(sources):
            steps = theirs.generate_tokens(
                source, prefixes and prefixes[index], return_log_prob=True, **options
            )
            told = [(step.step, step.token_id, step.log_prob) for step in steps]
            assert events.told[index] == told
            last = found[index][0].ids[-len(told) :]
            assert [token for _, token, _ in told][: len(last)] == last


# -- Threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("inter_threads", [1, 2])
def test_eight_threads_share_a_translator(
    inter_threads: int, c_library: CLibrary, theirs: Translator, ids: list[list[int]]
) -> None:
    """Each with options of its own; all wait without the interpreter's lock."""
    kinds: list[Values] = [
        {"beam_size": 1},
        {"beam_size": 4, "num_hypotheses": 2},
        {"beam_size": 2, "return_attention": True},
        {"sampling_topk": 5, "seed": 3},
    ]
    expected = [theirs.translate_batch(ids, return_scores=True, **kind) for kind in kinds]
    with CTranslator(c_library, bundled_model(), inter_threads=inter_threads) as translator:

        def work(worker: int) -> None:
            for turn in range(6):
                kind = (worker + turn) % len(kinds)
                found = translator.translate_ids(ids, return_scores=True, **kinds[kind])
                assert_same(found, expected[kind], scored=True, tokens=False)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
