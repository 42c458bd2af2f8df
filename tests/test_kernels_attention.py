"""Attention on every instruction set, and the paper's formulas made of the kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from kernel_checks import (
    assert_same_bits,
    assert_same_on_fma_isas,
    each_isa,
    numbers,
)
from pytransformer._native import Kernels


@each_isa
@pytest.mark.parametrize(
    ("queries", "keys", "dim"),
    [(1, 1, 16), (1, 40, 64), (4, 33, 32), (9, 16, 48), (20, 20, 64), (61, 3000, 80)],
)
def test_attention(kernels: Kernels, queries: int, keys: int, dim: int) -> None:
    q, k, v = numbers(1, queries, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    expected = reference.attention(q, k, v, dim**-0.5)
    np.testing.assert_allclose(kernels.attention(q, k, v, dim**-0.5), expected, atol=3e-6)


@each_isa
def test_attention_of_a_query_has_the_same_bits_in_every_batch(kernels: Kernels) -> None:
    q, k, v = numbers(1, 40, 32), numbers(2, 37, 32), numbers(3, 37, 32)
    alone = np.concatenate([kernels.attention(row[None], k, v, 0.2) for row in q])
    for count in range(1, 41):
        first = (3 * count) % (41 - count)
        y = kernels.attention(q[first : first + count], k, v, 0.2)
        assert_same_bits(y, alone[first : first + count])


@each_isa
def test_attention_with_huge_scores(kernels: Kernels) -> None:
    q, k = np.full((2, 16), 1e4, np.float32), np.zeros((3, 16), np.float32)
    k[1] = 1e4
    v = numbers(3, 3, 16)
    np.testing.assert_array_equal(kernels.attention(q, k, v, 1.0), v[[1, 1]])
    y = kernels.attention_cached(q[0], k, v, np.arange(3, dtype=np.int32), 1.0)
    np.testing.assert_array_equal(y, v[1])


@each_isa
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_attention_over_cache_slots(kernels: Kernels, data: st.DataObject) -> None:
    dim = 16 * data.draw(st.integers(1, 9))
    capacity = data.draw(st.integers(1, 80))
    indices = st.lists(st.integers(0, capacity - 1), min_size=1, max_size=70)
    slots = np.array(data.draw(indices), np.int32)
    q, k, v = numbers(1, dim), numbers(2, capacity, dim), numbers(3, capacity, dim)
    y = kernels.attention_cached(q, k, v, slots, dim**-0.5)
    expected = reference.attention(q[None], k[slots], v[slots], dim**-0.5)[0]
    np.testing.assert_allclose(y, expected, atol=3e-6)
    # Where the slots lie does not matter, only their order.
    packed = np.arange(len(slots), dtype=np.int32)
    assert_same_bits(y, kernels.attention_cached(q, k[slots], v[slots], packed, dim**-0.5))


@pytest.mark.parametrize(("keys", "dim"), [(1, 16), (17, 32), (100, 64), (33, 112)])
def test_attention_has_the_same_bits(keys: int, dim: int) -> None:
    q, k, v = numbers(1, 5, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    slots = np.arange(keys, dtype=np.int32)[::-1].copy()
    assert_same_on_fma_isas(lambda kernels: kernels.attention(q, k, v, 0.125))
    assert_same_on_fma_isas(lambda kernels: kernels.attention_cached(q[0], k, v, slots, 0.125))


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
    hidden = kernels.gemm(x, reference.pack(w1), b1, None, "relu")
    y = kernels.gemm(hidden, reference.pack(w2), b2)
    expected = reference.feed_forward(x, w1, b1, w2, b2)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-4)
