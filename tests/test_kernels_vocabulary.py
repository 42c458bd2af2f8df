"""Embedding and the reduction of the output layer on every instruction set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from kernel_checks import (
    ISAS,
    Floats,
    assert_same_on_fma_isas,
    assert_same_on_isas,
    each_isa,
    each_type,
    numbers,
)
from pytransformer._native import Kernels
from reference_formats import Weights, random_weights

# The first and the last row of all, and of a panel; some twice.
IDS = np.array([0, 111, 15, 16, 17, 111, 3], np.int32)


def embedded(kernels: Kernels, weights: Weights, scale: float, positions: Floats | None) -> Floats:
    k = weights.values.shape[1]
    return kernels.embed(IDS, weights.packed, k, scale, weights.scales, positions)


@each_isa
@each_type
@pytest.mark.parametrize("k", [16, 48, 64])
def test_embed(kernels: Kernels, compute_type: str, k: int) -> None:
    weights, positions = random_weights(compute_type, 112, k), numbers(2, 7, k)
    scale = k**0.5
    for table in (None, positions):
        y = embedded(kernels, weights, scale, table)
        expected = reference.embed(IDS, weights.values, np.float32(scale), table)
        np.testing.assert_allclose(y, expected, rtol=2e-7, atol=0 if table is None else 1e-5)


@each_type
def test_embedding_has_the_same_bits(compute_type: str) -> None:
    """Even without fused multiply-add, of which it makes no use."""
    weights, positions = random_weights(compute_type, 112, 48), numbers(2, 7, 48)
    for scale in (1.0, 48**0.5):
        for table in (None, positions):

            def run(kernels: Kernels, scale: float = scale, table: Floats | None = table) -> Floats:
                return embedded(kernels, weights, scale, table)

            assert_same_on_isas(ISAS, run)


@each_isa
@settings(max_examples=60, deadline=None)
@given(
    columns=st.integers(1, 1100),
    k=st.integers(1, 20),
    levels=st.integers(1, 2000),
    seed=st.integers(0, 2**31),
)
def test_top_k_with_ties(kernels: Kernels, columns: int, k: int, levels: int, seed: int) -> None:
    k = min(k, columns)
    rng = np.random.default_rng(seed)
    x = (rng.integers(0, levels, size=(3, columns)) / 64).astype(np.float32)
    ids, logits, log_sums = kernels.top_k(x, k)
    expected = reference.top_k(x, k)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(logits, np.take_along_axis(x, expected, axis=1))
    np.testing.assert_allclose(log_sums, reference.log_sum_exp(x), rtol=3e-7, atol=2e-6)


@each_isa
def test_top_k_of_extreme_logits(kernels: Kernels) -> None:
    inf, nan = np.inf, np.nan
    x = np.full((5, 300), -inf, np.float32)
    x[1, [7, 299]] = [1.0, 1.0]
    x[2] = nan
    x[3, 150] = nan
    x[3, 151] = 2.0
    x[4, 20] = inf
    ids, logits, log_sums = kernels.top_k(x, 3)
    np.testing.assert_array_equal(ids[0], [0, 1, 2])
    assert log_sums[0] == -inf
    np.testing.assert_array_equal(ids[1], [7, 299, 0])
    assert log_sums[1] == pytest.approx(1.0 + np.log(2.0))
    np.testing.assert_array_equal(ids[2], [0, 1, 2])
    assert np.isnan(logits[2]).all()
    np.testing.assert_array_equal(ids[3], [150, 151, 0])
    assert np.isnan(logits[3, 0])
    assert np.isnan(log_sums[3])
    assert ids[4, 0] == 20
    assert logits[4, 0] == inf


def test_output_reduction_has_the_same_bits() -> None:
    x = numbers(1, 4, 1003) * 5
    assert_same_on_fma_isas(lambda kernels: kernels.top_k(x, 9)[1])
    assert_same_on_fma_isas(lambda kernels: kernels.top_k(x, 9)[2])
