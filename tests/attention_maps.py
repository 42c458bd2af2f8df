"""Made-up attention for tests of what shows it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytransformer.attention import AttentionMaps

SOURCE = [">>en<<", "▁Ein", "▁Hund", "▁im", "▁Sch", "nee", ".", "</s>"]
TARGET = ["▁A", "▁dog", "▁in", "▁snow", ".", "</s>"]


def random_maps(
    source: list[str] = SOURCE,
    target: list[str] = TARGET,
    *,
    layers: int = 3,
    heads: int = 4,
    seed: int = 1,
) -> AttentionMaps:
    """Random weights, the decoder's without a look ahead."""
    generator = np.random.default_rng(seed)

    def rows(count: int, columns: int) -> npt.NDArray[np.float64]:
        return generator.exponential(size=(layers, heads, count, columns)) ** 3

    def shares(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)

    return AttentionMaps(
        source,
        target,
        shares(rows(len(source), len(source))),
        shares(np.tril(rows(len(target), len(target)))),
        shares(rows(len(target), len(source))),
        start_token="<pad>",
    )


def maps_of(source: list[str], target: list[str], cross: npt.NDArray[np.float64]) -> AttentionMaps:
    """One layer and one head with this cross-attention [target, source]."""
    random = random_maps(source, target, layers=1, heads=1)
    weights = cross[None, None].astype(np.float32)
    return AttentionMaps(source, target, random.encoder, random.decoder, weights)
