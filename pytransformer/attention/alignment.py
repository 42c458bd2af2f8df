"""Word alignments from attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytransformer.errors import OptionError
from pytransformer.words import Word


@dataclass(frozen=True, eq=False)
class Alignment:
    """Which words of a source the words of its translation come from.

    Words are what stands between spaces, punctuation included. The end token and a leading token of
    the target language (``>>en<<``) are none; what a word looks at there is not in its weights.

    Attributes:
        source_words: [source words].
        target_words: [target words].
        weights: [target words, source words]: what the word's pieces look at, summed over the
            pieces of the source's word, the mean over those of the target's.
        links: (source word, target word), counted from 0, in ascending order.
    """

    source_words: list[str]
    target_words: list[str]
    weights: npt.NDArray[np.float32]
    links: list[tuple[int, int]]

    def to_pharaoh(self) -> str:
        """The links as tools for alignments write them, such as ``0-0 1-2``."""
        return " ".join(f"{source}-{target}" for source, target in self.links)


def align(
    sources: Sequence[Word],
    targets: Sequence[Word],
    attention: npt.NDArray[np.float32],
    threshold: float | None,
) -> Alignment:
    """Adds up the weights of words and links these; see `AttentionMaps.word_alignment`.

    Args:
        sources: the words of the source tokens.
        targets: those of the target tokens.
        attention: [target, source], of tokens.
        threshold: None, or 0 to 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise OptionError(f"threshold is {threshold}, expected a number from 0 to 1")
    weights = np.zeros((len(targets), len(sources)), np.float32)
    for row, target in enumerate(targets):
        for column, source in enumerate(sources):
            weights[row, column] = attention[target.pieces, source.pieces].sum(axis=1).mean()
    return Alignment(
        [word.text for word in sources],
        [word.text for word in targets],
        weights,
        _links(weights, threshold),
    )


def _links(weights: npt.NDArray[np.float32], threshold: float | None) -> list[tuple[int, int]]:
    if weights.shape[1] == 0:
        return []
    if threshold is None:
        found = [(int(source), target) for target, source in enumerate(weights.argmax(axis=1))]
    else:
        rows, columns = np.nonzero(weights > threshold)
        found = list(zip(columns.tolist(), rows.tolist(), strict=True))
    return sorted(found)
