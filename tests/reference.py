"""What every kernel computes, in plain NumPy and float64: the definitions the tests compare with.

Section numbers are those of "Attention Is All You Need" (Vaswani et al. 2017).
"""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


def erf(x: npt.ArrayLike) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(np.asarray(x, np.float64)))


def exp(x: npt.ArrayLike) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(np.asarray(x, np.float64))


def tanh(x: npt.ArrayLike) -> Array:
    return np.tanh(np.asarray(x, np.float64))


def activation(name: str, x: npt.ArrayLike) -> Array:
    """GELU and its approximation: Hendrycks and Gimpel 2016; SiLU: x sigmoid(x)."""
    x = np.asarray(x, np.float64)
    if name == "none":
        return x
    if name == "relu":
        return np.asarray(np.maximum(x, 0.0))
    if name == "gelu":
        return np.asarray(0.5 * x * (1.0 + erf(x / math.sqrt(2.0))))
    if name == "gelu_tanh":
        return np.asarray(0.5 * x * (1.0 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    if name == "silu":
        return x / (1.0 + exp(-x))
    raise ValueError(name)


def softmax(x: npt.ArrayLike) -> Array:
    """Over the last axis."""
    x = np.asarray(x, np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def log_sum_exp(x: npt.ArrayLike) -> Array:
    """Over the last axis."""
    x = np.asarray(x, np.float64)
    largest = x.max(axis=-1)
    return np.asarray(largest + np.log(np.exp(x - largest[..., None]).sum(axis=-1)))


def layer_norm(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike, epsilon: float
) -> Array:
    """The normalisation of section 3.1 (Ba et al. 2016), over the last axis."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normal = centred / np.sqrt(variance + epsilon)
    return np.asarray(normal * np.asarray(weight, np.float64) + np.asarray(bias, np.float64))


def linear(
    a: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    residual: npt.ArrayLike | None = None,
    activation_name: str = "none",
) -> Array:
    """activation(a W^T + bias) + residual; a [m, k], weight [n, k] -> [m, n]."""
    y = np.asarray(a, np.float64) @ np.asarray(weight, np.float64).T
    if bias is not None:
        y = y + np.asarray(bias, np.float64)
    y = activation(activation_name, y)
    return y if residual is None else y + np.asarray(residual, np.float64)


def feed_forward(
    x: npt.ArrayLike,
    w1: npt.ArrayLike,
    b1: npt.ArrayLike,
    w2: npt.ArrayLike,
    b2: npt.ArrayLike,
    activation_name: str = "relu",
) -> Array:
    """Section 3.3, equation 2: max(0, x W1 + b1) W2 + b2, weights as [outputs, inputs]."""
    return linear(linear(x, w1, b1, activation_name=activation_name), w2, b2)


def attention(
    query: npt.ArrayLike, key: npt.ArrayLike, value: npt.ArrayLike, scale: float
) -> Array:
    """Section 3.2.1, equation 1: softmax(Q K^T scale) V, where the paper's scale is d_k^-1/2."""
    q, k, v = (np.asarray(x, np.float64) for x in (query, key, value))
    return np.asarray(softmax(q @ k.T * scale) @ v)


def multi_head_attention(
    query: npt.ArrayLike, key: npt.ArrayLike, value: npt.ArrayLike, num_heads: int
) -> Array:
    """Section 3.2.2 without the projections: heads side by side in the columns."""
    sides = [np.asarray(x, np.float64) for x in (query, key, value)]
    scale = (sides[0].shape[-1] // num_heads) ** -0.5
    heads = zip(*(np.split(x, num_heads, axis=-1) for x in sides), strict=True)
    return np.concatenate([attention(q, k, v, scale) for q, k, v in heads], axis=-1)


def positional_encoding(positions: int, d_model: int, *, interleaved: bool) -> Array:
    """Section 3.5: PE(pos, 2i) = sin(pos / 10000^(2i / d_model)), PE(pos, 2i + 1) = cos(same).

    Interleaved as in the paper, or all sines before all cosines as in Marian and fairseq.
    """
    table = np.zeros((positions, d_model))
    pairs = np.arange(0, d_model, 2)
    angles = np.arange(positions)[:, None] / 10000.0 ** (pairs / d_model)[None, :]
    sines, cosines = np.sin(angles), np.cos(angles)[:, : d_model // 2]
    if interleaved:
        table[:, 0::2], table[:, 1::2] = sines, cosines
        return table
    return np.concatenate([sines, cosines], axis=1)


def embed(
    ids: npt.ArrayLike, weight: npt.ArrayLike, scale: float, positions: npt.ArrayLike | None
) -> Array:
    """Sections 3.4 and 3.5: rows of the embedding times `scale` (sqrt(d_model)) plus positions."""
    rows = np.asarray(np.asarray(weight, np.float64)[np.asarray(ids)] * scale)
    if positions is None:
        return rows
    return np.asarray(rows + np.asarray(positions, np.float64)[: len(rows)])


def top_k(logits: npt.ArrayLike, k: int) -> Ints:
    """Ids [rows, k] of the largest logits, the lower id first among equals."""
    order = np.argsort(-np.asarray(logits, np.float64), axis=-1, kind="stable")
    return np.asarray(order[..., :k], np.int32)
