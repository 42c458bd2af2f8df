"""A sentence's result is the same, bit for bit, whatever else is computed beside it, and where."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundled import ENGLISH, GERMAN, bundled_model
from model_strategies import models
from pytransformer import _native, native
from pytransformer.model_files import open_model
from pytransformer.model_spec import ModelSpec
from random_models import (
    LIVELY,
    Hypotheses,
    lively_checkpoint,
    make_engine,
    random_checkpoint,
    run_search,
    search_options,
    sentences,
)
from reference_model import ReferenceModel
from rounded_models import inexact_model

ISAS = _native.supported_isas()
# All that have fused multiply-add; the portable code promises agreement within the tolerance only.
EXACT = [isa for isa in ISAS if isa != "portable"] or ["portable"]
TOLERANCE = 1e-4
# Times what comes of errors of some units in float32's last place, where that is much.
MARGIN = 5.0


def promises() -> list[tuple[str, list[str]]]:
    """Compute types, and the instruction sets among which results have the same bits.

    The instruction for products of bfloat16 adds them up in its own way; without it they are
    products of float32.
    """
    everywhere = [(name, EXACT) for name in ("float32", "int8", "int4")]
    without = [isa for isa in EXACT if isa != "avx512_bf16"]
    with_it = [isa for isa in EXACT if isa == "avx512_bf16"]
    return everywhere + [("bfloat16", isas) for isas in (without, with_it) if isas]


PROMISES = promises()
PROMISE_NAMES = [f"{compute_type}-{isas[-1]}" for compute_type, isas in PROMISES]


def lively_cases() -> list[tuple[str, str, list[str]]]:
    """Plain models in all types, other kinds of layers in float32 and in one type more."""
    cases = [("plain", *promise) for promise in PROMISES]
    for i, kind in enumerate(list(LIVELY)[1:]):
        cases += [(kind, *PROMISES[0]), (kind, *PROMISES[1 + i % (len(PROMISES) - 1)])]
    return cases


LIVELY_CASES = lively_cases()
LIVELY_NAMES = [f"{kind}-{compute_type}-{isas[-1]}" for kind, compute_type, isas in LIVELY_CASES]

ways = st.fixed_dictionaries(
    {
        "isa": st.integers(0, 3),
        "inter_threads": st.sampled_from([1, 2]),
        "intra_threads": st.sampled_from([1, 2]),
    }
)
batches = st.fixed_dictionaries(
    {
        "max_batch_size": st.sampled_from([1, 2, 3, 7, 16, 17, 64, 500]),
        "batch_by_tokens": st.booleans(),
    }
)
beam_sizes = st.sampled_from([1, 4])
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Subject:
    """A model, the instruction sets of one promise, some sources, and what each gives alone."""

    model: _native.Model
    isas: list[str]
    start: int
    sources: list[list[int]]

    def engine(self, isa: int, inter_threads: int, intra_threads: int) -> _native.Engine:
        """On any of the instruction sets, counted round."""
        name = self.isas[isa % len(self.isas)]
        return _engine(self.model, name, inter_threads, intra_threads)

    def options(self, beam_size: int, **changes: Any) -> _native.SearchOptions:
        return search_options(
            self.start,
            beam_size=beam_size,
            num_hypotheses=beam_size,
            suppress_token_ids=[self.start],
            **changes,
        )

    def alone(self, beam_size: int, **changes: Any) -> list[Hypotheses]:
        """The best instruction set, one thread, one sentence at a time."""
        engine = self.engine(-1, 1, 1)
        options = self.options(beam_size, **changes)
        return [run_search(engine, [source], options)[0] for source in self.sources]

    def check(
        self,
        expected: Sequence[Hypotheses],
        picked: Sequence[int],
        beam_size: int,
        way: dict[str, Any],
        batch: dict[str, Any],
    ) -> None:
        """The sources `picked`, in this order, together."""
        batch_sources = [self.sources[i] for i in picked]
        found = run_search(self.engine(**way), batch_sources, self.options(beam_size, **batch))
        assert found == [expected[i] for i in picked]


@functools.lru_cache(maxsize=8)
def _engine(
    model: _native.Model, isa: str, inter_threads: int, intra_threads: int
) -> _native.Engine:
    return _native.Engine(model, inter_threads, intra_threads, isa)


class Expected:
    """Results of each source alone, computed once for every width of the beam."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._results: dict[int, list[Hypotheses]] = {}

    def __getitem__(self, beam_size: int) -> list[Hypotheses]:
        if beam_size not in self._results:
            self._results[beam_size] = self.subject.alone(beam_size)
        return self._results[beam_size]


@pytest.fixture(scope="module", params=LIVELY_CASES, ids=LIVELY_NAMES)
def lively(request: pytest.FixtureRequest) -> Expected:
    """A random model, and sources of every length from 1 to 60."""
    kind, compute_type, isas = request.param
    model = lively_model(compute_type, kind)
    by_length = [sentences(1, 61, n, n, seed=n)[0] for n in range(1, 61)]
    return Expected(Subject(model, isas, 60, by_length))


