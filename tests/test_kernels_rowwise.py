"""Elementary functions, softmax and layer normalisation on every instruction set."""

from collections.abc import Callable

import numpy as np
import pytest

import reference
from kernel_checks import (
    ACTIVATIONS,
    EPSILON,
    ODD_SIZES,
    Floats,
    assert_same_on_fma_isas,
    each_isa,
    numbers,
    ulps,
)
from pytransformer._native import Kernels


def sample(low: float, high: float) -> Floats:
    rng = np.random.default_rng(1)
    tiny = rng.normal(size=20_000) * 10.0 ** rng.uniform(-30, 0, size=20_000)
    x = np.concatenate([np.linspace(low, high, 200_001), tiny])
    return x[(x >= low) & (x <= high)].astype(np.float32)


@each_isa
def test_exp(kernels: Kernels) -> None:
    x = sample(-86.9, 88.7228)
    assert ulps(kernels.exp(x), reference.exp(x)) < 1.5


@each_isa
def test_tanh(kernels: Kernels) -> None:
    x = sample(-12.0, 12.0)
    assert ulps(kernels.tanh(x), reference.tanh(x)) < 1.5


@each_isa
def test_erf(kernels: Kernels) -> None:
    x = sample(-6.0, 6.0)
    assert ulps(kernels.erf(x), reference.erf(x)) < 1.5


@each_isa
def test_extreme_arguments(kernels: Kernels) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([-inf, inf, nan, -0.0, 0.0, -88.0, -1e30, 88.73, 3.4e38, -3.4e38], np.float32)
    np.testing.assert_array_equal(kernels.exp(x), [0, inf, nan, 1, 1, 0, 0, inf, inf, 0])
    assert np.isfinite(kernels.exp(np.array([88.7228], np.float32))).all()
    for function in (kernels.tanh, kernels.erf):
        y = function(x)
        np.testing.assert_array_equal(y, [-1, 1, nan, 0, 0, -1, -1, 1, 1, -1])
        assert np.signbit(y[3])
        assert not np.signbit(y[4])
    large = np.array([nan, inf, 1e30, 100.0, -100.0, -1e30], np.float32)
    for name in ("relu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu"):
        y = kernels.activation(name, large)
        np.testing.assert_array_equal(y, np.array([nan, inf, 1e30, 100.0, 0, 0], np.float32))


@each_isa
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(kernels: Kernels, name: str) -> None:
    x = sample(-20.0, 20.0)
    error = np.abs(kernels.activation(name, x) - reference.activation(name, x))
    assert np.max(error / np.maximum(1.0, np.abs(x))) < 2e-7


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", *ACTIVATIONS])
def test_elementary_functions_have_the_same_bits(name: str) -> None:
    x = np.concatenate([sample(-100.0, 100.0), np.array([np.inf, -np.inf], np.float32)])

    def run(kernels: Kernels) -> Floats:
        if name in ACTIVATIONS:
            return kernels.activation(name, x)
        function: Callable[[Floats], Floats] = getattr(kernels, name)
        return function(x)

    with np.errstate(invalid="ignore"):
        assert_same_on_fma_isas(run)


@each_isa
@pytest.mark.parametrize("columns", [*ODD_SIZES, 4099])
def test_softmax(kernels: Kernels, columns: int) -> None:
    x = numbers(columns, 5, columns) * 4
    y = kernels.softmax(x)
    np.testing.assert_allclose(y, reference.softmax(x), rtol=2e-6, atol=1e-30)
    np.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=2e-6)


@each_isa
def test_softmax_of_extreme_rows(kernels: Kernels) -> None:
    big = np.float32(3e38)
    x = np.array([[big, -big, 0, big], [-np.inf, 1, 1, -np.inf], [-1e4, -1e4, -1e4, -1e4]])
    expected = [[0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0], [0.25] * 4]
    np.testing.assert_array_equal(kernels.softmax(x.astype(np.float32)), expected)
    with_nan = kernels.softmax(np.array([[1, np.nan, 2], [1, 1, 1]], np.float32))
    assert np.isnan(with_nan[0]).all()
    assert np.isfinite(with_nan[1]).all()


@each_isa
@pytest.mark.parametrize("columns", ODD_SIZES)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_layer_norm(kernels: Kernels, columns: int, offset: float) -> None:
    x = numbers(columns, 4, columns) + np.float32(offset)
    weight, bias = numbers(1, columns), numbers(2, columns)
    y = kernels.layer_norm(x, weight, bias, 1e-5)
    expected = reference.layer_norm(x, weight, bias, 1e-5)
    # The mean of numbers near the offset is only known to the offset's last places, and epsilon
    # magnifies that where the variance is small.
    tolerance = 4e-6 + 4 * EPSILON * offset
    if columns == 1:
        tolerance *= 1e-5**-0.5
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=tolerance)


@each_isa
def test_layer_norm_of_a_constant_row_is_its_bias(kernels: Kernels) -> None:
    bias = numbers(2, 48)
    y = kernels.layer_norm(np.full((1, 48), 2.5, np.float32), numbers(1, 48), bias, 1e-5)
    np.testing.assert_array_equal(y[0], bias)


@pytest.mark.parametrize("columns", ODD_SIZES)
def test_row_reductions_have_the_same_bits(columns: int) -> None:
    x, weight, bias = numbers(3, 3, columns), numbers(1, columns), numbers(2, columns)
    assert_same_on_fma_isas(lambda kernels: kernels.softmax(x))
    assert_same_on_fma_isas(lambda kernels: kernels.layer_norm(x, weight, bias, 1e-6))
