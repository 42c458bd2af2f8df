"""Search over a list of tokens: what the whole output layer says of them, whatever is beside it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference
from bundled import bundled_model
from kernel_checks import ISAS, assert_same_bits, each_type, same_bits_isas
from pytransformer import Translator, _native, native
from pytransformer.errors import OptionError
from pytransformer.shortlist import write_text
from random_models import END, lively_checkpoint, search_options, sentences

# Two tiles of the output layer and most of a third.
VOCAB = 700
START = VOCAB - 1
# Of one token, around a panel and around a tile; with the end token and without.
SIZES = (1, 2, 15, 16, 17, 255, 256, 257, 600)
# What is set aside lies in each tile, at its borders, in lists and beside them.
ASIDE = [3, 255, 256, 511, 512, 600, 601, START]

Found = list[list[tuple[list[int], float, list[float], bytes | None]]]

slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def tokens_of(size: int, *, end: bool = True) -> list[int]:
    """Some of the vocabulary, in order."""
    rng = np.random.default_rng(size)
    others = np.sort(rng.choice(np.arange(1, VOCAB), size - end, replace=False)).tolist()
    return [END, *others] if end else others


@functools.cache
def model(compute_type: str) -> _native.Model:
    image = native.build_image(lively_checkpoint(vocab_size=VOCAB), compute_type)
    return _native.Model.from_buffer(image, "lively")


@functools.lru_cache(maxsize=16)
def engine(
    compute_type: str, isa: str, inter_threads: int = 1, intra_threads: int = 1
) -> _native.Engine:
    return _native.Engine(model(compute_type), inter_threads, intra_threads, isa)


def options(**changes: Any) -> _native.SearchOptions:
    """Greedy search that says all it knows; nothing is forced, so that any list has a way out."""
    values = {"return_end_token": True, "return_logits": True, "forced_end_token_id": -1}
    return search_options(START, **{**values, **changes})


def search(
    on: _native.Engine,
    work: Sequence[tuple[Sequence[int], _native.TokenList | None]],
    how: _native.SearchOptions,
    seed: int = 0,
) -> Found:
    """All hypotheses of sources, each with its list."""
    requests = [_native.Request(source, allowed=allowed, seed=seed) for source, allowed in work]
    return [
        [
            (
                one.ids,
                one.score,
                one.log_probs,
                None if one.logits is None else one.logits.tobytes(),
            )
            for one in hypotheses
        ]
        for hypotheses in on.submit(requests, how).result()
    ]


def log_probs_of(found: _native.Hypothesis) -> npt.NDArray[np.float32]:
    """[log_probs, vocabulary], as asked for."""
    assert found.logits is not None
    return found.logits


# --- what a list does to one sentence ----------------------------------------------------------


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("isa", ISAS)
@each_type
def test_logits_are_those_of_the_whole_vocabulary(
    compute_type: str, isa: str, beam_size: int
) -> None:
    """Bit by bit, and so is the sum of their exponentials, tile by tile of the list."""
    on, kernels = engine(compute_type, isa), _native.Kernels(isa)
    how = options(beam_size=beam_size, num_hypotheses=beam_size)
    lengths = set()
    for size, end in itertools.product(SIZES, (True, False)):
        allowed = tokens_of(size, end=end)
        source = sentences(1, VOCAB, 1, 30, seed=size)[0]
        request = _native.Request(source, allowed=_native.TokenList(allowed))
        for found in on.submit([request], how).result()[0]:
            steps = len(found.log_probs)
            lengths.add(steps)
            logits = on.logits(source, [START, *found.ids][:steps])[:, allowed]
            expected = np.full((steps, VOCAB), -np.inf, np.float32)
            expected[:, allowed] = logits - kernels.top_k(logits, 1)[2][:, np.newaxis]
            assert_same_bits(log_probs_of(found), expected)
            assert found.log_probs == expected[range(steps), found.ids].tolist()
            if beam_size == 1:
                assert found.ids == [allowed[column] for column in logits.argmax(axis=1)]
    assert len(lengths) >= 3


def test_log_probabilities_are_a_softmax_over_the_list() -> None:
    on = engine("float32", "")
    for size in SIZES:
        allowed = tokens_of(size)
        source = sentences(1, VOCAB, 1, 30, seed=size + 1)[0]
        request = _native.Request(source, allowed=_native.TokenList(allowed))
        (found,) = on.submit([request], options()).result()[0]
        logits = on.logits(source, [START, *found.ids][: len(found.log_probs)])[:, allowed]
        expected = logits - reference.log_sum_exp(logits)[:, np.newaxis]
        np.testing.assert_allclose(log_probs_of(found)[:, allowed], expected, atol=1e-4)


@each_type
@pytest.mark.parametrize(
    "way",
    [
        {},
        {"return_logits": False, "return_scores": False},
        {"beam_size": 4, "num_hypotheses": 4},
        {"beam_size": 4, "suppress_token_ids": ASIDE, "repetition_penalty": 1.3},
        {"sampling_topk": 0},
        {"sampling_topk": 20, "sampling_topp": 0.9},
    ],
    ids=["greedy", "greedy-bare", "beams", "beams-aside", "sampling", "sampling-20"],
)
def test_list_of_all_tokens_is_no_list(compute_type: str, way: dict[str, Any]) -> None:
    on, how = engine(compute_type, ""), options(**way)
    everything = _native.TokenList(range(VOCAB))
    sources = sentences(12, VOCAB, 1, 40)
    expected = search(on, [(source, None) for source in sources], how, seed=7)
    assert search(on, [(source, everything) for source in sources], how, seed=7) == expected


@pytest.mark.parametrize("intra_threads", [1, 2, 5])
@pytest.mark.parametrize("size", [17, 257, 600, VOCAB])
def test_tokens_set_aside(size: int, intra_threads: int) -> None:
    """They are never said, but count in the sum; others are as if nothing had been set aside."""
    allowed = tokens_of(size) if size < VOCAB else list(range(VOCAB))
    left = sorted(set(allowed) - set(ASIDE) - {END})
    on = engine("int8", "", 1, intra_threads)
    how = options(suppress_token_ids=ASIDE, min_decoding_length=12, max_decoding_length=12)
    for source in sentences(6, VOCAB, 1, 30, seed=size):
        request = _native.Request(source, allowed=_native.TokenList(allowed))
        (found,) = on.submit([request], how).result()[0]
        logits = on.logits(source, [START, *found.ids])[:-1]
        assert found.ids == [left[column] for column in logits[:, left].argmax(axis=1)]
        expected = logits[:, allowed] - reference.log_sum_exp(logits[:, allowed])[:, np.newaxis]
        np.testing.assert_allclose(log_probs_of(found)[:, allowed], expected, atol=1e-4)


@pytest.mark.parametrize(
    "ids", [[], [VOCAB], [-1], [0, VOCAB], [5, 3], [3, 3], [2**31 - 1]], ids=str
)
def test_impossible_lists(ids: list[int]) -> None:
    on = engine("float32", "")
    with pytest.raises(ValueError, match="allowed tokens 1 "):
        search(on, [([1, END], None), ([1, END], _native.TokenList(ids))], options())
    assert search(on, [([1, END], None)], options())


def test_target_prefix_of_tokens_that_are_not_listed() -> None:
    """A prefix is read as it is; the list is for what follows it."""
    on, allowed = engine("float32", ""), tokens_of(17)
    prefix = [token for token in range(1, 60) if token not in allowed][:5]
    request = _native.Request([4, 9, END], prefix, allowed=_native.TokenList(allowed))
    (found,) = on.submit([request], options()).result()[0]
    assert found.ids[:5] == prefix
    assert set(found.ids[5:]) <= set(allowed)
    rows = len(found.log_probs)
    logits = on.logits([4, 9, END], [START, *found.ids][: rows + 5])[5:][:, allowed]
    assert found.ids[5:] == [allowed[column] for column in logits.argmax(axis=1)]


# --- among other sentences ---------------------------------------------------------------------

# None, one token, and lists of all kinds; the last one is the same again in an object of its own.
LISTS: list[list[int] | None] = [
    None,
    [77],
    tokens_of(16),
    tokens_of(257),
    tokens_of(600),
    tokens_of(257, end=False),
    tokens_of(257),
]
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "bare": {"return_logits": False, "return_scores": False},
    "beams": {"beam_size": 4, "num_hypotheses": 4},
    "aside": {"beam_size": 3, "suppress_token_ids": ASIDE, "repetition_penalty": 1.3},
}


@dataclass(frozen=True)
class Alone:
    """What each source gives with each list, one at a time on one thread."""

    compute_type: str
    isas: list[str]
    sources: list[list[int]]
    lists: list[_native.TokenList | None]

    @functools.cache  # noqa: B019 - there are few, and they live as long as the tests
    def found(self, way: str, source: int, chosen: int) -> Found:
        on = engine(self.compute_type, self.isas[-1])
        return search(on, [(self.sources[source], self.lists[chosen])], options(**WAYS[way]))

    def check(self, way: str, picked: Sequence[tuple[int, int]], **setting: Any) -> None:
        """Sources and lists, in this order, together."""
        names = ("isa", "inter_threads", "intra_threads")
        isa, inter_threads, intra_threads = (setting.pop(name, 1) for name in names)
        isa = self.isas[isa % len(self.isas)]
        on = engine(self.compute_type, isa, inter_threads, intra_threads)
        work = [(self.sources[source], self.lists[chosen]) for source, chosen in picked]
        found = search(on, work, options(**WAYS[way], **setting))
        expected = [self.found(way, source, chosen)[0] for source, chosen in picked]
        assert found == expected

    def __hash__(self) -> int:
        return id(self)


def promises() -> list[tuple[str, list[str]]]:
    """Compute types, and instruction sets on which all have the same bits."""
    both = [(name, same_bits_isas(name)) for name in ("float32", "bfloat16", "int8", "int4")]
    alone = [("bfloat16", [isa]) for isa in ISAS if isa == "avx512_bf16"]
    return [(name, isas) for name, isas in both if isas] + alone + [("int8", ["portable"])]


@pytest.fixture(scope="module", params=promises(), ids=lambda one: f"{one[0]}-{one[1][-1]}")
def alone(request: pytest.FixtureRequest) -> Alone:
    compute_type, isas = request.param
    lists = [None if ids is None else _native.TokenList(ids) for ids in LISTS]
    by_length = [sentences(1, VOCAB, n, n, seed=n)[0] for n in range(1, 41)]
    return Alone(compute_type, isas, by_length, lists)


picks = st.tuples(st.integers(0, 39), st.integers(0, len(LISTS) - 1))


@given(
    st.sampled_from(sorted(WAYS)),
    st.lists(picks, min_size=1, max_size=40),
    st.integers(0, 3),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 7, 64]),
)
@settings(slow, max_examples=25)
def test_any_batch(
    alone: Alone,
    way: str,
    picked: list[tuple[int, int]],
    isa: int,
    inter_threads: int,
    intra_threads: int,
    max_batch_size: int,
) -> None:
    alone.check(
        way, picked, isa=isa, inter_threads=inter_threads, intra_threads=intra_threads,
        max_batch_size=max_batch_size,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["greedy", "aside"])
@pytest.mark.parametrize("rows", [1, 4, 5, 16, 17, 24])
def test_rows_that_share_a_list(alone: Alone, rows: int, way: str) -> None:
    """Weights are streamed for some rows and activations packed for many, beside other lists."""
    for chosen in range(len(LISTS)):
        other = (chosen + 1) % len(LISTS)
        picked = [(2 * i % 40, chosen) for i in range(rows)]
        alone.check(way, [*picked, (3, other)], intra_threads=2)
        alone.check(way, [(3, other), *picked], intra_threads=1)


@pytest.mark.parametrize("intra_threads", [1, 2, 3, 4, 5])
def test_any_number_of_threads(alone: Alone, intra_threads: int) -> None:
    """More than there are tiles or output layers, too."""
    for picked in ([(5, 1)], [(7, 3)], [(i, i % len(LISTS)) for i in range(20)]):
        alone.check("beams", picked, isa=intra_threads, intra_threads=intra_threads)


def test_calls_with_lists_beside_others(alone: Alone) -> None:
    """Sentences of several jobs share a batch."""
    on = engine(alone.compute_type, alone.isas[-1], 1, 2)
    how = options(**WAYS["beams"])
    jobs = [[(source, chosen) for source in range(chosen, 40, 5)] for chosen in range(len(LISTS))]

    def run(job: list[tuple[int, int]]) -> Found:
        work = [(alone.sources[source], alone.lists[chosen]) for source, chosen in job]
        return search(on, work, how)

    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(run, jobs))
    assert found == [[alone.found("beams", *pick)[0] for pick in job] for job in jobs]


# --- a translator with a shortlist -------------------------------------------------------------

SENTENCE = "Ein Hund läuft durch den Schnee."


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """Its shortlist lacks what the sentence is about."""
    path = tmp_path_factory.mktemp("shortlist") / "lex.s2t"
    write_text(path, [("▁A", "▁Ein", 0.9), ("▁snow", "▁Schnee", 0.5)])
    return Translator(bundled_model(), shortlist=path, shortlist_first=5, intra_threads=1)


def test_words_outside_the_shortlist(translator: Translator) -> None:
    free = translator.translate(SENTENCE, tgt_lang="en", use_vmap=False)
    assert "dog" in free
    assert free == Translator(bundled_model()).translate(SENTENCE, tgt_lang="en")
    assert "dog" not in translator.translate(SENTENCE, tgt_lang="en")


@pytest.mark.parametrize("beam_size", [1, 4])
def test_what_is_required_is_allowed(translator: Translator, beam_size: int) -> None:
    """Phrases, prefixes and end tokens, though no shortlist names them."""
    target = {"tgt_lang": "en", "beam_size": beam_size}
    assert "dog" in translator.translate(SENTENCE, force_phrases=["dog"], **target)
    prefixed = translator.translate(SENTENCE, target_prefix="A dog", **target)
    assert prefixed.startswith("A dog")
    source = [">>en<<", "▁Ein", "▁Hund"]
    (found,) = translator.translate_batch([source], beam_size=beam_size, end_token="▁dog")
    assert "▁dog" not in found.hypotheses[0]
    (found,) = translator.translate_batch([source], [["▁A", "▁dog"]], beam_size=beam_size)
    assert found.hypotheses[0][:2] == ["▁A", "▁dog"]


def test_allowed_tokens_narrow_the_shortlist(translator: Translator) -> None:
    source = [">>en<<", "▁Ein", "▁Hund"]
    (found,) = translator.translate_batch(
        [source], allowed_tokens=["▁A", "▁dog", "▁cat"], min_decoding_length=3
    )
    assert set(found.hypotheses[0]) == {"▁A"}


def test_no_shortlist_to_use() -> None:
    with pytest.raises(OptionError, match="use_vmap: this translator has no shortlist"):
        Translator(bundled_model()).translate(SENTENCE, tgt_lang="en", use_vmap=True)
