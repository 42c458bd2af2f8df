"""Attention on every instruction set, and the paper's formulas made of the kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from kernel_checks import (
    Floats,
    assert_same_bits,
    assert_same_on_fma_isas,
    each_cache,
    each_isa,
    multiply,
    numbers,
)
from pytransformer._native import Kernels
from reference_formats import Array, float32_weights, round_bfloat16


def kept(cache_type: str, x: Floats) -> Array:
    """Keys or values as a cache keeps them."""
    return round_bfloat16(x) if cache_type == "bfloat16" else x.astype(np.float64)


@each_isa
@each_cache
@pytest.mark.parametrize(
    ("queries", "keys", "dim"),
    [(1, 1, 16), (1, 40, 64), (4, 33, 32), (9, 16, 48), (20, 20, 64), (61, 3000, 80)],
)
def test_attention(kernels: Kernels, cache_type: str, queries: int, keys: int, dim: int) -> None:
    q, k, v = numbers(1, queries, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    expected = reference.attention(q, kept(cache_type, k), kept(cache_type, v), dim**-0.5)
    y = kernels.attention(q, k, v, dim**-0.5, cache_type)
    np.testing.assert_allclose(y, expected, atol=3e-6)


@each_isa
@each_cache
def test_attention_of_a_query_has_the_same_bits_in_every_batch(
    kernels: Kernels, cache_type: str
) -> None:
    q, k, v = numbers(1, 40, 32), numbers(2, 37, 32), numbers(3, 37, 32)
    alone = np.concatenate([kernels.attention(row[None], k, v, 0.2, cache_type) for row in q])
    for count in range(1, 41):
        first = (3 * count) % (41 - count)
        y = kernels.attention(q[first : first + count], k, v, 0.2, cache_type)
        assert_same_bits(y, alone[first : first + count])


@each_isa
@each_cache
def test_attention_with_huge_scores(kernels: Kernels, cache_type: str) -> None:
    q, k = np.full((2, 16), 1e4, np.float32), np.zeros((3, 16), np.float32)
    k[1] = 1e4
    v = numbers(3, 3, 16)
    expected = kept(cache_type, v[1])
    y = kernels.attention(q, k, v, 1.0, cache_type)
    np.testing.assert_array_equal(y, [expected, expected])
    y = kernels.attention_cached(q[0], k, v, np.arange(3, dtype=np.int32), 1.0, cache_type)
    np.testing.assert_array_equal(y, expected)


@each_isa
def test_values_in_bfloat16(kernels: Kernels) -> None:
    """A single key takes all the weight, so what was kept of its value comes out."""
    upper = np.array([0x0080, 0x3F80, 0x3F81, 0x7F7E, 0x7F7F, 0xBF80, 0xBF81, 0xFF7F], np.uint32)
    lower = np.array([0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    v = (upper[:, np.newaxis] << 16 | lower).reshape(1, -1).view(np.float32)
    assert v.shape == (1, 48)
    q, k = numbers(1, 3, 48), numbers(2, 1, 48)
    expected = round_bfloat16(v)
    assert np.isinf(expected).sum() == 6
    slots = np.zeros(1, np.int32)
    np.testing.assert_array_equal(kernels.attention(q, k, v, 1.0, "bfloat16"), expected[[0, 0, 0]])
    y = kernels.attention_cached(q[0], k, v, slots, 1.0, "bfloat16")
    np.testing.assert_array_equal(y, expected[0])


@each_isa
@each_cache
@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFFFFFFF, 0x7F800001])
def test_nan_in_a_cache_is_seen(kernels: Kernels, cache_type: str, bits: int) -> None:
    """Where a key holds it, in all of the result; where a value does, in its column."""
    q, healthy = numbers(1, 3, 32), numbers(2, 20, 32)
    broken = healthy.copy()
    broken[13, 17] = np.array(bits, np.uint32).view(np.float32)
    slots = np.arange(20, dtype=np.int32)
    for k, v in ((broken, healthy), (healthy, broken)):
        y = kernels.attention(q, k, v, 1.0, cache_type)
        cached = kernels.attention_cached(q[0], k, v, slots, 1.0, cache_type)
        columns = slice(None) if k is broken else slice(17, 18)
        assert np.isnan(y[:, columns]).all()
        assert np.isnan(cached[columns]).all()
        assert np.isnan(y).sum() == 3 * np.isnan(cached).sum() == 3 * len(cached[columns])


@each_isa
@each_cache
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_attention_over_cache_slots(kernels: Kernels, cache_type: str, data: st.DataObject) -> None:
    dim = 16 * data.draw(st.integers(1, 9))
    capacity = data.draw(st.integers(1, 80))
    indices = st.lists(st.integers(0, capacity - 1), min_size=1, max_size=70)
    slots = np.array(data.draw(indices), np.int32)
    q, k, v = numbers(1, dim), numbers(2, capacity, dim), numbers(3, capacity, dim)
    y = kernels.attention_cached(q, k, v, slots, dim**-0.5, cache_type)
    keys, values = kept(cache_type, k[slots]), kept(cache_type, v[slots])
    expected = reference.attention(q[None], keys, values, dim**-0.5)[0]
    np.testing.assert_allclose(y, expected, atol=3e-6)
    # Where the slots lie does not matter, only their order.
    packed = np.arange(len(slots), dtype=np.int32)
    again = kernels.attention_cached(q, k[slots], v[slots], packed, dim**-0.5, cache_type)
    assert_same_bits(y, again)


def softmax_of(q: Floats, k: Array, scale: float) -> Array:
    return reference.softmax(q.astype(np.float64) @ k.T * scale)


@each_isa
@each_cache
@pytest.mark.parametrize(
    ("queries", "keys", "dim"), [(1, 1, 16), (1, 40, 64), (7, 33, 32), (61, 3000, 80)]
)
def test_weights_of_attention(
    kernels: Kernels, cache_type: str, queries: int, keys: int, dim: int
) -> None:
    """They are the softmax, and to ask for them changes nothing."""
    q, k, v = numbers(1, queries, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    weights = np.full((queries, keys), np.nan, np.float32)
    y = kernels.attention(q, k, v, dim**-0.5, cache_type, weights)
    assert_same_bits(y, kernels.attention(q, k, v, dim**-0.5, cache_type))
    expected = softmax_of(q, kept(cache_type, k), dim**-0.5)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=2e-6)


@each_isa
@each_cache
@pytest.mark.parametrize(("count", "dim"), [(1, 16), (16, 32), (33, 64), (70, 112)])
def test_weights_over_cache_slots(kernels: Kernels, cache_type: str, count: int, dim: int) -> None:
    """In the order of the slots, some of which may be the same."""
    slots = np.random.default_rng(count).integers(0, 50, count).astype(np.int32)
    q, k, v = numbers(1, dim), numbers(2, 50, dim), numbers(3, 50, dim)
    weights = np.full(count, np.nan, np.float32)
    y = kernels.attention_cached(q, k, v, slots, dim**-0.5, cache_type, weights)
    assert_same_bits(y, kernels.attention_cached(q, k, v, slots, dim**-0.5, cache_type))
    expected = softmax_of(q[None], kept(cache_type, k[slots]), dim**-0.5)[0]
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-7)
    assert weights.sum() == pytest.approx(1.0, abs=2e-6)


@each_isa
def test_places_for_weights_that_do_not_fit(kernels: Kernels) -> None:
    q, k, slots = numbers(1, 2, 16), numbers(2, 5, 16), np.arange(5, dtype=np.int32)
    for shape in [(2, 4), (3, 5)]:
        with pytest.raises(ValueError, match="weights must be"):
            kernels.attention(q, k, k, 1.0, "float32", np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="weights must be"):
        kernels.attention_cached(q[0], k, k, slots, 1.0, "float32", np.zeros(4, np.float32))


@each_cache
@pytest.mark.parametrize(("keys", "dim"), [(1, 16), (17, 32), (100, 64), (33, 112)])
def test_weights_have_the_same_bits(cache_type: str, keys: int, dim: int) -> None:
    q, k, v = numbers(1, 5, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    slots = np.arange(keys, dtype=np.int32)

    def together(kernels: Kernels) -> Floats:
        weights = np.empty((5, keys), np.float32)
        kernels.attention(q, k, v, 0.125, cache_type, weights)
        return weights

    def cached(kernels: Kernels) -> Floats:
        weights = np.empty(keys, np.float32)
        kernels.attention_cached(q[0], k, v, slots, 0.125, cache_type, weights)
        return weights

    assert_same_on_fma_isas(together)
    assert_same_on_fma_isas(cached)


@each_cache
@pytest.mark.parametrize(("keys", "dim"), [(1, 16), (17, 32), (100, 64), (33, 112)])
def test_attention_has_the_same_bits(cache_type: str, keys: int, dim: int) -> None:
    q, k, v = numbers(1, 5, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    slots = np.arange(keys, dtype=np.int32)[::-1].copy()
    assert_same_on_fma_isas(lambda kernels: kernels.attention(q, k, v, 0.125, cache_type))
    assert_same_on_fma_isas(
        lambda kernels: kernels.attention_cached(q[0], k, v, slots, 0.125, cache_type)
    )


def test_positional_encoding_of_the_paper() -> None:
    d_model = 20
    table = reference.positional_encoding(50, d_model, interleaved=True)
    halves = reference.positional_encoding(50, d_model, interleaved=False)
    assert table[7, 4] == pytest.approx(np.sin(7 / 10000 ** (4 / d_model)))
    assert table[7, 5] == pytest.approx(np.cos(7 / 10000 ** (4 / d_model)))
    np.testing.assert_array_equal(table[:, 0::2], halves[:, : d_model // 2])
    np.testing.assert_array_equal(table[:, 1::2], halves[:, d_model // 2 :])


@each_isa
def test_multi_head_attention_from_heads(kernels: Kernels) -> None:
    q, k, v = numbers(1, 6, 128), numbers(2, 11, 128), numbers(3, 11, 128)
    heads = [slice(32 * h, 32 * h + 32) for h in range(4)]
    y = [kernels.attention(q[:, h], k[:, h], v[:, h], 32**-0.5) for h in heads]
    expected = reference.multi_head_attention(q, k, v, num_heads=4)
    np.testing.assert_allclose(np.concatenate(y, axis=1), expected, atol=2e-6)


@each_isa
def test_feed_forward_from_products(kernels: Kernels) -> None:
    x, w1, b1 = numbers(1, 5, 32), numbers(2, 64, 32), numbers(3, 64)
    w2, b2 = numbers(4, 32, 64), numbers(5, 32)
    hidden = multiply(kernels, x, float32_weights(w1), b1, None, "relu")
    y = multiply(kernels, hidden, float32_weights(w2), b2)
    expected = reference.feed_forward(x, w1, b1, w2, b2)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-4)
