"""Writes vocabularies whose words are cut by merging pairs as models of sentencepiece.

Sentencepiece cuts many times faster than Python, and opens such a model at once. Where Hugging
Face's tokenizers merge the pair that stands first in their list, sentencepiece merges the one that
makes the piece with the highest score. So the list must hold every pair that makes a piece, and one
piece after another, as it does if it was made from a model of sentencepiece. What is left of the
difference are pairs that overlap and make the same piece: of "aa" "a" "aa", sentencepiece makes
"aaa" from the left, Hugging Face's tokenizers by the lengths of the parts.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence

from pytransformer.loaders.sentencepiece_file import CONTROL, NORMAL, UNKNOWN

_SPACE = "▁"
_PAIRS = 2  # a model_type


def scores_of_merges(
    pieces: Sequence[str], merges: Sequence[tuple[str, str]], fixed: Collection[int]
) -> list[float] | None:
    """Scores of the pieces by which sentencepiece merges in the order of `merges`.

    `fixed` are the ids of pieces that texts are not cut into. None if there are no such scores.
    """
    known, merged = set(pieces), _merged(pieces, fixed)
    ranks: dict[str, int] = {}
    last, count = None, 0
    for rank, (left, right) in enumerate(merges):
        piece = left + right
        if piece not in merged:
            continue
        first = ranks.setdefault(piece, rank)
        if (piece != last and first != rank) or left not in known or right not in known:
            return None
        last, count = piece, count + 1
    if len(set(merges)) != len(merges) or count != sum(_pairs(piece, known) for piece in merged):
        return None
    return [-float(ranks.get(piece, 0)) for piece in pieces]


def write_pairs(
    pieces: Sequence[str], scores: Sequence[float], unknown_id: int, fixed: Collection[int]
) -> bytes:
    """A model whose ids are the places in `pieces`."""
    merged = _merged(pieces, fixed)
    content = bytearray()
    for token_id, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
        kind = UNKNOWN if token_id == unknown_id else NORMAL if piece in merged else CONTROL
        value = struct.pack("<Bf", 2 << 3 | 5, score) + bytes([3 << 3, kind])
        content += _field(1, _field(1, piece.encode()) + value)
    content += _field(2, bytes([3 << 3, _PAIRS]))
    # Texts are left as they are, "▁" for spaces and all: nothing is added and nothing taken away.
    content += _field(3, _field(1, b"identity") + bytes([3 << 3, 0, 4 << 3, 0, 5 << 3, 0]))
    return bytes(content)


def _merged(pieces: Sequence[str], fixed: Collection[int]) -> set[str]:
    """The pieces that texts are cut into; a space begins a word, so no piece goes beyond one."""
    return {
        piece
        for token_id, piece in enumerate(pieces)
        if token_id not in fixed and _SPACE not in piece[1:]
    }


def _pairs(piece: str, known: Collection[str]) -> int:
    """How many pairs of known pieces make a piece."""
    places = range(1, len(piece))
    return sum(piece[:place] in known and piece[place:] in known for place in places)


def _field(number: int, content: bytes) -> bytes:
    """A field of a message of Protocol Buffers that holds bytes."""
    length = len(content)
    size = bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + size + content
