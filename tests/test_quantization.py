"""Weights in smaller number formats: how they are rounded, and how they lie in panels."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytransformer.native import DTYPES
from pytransformer.panels import FORMATS
from pytransformer.quantization import (
    NotFiniteError,
    dequantise_int4,
    dequantise_int8,
    from_bfloat16,
    quantise_int4,
    quantise_int8,
    to_bfloat16,
)

# Odd in every way that padded sizes can be: fewer inputs than a group of int4, a group and a half,
# an even and an odd number of groups.
SIZES = [(1, 16), (2, 48), (3, 96), (1, 512)]


def rows_of(panels: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Weights of very different sizes, with an output and a group of zeros."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 10.0 ** rng.integers(-3, 2, (16 * panels, 1)), (16 * panels, inputs))
    rows[5] = 0
    rows[7, :32] = 0
    return rows.astype(np.float32)


def bits_of(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


def bfloat16_of(value: float) -> int:
    """The upper half of a float32, rounded to nearest, ties to even."""
    upper, lower = divmod(bits_of(value), 1 << 16)
    return upper + (lower > 0x8000 or (lower == 0x8000 and upper % 2 == 1))


class TestBfloat16:
    @given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
    @settings(deadline=None)
    def test_rounds_to_nearest_even(self, values: list[float]) -> None:
        found = to_bfloat16(np.array(values, np.float32))
        assert found.tolist() == [bfloat16_of(value) for value in values]

    @pytest.mark.parametrize(
        ("bits", "expected"),
        [
            (0x3F808000, 0x3F80),  # a tie, to even below
            (0x3F818000, 0x3F82),  # a tie, to even above
            (0x3F808001, 0x3F81),
            (0x3FFFFFFF, 0x4000),  # into the next power of two
            (0x7F7FFFFF, 0x7F80),  # beyond the largest bfloat16 is infinity
            (0xFF800000, 0xFF80),
            (0x80000000, 0x8000),
            (0x00000001, 0x0000),
        ],
    )
    def test_single_numbers(self, bits: int, expected: int) -> None:
        values = np.array([bits], np.uint32).view(np.float32)
        assert to_bfloat16(values).tolist() == [expected]

    @pytest.mark.parametrize("bits", [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF80FFFF])
    def test_nan_stays_nan(self, bits: int) -> None:
        values = np.array([[1.0, 0.0]], np.float32)
        values.view(np.uint32)[0, 1] = bits
        found = from_bfloat16(to_bfloat16(values))
        assert found[0, 0] == 1
        assert np.isnan(found[0, 1])
        assert np.signbit(found[0, 1]) == bool(bits >> 31)

    def test_relative_error(self) -> None:
        values = rows_of(2, 96)
        found = from_bfloat16(to_bfloat16(values))
        assert (np.abs(found - values) <= 2.0**-8 * np.abs(values)).all()


class TestInt8:
    def test_rounds_half_to_even(self) -> None:
        row = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -127, 126.5]
        values, scales = quantise_int8(np.array([row], np.float32))
        assert scales.tolist() == [1]
        assert values.tolist() == [[127, 0, 2, 2, 0, -2, -127, 126]]

    @given(st.integers(0, 10**6))
    @settings(max_examples=30, deadline=None)
    def test_bounds(self, seed: int) -> None:
        rows = rows_of(1, 48, seed)
        values, scales = quantise_int8(rows)
        assert values.dtype == np.int8
        assert scales.dtype == np.float32
        np.testing.assert_array_equal(scales, np.abs(rows).max(axis=1) / np.float32(127))
        assert np.abs(values.astype(int)).max() == 127
        errors = np.abs(dequantise_int8(values, scales) - rows)
        assert (errors <= 0.5001 * scales[:, np.newaxis]).all()

    def test_zeros_and_extremes(self) -> None:
        largest = np.finfo(np.float32).max
        rows = np.array([[0, 0], [-0.0, 0], [1e-45, 0], [largest, -largest]], np.float32)
        values, scales = quantise_int8(rows)
        assert values.tolist() == [[0, 0], [0, 0], [0, 0], [127, -127]]
        assert scales[:3].tolist() == [0, 0, 0]
        assert np.isfinite(dequantise_int8(values, scales)[:3]).all()


class TestInt4:
    @pytest.mark.parametrize("inputs", [16, 32, 48, 96])
    def test_each_value_is_the_nearest_for_its_scale(self, inputs: int) -> None:
        rows = rows_of(1, inputs)
        values, scales = quantise_int4(rows)
        groups = math.ceil(inputs / 32)
        assert values.shape == (16, 32 * groups)
        assert scales.shape == (16, groups)
        steps = from_bfloat16(scales)
        for n in range(16):
            for k in range(32 * groups):
                step = steps[n, k // 32]
                weight = rows[n, k] if k < inputs else np.float32(0)
                nearest = min(max(np.rint(weight / step), -7), 7) if step else 0
                assert values[n, k] == nearest
                assert step or weight == 0

    def test_no_scale_of_the_usual_range_has_a_smaller_error(self) -> None:
        """Those of clipping alone, over whole rows: each group has its own best."""
        rows = np.random.default_rng(1).normal(size=(64, 512)).astype(np.float32)
        groups = rows.reshape(64, -1, 32)
        found = squared_error(groups, from_bfloat16(quantise_int4(rows)[1]))
        largest = np.abs(groups).max(axis=2)
        plain = squared_error(groups, largest / 7)
        assert (found <= plain * 1.02).all()  # bfloat16 has only 8 bits for a scale
        assert found.sum() < 0.9 * plain.sum()
        of_clipping = [
            squared_error(groups, largest / 7 * c) for c in np.arange(0.75, 1.001, 0.025)
        ]
        assert found.sum() < np.min(of_clipping, axis=0).sum()

    def test_zeros_and_extremes(self) -> None:
        largest = np.finfo(np.float32).max
        rows = np.zeros((4, 32), np.float32)
        rows[1, 0], rows[2, :2], rows[3, :2] = 1e-45, (largest, -largest), (1e-30, -5e-31)
        values, scales = quantise_int4(rows)
        assert scales[:2].tolist() == [[0], [0]]
        assert not values[:2].any()
        found = dequantise_int4(values, scales, 32)
        np.testing.assert_allclose(found[2:], rows[2:], rtol=0.15)

    def test_shorter_last_group(self) -> None:
        rows = rows_of(1, 48)
        values, scales = quantise_int4(rows)
        assert not values[:, 48:].any()
        assert dequantise_int4(values, scales, 48).shape == rows.shape


def squared_error(groups: np.ndarray, steps: np.ndarray) -> np.ndarray:
    steps = np.asarray(steps, np.float64)[:, :, np.newaxis]
    rounded = np.clip(np.rint(groups / steps), -7, 7)
    return ((groups - rounded * steps) ** 2).sum(axis=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantise", [quantise_int8, quantise_int4])
def test_what_is_not_finite_is_refused(quantise: object, bad: float) -> None:
    for place in ((0, 0), (15, 47), (7, 31)):
        rows = rows_of(1, 48)
        rows[place] = bad
        with pytest.raises(NotFiniteError, match="NaN or infinity"):
            quantise(rows)  # type: ignore[operator]


class TestPanels:
    """The layouts of docs/native-format.md, element by element."""

    @pytest.mark.parametrize("compute_type", FORMATS)
    @pytest.mark.parametrize(("panels", "inputs"), SIZES)
    def test_types_and_shapes(self, compute_type: str, panels: int, inputs: int) -> None:
        layout = FORMATS[compute_type]
        arrays = layout.pack(rows_of(panels, inputs))
        tensors = layout.tensors("x.weight", panels, inputs)
        names = [tensor.name for tensor in tensors]
        assert names == ["x.weight", "x.weight.scales"][: len(arrays)]
        for tensor, array in zip(tensors, arrays, strict=True):
            assert array.shape == tensor.shape
            assert array.dtype == DTYPES[tensor.dtype]
            assert array.nbytes % 64 == 0

    @pytest.mark.parametrize(("panels", "inputs"), SIZES)
    def test_float32(self, panels: int, inputs: int) -> None:
        rows = rows_of(panels, inputs)
        (weights,) = FORMATS["float32"].pack(rows)
        for p, k, j in np.ndindex(panels, inputs, 16):
            assert weights[p, k, j] == rows[16 * p + j, k]

    @pytest.mark.parametrize(("panels", "inputs"), SIZES)
    def test_bfloat16(self, panels: int, inputs: int) -> None:
        rows = rows_of(panels, inputs)
        (weights,) = FORMATS["bfloat16"].pack(rows)
        for p, i, j, h in np.ndindex(panels, inputs // 2, 16, 2):
            assert weights[p, i, j, h] == bfloat16_of(rows[16 * p + j, 2 * i + h])

    @pytest.mark.parametrize(("panels", "inputs"), SIZES)
    def test_int8(self, panels: int, inputs: int) -> None:
        rows = rows_of(panels, inputs)
        weights, scales = FORMATS["int8"].pack(rows)
        for n, row in enumerate(rows):
            scale = np.abs(row).max() / np.float32(127)
            assert scales[n] == scale
            p, j = divmod(n, 16)
            for i, h in np.ndindex(inputs // 4, 4):
                expected = np.rint(row[4 * i + h] / scale) if scale else 0
                assert weights[p, i, j, h] == expected

    @pytest.mark.parametrize(("panels", "inputs"), SIZES)
    def test_int4(self, panels: int, inputs: int) -> None:
        rows = rows_of(panels, inputs)
        weights, scales = FORMATS["int4"].pack(rows)
        groups = math.ceil(inputs / 32)
        values, row_scales = quantise_int4(rows)
        for p, g, v, j, h in np.ndindex(panels, groups, 4, 16, 4):
            byte = int(weights[p, g, v, j, h])
            low, high = byte % 16, byte // 16
            k = 32 * g + 8 * v + h
            assert low == values[16 * p + j, k] + 8
            assert high == values[16 * p + j, k + 4] + 8
            assert k < inputs or low == 8
            assert k + 4 < inputs or high == 8
        for p, g, j in np.ndindex(scales.shape):
            assert scales[p, g, j] == (row_scales[16 * p + j, g] if g < groups else 0)

    @pytest.mark.parametrize("compute_type", FORMATS)
    @pytest.mark.parametrize(("panels", "inputs"), SIZES)
    def test_unpack(self, compute_type: str, panels: int, inputs: int) -> None:
        rows = rows_of(panels, inputs)
        layout = FORMATS[compute_type]
        found = layout.unpack(layout.pack(rows), inputs)
        assert found.dtype == np.float32
        expected = {
            "float32": lambda: rows,
            "bfloat16": lambda: from_bfloat16(to_bfloat16(rows)),
            "int8": lambda: dequantise_int8(*quantise_int8(rows)),
            "int4": lambda: dequantise_int4(*quantise_int4(rows), inputs),
        }[compute_type]()
        np.testing.assert_array_equal(found, expected)

    def test_any_bytes_unpack(self) -> None:
        """A damaged file may hold what is never written: -128, nibbles of 0, any scale."""
        for compute_type, layout in FORMATS.items():
            tensors = layout.tensors("x", 2, 48)
            arrays = tuple(np.zeros(t.shape, DTYPES[t.dtype]) for t in tensors)
            for fill in (0x00, 0x80, 0xFF):
                for array in arrays:
                    array.view(np.uint8)[...] = fill
                assert layout.unpack(arrays, 48).shape == (32, 48), compute_type
