"""Streams of sentences: read in groups, some of which are at work while others are handed out."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from pytransformer.errors import OptionError

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)

# Groups that are read ahead for each worker.
_GROUPS_AHEAD = 2


class Work(Protocol[T_co]):
    """A group that is at work."""

    def results(self) -> Sequence[T_co]:
        """Waits for them."""

    def cancel(self) -> None:
        """Ends the work."""


def pairs(
    name: str, first: Iterable[Any], second_name: str, second: Iterable[Any]
) -> Iterator[tuple[Any, Any]]:
    """Items of both side by side; OptionError as soon as one ends before the other."""
    end = object()
    for index, pair in enumerate(itertools.zip_longest(first, second, fillvalue=end)):
        if pair[0] is end or pair[1] is end:
            shorter, longer = (name, second_name) if pair[0] is end else (second_name, name)
            raise OptionError(f"{shorter} ends after {index}, before {longer}")
        yield pair


def groups(
    items: Iterable[T], size: int, weigh: Callable[[T], int]
) -> Generator[list[T], None, None]:
    """Items in groups that weigh at most `size`, or hold but one item.

    What `items` raises is raised behind the group of the items before it.
    """
    group: list[T] = []
    total = 0
    try:
        for item in items:
            weight = weigh(item)
            if group and total + weight > size:
                yield group
                group, total = [], 0
            group.append(item)
            total += weight
            if total >= size:
                yield group
                group, total = [], 0
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def read_ahead(
    grouped: Iterator[list[T]], submit: Callable[[list[T]], Work[U]], workers: int
) -> Generator[U, None, None]:
    """Results in order; groups are submitted before those ahead of them are done.

    What goes wrong is raised behind the results of all that comes before it.
    """
    waiting: deque[Work[U]] = deque()
    error: Exception | None = None
    try:
        while True:
            while error is None and len(waiting) <= _GROUPS_AHEAD * workers:
                try:
                    group = next(grouped, None)
                    if group is None:
                        break
                    waiting.append(submit(group))
                except Exception as raised:
                    error = raised
            if not waiting:
                break
            yield from waiting.popleft().results()
    finally:
        for work in waiting:
            work.cancel()
    if error is not None:
        raise error
