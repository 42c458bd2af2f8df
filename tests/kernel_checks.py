"""What the tests of kernels share: instruction sets, random numbers, measures of error."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from pytransformer._native import Kernels, supported_isas

Floats = npt.NDArray[np.float32]

ISAS = supported_isas()
FMA_ISAS = [isa for isa in ISAS if isa != "portable"]
ACTIVATIONS = ["none", "relu", "gelu", "gelu_tanh", "silu"]
EPSILON = float(np.finfo(np.float32).eps)
# Around register widths and tile heights.
ODD_SIZES = [1, 2, 7, 15, 16, 17, 31, 33, 100, 257]

each_isa = pytest.mark.parametrize("kernels", [Kernels(isa) for isa in ISAS], ids=ISAS)


def numbers(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same_bits(a: Floats, b: Floats) -> None:
    np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def assert_same_on_fma_isas(function: Callable[[Kernels], Floats]) -> None:
    results = [function(Kernels(isa)) for isa in FMA_ISAS]
    for other in results[1:]:
        assert_same_bits(results[0], other)


def ulps(y: Floats, expected: npt.NDArray[np.float64]) -> float:
    """Largest error in units of the last place of the expected float32."""
    spacing = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(y.astype(np.float64) - expected) / spacing))


def dot_product_bound(a: Floats, weight: Floats) -> npt.NDArray[np.float64]:
    """The classical bound k eps |a| |w| of a sum of k products."""
    magnitude = np.abs(a.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    return np.asarray(a.shape[1] * EPSILON * magnitude + 1e-7)
