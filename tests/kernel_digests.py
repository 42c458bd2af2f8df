"""Digests of what the kernels give, the same on every machine; `python kernel_digests.py` records.

Record anew only where a change of the arithmetic is meant: models then give other last bits than
before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import reference_formats
from kernel_checks import ACTIVATIONS, CACHE_TYPES, FMA_ISAS, ODD_SIZES, Floats, same_bits_isas
from pytransformer._native import Kernels
from reference_formats import COMPUTE_TYPES, Weights

FILE = Path(__file__).with_name("kernel_digests.json")
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 40, 129]

Kernel = Callable[[Kernels], Any]


def integers(seed: int, *shape: int) -> npt.NDArray[np.uint32]:
    """Evenly spread, from integer arithmetic alone: nothing that a library may round otherwise."""
    x = np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 % 2**32)
    for factor, shift in ((0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return (x ^ (x >> np.uint32(15))).reshape(shape)


def numbers(seed: int, *shape: int) -> Floats:
    """Between -2 and 2, with all the digits that float32 has."""
    signed = (integers(seed, *shape) >> np.uint32(7)).astype(np.int32) - 2**24
    return signed.astype(np.float32) / np.float32(2**23)


def every_size() -> Floats:
    """One number in 2^16 of all that there are, NaN aside."""
    images = (np.arange(2**16, dtype=np.uint32) << np.uint32(16)) | np.uint32(0x1234)
    images = np.append(images & np.uint32(0xFFFF0000), images)
    x = images.view(np.float32)
    return x[~np.isnan(x)]


def weights(compute_type: str, outputs: int, inputs: int) -> Weights:
    """Outputs of different sizes."""
    sizes = np.ldexp(np.float32(1), np.arange(outputs) % 5 - 2)[:, np.newaxis]
    drawn = integers(7, outputs, inputs).astype(np.int64)
    if compute_type == "int8":
        steps = (numbers(8, outputs) + 4).astype(np.float32)
        return reference_formats.int8_weights(drawn % 255 - 127, steps)
    if compute_type == "int4":
        groups = -(-inputs // reference_formats.GROUP)
        steps = reference_formats.round_bfloat16(numbers(8, outputs, groups) + 4)
        return reference_formats.int4_weights(drawn % 15 - 7, steps)
    values = numbers(7, outputs, inputs) * sizes
    if compute_type == "bfloat16":
        return reference_formats.bfloat16_weights(reference_formats.round_bfloat16(values))
    return reference_formats.float32_weights(values)


def identity(compute_type: str, k: int) -> Weights:
    """Products with it are the activations as they are rounded."""
    ones = np.eye(k, dtype=np.int64)
    if compute_type == "int8":
        return reference_formats.int8_weights(ones, np.ones(k, np.float32))
    if compute_type == "int4":
        return reference_formats.int4_weights(ones, np.ones((k, -(-k // 32))))
    if compute_type == "bfloat16":
        return reference_formats.bfloat16_weights(ones.astype(np.float64))
    return reference_formats.float32_weights(ones.astype(np.float32))


def products() -> dict[str, tuple[list[str], Kernel]]:
    """Matrix products and embeddings by name, with the instruction sets of the promise."""
    found: dict[str, tuple[list[str], Kernel]] = {}
    bias = numbers(2, 80)
    positions = numbers(4, 6, 208)
    ids = np.array([0, 79, 15, 16, 17, 3], np.int32)
    for kind in COMPUTE_TYPES:
        isas = same_bits_isas(kind)
        w, one = weights(kind, 80, 208), identity(kind, 48)

        def multiply(k: Kernels, m: int, name: str, w: Weights = w) -> Floats:
            return k.gemm(numbers(1, m, 208), w.packed, w.scales, bias, numbers(3, m, 80), name)

        def embed(k: Kernels, w: Weights = w) -> Floats:
            return k.embed(ids, w.packed, 208, 14.422205, w.scales, positions)

        def rounded(k: Kernels, m: int, one: Weights = one) -> Floats:
            sizes = np.ldexp(np.float32(1), np.arange(m) % 40 - 20)
            return k.gemm(numbers(5, m, 48) * sizes[:, np.newaxis], one.packed, one.scales)

        for m in ROWS:
            found[f"gemm {kind} {m}"] = isas, lambda k, m=m, f=multiply: f(k, m, "none")
        for name in ACTIVATIONS[1:]:
            found[f"gemm {kind} {name}"] = isas, lambda k, n=name, f=multiply: f(k, 5, n)
        for m in (3, 40):
            found[f"activations in {kind} {m}"] = isas, lambda k, m=m, f=rounded: f(k, m)
        found[f"embed {kind}"] = FMA_ISAS, embed
    return found


def attentions() -> dict[str, Kernel]:
    """Both ways to attend, and what they say of their weights."""
    found: dict[str, Kernel] = {}
    for cache in CACHE_TYPES:
        for keys, dim in ((1, 16), (17, 32), (100, 64), (33, 112)):
            q, k, v = numbers(1, 7, dim), numbers(2, keys, dim), numbers(3, keys, dim)
            slots = (integers(4, keys) % keys).astype(np.int32)
            bias = numbers(5, 7, keys)

            def together(
                kernels: Kernels, cache: str = cache, args: Any = (q, k, v), bias: Floats = bias
            ) -> list[Floats]:
                weights = np.empty(bias.shape, np.float32)
                y = kernels.attention(*args, 0.125, cache, weights, bias)
                return [y, weights]

            def one(
                kernels: Kernels,
                cache: str = cache,
                args: Any = (q[0], k, v, slots),
                bias: Floats = bias[0],
            ) -> list[Floats]:
                weights = np.empty(bias.shape, np.float32)
                y = kernels.attention_cached(*args, 0.125, cache, weights, bias)
                return [y, weights]

            found[f"attention {cache} {keys} {dim}"] = together
            found[f"attention of one query {cache} {keys} {dim}"] = one
    return found


def row_by_row() -> dict[str, Kernel]:
    """Norms, softmax, the reduction of logits, and what acts on single numbers."""
    found: dict[str, Kernel] = {}
    x = every_size()
    for name in ("exp", "tanh", "erf"):
        found[name] = lambda k, name=name: getattr(k, name)(x)
    for name in ACTIVATIONS[1:]:
        found[name] = lambda k, name=name: k.activation(name, x)
    for columns in ODD_SIZES:
        rows = numbers(columns, 3, columns) * np.float32(4)
        w, b = numbers(1, columns), numbers(2, columns)
        found[f"softmax {columns}"] = lambda k, x=rows: k.softmax(x)
        for kind in ("layer", "rms", "deviation")[: 3 if columns > 1 else 2]:
            args = (rows, w, b, 1e-5, kind)
            found[f"{kind} norm {columns}"] = lambda k, args=args: k.layer_norm(*args)
    for columns in (9, 256, 257, 1003, 9001):
        logits = numbers(columns, 3, columns) * np.float32(6)
        found[f"top k {columns}"] = lambda k, x=logits: k.top_k(x, 9)
    return found


def layers() -> dict[str, Kernel]:
    """What only some models have."""
    x, gates, table = numbers(1, 3, 48), numbers(2, 3, 48), numbers(3, 9, 48)
    return {
        "distance scores": lambda k: k.distance_scores(x[0], table, 30, 7, 0.3),
        "distance values": lambda k: k.distance_values(x[0], table, 7),
        "rotate": lambda k: k.rotate(x, gates[0, :20], gates[1, :20]),
        "recur": lambda k: k.recur(x[0], gates[0], x[1]),
        "running mean": lambda k: k.running_mean(x[0], x[1], 3),
        "mix": lambda k: k.mix(gates[0], x[0], gates[1], x[1]),
    }


def all_cases() -> dict[str, tuple[list[str], Kernel]]:
    """All of them by name, with the instruction sets of the promise."""
    on_all = {**attentions(), **row_by_row(), **layers()}
    return {**products(), **{name: (FMA_ISAS, kernel) for name, kernel in on_all.items()}}


CASES = all_cases()


def digest(result: Any) -> str:
    """Of the bits of an array or of several; all NaN count as one, whose sign no one promises."""
    arrays = [result] if isinstance(result, np.ndarray) else result
    seen = hashlib.sha256()
    for array in arrays:
        if array.dtype == np.float32:
            array = np.where(np.isnan(array), np.float32(np.nan), array)
        seen.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return seen.hexdigest()[:16]


def read_digests() -> dict[str, str]:
    """The recorded ones by name."""
    records: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return records


def main() -> None:
    """Records what the best instruction set gives."""
    records = {name: digest(kernel(Kernels(isas[-1]))) for name, (isas, kernel) in CASES.items()}
    FILE.write_text(json.dumps(records, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
