"""Canonical tensors that are made of several stored ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pytransformer.loaders.tensor_source import FloatArray, LazyTensors


@dataclass(frozen=True)
class Combined:
    """Which planned tensors make up another, and how."""

    parts: tuple[str, ...]
    make: Callable[..., FloatArray]


def combine(tensors: Mapping[str, FloatArray], made: Mapping[str, Combined]) -> LazyTensors:
    """The tensors with those that are `made` of some of them, in the place of these."""
    used = {part for combined in made.values() for part in combined.parts}
    readers: dict[str, Callable[[], FloatArray]] = {
        name: partial(tensors.__getitem__, name) for name in tensors if name not in used
    }
    for name, combined in made.items():
        readers[name] = partial(_make, tensors, combined)
    return LazyTensors(readers)


def _make(tensors: Mapping[str, FloatArray], combined: Combined) -> FloatArray:
    return combined.make(*(tensors[part] for part in combined.parts))
