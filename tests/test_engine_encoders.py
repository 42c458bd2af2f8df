"""Encoders alone: states, pooler and classifier of tokens with types and of vectors, in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_strategies import encoders
from pytransformer import _native, native
from pytransformer.model_spec import Checkpoint, HeadSpec, ModelSpec, PositionSpec
from random_models import encoder_spec, make_engine, model_spec, random_checkpoint, sentences, stack
from reference_model import Array, ReferenceModel
from rounded_models import inexact_model

TOLERANCE = 1e-4  # of the root mean square of a row of states, or of the head's inputs
MARGIN = 5.0  # as in test_reference_model
LEAST_WIDTH = 8
ISAS = [isa for isa in _native.supported_isas() if isa != "portable"] or ["portable"]
TYPES = ["float32", "bfloat16", "int8", "int4"]

Found = dict[str, npt.NDArray[np.float32] | None]

slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Sources:
    """Random sources of an encoder: tokens, where it tells types apart with types, or vectors."""

    def __init__(self, model: ModelSpec, count: int, seed: int = 0) -> None:
        encoder = model.encoder
        rng = np.random.default_rng(seed)
        self._tokens = sentences(count, encoder.vocab_size, 1, 40, seed)
        lengths = [len(tokens) for tokens in self._tokens]
        self._types = [rng.integers(0, encoder.positions.segments, n).tolist() for n in lengths]
        self._vectors = [
            rng.normal(size=(n, encoder.vector_size)).astype(np.float32) for n in lengths
        ]
        self._reads_vectors = encoder.vector_size > 0

    def request(self, i: int) -> _native.Request:
        if self._reads_vectors:
            return _native.Request.of_vectors(self._vectors[i])
        return _native.Request(self._tokens[i], segments=self._types[i])

    def states(self, model: ReferenceModel, i: int) -> Array:
        if self._reads_vectors:
            return model.encode(self._vectors[i].astype(np.float64))
        return model.encode(self._tokens[i], self._types[i])


def encode(engine: _native.Engine, requests: list[_native.Request], **changes: Any) -> list[Found]:
    options = _native.SearchOptions()
    options.encode = True
    for name, value in changes.items():
        setattr(options, name, value)
    results = engine.submit(requests, options).result()
    return [
        {"states": found.states, "pooled": found.pooled, "labels": found.label_logits}
        for (found,) in results
    ]


def expected_of(model: ReferenceModel, head: HeadSpec | None, states: Array) -> dict[str, Any]:
    pooled = model.pooled(states) if head and head.pooler_size else None
    labels = model.label_logits(states) if head and head.labels else None
    return {"states": states, "pooled": pooled, "labels": labels}


def assert_agrees(checkpoint: Checkpoint, seed: int, isa: str = "") -> None:
    sources = Sources(checkpoint.model, 3, seed)
    engine, head = make_engine(checkpoint, isa=isa), checkpoint.model.head
    found = encode(engine, [sources.request(i) for i in range(3)])
    models = ReferenceModel(checkpoint), inexact_model(checkpoint)
    for i, ours in enumerate(found):
        exact, inexact = (expected_of(m, head, sources.states(m, i)) for m in models)
        for name, expected in exact.items():
            mine = ours[name]
            if expected is None:
                assert mine is None
                continue
            assert mine is not None
            assert mine.dtype == np.float32
            assert mine.shape == expected.shape
            size = np.sqrt((np.atleast_2d(expected) ** 2).mean(axis=1, keepdims=True))
            size = np.maximum(size, 1.0) if name != "states" else size
            allowed = TOLERANCE * size + MARGIN * np.abs(inexact[name] - expected).max()
            assert (np.abs(mine - expected) <= allowed).all()


@given(spec=encoders(LEAST_WIDTH), seed=st.integers(0, 1000))
@slow
def test_any_encoder(spec: ModelSpec, seed: int) -> None:
    assert_agrees(random_checkpoint(spec, seed, bias_share=0.7), seed)


@pytest.mark.parametrize("isa", _native.supported_isas())
def test_every_instruction_set(isa: str) -> None:
    types = stack(positions=PositionSpec("learned", 40, segments=3), embedding_norm=True)
    head = HeadSpec(27, "tanh", ("a", "b", "c"), "softmax")
    assert_agrees(random_checkpoint(encoder_spec(types, head)), 1, isa)
    vectors = stack(positions=PositionSpec("learned", 40), vector_size=33)
    head = HeadSpec(0, "relu", ("a",), "none")
    assert_agrees(random_checkpoint(encoder_spec(vectors, head)), 2, isa)


@given(
    spec=encoders(),
    compute_type=st.sampled_from(TYPES),
    seed=st.integers(0, 1000),
    threads=st.integers(1, 4),
    batch=st.fixed_dictionaries(
        {"max_batch_size": st.integers(1, 40), "batch_by_tokens": st.booleans()}
    ),
)
@slow
def test_neighbours_and_threads_change_nothing(
    spec: ModelSpec, compute_type: str, seed: int, threads: int, batch: dict[str, Any]
) -> None:
    """Bit for bit, and on each instruction set that promises it."""
    image = native.build_image(random_checkpoint(spec, seed), compute_type)
    model = _native.Model.from_buffer(image, "any")
    sources = Sources(spec, 5, seed)
    isas = [isa for isa in ISAS if compute_type != "bfloat16" or isa != "avx512_bf16"]
    alone = [
        encode(_native.Engine(model, 1, 1, isas[-1]), [sources.request(i)])[0] for i in range(5)
    ]
    order = [3, 0, 4, 1, 2]
    engine = _native.Engine(model, 1, threads, isas[seed % len(isas)])
    together = encode(engine, [sources.request(i) for i in order], **batch)
    for i, ours in zip(order, together, strict=True):
        for name, expected in alone[i].items():
            np.testing.assert_array_equal(ours[name], expected)


@pytest.mark.parametrize("compute_type", TYPES[1:])
def test_smaller_number_formats(compute_type: str) -> None:
    """Near what float32 gives, and not the same."""
    head = HeadSpec(64, "tanh", ("a", "b"), "softmax")
    spec = encoder_spec(stack(d_model=48, num_heads=3, head_dim=16, d_ff=100), head)
    checkpoint = random_checkpoint(spec)
    sources = Sources(spec, 8)
    requests = [sources.request(i) for i in range(8)]
    image = native.build_image(checkpoint, compute_type)
    small = encode(_native.Engine(_native.Model.from_buffer(image, "small"), 1, 1), requests)
    exact = encode(make_engine(checkpoint), requests)
    most = {"bfloat16": 0.02, "int8": 0.08, "int4": 0.6}[compute_type]
    for name in ("states", "pooled", "labels"):
        ours, theirs = (np.concatenate([found[name] for found in each]) for each in (small, exact))
        error = np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean())
        assert 1e-4 < error < most


def test_encoder_of_a_translation_model() -> None:
    """Its states, by a job like that of an encoder alone."""
    checkpoint = random_checkpoint(model_spec())
    engine = make_engine(checkpoint)
    for tokens in sentences(3, 61, 1, 40):
        (found,) = encode(engine, [_native.Request(tokens)])
        np.testing.assert_array_equal(found["states"], engine.encode(tokens))
        assert found["pooled"] is None
        assert found["labels"] is None


VECTORS = np.zeros((4, 5), np.float32)
IMPOSSIBLE = {
    "vectors-for-tokens": (0, _native.Request.of_vectors(VECTORS), "reads tokens"),
    "tokens-for-vectors": (5, _native.Request([1, 0]), "vectors of 5 numbers"),
    "other-vectors": (6, _native.Request.of_vectors(VECTORS), "vectors of 6 numbers"),
    "no-vectors": (5, _native.Request.of_vectors(VECTORS[:0]), "vectors of 5 numbers"),
    "too-many-vectors": (
        5,
        _native.Request.of_vectors(np.zeros((71, 5), np.float32)),
        "1 to 70 vectors",
    ),
    "types-of-others": (0, _native.Request([1, 0], segments=[0]), "2 tokens and 1 types"),
    "types-that-it-lacks": (0, _native.Request([1, 0], segments=[0, 2]), "type 2"),
    "negative-types": (0, _native.Request([1, 0], segments=[0, -1]), "type -1"),
    "nothing": (0, _native.Request([]), "is empty"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_sources(case: str) -> None:
    vector_size, request, message = IMPOSSIBLE[case]
    segments = 1 if vector_size else 2
    encoder = stack(vector_size=vector_size, positions=PositionSpec("learned", 70, 0, segments))
    engine = make_engine(random_checkpoint(encoder_spec(encoder)))
    with pytest.raises(ValueError, match=message):
        encode(engine, [request])


@pytest.mark.parametrize("vectors", [np.zeros(5), np.zeros((1, 2, 5)), [["a"]]])
def test_vectors_of_other_shapes(vectors: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        _native.Request.of_vectors(vectors)


def test_models_that_only_encode_do_not_search() -> None:
    engine = make_engine(random_checkpoint(encoder_spec(stack())))
    with pytest.raises(ValueError, match="only encodes"):
        engine.submit([_native.Request([1, 0])], _native.SearchOptions())
    with pytest.raises(ValueError, match=r"decoder|only encodes"):
        engine.logits([1, 0], [1])
    with pytest.raises(ValueError, match=r"decoder|only encodes"):
        engine.attention([1, 0], [1])


def test_encoders_of_vectors_read_no_tokens() -> None:
    engine = make_engine(random_checkpoint(encoder_spec(stack(vector_size=5))))
    with pytest.raises(ValueError, match="vectors"):
        engine.encode([1, 0])


def test_decoders_read_no_encoder_of_vectors() -> None:
    spec = model_spec(encoder=stack(vector_size=5), shared_embedding=False)
    with pytest.raises(ValueError, match="only an encoder alone reads vectors"):
        make_engine(random_checkpoint(spec))
