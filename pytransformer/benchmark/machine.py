"""What the machine can do at best: arithmetic in each number format, and reading."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytransformer import _native
from pytransformer.processor import processor_name

FORMATS = ("float32", "bfloat16", "int8")

# Larger than the caches of all but a few servers.
_MEMORY_BYTES = 256 << 20
_LEAST_READ_BYTES = 4096


@dataclass(frozen=True)
class Machine:
    """The limits of `threads` threads together.

    Attributes:
        processor: its name.
        isa: the instruction set in use.
        cores: how many cores this process may use.
        threads: how many threads the limits are for.
        peak_gops: 10^9 operations (multiplications and additions) a second, by number format.
        memory_gbps: 10^9 bytes a second read from memory.
        weights_gbps: the same where as many bytes are read again and again as the model has weights
            to multiply with, so that some or all of them come from a cache.
        weights_bytes: how many these are.
    """

    processor: str
    isa: str
    cores: int
    threads: int
    peak_gops: Mapping[str, float]
    memory_gbps: float
    weights_gbps: float
    weights_bytes: int

    def peak(self, number_format: str) -> float:
        """The arithmetic peak in a format; products with int4 weights are those of int8."""
        return self.peak_gops["int8" if number_format == "int4" else number_format]

    def best(self, other: Machine) -> Machine:
        """The higher limits of two measurements: what disturbs one makes it lower, never higher."""
        peaks = {name: max(peak, other.peak_gops[name]) for name, peak in self.peak_gops.items()}
        return Machine(
            self.processor,
            self.isa,
            self.cores,
            self.threads,
            peaks,
            max(self.memory_gbps, other.memory_gbps),
            max(self.weights_gbps, other.weights_gbps),
            self.weights_bytes,
        )


def measure(isa: str, threads: int, weights_bytes: int) -> Machine:
    """Measures the limits; takes about a second."""
    kernels = _native.Kernels(isa)
    return Machine(
        processor=processor_name(),
        isa=isa,
        cores=_native.available_threads(),
        threads=threads,
        peak_gops={name: threads * kernels.peak_gops(name) for name in FORMATS},
        memory_gbps=_read_gbps(isa, threads, _MEMORY_BYTES),
        weights_gbps=_read_gbps(isa, threads, weights_bytes),
        weights_bytes=weights_bytes,
    )


def _read_gbps(isa: str, threads: int, size_bytes: int) -> float:
    """Of all threads together; each reads a part of its own, as the engine shares out weights."""
    part = max(_LEAST_READ_BYTES, size_bytes // threads)
    start = threading.Barrier(threads)

    def read(kernels: _native.Kernels) -> float:
        start.wait()
        return kernels.read_gbps(part)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(read, [_native.Kernels(isa) for _ in range(threads)]))
