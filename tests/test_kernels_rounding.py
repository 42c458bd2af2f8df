"""Activations on their way into products: what they are rounded to, and rows of extreme numbers."""

import numpy as np
import pytest

import reference_formats
from kernel_checks import (
    Floats,
    assert_same_bits,
    each_isa,
    each_type,
    multiply,
    numbers,
    round_rows,
)
from pytransformer._native import Kernels
from reference_formats import Weights, int4_weights, int8_weights, product, product_bound

# One row, a pass, several passes, and rows that are packed in tiles.
BATCHES = [1, 3, 16, 17, 40]
INTEGERS = ["int8", "int4"]


def identity(compute_type: str, k: int) -> Weights:
    """Of which a product is the rounded activations themselves."""
    ones = np.eye(k)
    if compute_type == "int8":
        return int8_weights(ones.astype(np.int64), np.ones(k, np.float32))
    if compute_type == "int4":
        return int4_weights(ones.astype(np.int64), np.ones((k, -(-k // 32))))
    if compute_type == "bfloat16":
        return reference_formats.bfloat16_weights(ones)
    return reference_formats.float32_weights(ones.astype(np.float32))


def awkward_rows(rows: int, k: int) -> Floats:
    """Sizes from row to row far apart; ties and their neighbours in the first row."""
    a = numbers(1, rows, k) * (10.0 ** np.linspace(-12, 12, rows))[:, np.newaxis]
    a = a.astype(np.float32)
    ties = [127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, -126.5]
    ties += [np.nextafter(np.float32(x), np.float32(d)) for x in (0.5, 1.5, -2.5) for d in (9, -9)]
    a[0, : len(ties)] = np.array(ties, np.float32)
    return a


@each_isa
@each_type
@pytest.mark.parametrize("m", BATCHES)
def test_activations_are_rounded(kernels: Kernels, compute_type: str, m: int) -> None:
    """Number by number: of integers the steps and the multiples of them, of others the bits."""
    a = awkward_rows(m, 48)
    y = multiply(kernels, a, identity(compute_type, 48))
    rounded = round_rows(kernels, compute_type, a)
    if rounded.integers is None or rounded.steps is None:
        np.testing.assert_array_equal(y, rounded.values)
    else:
        expected = rounded.integers.astype(np.float32) * rounded.steps
        np.testing.assert_array_equal(y, expected)
        assert rounded.integers[0, :8].tolist() == [127, 0, 2, 2, 0, -2, 126, -126]


def numbers_beside_ties(largest: np.float32) -> Floats:
    """Numbers that are int8 on one side of a tie, and on the other if the product is rounded."""
    factor = np.float32(127) / largest
    ties = np.arange(-126, 126) + 0.5
    near = (ties / factor).astype(np.float32).view(np.int32)[:, np.newaxis] + np.arange(-3, 4)
    candidates = near.astype(np.int32).view(np.float32).reshape(-1)
    exact = np.rint(candidates.astype(np.float64) * factor)
    return candidates[exact != np.rint(candidates * factor)]


@each_isa
@pytest.mark.parametrize("compute_type", INTEGERS)
@pytest.mark.parametrize("m", [1, 17])
def test_the_quotient_is_rounded_once(kernels: Kernels, compute_type: str, m: int) -> None:
    """Where there is fused multiply-add, so that these processors agree."""
    found = 0
    for largest in np.linspace(1.1, 1.9, 20, dtype=np.float32):
        beside = numbers_beside_ties(largest)
        found += len(beside)
        row = np.zeros(256, np.float32)
        row[0], row[1 : 1 + len(beside)] = largest, beside
        a = np.tile(row, (m, 1))
        rounded = round_rows(kernels, compute_type, a)
        assert rounded.integers is not None
        assert rounded.steps is not None
        y = multiply(kernels, a, identity(compute_type, 256))
        expected = rounded.integers.astype(np.float32) * rounded.steps
        np.testing.assert_array_equal(y, expected)
    assert found > 100


@each_isa
def test_bfloat16_ties(kernels: Kernels) -> None:
    """To even, at every exponent that neither vanishes nor overflows."""
    upper = np.arange(0x0100, 0x7F00, 7, dtype=np.uint32)
    lower = np.array([0x0000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    bits = (upper[:, np.newaxis] << 16 | lower).reshape(-1)
    values = np.concatenate([bits, bits | 0x80000000]).view(np.float32)
    a = np.zeros((len(values), 16), np.float32)
    a[:, 5] = values
    y = multiply(kernels, a, identity("bfloat16", 16))
    np.testing.assert_array_equal(y[:, 5], reference_formats.round_bfloat16(values))
    assert not np.delete(y, 5, axis=1).any()


@each_isa
@each_type
@pytest.mark.parametrize("m", BATCHES)
def test_rows_of_zeros(kernels: Kernels, compute_type: str, m: int) -> None:
    """The bias and nothing else, whatever stands in the rows beside."""
    weights = reference_formats.random_weights(compute_type, 32, 64)
    a, bias = numbers(1, m, 64), numbers(2, 32)
    a[m // 2] = 0
    a[m // 2, 7] = -0.0
    np.testing.assert_array_equal(multiply(kernels, a, weights, bias)[m // 2], bias)


@each_isa
@each_type
@pytest.mark.parametrize("size", [1e-35, 2e-30, 1e-20, 1e20, 1e36, 1e38])
def test_tiny_and_huge_rows(kernels: Kernels, compute_type: str, size: float) -> None:
    """Beside rows of ordinary numbers; int8 takes for zero what is smaller than 1e-30."""
    weights = reference_formats.random_weights(compute_type, 32, 48)
    a = numbers(1, 20, 48)
    a[7] = np.float32(size) * np.linspace(-1, 1, 48, dtype=np.float32)
    if size > 1e30:  # the result itself must not overflow
        a[7] *= np.float32(1e-3)
        a[7, 3] = np.float32(size)
        weights = identity(compute_type, 48)
    y = multiply(kernels, a, weights)
    rounded = round_rows(kernels, compute_type, a)
    error = np.abs(y - product(rounded, weights))
    # Below 2^-126 there are fewer digits, and bfloat16's instruction takes such numbers for zero.
    assert (error <= product_bound(rounded, weights) + 48 * 2.0**-125).all()
    if compute_type in INTEGERS and size < 1e-30:
        assert not y[7].any()
    else:
        assert y[7].any()


@each_isa
@each_type
@pytest.mark.parametrize("m", BATCHES)
@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFFFFFFF, 0x7F800001, 0x7F800000, 0xFF800000])
def test_what_is_not_finite_stays_in_its_row(
    kernels: Kernels, compute_type: str, m: int, bits: int
) -> None:
    """NaN, quiet or not, and infinity; and they are seen there in every output."""
    value = np.array(bits, np.uint32).view(np.float32)
    weights = reference_formats.random_weights(compute_type, 32, 48)
    healthy = numbers(1, m, 48)
    expected = multiply(kernels, healthy, weights)
    for column in (0, 15, 31, 47):
        a = healthy.copy()
        a[m // 2, column] = value
        y = multiply(kernels, a, weights)
        assert_same_bits(np.delete(y, m // 2, axis=0), np.delete(expected, m // 2, axis=0))
        if np.isnan(value) or compute_type in INTEGERS:
            assert np.isnan(y[m // 2]).all()
        else:
            assert not np.isfinite(y[m // 2]).any()


@each_isa
@pytest.mark.parametrize("compute_type", INTEGERS)
@pytest.mark.parametrize("m", BATCHES)
def test_sums_of_the_largest_integers_are_exact(
    kernels: Kernels, compute_type: str, m: int
) -> None:
    """The widest rows that the engine accepts, of one sign, of both, and alternating."""
    k = 65536
    signs = np.ones((4, k), np.int64)
    signs[1], signs[2, ::2], signs[3, k // 2 :] = -1, -1, -1
    of_outputs = np.tile(signs, (4, 1))
    if compute_type == "int8":
        weights = int8_weights(127 * of_outputs, np.ones(16, np.float32))
    else:
        weights = int4_weights(7 * of_outputs, np.ones((16, k // 32)))
    of_rows = np.tile(signs, (-(-m // 4), 1))[:m]
    y = multiply(kernels, (127 * of_rows).astype(np.float32), weights)
    # Multiples of 2^16, or half that, with few digits: float32 holds them, and their partial sums.
    largest = 127 * (127 if compute_type == "int8" else 7)
    np.testing.assert_array_equal(y, largest * (of_rows @ of_outputs.T))


@each_isa
def test_products_of_any_integers_are_exact(kernels: Kernels) -> None:
    """All pairs that may meet, of both signs side by side in a word."""
    values = np.arange(-127, 128)
    a = np.outer(values, np.tile([1, -1, 1, 1], 8))
    a[:, 31] = 127  # makes the step 1
    integers = np.zeros((256, 32), np.int64)
    integers[:255] = np.outer(values, np.tile([1, 1, -1, 1], 8))
    integers[:, 31] = 0
    weights = int8_weights(integers, np.ones(256, np.float32))
    y = multiply(kernels, a.astype(np.float32), weights)
    np.testing.assert_array_equal(y, a @ integers.T)
