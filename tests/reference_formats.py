"""The number formats of weights, activations and caches in plain NumPy, from their definitions.

How weights lie in panels is docs/native-format.md, index by index; nothing here comes from the
package. Values of a format are kept as float64, which holds all of them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

COMPUTE_TYPES = ["float32", "bfloat16", "int8", "int4"]
LANES = 16
GROUP = 32
# A row whose largest magnitude is smaller counts as a row of zeros where activations are int8.
SMALLEST_ROW = np.float32(1e-30)


@dataclass(frozen=True)
class Weights:
    """A matrix [outputs, inputs] in one format.

    Attributes:
        values: [outputs, inputs], what the stored numbers stand for.
        packed: the panels of a native file; bfloat16 is bits in uint16.
        scales: of integers, as in a native file.
        integers: [outputs, inputs], of integer formats.
        steps: [outputs, groups], the integers' scales; int8 has one group.
    """

    compute_type: str
    values: Array
    packed: npt.NDArray[Any]
    scales: npt.NDArray[Any] | None = None
    integers: Integers | None = None
    steps: Array | None = None


@dataclass(frozen=True)
class Rounded:
    """Rows of activations as a product reads them: steps [m, 1] * integers, or plain values."""

    values: Array
    integers: Integers | None = None
    steps: Floats | None = None


def round_bfloat16(x: npt.ArrayLike) -> Array:
    """The nearest number of 8 significant bits, ties to even, in the exponents of float32."""
    x = np.asarray(x, np.float64)
    _, exponent = np.frexp(x)
    last_place = np.ldexp(1.0, np.maximum(exponent, -125) - 8)
    rounded = np.rint(x / last_place) * last_place
    return np.where(np.abs(rounded) >= 2.0**128, np.copysign(np.inf, x), rounded)


def bfloat16_bits(x: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """The bits of numbers that are bfloat16 already."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)


def quantise_rows(x: Floats, *, fused: bool = True) -> Rounded:
    """Symmetric int8, row by row: round half even of x * (127 / max|x|), the factor in float32.

    A fused multiply-add rounds the exact product; without it the product is rounded to float32
    first, which makes a tie of some that is none.
    """
    largest = np.abs(x).max(axis=1, keepdims=True)
    zero = largest < SMALLEST_ROW
    factor = np.where(zero, np.float32(0), np.float32(127) / np.where(zero, 1, largest))
    product = x.astype(np.float64) * factor if fused else x * factor.astype(np.float32)
    integers = np.rint(product).astype(np.int64)
    steps = np.where(zero, np.float32(0), largest / np.float32(127)).astype(np.float32)
    return Rounded(integers * steps.astype(np.float64), integers, steps)


def round_rows(compute_type: str, x: Floats, *, fused: bool = True) -> Rounded:
    """Activations as weights of a compute type meet them."""
    if compute_type == "bfloat16":
        return Rounded(round_bfloat16(x))
    if compute_type in ("int8", "int4"):
        return quantise_rows(x, fused=fused)
    return Rounded(x.astype(np.float64))


