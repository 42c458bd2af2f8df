"""Cuts words into the most probable pieces of a unigram language model.

Kudo 2018, "Subword Regularization": every piece has a log probability, and the best sequence of
pieces is found by dynamic programming. Sums are doubles and ties go to the longer last piece, as in
Hugging Face's tokenizers, so that the pieces equal theirs; sentencepiece computes in floats.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytransformer.errors import CheckpointError

# A piece for a character that no piece covers is so much less probable than any other.
_UNKNOWN_PENALTY = 10.0
# Words that are kept with their pieces, and how long they may be.
_CACHED_WORDS = 2**15
_CACHED_LENGTH = 40
# Longer pieces, of which no model has any, would make long words slow.
_LONGEST_PIECE = 256


class Unigram:
    """The pieces of a vocabulary with their log probabilities, in the order of their ids."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float], unknown_id: int) -> None:
        self._scores = dict(zip(pieces, scores, strict=True))
        self._unknown = pieces[unknown_id]
        self._unknown_score = min(scores) - _UNKNOWN_PENALTY
        # The longest piece that begins with a character.
        self._reach: dict[str, int] = {}
        for piece in filter(None, self._scores):
            self._reach[piece[0]] = max(self._reach.get(piece[0], 1), len(piece))
        if (longest := max(self._reach.values(), default=1)) > _LONGEST_PIECE:
            raise CheckpointError(
                f"the tokenizer has a piece of {longest} characters, more than {_LONGEST_PIECE}"
            )
        self._cache: dict[str, tuple[str, ...]] = {}

    def pieces(self, word: str) -> Sequence[str]:
        """The best pieces; a run of characters that no piece covers stays together."""
        found = self._cache.get(word)
        if found is None:
            found = tuple(self._best(word))
            if len(word) <= _CACHED_LENGTH:
                if len(self._cache) >= _CACHED_WORDS:
                    self._cache.clear()
                self._cache[word] = found
        return found

    def _best(self, word: str) -> list[str]:
        starts = self._starts(word)
        pieces: list[str] = []
        end = unknown_end = len(word)  # the latter of the run of unknown characters
        while end > 0:
            start = starts[end]
            piece = word[start:end]
            if piece in self._scores and piece != self._unknown:
                if end < unknown_end:
                    pieces.append(word[end:unknown_end])
                pieces.append(piece)
                unknown_end = start
            end = start
        if unknown_end > 0:
            pieces.append(word[:unknown_end])
        pieces.reverse()
        return pieces

    def _starts(self, word: str) -> list[int]:
        """For every end of a piece, where the last one of the best sequence starts."""
        length = len(word)
        best = [0.0] * (length + 1)
        starts = [-1] * (length + 1)
        scores, reach = self._scores, self._reach
        for start in range(length):
            so_far = best[start]
            for end in range(start + 1, min(start + reach.get(word[start], 1), length) + 1):
                score = scores.get(word[start:end])
                if score is None:
                    if end > start + 1:
                        continue
                    score = self._unknown_score
                if starts[end] < 0 or so_far + score > best[end]:
                    best[end], starts[end] = so_far + score, start
        return starts
