"""Learns from sentence pairs which tokens translate which, for lexical shortlists.

IBM Model 1 (Brown et al. 1993), whose likelihood has one maximum only, so that expectation
maximisation needs no good start and gives one answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pytransformer._ibm1 import Ibm1

# Sentence pairs between two calls of `progress`, and between two looks for Ctrl-C.
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class LexicalTable:
    """Translation probabilities of the tokens of one side.

    Attributes:
        sources: source token of each entry, ascending.
        targets: target token of each entry; for one source token, the likeliest first.
        probabilities: p(target | source) of each entry.
        log_likelihoods: of all sentence pairs, before each iteration (natural logarithm).
    """

    sources: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float64]
    log_likelihoods: tuple[float, ...]


def induce(
    pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
    *,
    iterations: int = 5,
    threshold: float = 0.0,
    null_word: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> LexicalTable:
    """Estimates p(target | source) by expectation maximisation over sentence pairs.

    Args:
        pairs: ids of the source tokens and of the target tokens of each pair, from 0 on. A pair
            without tokens on one side teaches nothing and is passed over.
        iterations: passes over all pairs, at least 1.
        threshold: entries of a smaller probability are left out.
        null_word: whether target tokens may come from no source token. Its own entries are left
            out.
        progress: called with the sentence pairs done, over all passes, and with their total.

    Raises:
        ValueError: no pair has tokens on both sides.
    """
    chunks = list(_chunks(pairs))
    if not chunks:
        raise ValueError("no sentence pair has tokens on both sides")
    sizes = [1 + max(int(side.ids.max()) for side in sides) for sides in zip(*chunks, strict=True)]
    model = Ibm1(sizes[0], sizes[1], null_word)
    for source, target in chunks:
        model.add_pairs(source.ids, source.offsets, target.ids, target.offsets)
    total = iterations * sum(source.offsets.size - 1 for source, _ in chunks)
    done = 0
    likelihoods = []
    for _ in range(iterations):
        likelihood = 0.0
        for source, target in chunks:
            likelihood += model.expect(source.ids, source.offsets, target.ids, target.offsets)
            done += source.offsets.size - 1
            if progress is not None:
                progress(done, total)
        model.maximise()
        likelihoods.append(likelihood)
    return LexicalTable(*model.table(threshold), tuple(likelihoods))


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of some sentence pairs: ids `[tokens]`, offsets `[sentences + 1]`."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


@dataclass
class _Filling:
    """A side that sentences are still added to."""

    ids: array[int] = field(default_factory=lambda: array("i"))
    offsets: array[int] = field(default_factory=lambda: array("q", [0]))

    def add(self, sentence: Sequence[int]) -> None:
        self.ids.extend(sentence)
        self.offsets.append(len(self.ids))

    def side(self) -> _Side:
        return _Side(np.frombuffer(self.ids, np.int32), np.frombuffer(self.offsets, np.int64))


def _chunks(
    pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
) -> Iterator[tuple[_Side, _Side]]:
    source, target = _Filling(), _Filling()
    for source_ids, target_ids in pairs:
        if not source_ids or not target_ids:
            continue
        source.add(source_ids)
        target.add(target_ids)
        if len(source.offsets) > _CHUNK:
            yield source.side(), target.side()
            source, target = _Filling(), _Filling()
    if len(source.offsets) > 1:
        yield source.side(), target.side()
