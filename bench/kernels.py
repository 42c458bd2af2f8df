"""How near the kernels come to the machine's limits, which are measured in the same run.

    python bench/kernels.py [--isa avx512] [--types float32,int8] [--rounds 7]

One thread. Products in 10^9 operations per second and as a share of the arithmetic peak of their
number format (for int4, int8's); with few rows also the weights read in GB/s, as a share of what a
plain sum over as many bytes reads. A product's time includes the rounding and packing of its
activations. Medians over the rounds; the limits are measured anew in every round, because other
programs use the machine too.
"""

import argparse
import time
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from pytransformer._native import Kernels, active_isa, supported_isas
from pytransformer.panels import FORMATS

Floats = npt.NDArray[np.float32]

# Outputs and inputs: attention and feed-forward at widths 512 and 256, a whole vocabulary.
SHAPES = [(512, 512), (2048, 512), (512, 2048), (256, 256), (1536, 256), (58112, 512)]
ROWS = [1, 2, 4, 8, 16, 20, 64, 256]
LIKE_DECODE = 16


def median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def print_table(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print()


def bench_gemm(
    kernels: Kernels, compute_type: str, shapes: list[tuple[int, int]], rounds: int
) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for n, k in shapes:
        weight = rng.normal(size=(n, k)).astype(np.float32)
        packed, *rest = FORMATS[compute_type].pack(weight)
        scales = rest[0] if rest else None
        size = 1e-9 * sum(array.nbytes for array in (packed, *rest))
        for m in ROWS:
            a = rng.normal(size=(m, k)).astype(np.float32)
            operations = 2e-9 * m * n * k
            peaks, reads, times = [], [], []
            for _ in range(rounds):
                peaks.append(kernels.peak_gops(compute_type))
                reads.append(kernels.read_gbps(packed.nbytes))
                repeats = max(1, min(300, int(peaks[-1] / 100 / operations)))
                times.append(median(kernels.gemm_seconds(a, packed, scales, repeats + 1)[1:]))
            share = median(operations / t / p for t, p in zip(times, peaks, strict=True))
            reading = median(size / t / r for t, r in zip(times, reads, strict=True))
            row = [str(n), str(k), str(m), f"{operations / median(times):.1f}", f"{share:.0%}"]
            if m <= LIKE_DECODE:
                row += [f"{size / median(times):.1f}", f"{reading:.0%}"]
            rows.append(row + [""] * (7 - len(row)))
    print(compute_type)
    print_table(["n", "k", "m", "GOP/s", "of peak", "GB/s", "of reads"], rows)


def nanoseconds(function: Callable[[], object], count: int, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e9 * median(times) / count


def bench_elements(kernels: Kernels, rounds: int) -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=64 * 512).astype(np.float32)
    x = flat.reshape(64, 512)
    weight, bias = x[0].copy(), x[1].copy()
    keys = rng.normal(size=(30, 64)).astype(np.float32)
    cases: list[tuple[str, int, Callable[[], object]]] = [
        ("copy in and out", x.size, lambda: kernels.activation("none", flat)),
        ("exp", x.size, lambda: kernels.exp(flat)),
        ("tanh", x.size, lambda: kernels.tanh(flat)),
        ("erf", x.size, lambda: kernels.erf(flat)),
        ("gelu", x.size, lambda: kernels.activation("gelu", flat)),
        ("silu", x.size, lambda: kernels.activation("silu", flat)),
        ("softmax", x.size, lambda: kernels.softmax(x)),
        ("layer_norm", x.size, lambda: kernels.layer_norm(x, weight, bias, 1e-5)),
        ("attention, 30 queries", 900 * 64, lambda: kernels.attention(keys, keys, keys, 0.125)),
    ]
    rows = [[name, f"{nanoseconds(f, n, 30 * rounds):.3f}"] for name, n, f in cases]
    print_table(["kernel", "ns per element"], rows)
    print("Elements of attention are queries x keys x head size; each time includes the copies.")


def shape(text: str) -> tuple[int, int]:
    outputs, inputs = text.split("x")
    return int(outputs), int(inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", choices=supported_isas(), default=active_isa())
    parser.add_argument("--types", default=",".join(FORMATS), help="number formats, as int8,int4")
    parser.add_argument("--shapes", help="outputs and inputs of products, as 512x512,2048x512")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    kernels = Kernels(arguments.isa)
    sizes = [2**19, 2**22, 2**28]
    reads = ", ".join(f"{kernels.read_gbps(size):.0f} GB/s of {size >> 10} KiB" for size in sizes)
    types = arguments.types.split(",")
    peaks = ", ".join(f"{name} {kernels.peak_gops(name):.0f} GOP/s" for name in types)
    print(f"{kernels.isa}: {peaks}; reads {reads}\n")
    shapes = SHAPES if arguments.shapes is None else list(map(shape, arguments.shapes.split(",")))
    for compute_type in types:
        bench_gemm(kernels, compute_type, shapes, arguments.rounds)
    bench_elements(kernels, arguments.rounds)


if __name__ == "__main__":
    main()
