"""Words made of pieces: what stands between spaces, punctuation included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_UNDERLINE = "▁"  # sentencepiece's mark of a space
_LANGUAGE = re.compile(r">>.+<<|<2[^>]+>", re.DOTALL)


class Word(NamedTuple):
    """The pieces of a word among others, and what they spell."""

    pieces: slice
    text: str


def marked_words(tokens: Sequence[str], end_token: str) -> list[Word]:
    """The words of pieces that mark the space before them."""
    return [Word(word, word_text(tokens[word])) for word in word_slices(tokens, end_token)]


def word_slices(tokens: Sequence[str], end_token: str) -> list[slice]:
    """The pieces of each word.

    An end token that stands last and a leading token of the target language (``>>en<<`` of Marian,
    ``<2en>`` of MADLAD-400) are none.
    """
    if not tokens:
        return []
    stop = len(tokens) - (tokens[-1] == end_token)
    first = 1 if _LANGUAGE.fullmatch(tokens[0]) else 0
    starts = [i for i in range(first, stop) if i == first or tokens[i].startswith(_UNDERLINE)]
    return [slice(*pair) for pair in zip(starts, [*starts, stop][1:], strict=True)]


# Scripts that write no space between words: Thai to Burmese, Khmer, kana, Chinese characters.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


def continues_word(token: str) -> bool:
    """Whether a piece goes on with the word that stands before it.

    That is a letter or a digit without a space before it. In scripts that write no spaces nobody
    can tell, so nothing does there.
    """
    first = token[:1]
    return first.isalnum() and _WITHOUT_SPACES.match(first) is None


def word_text(pieces: Sequence[str]) -> str:
    """The word that pieces make."""
    return "".join(pieces).removeprefix(_UNDERLINE)
