"""Wrong and empty arguments of the kernels."""

from collections.abc import Callable

import numpy as np
import pytest

import reference
from kernel_checks import (
    ISAS,
    numbers,
)
from pytransformer._native import Kernels


def test_wrong_shapes_are_errors() -> None:
    kernels = Kernels(ISAS[-1])
    a, packed = numbers(1, 3, 32), reference.pack(numbers(2, 16, 32))
    integers = [np.array(x, np.int32) for x in ([3], [-1], [], [16], [0, 1])]
    beyond, negative, empty, not_a_row, two = integers
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("a must have 2", lambda: kernels.gemm(a[0], packed)),
        ("the same k", lambda: kernels.gemm(a[:, :31], packed)),
        ("packed must", lambda: kernels.gemm(a, packed[:, :, :8])),
        ("bias must", lambda: kernels.gemm(a, packed, numbers(1, 15))),
        ("residual must", lambda: kernels.gemm(a, packed, None, numbers(1, 2, 16))),
        ("known are none, relu", lambda: kernels.gemm(a, packed, None, None, "swish")),
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
        ("rows of the embedding", lambda: kernels.embed(not_a_row, packed, 1.0, None)),
        ("a row of k numbers", lambda: kernels.embed(two, packed, 1.0, numbers(1, 1, 32))),
    ]
    for message, call in wrong:
        with pytest.raises(ValueError, match=message):
            call()


def test_nothing_to_do_is_fine() -> None:
    kernels = Kernels(ISAS[-1])
    packed = reference.pack(numbers(2, 16, 32))
    assert kernels.gemm(numbers(1, 0, 32), packed).shape == (0, 16)
    assert kernels.exp(numbers(1, 0)).shape == (0,)
    assert kernels.softmax(numbers(1, 2, 0)).shape == (2, 0)
    assert kernels.attention(numbers(1, 0, 16), numbers(1, 2, 16), numbers(1, 2, 16), 1).size == 0
