"""The relative positions of T5 (Raffel et al. 2020): one bias for several distances."""

from __future__ import annotations

import math

import numpy as np

from pytransformer.loaders.tensor_source import FloatArray


def exact_buckets(buckets: int, *, both_ways: bool) -> int:
    """How many distances have a bucket of their own in each direction."""
    return (buckets // 2 if both_ways else buckets) // 2


def spread_buckets(biases: FloatArray, max_distance: int, *, both_ways: bool) -> FloatArray:
    """Biases of distances [heads, 2 * max_distance + 1], of those of buckets [buckets, heads].

    Half of the buckets are for one distance each, the others for ranges that grow with the
    logarithm up to `max_distance`. `both_ways` keeps half of all for keys behind their query;
    without it such keys are not seen, and count as near. Needs `max_distance` above
    :func:`exact_buckets`, and one such bucket at least.
    """
    distances = np.arange(-max_distance, max_distance + 1)
    count = len(biases) // 2 if both_ways else len(biases)
    exact = exact_buckets(len(biases), both_ways=both_ways)
    gaps = np.abs(distances) if both_ways else np.maximum(-distances, 0)
    # In float32, as transformers computes it: where a range begins must not depend on rounding.
    ratios = np.maximum(gaps, exact).astype(np.float32) / np.float32(exact)
    growth = np.log(ratios) / np.float32(math.log(max_distance / exact))
    ranged = exact + (growth * np.float32(count - exact)).astype(np.int64)
    buckets = np.where(gaps < exact, gaps, np.minimum(ranged, count - 1))
    if both_ways:
        buckets += np.where(distances > 0, count, 0)
    return np.ascontiguousarray(biases[buckets].T)