def float32_weights(values: Floats) -> Weights:
    """X[p, k, j] = W[16 p + j, k]."""
    outputs, inputs = values.shape
    p, k, j = np.indices((outputs // LANES, inputs, LANES))
    return Weights("float32", values.astype(np.float64), values[LANES * p + j, k])


def bfloat16_weights(values: Array) -> Weights:
    """X[p, i, j, h] = W[16 p + j, 2 i + h]."""
    outputs, inputs = values.shape
    p, i, j, h = np.indices((outputs // LANES, inputs // 2, LANES, 2))
    bits = bfloat16_bits(values)
    return Weights("bfloat16", values, bits[LANES * p + j, 2 * i + h])


def int8_weights(integers: Integers, scales: Floats) -> Weights:
    """X[p, i, j, h] = q[16 p + j, 4 i + h]; scales [outputs]."""
    outputs, inputs = integers.shape
    p, i, j, h = np.indices((outputs // LANES, inputs // 4, LANES, 4))
    assert np.abs(integers).max() <= 127
    packed = integers.astype(np.int8)[LANES * p + j, 4 * i + h]
    steps = scales.astype(np.float64)[:, np.newaxis]
    return Weights("int8", integers * steps, packed, scales.astype(np.float32), integers, steps)


def int4_weights(integers: Integers, steps: Array) -> Weights:
    """The low four bits of X[p, g, v, j, h] are k = 32 g + 8 v + h, the high ones k + 4.

    Stored is q + 8. Scales [outputs, groups] lie as S[p, g, j], with zeros behind an odd number.
    """
    outputs, inputs = integers.shape
    panels, groups = outputs // LANES, -(-inputs // GROUP)
    assert np.abs(integers).max() <= 7
    stored = np.full((outputs, groups * GROUP), 8)
    stored[:, :inputs] = integers + 8
    p, g, v, j, h = np.indices((panels, groups, 4, LANES, 4))
    row, k = LANES * p + j, GROUP * g + 8 * v + h
    packed = (stored[row, k] + 16 * stored[row, k + 4]).astype(np.uint8)
    scales = np.zeros((panels, groups + groups % 2, LANES), np.uint16)
    p, g, j = np.indices((panels, groups, LANES))
    scales[:, :groups] = bfloat16_bits(steps)[LANES * p + j, g]
    values = integers * steps[:, np.arange(inputs) // GROUP]
    return Weights("int4", values, packed, scales, integers, steps)


def random_weights(compute_type: str, outputs: int, inputs: int, seed: int = 0) -> Weights:
    """Of very different sizes from output to output, with an output and a group of zeros."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-2, 2, (outputs, 1))
    if compute_type == "int8":
        integers = rng.integers(-127, 128, (outputs, inputs))
        integers[3] = 0
        return int8_weights(integers, (sizes[:, 0] / 127).astype(np.float32))
    if compute_type == "int4":
        integers = rng.integers(-7, 8, (outputs, inputs))
        steps = round_bfloat16(sizes / 7 * rng.uniform(0.3, 1, (outputs, -(-inputs // GROUP))))
        integers[3], integers[5, :GROUP], steps[5, 0] = 0, 0, 0
        return int4_weights(integers, steps)
    values = (sizes * rng.normal(size=(outputs, inputs))).astype(np.float32)
    values[3] = 0
    if compute_type == "bfloat16":
        return bfloat16_weights(round_bfloat16(values))
    return float32_weights(values)


def product(a: Rounded, weights: Weights) -> Array:
    """a W^T, exact but for float64's own rounding; of integers the sums are exact altogether."""
    if a.integers is None or a.steps is None or weights.integers is None or weights.steps is None:
        return a.values @ weights.values.T
    inputs = weights.integers.shape[1]
    groups = weights.steps.shape[1]
    total: Array = np.zeros((len(a.integers), len(weights.integers)))
    for group in range(groups):
        columns = slice(group * GROUP, (group + 1) * GROUP) if groups > 1 else slice(0, inputs)
        sums = a.integers[:, columns] @ weights.integers[:, columns].T
        total += sums * weights.steps[:, group]
    return total * a.steps.astype(np.float64)


def product_bound(a: Rounded, weights: Weights) -> Array:
    """What rounding may add to :func:`product`, by element: a unit of float32 for each rounding.

    Sums of floats are rounded at each of their terms, those of int4 at each group; a sum of int8 is
    exact, and then turned into float32 and scaled.
    """
    epsilon = float(np.finfo(np.float32).eps)
    magnitude = np.abs(a.values) @ np.abs(weights.values).T
    if weights.compute_type == "int8":
        return 2 * epsilon * np.abs(product(a, weights))
    roundings = weights.values.shape[1]
    if weights.steps is not None:
        roundings = weights.steps.shape[1] + 2
    return np.asarray(roundings * epsilon * magnitude)
