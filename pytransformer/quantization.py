"""Rounds float32 weights to smaller number formats, and reads them back.

Plain NumPy on rows: row `n` holds the weights of output `n`. How the numbers are then laid out in
memory is the business of :mod:`pytransformer.panels`. NumPy has no bfloat16; its bits stand in
uint16.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GROUP = 32

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int8]
BitsArray = npt.NDArray[np.uint16]

_INT8_MAX = np.float32(127)
_INT4_MAX = np.float32(7)

# Scales of int4 that are tried, as multiples of largest weight / 7. To clip the largest weights
# makes the steps finer for all others; a scale above 1 may hit the weights better by chance.
_INT4_TRIALS = np.linspace(0.85, 1.1, 11, dtype=np.float32)

# Below this a scale would be subnormal, with few bits of its own: its weights count as zero.
_SMALLEST_SCALE = 2 * np.finfo(np.float32).tiny


class NotFiniteError(ValueError):
    """Weights to be quantised hold NaN or infinity."""


def to_bfloat16(values: FloatArray) -> BitsArray:
    """The upper halves of float32 numbers, rounded to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    result = rounded.astype(np.uint16)
    nan = np.isnan(values)
    if nan.any():
        # The sum may have carried into the sign; the bit set here keeps the number a NaN.
        result[nan] = (bits[nan] >> 16) | 0x40
    return result


def from_bfloat16(bits: BitsArray) -> FloatArray:
    """The float32 numbers of which `bits` are the upper halves."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def quantise_int8(rows: FloatArray) -> tuple[IntArray, FloatArray]:
    """Rounds each row to multiples of its own step.

    Args:
        rows: [outputs, inputs].

    Returns:
        Integers of -127 to 127 [outputs, inputs], and scales [outputs] to multiply them by. A row
        of zeros has the scale 0.

    Raises:
        NotFiniteError: a weight is NaN or infinite.
    """
    scales, steps = _scales_and_steps(rows, 1, _INT8_MAX)
    quotients = rows / steps[:, np.newaxis]
    np.rint(quotients, out=quotients)
    return quotients.astype(np.int8), scales


def dequantise_int8(values: IntArray, scales: FloatArray) -> FloatArray:
    """Weights [outputs, inputs] from what :func:`quantise_int8` gives."""
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold any scale
        return np.multiply(values, scales[:, np.newaxis], dtype=np.float32)


def quantise_int4(rows: FloatArray) -> tuple[IntArray, BitsArray]:
    """Rounds each group of 32 weights of a row to multiples of its own step.

    The step is the one with the least squared error among several.

    Args:
        rows: [outputs, inputs]; the last group of a row may be shorter than 32.

    Returns:
        Integers of -7 to 7 [outputs, 32 * groups], zero behind the last input, and scales
        [outputs, groups] to multiply them by, as bits of bfloat16. A group of zeros has the scale
        0.

    Raises:
        NotFiniteError: a weight is NaN or infinite.
    """
    outputs, inputs = rows.shape
    if missing := -inputs % GROUP:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    # One group a column, so that all arithmetic below runs along the contiguous axis.
    columns = np.ascontiguousarray(rows.reshape(-1, GROUP).T)
    bits, steps = _best_int4_steps(columns)
    quotients = np.divide(columns, steps)
    values = _round_int4(quotients, out=quotients).astype(np.int8)
    return np.ascontiguousarray(values.T).reshape(outputs, -1), bits.reshape(outputs, -1)


def dequantise_int4(values: IntArray, scales: BitsArray, inputs: int) -> FloatArray:
    """Weights [outputs, inputs] from what :func:`quantise_int4` gives."""
    outputs, groups = scales.shape
    steps = from_bfloat16(scales)[:, :, np.newaxis]
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold any scale
        weights = np.multiply(values.reshape(outputs, groups, GROUP), steps, dtype=np.float32)
    return weights.reshape(outputs, -1)[:, :inputs]


def _best_int4_steps(columns: FloatArray) -> tuple[BitsArray, FloatArray]:
    """For each column of weights its scale as bits of bfloat16, and what to divide it by."""
    scales, plain = _scales_and_steps(columns, 0, _INT4_MAX)
    misses, rounded = np.empty_like(columns), np.empty_like(columns)
    bits = to_bfloat16(np.outer(_INT4_TRIALS, plain))
    steps = from_bfloat16(bits)
    errors = np.empty_like(steps)
    for step, error in zip(steps, errors, strict=True):
        np.divide(columns, step, out=misses)
        np.subtract(misses, _round_int4(misses, out=rounded), out=misses)
        np.einsum("kn,kn->n", misses, misses, out=error)
    # In units of the plain step, whose square could leave the range of float32.
    errors *= (steps / plain) ** 2
    best = errors.argmin(axis=0)[np.newaxis]
    best_bits = np.take_along_axis(bits, best, axis=0)[0]
    return np.where(scales > 0, best_bits, np.uint16(0)), from_bfloat16(best_bits)


def _round_int4(quotients: FloatArray, out: FloatArray) -> FloatArray:
    np.rint(quotients, out=out)
    return np.clip(out, -_INT4_MAX, _INT4_MAX, out=out)


def _scales_and_steps(
    weights: FloatArray, axis: int, greatest: np.float32
) -> tuple[FloatArray, FloatArray]:
    """Scales that make the largest weight along an axis `greatest`, and what to divide by.

    They differ where all weights are zero, or as good as zero: the scale is 0, and the step 1
    makes zeros of them.
    """
    scales = np.maximum(weights.max(axis=axis), -weights.min(axis=axis)) / greatest
    if not np.isfinite(scales).all():
        raise NotFiniteError("NaN or infinity")
    empty = scales < _SMALLEST_SCALE
    return np.where(empty, np.float32(0), scales), np.where(empty, np.float32(1), scales)
