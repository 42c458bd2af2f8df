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


def sigmoid(x: npt.ArrayLike) -> Array:
    return np.asarray(1.0 / (1.0 + exp(-np.asarray(x, np.float64))))


def activation(name: str, x: npt.ArrayLike) -> Array:
    """GELU and its two approximations: Hendrycks and Gimpel 2016; SiLU: x sigmoid(x)."""
    x = np.asarray(x, np.float64)
    if name == "none":
        return x
    if name == "relu":
        return np.asarray(np.maximum(x, 0.0))
    if name == "gelu":
        return np.asarray(0.5 * x * (1.0 + erf(x / math.sqrt(2.0))))
    if name == "gelu_tanh":
        return np.asarray(0.5 * x * (1.0 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    if name == "gelu_sigmoid":
        return x * sigmoid(1.702 * x)
    if name == "silu":
        return x * sigmoid(x)
    if name == "tanh":
        return tanh(x)
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
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None, epsilon: float
) -> Array:
    """The normalisation of section 3.1 (Ba et al. 2016), over the last axis."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return _affine(centred / np.sqrt(variance + epsilon), weight, bias)


def rms_norm(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None, epsilon: float
) -> Array:
    """By the root of the mean square (Zhang and Sennrich 2019), over the last axis."""
    x = np.asarray(x, np.float64)
    return _affine(x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon), weight, bias)


def deviation_norm(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None, epsilon: float
) -> Array:
    """By the unbiased standard deviation plus epsilon (The Annotated Transformer)."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / (x.shape[-1] - 1))
    return _affine(centred / (deviation + epsilon), weight, bias)


def _affine(normal: Array, weight: npt.ArrayLike, bias: npt.ArrayLike | None) -> Array:
    y = np.asarray(normal * np.asarray(weight, np.float64))
    return y if bias is None else np.asarray(y + np.asarray(bias, np.float64))


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


def tensor2tensor_encoding(positions: int, d_model: int) -> Array:
    """All sines, all cosines, and a column of zeros behind them if d_model is odd.

    Frequency i of d_model // 2 is 10000^(-i / (d_model // 2 - 1)).
    """
    half = d_model // 2
    frequencies = 10000.0 ** (-np.arange(half) / max(half - 1, 1))
    angles = np.arange(positions)[:, None] * frequencies[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles), np.zeros((positions, d_model % 2))], 1)


def rotate(x: npt.ArrayLike, theta: float) -> Array:
    """Rotary positions (Su et al. 2021) of rows 0, 1, 2, ...; x [rows, head_dim], an even number.

    Columns i and i + head_dim / 2 are turned by the angle row * theta^(-2 i / head_dim).
    """
    x = np.asarray(x, np.float64)
    rows, head_dim = x.shape
    half = head_dim // 2
    angles = np.arange(rows)[:, None] * theta ** (-2.0 * np.arange(half) / head_dim)[None, :]
    turned = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], axis=1)


def distance_columns(queries: int, keys: int, max_distance: int) -> Ints:
    """Columns [queries, keys] of relative positions (Shaw et al. 2018): clip(key - query)."""
    distances = np.arange(keys)[None, :] - np.arange(queries)[:, None]
    return np.asarray(np.clip(distances, -max_distance, max_distance) + max_distance, np.int32)


def simpler_recurrent_unit(inputs: npt.ArrayLike, forget: npt.ArrayLike) -> Array:
    """States [tokens, d_model] of the SSRU (Kim et al. 2019): c_t = f_t c_{t-1} + (1 - f_t) x_t."""
    x, f = np.asarray(inputs, np.float64), np.asarray(forget, np.float64)
    state = np.zeros(x.shape[1])
    states = np.empty_like(x)
    for t in range(len(x)):
        state = f[t] * state + (1.0 - f[t]) * x[t]
        states[t] = state
    return states


def running_mean(x: npt.ArrayLike) -> Array:
    """The mean of each row and all before it (Zhang et al. 2018, equation 1)."""
    x = np.asarray(x, np.float64)
    return np.asarray(x.cumsum(axis=0) / np.arange(1, len(x) + 1)[:, None])


def embed(
    ids: npt.ArrayLike, weight: npt.ArrayLike, scale: float, positions: npt.ArrayLike | None
) -> Array:
    """Sections 3.4 and 3.5: rows of the embedding times `scale` (sqrt(d_model)) plus positions.

    The row of an id -1 is zero.
    """
    ids = np.asarray(ids, np.int64)
    rows = np.asarray(np.asarray(weight, np.float64)[np.maximum(ids, 0)] * scale)
    rows[ids < 0] = 0.0
    if positions is None:
        return rows
    return np.asarray(rows + np.asarray(positions, np.float64)[: len(rows)])


def top_k(logits: npt.ArrayLike, k: int) -> Ints:
    """Ids [rows, k] of the largest logits, the lower id first among equals."""
    order = np.argsort(-np.asarray(logits, np.float64), axis=-1, kind="stable")
    return np.asarray(order[..., :k], np.int32)
