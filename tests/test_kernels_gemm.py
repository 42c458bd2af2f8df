"""Matrix products in every format on every instruction set, and their bits in every batch."""

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
    assert_same_on_isas,
    each_isa,
    each_type,
    multiply,
    numbers,
    round_rows,
    same_bits_isas,
)
from pytransformer._native import Kernels
from reference_formats import product, product_bound, random_weights


@each_isa
@each_type
@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 70),
    words=st.integers(1, 12),
    panels=st.integers(1, 12),
    activation=st.sampled_from(ACTIVATIONS),
    with_bias=st.booleans(),
    with_residual=st.booleans(),
)
def test_gemm(
    kernels: Kernels,
    compute_type: str,
    m: int,
    words: int,
    panels: int,
    activation: str,
    with_bias: bool,
    with_residual: bool,
) -> None:
    k, n = 16 * words, 16 * panels
    a, weights = numbers(m, m, k), random_weights(compute_type, n, k, seed=k)
    a[m // 2] *= 100
    bias = numbers(1, n) if with_bias else None
    residual = numbers(2, m, n) if with_residual else None
    y = multiply(kernels, a, weights, bias, residual, activation)
    rounded = round_rows(kernels, compute_type, a)
    expected = product(rounded, weights)
    if bias is not None:
        expected = expected + bias
    expected = reference.activation(activation, expected)
    # No activation here is steeper than 1.13; rounding the rest adds a few units.
    bound = 1.2 * product_bound(rounded, weights) + 4 * EPSILON * (1 + np.abs(expected))
    if residual is not None:
        expected = expected + residual
        bound = bound + EPSILON * np.abs(expected)
    assert y.shape == (m, n)
    assert (np.abs(y - expected) <= bound).all()


@each_isa
@each_type
@pytest.mark.parametrize(("k", "panels"), [(16, 1), (80, 13), (512, 5)])
def test_a_row_has_the_same_bits_in_every_batch(
    kernels: Kernels, compute_type: str, k: int, panels: int
) -> None:
    n = 16 * panels
    a, weights = numbers(1, 70, k), random_weights(compute_type, n, k)
    bias, residual = numbers(3, n), numbers(4, 70, n)
    alone = np.concatenate(
        [
            multiply(kernels, a[i : i + 1], weights, bias, residual[i : i + 1], "gelu")
            for i in range(len(a))
        ]
    )
    for m in range(1, 71):
        first = (7 * m) % (71 - m)
        rows = slice(first, first + m)
        y = multiply(kernels, a[rows], weights, bias, residual[rows], "gelu")
        assert_same_bits(y, alone[rows])


@each_type
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 25, 64, 129])
def test_gemm_has_the_same_bits(compute_type: str, m: int) -> None:
    weights = random_weights(compute_type, 80, 208)
    a, bias = numbers(1, m, 208), numbers(3, 80)
    for activation in ACTIVATIONS:

        def run(kernels: Kernels, name: str = activation) -> Floats:
            return multiply(kernels, a, weights, bias, None, name)

        assert_same_on_isas(same_bits_isas(compute_type), run)


@each_isa
@each_type
def test_gemm_of_many_rows_in_several_blocks(kernels: Kernels, compute_type: str) -> None:
    a, weights = numbers(1, 401, 2048), random_weights(compute_type, 48, 2048)
    rounded = round_rows(kernels, compute_type, a)
    error = np.abs(multiply(kernels, a, weights) - product(rounded, weights))
    assert (error <= product_bound(rounded, weights)).all()


@each_isa
@each_type
def test_the_residual_is_added_last(kernels: Kernels, compute_type: str) -> None:
    """The two ways out of the registers, in place and by way of a copy, add the same numbers."""
    a, weights = np.abs(numbers(1, 20, 64)), random_weights(compute_type, 32, 64)
    bias, residual = numbers(2, 32), numbers(3, 20, 32)
    plain = multiply(kernels, a, weights, bias)
    with np.errstate(all="raise"):
        expected = plain + residual
        of_positive = np.maximum(plain, 0) + residual
    assert_same_bits(multiply(kernels, a, weights, bias, residual), expected)
    assert_same_bits(multiply(kernels, a, weights, bias, residual, "relu"), of_positive)
