"""Matrix products on every instruction set, and their bits in every batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from kernel_checks import (
    ACTIVATIONS,
    EPSILON,
    Floats,
    assert_same_bits,
    assert_same_on_fma_isas,
    dot_product_bound,
    each_isa,
    numbers,
)
from pytransformer._native import Kernels


@each_isa
@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 70),
    k=st.integers(1, 150),
    panels=st.integers(1, 12),
    activation=st.sampled_from(ACTIVATIONS),
    with_bias=st.booleans(),
    with_residual=st.booleans(),
)
def test_gemm(
    kernels: Kernels,
    m: int,
    k: int,
    panels: int,
    activation: str,
    with_bias: bool,
    with_residual: bool,
) -> None:
    n = 16 * panels
    a, weight = numbers(m, m, k), numbers(k, n, k)
    bias = numbers(1, n) if with_bias else None
    residual = numbers(2, m, n) if with_residual else None
    y = kernels.gemm(a, reference.pack(weight), bias, residual, activation)
    expected = reference.linear(a, weight, bias, residual, activation)
    # No activation here is steeper than 1.13; rounding the rest adds a few units.
    bound = 1.2 * dot_product_bound(a, weight) + 4 * EPSILON * (1 + np.abs(expected))
    assert (np.abs(y - expected) <= bound).all()


@each_isa
@pytest.mark.parametrize(("k", "panels"), [(1, 1), (77, 13), (512, 5)])
def test_a_row_has_the_same_bits_in_every_batch(kernels: Kernels, k: int, panels: int) -> None:
    n = 16 * panels
    a, packed = numbers(1, 70, k), reference.pack(numbers(2, n, k))
    bias, residual = numbers(3, n), numbers(4, 70, n)
    alone = np.concatenate(
        [
            kernels.gemm(a[i : i + 1], packed, bias, residual[i : i + 1], "gelu")
            for i in range(len(a))
        ]
    )
    for m in range(1, 71):
        first = (7 * m) % (71 - m)
        rows = slice(first, first + m)
        y = kernels.gemm(a[rows], packed, bias, residual[rows], "gelu")
        assert_same_bits(y, alone[rows])


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 25, 64, 129])
def test_gemm_has_the_same_bits(m: int) -> None:
    a, packed, bias = numbers(1, m, 203), reference.pack(numbers(2, 80, 203)), numbers(3, 80)
    for activation in ACTIVATIONS:

        def run(kernels: Kernels, name: str = activation) -> Floats:
            return kernels.gemm(a, packed, bias, None, name)

        assert_same_on_fma_isas(run)


@each_isa
def test_gemm_of_many_rows_in_several_blocks(kernels: Kernels) -> None:
    a, weight = numbers(1, 401, 700), numbers(2, 48, 700)
    y = kernels.gemm(a, reference.pack(weight))
    assert (np.abs(y - reference.linear(a, weight)) <= dot_product_bound(a, weight)).all()


@each_isa
def test_gemm_passes_nan_and_infinity(kernels: Kernels) -> None:
    weight = np.ones((16, 32), np.float32)
    for m in (1, 5, 40):
        a = np.ones((m, 32), np.float32)
        a[0, 3] = np.nan
        a[m - 1, 4] = np.inf if m > 1 else np.nan
        y = kernels.gemm(a, reference.pack(weight))
        assert np.isnan(y[0]).all()
        assert m == 1 or np.isposinf(y[m - 1]).all()
        np.testing.assert_array_equal(y[1 : m - 1], 32.0)
