"""The kernels of norms, distances and memories on every instruction set."""

import numpy as np
import pytest

from kernel_checks import (
    Floats,
    assert_same_bits,
    assert_same_on_fma_isas,
    each_cache,
    each_isa,
    numbers,
)
from pytransformer._native import Kernels


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))), np.float64)


def rows_of_distances(keys: int, position: int, most: int) -> Floats:
    """The rows of the table, one for each key."""
    return np.clip(np.arange(keys) - position, -most, most) + most


@each_isa
@pytest.mark.parametrize("columns", [2, 16, 17, 100])
def test_norms(kernels: Kernels, columns: int) -> None:
    x = numbers(1, 5, columns)
    weight, bias = numbers(2, columns), numbers(3, columns)
    wide = x.astype(np.float64)
    rms = wide / np.sqrt((wide**2).mean(1, keepdims=True) + 1e-3) * weight + bias
    np.testing.assert_allclose(
        kernels.layer_norm(x, weight, bias, 1e-3, "rms"), rms, rtol=2e-5, atol=4e-6
    )
    deviation = wide.std(1, ddof=1, keepdims=True) + 1e-3
    expected = (wide - wide.mean(1, keepdims=True)) / deviation * weight + bias
    np.testing.assert_allclose(
        kernels.layer_norm(x, weight, bias, 1e-3, "deviation"), expected, rtol=2e-5, atol=4e-6
    )


@each_isa
@each_cache
def test_attention_with_a_bias(kernels: Kernels, cache_type: str) -> None:
    """A bias is the same as one more number in each query and key, as far as these can say it."""
    q, k, v = numbers(1, 7, 32), numbers(2, 21, 32), numbers(3, 21, 32)
    q[:, -1], k[:, -1] = 0, 0
    per_key = np.round(numbers(4, 21) * 8) / 8  # bfloat16 holds them
    with_bias = kernels.attention(q, k, v, 1.0, cache_type, None, np.tile(per_key, (7, 1)))
    q[:, -1], k[:, -1] = 1, per_key
    np.testing.assert_allclose(with_bias, kernels.attention(q, k, v, 1.0, cache_type), atol=3e-6)


@each_isa
@each_cache
def test_each_query_has_its_bias(kernels: Kernels, cache_type: str) -> None:
    q, k, v = numbers(1, 20, 16), numbers(2, 18, 16), numbers(3, 18, 16)
    bias = numbers(4, 20, 18)
    together = kernels.attention(q, k, v, 0.3, cache_type, None, bias)
    for i in range(20):
        alone = kernels.attention(q[i : i + 1], k, v, 0.3, cache_type, None, bias[i : i + 1])
        assert_same_bits(alone[0], together[i])


@each_isa
@each_cache
@pytest.mark.parametrize("keys", [1, 15, 16, 40])
def test_cached_attention_with_a_bias(kernels: Kernels, cache_type: str, keys: int) -> None:
    q, k, v = numbers(1, 1, 48), numbers(2, keys, 48), numbers(3, keys, 48)
    bias = numbers(4, 1, keys)
    slots = np.arange(keys, dtype=np.int32)
    expected = kernels.attention(q, k, v, 0.2, cache_type, None, bias)[0]
    y = kernels.attention_cached(q[0], k, v, slots, 0.2, cache_type, None, bias[0])
    np.testing.assert_allclose(y, expected, atol=3e-6)


@each_isa
@pytest.mark.parametrize("most", [0, 1, 6, 40])
@pytest.mark.parametrize("position", [0, 4, 24])
def test_distances(kernels: Kernels, most: int, position: int) -> None:
    query, table, weights = numbers(1, 32), numbers(2, 2 * most + 1, 32), numbers(3, 25)
    rows = rows_of_distances(25, position, most)
    scores = kernels.distance_scores(query, table, 25, position, 0.25)
    np.testing.assert_allclose(scores, 0.25 * table[rows] @ query, atol=1e-5)
    values = kernels.distance_values(weights, table, position)
    np.testing.assert_allclose(values, weights @ table[rows], atol=2e-5)


