"""Every kernel on every instruction set against its definition, and the numeric contract."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
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


# --- elementary functions -------------------------------------------------------------------------


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
    for name in ("relu", "gelu", "gelu_tanh", "silu"):
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


# --- softmax and layer normalisation --------------------------------------------------------------


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


# --- matrix products ------------------------------------------------------------------------------


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


# --- attention ------------------------------------------------------------------------------------


@each_isa
@pytest.mark.parametrize(
    ("queries", "keys", "dim"),
    [(1, 1, 16), (1, 40, 64), (4, 33, 32), (9, 16, 48), (20, 20, 64), (61, 3000, 80)],
)
def test_attention(kernels: Kernels, queries: int, keys: int, dim: int) -> None:
    q, k, v = numbers(1, queries, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    expected = reference.attention(q, k, v, dim**-0.5)
    np.testing.assert_allclose(kernels.attention(q, k, v, dim**-0.5), expected, atol=3e-6)


@each_isa
def test_attention_of_a_query_has_the_same_bits_in_every_batch(kernels: Kernels) -> None:
    q, k, v = numbers(1, 40, 32), numbers(2, 37, 32), numbers(3, 37, 32)
    alone = np.concatenate([kernels.attention(row[None], k, v, 0.2) for row in q])
    for count in range(1, 41):
        first = (3 * count) % (41 - count)
        y = kernels.attention(q[first : first + count], k, v, 0.2)
        assert_same_bits(y, alone[first : first + count])


@each_isa
def test_attention_with_huge_scores(kernels: Kernels) -> None:
    q, k = np.full((2, 16), 1e4, np.float32), np.zeros((3, 16), np.float32)
    k[1] = 1e4
    v = numbers(3, 3, 16)
    np.testing.assert_array_equal(kernels.attention(q, k, v, 1.0), v[[1, 1]])
    y = kernels.attention_cached(q[0], k, v, np.arange(3, dtype=np.int32), 1.0)
    np.testing.assert_array_equal(y, v[1])


@each_isa
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_attention_over_cache_slots(kernels: Kernels, data: st.DataObject) -> None:
    dim = 16 * data.draw(st.integers(1, 9))
    capacity = data.draw(st.integers(1, 80))
    indices = st.lists(st.integers(0, capacity - 1), min_size=1, max_size=70)
    slots = np.array(data.draw(indices), np.int32)
    q, k, v = numbers(1, dim), numbers(2, capacity, dim), numbers(3, capacity, dim)
    y = kernels.attention_cached(q, k, v, slots, dim**-0.5)
    expected = reference.attention(q[None], k[slots], v[slots], dim**-0.5)[0]
    np.testing.assert_allclose(y, expected, atol=3e-6)
    # Where the slots lie does not matter, only their order.
    packed = np.arange(len(slots), dtype=np.int32)
    assert_same_bits(y, kernels.attention_cached(q, k[slots], v[slots], packed, dim**-0.5))


@pytest.mark.parametrize(("keys", "dim"), [(1, 16), (17, 32), (100, 64), (33, 112)])
def test_attention_has_the_same_bits(keys: int, dim: int) -> None:
    q, k, v = numbers(1, 5, dim), numbers(2, keys, dim), numbers(3, keys, dim)
    slots = np.arange(keys, dtype=np.int32)[::-1].copy()
    assert_same_on_fma_isas(lambda kernels: kernels.attention(q, k, v, 0.125))
    assert_same_on_fma_isas(lambda kernels: kernels.attention_cached(q[0], k, v, slots, 0.125))


# --- embedding and output layer -------------------------------------------------------------------


@each_isa
def test_embed(kernels: Kernels) -> None:
    weight, positions = numbers(1, 99, 50), numbers(2, 7, 50)
    ids = np.array([0, 98, 15, 16, 17, 98, 3], np.int32)
    scale = 50**0.5
    for table in (None, positions):
        y = kernels.embed(ids, reference.pack(weight), scale, table)
        expected = reference.embed(ids, weight, np.float32(scale), table)
        np.testing.assert_allclose(y, expected, rtol=2e-7, atol=1e-6)


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


# --- the paper's formulas -------------------------------------------------------------------------


def test_positional_encoding_of_the_paper() -> None:
    d_model = 20
    table = reference.positional_encoding(50, d_model, interleaved=True)
    halves = reference.positional_encoding(50, d_model, interleaved=False)
    assert table[7, 4] == pytest.approx(np.sin(7 / 10000 ** (4 / d_model)))
    assert table[7, 5] == pytest.approx(np.cos(7 / 10000 ** (4 / d_model)))
    np.testing.assert_array_equal(table[:, 0::2], halves[:, : d_model // 2])
    np.testing.assert_array_equal(table[:, 1::2], halves[:, d_model // 2 :])


@each_isa
def test_multi_head_attention_from_heads(kernels: Kernels) -> None:
    q, k, v = numbers(1, 6, 128), numbers(2, 11, 128), numbers(3, 11, 128)
    heads = [slice(32 * h, 32 * h + 32) for h in range(4)]
    y = [kernels.attention(q[:, h], k[:, h], v[:, h], 32**-0.5) for h in heads]
    expected = reference.multi_head_attention(q, k, v, num_heads=4)
    np.testing.assert_allclose(np.concatenate(y, axis=1), expected, atol=2e-6)


@each_isa
def test_feed_forward_from_products(kernels: Kernels) -> None:
    x, w1, b1 = numbers(1, 5, 32), numbers(2, 64, 32), numbers(3, 64)
    w2, b2 = numbers(4, 32, 64), numbers(5, 32)
    hidden = kernels.gemm(x, reference.pack(w1), b1, None, "relu")
    y = kernels.gemm(hidden, reference.pack(w2), b2)
    expected = reference.feed_forward(x, w1, b1, w2, b2)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-4)


# --- wrong arguments ------------------------------------------------------------------------------


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