def lively_model(compute_type: str, kind: str = "plain") -> _native.Model:
    image = native.build_image(lively_checkpoint(kind=kind), compute_type)
    return _native.Model.from_buffer(image, "lively")


@pytest.fixture(scope="module", params=PROMISES, ids=PROMISE_NAMES)
def bundled(request: pytest.FixtureRequest) -> Expected:
    """The bundled model in both directions, on short sentences and on a long one."""
    compute_type, isas = request.param
    opened = open_model(bundled_model(), compute_type)
    tokenizer = opened.tokenizer
    texts = [(line, "en") for line in (*GERMAN, " ".join(GERMAN))]
    texts += [(line, "de") for line in ENGLISH]
    sources = [tokenizer.encode_ids(text, src_lang=None, tgt_lang=to) for text, to in texts]
    return Expected(Subject(opened.native, isas, opened.generation.decoder_start_token_id, sources))


def test_every_instruction_set_is_promised_something() -> None:
    """And each compute type is computed on each of them."""
    for name in ("float32", "bfloat16", "int8", "int4"):
        isas = [isa for compute_type, isas in PROMISES if compute_type == name for isa in isas]
        assert isas == EXACT


def test_the_random_model_is_lively(lively: Expected) -> None:
    """A model that always says the same would keep the contract by saying nothing."""
    best = [hypotheses[0][0] for hypotheses in lively[4]]
    assert len({tuple(ids) for ids in best}) >= 50
    assert len({len(ids) for ids in best}) >= 8


@given(st.lists(st.integers(0, 59), min_size=1, max_size=64), beam_sizes, ways, batches)
@settings(slow, max_examples=20)
def test_any_batch(
    lively: Expected, picked: list[int], beam_size: int, way: dict[str, Any], batch: dict[str, Any]
) -> None:
    lively.subject.check(lively[beam_size], picked, beam_size, way, batch)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 33, 64])
def test_any_place_in_a_batch(lively: Expected, size: int, beam_size: int) -> None:
    """One sentence at the first, the middle and the last place among others."""
    way = {"isa": 0, "inter_threads": 1, "intra_threads": 2}
    others = [(7 * i + 3) % 60 for i in range(size - 1)]
    for place in {0, size // 2, size - 1}:
        picked = [*others[:place], 20, *others[place:]]
        lively.subject.check(lively[beam_size], picked, beam_size, way, {})


@pytest.mark.parametrize("inter_threads", [1, 2])
@pytest.mark.parametrize("intra_threads", [1, 2, 3, 4, 5])
def test_any_number_of_threads(lively: Expected, intra_threads: int, inter_threads: int) -> None:
    """More than the three heads, too, whose numbers threads then share out in another way."""
    way = {"isa": intra_threads, "inter_threads": inter_threads, "intra_threads": intra_threads}
    for beam_size, picked in ((1, [2, 40, 17, 0, 59, 31, 5]), (4, [5, 0, 20])):
        lively.subject.check(lively[beam_size], picked, beam_size, way, {})


@given(st.permutations(range(33)), st.integers(1, 33), beam_sizes, ways, batches)
@settings(slow, max_examples=6)
def test_any_batch_of_the_bundled_model(
    bundled: Expected,
    order: list[int],
    size: int,
    beam_size: int,
    way: dict[str, Any],
    batch: dict[str, Any],
) -> None:
    bundled.subject.check(bundled[beam_size], order[:size], beam_size, way, batch)


@pytest.mark.parametrize("return_scores", [True, False])
def test_jobs_with_other_options_beside(lively: Expected, return_scores: bool) -> None:
    """Sentences of several jobs share a batch; greedy ones then get sums that they did not want."""
    subject = lively.subject
    engine = subject.engine(-1, 1, 2)
    jobs = [
        subject.options(1, return_scores=return_scores),
        subject.options(4),
        subject.options(4, early_stopping=2, length_penalty=0.6),
        subject.options(1, min_decoding_length=9),
    ] * 2
    serial = [run_search(engine, subject.sources, options) for options in jobs[:4]]
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(lambda options: run_search(engine, subject.sources, options), jobs))
    assert found == serial * 2


def test_greedy_search_takes_the_largest_logit() -> None:
    """Where the logits of two tokens differ in their last bits, and the sum so far is long."""
    checkpoint = lively_checkpoint()
    weights = checkpoint.tensors["shared.embedding.weight"]
    bias = checkpoint.tensors["output.bias"]
    weights[30:59], bias[30:59] = weights[1:30], bias[1:30] + np.float32(2e-6)
    engine = make_engine(checkpoint)
    sources = [sentences(1, 61, n, n, seed=n)[0] for n in range(1, 61, 4)]
    for return_scores in (True, False):
        options = search_options(60, return_scores=return_scores, suppress_token_ids=[60])
        for source, hypotheses in zip(sources, run_search(engine, sources, options), strict=True):
            ids = hypotheses[0][0]
            logits = engine.logits(source, [60, *ids])[: len(ids)]
            logits[:, 60] = -np.inf
            assert ids == logits.argmax(axis=1).tolist()