@each_isa
@pytest.mark.parametrize(("dim", "half"), [(16, 5), (16, 8), (64, 32), (48, 20)])
def test_rotation(kernels: Kernels, dim: int, half: int) -> None:
    x, angles = numbers(1, 3, dim), numbers(2, half)
    cosines, sines = np.cos(angles), np.sin(angles)
    y = kernels.rotate(x, cosines, sines)
    first, second = x[:, :half], x[:, half : 2 * half]
    np.testing.assert_allclose(y[:, :half], first * cosines - second * sines, atol=1e-6)
    np.testing.assert_allclose(y[:, half : 2 * half], second * cosines + first * sines, atol=1e-6)
    np.testing.assert_array_equal(y[:, 2 * half :], x[:, 2 * half :])


@each_isa
def test_recurrence(kernels: Kernels) -> None:
    x, forget, previous = 3 * numbers(1, 48), 3 * numbers(2, 48), numbers(3, 48)
    f = sigmoid(forget)
    state, out = kernels.recur(x, forget, previous)
    np.testing.assert_allclose(state, f * previous + (1 - f) * x, atol=1e-6)
    np.testing.assert_array_equal(out, np.maximum(state, 0))
    first, _ = kernels.recur(x, forget)
    np.testing.assert_allclose(first, (1 - f) * x, atol=1e-6)


@each_isa
def test_running_mean(kernels: Kernels) -> None:
    rows = numbers(1, 5, 32)
    total = None
    for step, row in enumerate(rows, start=1):
        total, mean = kernels.running_mean(row, total, step)
        np.testing.assert_allclose(mean, rows[:step].mean(0), atol=1e-6)


@each_isa
def test_gates(kernels: Kernels) -> None:
    gate, y, other_gate, other = (4 * numbers(i, 32) for i in range(4))
    expected = sigmoid(gate) * y + sigmoid(other_gate) * other
    np.testing.assert_allclose(kernels.mix(gate, y, other_gate, other), expected, atol=2e-6)


def test_the_same_bits() -> None:
    x, gates, table = numbers(1, 3, 48), numbers(2, 3, 48), numbers(3, 9, 48)
    bias = numbers(4, 3, 3)
    for kind in ("rms", "deviation"):
        assert_same_on_fma_isas(lambda k, kind=kind: k.layer_norm(x, x[0], x[1], 1e-5, kind))
    assert_same_on_fma_isas(lambda k: k.attention(x, x, x, 0.1, "float32", None, bias))
    assert_same_on_fma_isas(lambda k: k.distance_scores(x[0], table, 30, 7, 0.3))
    assert_same_on_fma_isas(lambda k: k.distance_values(x[0], table, 7))
    assert_same_on_fma_isas(lambda k: k.rotate(x, gates[0, :20], gates[1, :20]))
    assert_same_on_fma_isas(lambda k: k.recur(x[0], gates[0], x[1])[0])
    assert_same_on_fma_isas(lambda k: k.running_mean(x[0], x[1], 3)[1])
    assert_same_on_fma_isas(lambda k: k.mix(gates[0], x[0], gates[1], x[1]))


def test_wrong_arguments() -> None:
    kernels = Kernels("portable")
    with pytest.raises(ValueError, match="known are layer, rms, deviation"):
        kernels.layer_norm(numbers(1, 1, 4), numbers(1, 4), numbers(1, 4), 1e-5, "batch")
    q = numbers(1, 2, 16)
    with pytest.raises(ValueError, match=r"bias must be \[queries, keys\]"):
        kernels.attention(q, q, q, 1.0, "float32", None, numbers(1, 3, 3))
    with pytest.raises(ValueError, match="odd number of rows"):
        kernels.distance_scores(numbers(1, 16), numbers(1, 4, 16), 3, 0, 1.0)
    with pytest.raises(ValueError, match="multiple of 16"):
        kernels.recur(numbers(1, 5), numbers(1, 5))
    with pytest.raises(ValueError, match="same length"):
        kernels.mix(*(numbers(1, n) for n in (16, 16, 16, 32)))
