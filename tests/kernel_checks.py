"""What the tests of kernels share: instruction sets, random numbers, measures of error."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

import reference_formats
from pytransformer._native import Kernels, supported_isas
from reference_formats import COMPUTE_TYPES, Rounded, Weights

Floats = npt.NDArray[np.float32]

ISAS = supported_isas()
FMA_ISAS = [isa for isa in ISAS if isa != "portable"]
# Those without an instruction for products of bfloat16, which then are products of float32.
BFLOAT16_ISAS = [isa for isa in FMA_ISAS if isa != "avx512_bf16"]
CACHE_TYPES = ["float32", "bfloat16"]
ACTIVATIONS = ["none", "relu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu", "tanh"]
EPSILON = float(np.finfo(np.float32).eps)
# Around register widths and tile heights.
ODD_SIZES = [1, 2, 7, 15, 16, 17, 31, 33, 100, 257]

each_isa = pytest.mark.parametrize("kernels", [Kernels(isa) for isa in ISAS], ids=ISAS)
each_type = pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
each_cache = pytest.mark.parametrize("cache_type", CACHE_TYPES)


def numbers(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same_bits(a: Floats, b: Floats) -> None:
    np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def same_bits_isas(compute_type: str) -> list[str]:
    """The instruction sets on which products of a type have the same bits."""
    return BFLOAT16_ISAS if compute_type == "bfloat16" else FMA_ISAS


def assert_same_on_isas(isas: list[str], function: Callable[[Kernels], Floats]) -> None:
    results = [function(Kernels(isa)) for isa in isas]
    for other in results[1:]:
        assert_same_bits(results[0], other)


def assert_same_on_fma_isas(function: Callable[[Kernels], Floats]) -> None:
    assert_same_on_isas(FMA_ISAS, function)


def multiply(
    kernels: Kernels,
    a: Floats,
    weights: Weights,
    bias: Floats | None = None,
    residual: Floats | None = None,
    activation: str = "none",
) -> Floats:
    return kernels.gemm(a, weights.packed, weights.scales, bias, residual, activation)


def round_rows(kernels: Kernels, compute_type: str, a: Floats) -> Rounded:
    """Activations as a product reads them; without fused multiply-add there are other ties."""
    return reference_formats.round_rows(compute_type, a, fused=kernels.isa != "portable")


def ulps(y: Floats, expected: npt.NDArray[np.float64]) -> float:
    """Largest error in units of the last place of the expected float32."""
    spacing = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(y.astype(np.float64) - expected) / spacing))
