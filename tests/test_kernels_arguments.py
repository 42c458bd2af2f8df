"""Wrong and empty arguments of the kernels."""

from collections.abc import Callable

import numpy as np
import pytest

from kernel_checks import ISAS, numbers
from pytransformer._native import Kernels
from reference_formats import COMPUTE_TYPES, float32_weights, random_weights


def test_wrong_shapes_are_errors() -> None:
    kernels = Kernels(ISAS[-1])
    a, packed = numbers(1, 3, 32), float32_weights(numbers(2, 16, 32)).packed
    integers = [np.array(x, np.int32) for x in ([3], [-1], [], [16], [0, 1])]
    beyond, negative, empty, not_a_row, two = integers
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("a must have 2", lambda: kernels.gemm(a[0], packed)),
        ("multiple of 16", lambda: kernels.gemm(a[:, :31], packed)),
        ("packed must", lambda: kernels.gemm(a[:, :16], packed)),
        ("multiple of 16", lambda: kernels.gemm(a[:, :0], packed)),
        ("packed must", lambda: kernels.gemm(a, packed[:, :, :8])),
        ("packed must", lambda: kernels.gemm(a, packed[0, 0])),
        ("bias must", lambda: kernels.gemm(a, packed, bias=numbers(1, 15))),
        ("residual must", lambda: kernels.gemm(a, packed, residual=numbers(1, 2, 16))),
        ("known are none, relu", lambda: kernels.gemm(a, packed, activation="swish")),
        ("known are none, relu", lambda: kernels.activation("swish", a)),
        ("x must have 2", lambda: kernels.softmax(a[0])),
        ("weight must have 32", lambda: kernels.layer_norm(a, a[0, :5], a[0], 1e-5)),
        ("one column", lambda: kernels.layer_norm(a[:, :0], a[0, :0], a[0, :0], 1e-5)),
        ("multiple of 16", lambda: kernels.attention(a, a[:, :20], a[:, :20], 1.0)),
        ("at least one key", lambda: kernels.attention(a, a[:0], a[:0], 1.0)),
        ("the same shape", lambda: kernels.attention(a, a, a[:2], 1.0)),
        ("rows of key", lambda: kernels.attention_cached(a[0], a, a, beyond, 1.0)),
        ("rows of key", lambda: kernels.attention_cached(a[0], a, a, negative, 1.0)),
        ("not be empty", lambda: kernels.attention_cached(a[0], a, a, empty, 1.0)),
        ("k must lie", lambda: kernels.top_k(a, 0)),
        ("k must lie", lambda: kernels.top_k(a, 33)),
        ("rows of the embedding", lambda: kernels.embed(not_a_row, packed, 32, 1.0)),
        ("rows of the embedding", lambda: kernels.embed(negative, packed, 32, 1.0)),
        ("packed must", lambda: kernels.embed(two, packed, 16, 1.0)),
        (
            "a row of k numbers",
            lambda: kernels.embed(two, packed, 32, 1.0, positions=numbers(1, 1, 32)),
        ),
        ("known are float32, bf", lambda: kernels.attention(a, a, a, 1.0, "int8")),
        ("known are float32, bf", lambda: kernels.attention_cached(a[0], a, a, two, 1.0, "half")),
        ("known are float32, bf", lambda: kernels.peak_gops("float16")),
        ("rounds must", lambda: kernels.peak_gops("int8", rounds=0)),
    ]
    for message, call in wrong:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("compute_type", ["int8", "int4"])
def test_integers_need_their_scales(compute_type: str) -> None:
    kernels = Kernels(ISAS[-1])
    a, weights = numbers(1, 3, 48), random_weights(compute_type, 32, 48)
    scales = weights.scales
    assert scales is not None
    short = scales.reshape(-1)[:-16]
    for message, given in (("need scales", None), ("scales must", short)):
        with pytest.raises(ValueError, match=message):
            kernels.gemm(a, weights.packed, given)
        with pytest.raises(ValueError, match=message):
            kernels.embed(np.zeros(1, np.int32), weights.packed, 48, 1.0, given)
    with pytest.raises(ValueError, match="packed must"):
        kernels.gemm(a, weights.packed[:1, :1], scales)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.int16])
def test_weights_of_an_unknown_type(dtype: type) -> None:
    packed = np.zeros((1, 32, 16), dtype)
    with pytest.raises(ValueError, match="packed must be float32, uint16, int8 or uint8"):
        Kernels(ISAS[-1]).gemm(numbers(1, 3, 32), packed)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_measures(isa: str, compute_type: str) -> None:
    """What benchmarks ask for: as many times as wanted, and what is not nothing."""
    kernels = Kernels(isa)
    weights = random_weights(compute_type, 32, 48)
    seconds = kernels.gemm_seconds(numbers(1, 17, 48), weights.packed, weights.scales, 5)
    assert len(seconds) == 5
    assert min(seconds) >= 0
    assert kernels.peak_gops(compute_type, rounds=1000) > 0


def test_nothing_to_do_is_fine() -> None:
    kernels = Kernels(ISAS[-1])
    for compute_type in COMPUTE_TYPES:
        weights = random_weights(compute_type, 16, 32)
        y = kernels.gemm(numbers(1, 0, 32), weights.packed, weights.scales)
        assert y.shape == (0, 16)
    assert kernels.exp(numbers(1, 0)).shape == (0,)
    assert kernels.softmax(numbers(1, 2, 0)).shape == (2, 0)
    assert kernels.attention(numbers(1, 0, 16), numbers(1, 2, 16), numbers(1, 2, 16), 1).size == 0
