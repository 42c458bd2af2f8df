"""What tokenizers have in common whose pieces mark the space before them."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from pytransformer import words
from pytransformer.words import Word


class MarkedWords(abc.ABC):
    """The methods of :class:`pytransformer.tokenizers.Tokenizer` that are about words and ends.

    For tokenizers in which an end token closes each source, and which have no other special tokens
    in texts than that and a token of the target language in front.
    """

    @abc.abstractmethod
    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        """See :class:`pytransformer.tokenizers.Tokenizer`."""

    @abc.abstractmethod
    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        """See :class:`pytransformer.tokenizers.Tokenizer`."""

    def closing(self, ids: Sequence[int]) -> list[int]:
        return self.source_ids([])

    def continues_word(self, token: str) -> bool:
        return words.continues_word(token)

    def words(self, tokens: Sequence[str]) -> list[Word]:
        return words.marked_words(tokens, self.source_tokens(self.closing([]))[-1])