@pytest.mark.parametrize(("compute_type", "isas"), PROMISES, ids=PROMISE_NAMES)
@given(spec=models(), seed=st.integers(0, 1000))
@settings(slow, max_examples=20)
def test_any_architecture_on_every_instruction_set(
    compute_type: str, isas: list[str], spec: ModelSpec, seed: int
) -> None:
    """The same bits where they are promised."""
    checkpoint = random_checkpoint(spec, seed)
    model = _native.Model.from_buffer(native.build_image(checkpoint, compute_type), "any")
    source = sentences(1, spec.encoder.vocab_size, 1, 40, seed)[0]
    target = np.random.default_rng(seed).integers(0, spec.decoder.vocab_size, 12).tolist()
    results = []
    for isa in isas:
        engine = _native.Engine(model, 1, 1, isa)
        assert engine.isa == isa
        results.append((engine.encode(source), engine.logits(source, target)))
    for found in results:
        for ours, expected in zip(found, results[-1], strict=True):
            np.testing.assert_array_equal(ours.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize(("compute_type", "isas"), PROMISES, ids=PROMISE_NAMES)
@given(
    spec=models(),
    seed=st.integers(0, 1000),
    beam_size=beam_sizes,
    threads=st.integers(1, 4),
    batch=batches,
)
@settings(slow, max_examples=20)
def test_any_architecture_in_any_batch(
    compute_type: str,
    isas: list[str],
    spec: ModelSpec,
    seed: int,
    beam_size: int,
    threads: int,
    batch: dict[str, Any],
) -> None:
    """With several threads, too."""
    checkpoint = random_checkpoint(spec, seed, end_bias=1.0)
    model = _native.Model.from_buffer(native.build_image(checkpoint, compute_type), "any")
    sources = sentences(4, spec.encoder.vocab_size, 1, 40, seed)
    subject = Subject(model, isas, spec.decoder.vocab_size - 1, sources)
    options = {**batch, "max_decoding_length": 12}
    expected = subject.alone(beam_size, **options)
    way = {"isa": seed, "inter_threads": 1, "intra_threads": threads}
    subject.check(expected, [2, 0, 3, 1], beam_size, way, options)


@given(spec=models(least_width=8), seed=st.integers(0, 1000))
@settings(slow, max_examples=20)
def test_any_architecture_in_portable_code(spec: ModelSpec, seed: int) -> None:
    """Close to the others; how close in other types is a matter of ties in rounding."""
    checkpoint = random_checkpoint(spec, seed)
    model = _native.Model.from_buffer(native.build_image(checkpoint), "any")
    exact, inexact = ReferenceModel(checkpoint), inexact_model(checkpoint)
    source = sentences(1, spec.encoder.vocab_size, 1, 40, seed)[0]
    target = np.random.default_rng(seed).integers(0, spec.decoder.vocab_size, 12).tolist()
    portable, best = (_native.Engine(model, 1, 1, isa) for isa in ("portable", EXACT[-1]))
    engines_and_references = (portable, best, exact, inexact)
    states = [each.encode(source) for each in engines_and_references]
    logits = [each.logits(source, target) for each in engines_and_references]
    for ours, expected, plain, off in (states, logits):
        size = np.sqrt((expected**2).mean(axis=1, keepdims=True))
        magnified = np.abs(off - plain).max()
        assert (np.abs(ours - expected) <= TOLERANCE * size + MARGIN * magnified).all()


@pytest.mark.parametrize(
    ("kind", "compute_type"),
    [
        *[("plain", compute_type) for compute_type in ("float32", "bfloat16", "int8", "int4")],
        *[(kind, "float32") for kind in list(LIVELY)[1:]],
    ],
)
def test_portable_results_do_not_depend_on_the_batch(kind: str, compute_type: str) -> None:
    """That part of the contract holds there, too."""
    by_length = [sentences(1, 61, n, n, seed=n)[0] for n in range(1, 61, 3)]
    subject = Subject(lively_model(compute_type, kind), ["portable"], 60, by_length)
    order = np.random.default_rng(1).permutation(len(by_length)).tolist()
    for beam_size in (1, 4):
        alone = subject.alone(beam_size)
        for threads in (1, 3):
            way = {"isa": 0, "inter_threads": 1, "intra_threads": threads}
            subject.check(alone, order, beam_size, way, {})


@pytest.mark.parametrize("kind", LIVELY)
@pytest.mark.parametrize("beam_size", [1, 4])
def test_portable_translations_agree(beam_size: int, kind: str) -> None:
    """The same tokens, unless two candidates are as close as the tolerance."""
    sources = [sentences(1, 61, n, n, seed=n)[0] for n in range(1, 61)]
    both = [
        Subject(lively_model("float32", kind), [isa], 60, sources).alone(beam_size)
        for isa in ("portable", EXACT[-1])
    ]
    pairs = [
        (ours, expected)
        for mine, others in zip(*both, strict=True)
        for ours, expected in zip(mine, others, strict=True)
    ]
    different = [pair for pair in pairs if pair[0][0] != pair[1][0]]
    assert len(different) <= 0.02 * len(pairs)
    if beam_size > 1:
        assert all(abs(ours[1] - expected[1]) <= TOLERANCE for ours, expected in pairs)
