"""Three ways to cut text into tokens and to join tokens: words, pairs of bytes, sentencepiece."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Protocol

from pytransformer.errors import CheckpointError
from pytransformer.words import continues_word

_UNDERLINE = "▁"
_CONTINUES = "@@"  # ends a token that goes on in the next one
_END_OF_WORD = "</w>"
_CACHED_WORDS = 1 << 16


class Cutter(Protocol):
    """Cuts text into tokens. Its methods may be called from several threads."""

    def cut(self, text: str) -> list[str]:
        """The tokens of a text."""

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""

    def begins_word(self, token: str, before: str) -> bool:
        """Whether a token is the first one of a word, behind another token."""

    def continues_word(self, token: str) -> bool:
        """See :class:`pytransformer.tokenizers.Tokenizer`."""


class Words:
    """Tokens are what stands between white space."""

    def cut(self, text: str) -> list[str]:
        return text.split()

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def begins_word(self, token: str, before: str) -> bool:
        return True

    def continues_word(self, token: str) -> bool:
        return False


class MergedPairs:
    """Byte pair encoding of words (Sennrich et al. 2016), as subword-nmt and fastBPE apply it.

    `codes` is the content of their file: the pairs to merge, one a line, best first. The first line
    may name the version; in files of version 0.1, which do not, the mark of a word's end is a
    symbol of its own. fastBPE's have the count of each pair behind it.
    """

    def __init__(self, codes: bytes) -> None:
        try:
            lines = codes.decode().split("\n")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"BPE codes: byte {error.start} is not UTF-8 text") from None
        version = lines.pop(0).split()[1:] if lines[0].startswith("#version:") else None
        pairs = [line.strip("\r ").split(" ") for line in lines if line.strip("\r ")]
        counted = bool(pairs) and len(pairs[0]) == 3
        for number, pair in enumerate(pairs, 1 if version is None else 2):
            if len(pair) != (3 if counted else 2) or not all(pair):
                raise CheckpointError(f"BPE codes: line {number} is no pair of symbols")
        self._ranks: dict[tuple[str, str], int] = {}
        for pair in pairs:
            self._ranks.setdefault((pair[0], pair[1]), len(self._ranks))
        self._end_is_separate = not counted and version in (None, ["0.1"])
        self._cut_word = functools.lru_cache(_CACHED_WORDS)(self._merge)

    def cut(self, text: str) -> list[str]:
        # subword-nmt cuts at spaces only, and what reads its output at all white space.
        words = (" ".join(self._cut_word(word)) for word in text.split(" ") if word)
        return " ".join(words).split()

    def join(self, tokens: Sequence[str]) -> str:
        return (" ".join(tokens) + " ").replace(_CONTINUES + " ", "").rstrip()

    def begins_word(self, token: str, before: str) -> bool:
        return not before.endswith(_CONTINUES)

    def continues_word(self, token: str) -> bool:
        return False  # a token says whether it ends its word, not whether it begins one

    def _merge(self, word: str) -> tuple[str, ...]:
        """The tokens of a word: the best pair of neighbours is merged everywhere, then the next."""
        symbols = [*word, _END_OF_WORD] if self._end_is_separate else [*word[:-1], word[-1:]]
        if not self._end_is_separate:
            symbols[-1] += _END_OF_WORD
        worst = len(self._ranks)
        while len(symbols) > 1:
            pairs = list(itertools.pairwise(symbols))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, worst))
            if best not in self._ranks:
                break
            symbols = _merged(symbols, best)
        if symbols[-1] == _END_OF_WORD:
            symbols.pop()
        symbols[-1] = symbols[-1].removesuffix(_END_OF_WORD)
        return (*(symbol + _CONTINUES for symbol in symbols[:-1]), symbols[-1])


def _merged(symbols: Sequence[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        found = symbols[i] == pair[0] and i + 1 < len(symbols) and symbols[i + 1] == pair[1]
        merged.append("".join(pair) if found else symbols[i])
        i += 2 if found else 1
    return merged


class Pieces:
    """The pieces of a sentencepiece model, whose file's content is `model`."""

    def __init__(self, model: bytes) -> None:
        from pytransformer.tokenizers.parts import sentencepiece_model

        self._processor = sentencepiece_model(model, "a file beside the vocabularies")

    def cut(self, text: str) -> list[str]:
        tokens: list[str] = self._processor.encode(text, out_type=str)
        return tokens

    def join(self, tokens: Sequence[str]) -> str:
        text: str = self._processor.decode_pieces(list(tokens))
        return text

    @staticmethod
    def begins_word(token: str, before: str) -> bool:
        return token.startswith(_UNDERLINE)

    @staticmethod
    def continues_word(token: str) -> bool:
        return continues_word(token)
