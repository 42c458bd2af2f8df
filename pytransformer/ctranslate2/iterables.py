"""Streams of sentences, read in groups so that all workers have something to do."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Batches that are read at once.
_BATCHES_AHEAD = 16


class Later(Protocol[T_co]):
    """A result that may not be there yet."""

    def done(self) -> bool: ...

    def result(self) -> T_co: ...


def stream(
    submit: Callable[..., Sequence[Later[T]]],
    iterables: list[Iterable[Any]],
    max_batch_size: int,
    batch_type: str,
) -> Iterator[T]:
    """Yields the results of what `submit` queues, in order.

    Raises ValueError if one iterable ends before the other.
    """
    if max_batch_size < 1:
        raise ValueError("max_batch_size must be >= 1")
    if batch_type not in ("examples", "tokens"):
        raise ValueError(f"Invalid batch type {batch_type}")
    ahead = max_batch_size * _BATCHES_AHEAD if max_batch_size > 1 else 1
    waiting: deque[Later[T]] = deque()
    for group in _groups(itertools.zip_longest(*iterables), ahead, batch_type):
        waiting.extend(submit(*(list(items) for items in zip(*group, strict=True))))
        while waiting and waiting[0].done():
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _groups(
    examples: Iterable[tuple[Any, ...]], size: int, batch_type: str
) -> Iterator[list[tuple[Any, ...]]]:
    """Examples in groups of so many, or of so many tokens with padding."""
    group: list[tuple[Any, ...]] = []
    longest = 0
    for example in examples:
        if len(example) > 1 and None in example:
            raise ValueError("Input iterables do not have the same length")
        longest = max(longest, len(example[0]))
        weight = 1 if batch_type == "examples" else longest
        if group and (len(group) + 1) * weight > size:
            yield group
            group, longest = [], len(example[0])
        group.append(example)
    if group:
        yield group
