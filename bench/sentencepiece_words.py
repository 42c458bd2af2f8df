"""A sentencepiece model whose pieces are whole words, written without training.

Each word of a text that is in the list becomes its piece, so a list of pieces can go through a
program that takes nothing but text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

# Types of pieces, and of models.
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_UNIGRAM = 1


def write_words(pieces: Sequence[str], path: Path) -> None:
    """Writes pieces such as "▁word"; the first two are `</s>` and `<unk>`, as Marian wants them."""
    if list(pieces[:2]) != ["</s>", "<unk>"]:
        raise ValueError("the first pieces must be </s> and <unk>")
    types = [_CONTROL, _UNKNOWN] + [_NORMAL] * (len(pieces) - 2)
    model = b"".join(
        # A score of -1 each: the segmentation with the fewest pieces wins.
        _message(1, _message(1, piece.encode()) + _float(2, -1.0) + _integer(3, kind))
        for piece, kind in zip(pieces, types, strict=True)
    )
    path.write_bytes(model + _message(2, _trainer(len(pieces))) + _message(3, b""))


def _trainer(size: int) -> bytes:
    """The training settings that a reader looks at; a negative id says there is no such piece."""
    unknown, begin, end, padding = 1, -1, 0, -1
    ids = enumerate((unknown, begin, end, padding), start=40)
    return (
        _integer(3, _UNIGRAM)
        + _integer(4, size)
        + b"".join(_integer(number, value) for number, value in ids)
    )


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value & (2**64 - 1))


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Protocol buffers' integers: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
