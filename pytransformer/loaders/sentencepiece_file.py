"""Reads sentencepiece's models: their pieces, and how they normalise text.

They are messages of Protocol Buffers (sentencepiece_model.proto). Reading them here gives what
sentencepiece's own interface does not tell, the kinds of pieces and the normalisation, and a broken
file gives an error of ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytransformer.errors import CheckpointError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10  # bytes


@dataclass
class SentencePieceModel:
    """The pieces in the order of their ids, with a score and a kind each.

    `character_map` is the normalisation in sentencepiece's own binary form, empty if there is none.
    """

    pieces: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    character_map: bytes = b""


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Reads a model; raises CheckpointError that names the file if it is none, or OSError."""
    content = path.read_bytes()
    model = SentencePieceModel()
    try:
        for number, value in _fields(content, 0, len(content)):
            if number == 1 and isinstance(value, slice):
                _read_piece(content, value, model)
            elif number == 3 and isinstance(value, slice):
                model.character_map = _character_map(content, value) or model.character_map
    except (IndexError, ValueError, struct.error):
        raise CheckpointError(f"{path}: not a sentencepiece model, or cut short") from None
    if not model.pieces:
        raise CheckpointError(f"{path}: a sentencepiece model without pieces")
    return model


def _read_piece(content: bytes, message: slice, model: SentencePieceModel) -> None:
    piece, score, kind = "", 0.0, NORMAL
    for number, value in _fields(content, message.start, message.stop):
        if number == 1 and isinstance(value, slice):
            piece = content[value].decode("utf-8")
        elif number == 2 and isinstance(value, slice):
            (score,) = struct.unpack("<f", content[value])
        elif number == 3 and isinstance(value, int):
            kind = value
    model.pieces.append(piece)
    model.scores.append(score)
    model.kinds.append(kind)


def _character_map(content: bytes, message: slice) -> bytes | None:
    found = None
    for number, value in _fields(content, message.start, message.stop):
        if number == 2 and isinstance(value, slice):
            found = content[value]
    return found


def _fields(content: bytes, start: int, stop: int) -> Iterator[tuple[int, int | slice]]:
    """The numbers of a message's fields, with an integer or where in `content` the value is.

    Raises IndexError or ValueError if this is no message.
    """
    while start < stop:
        key, start = _varint(content, start)
        kind = key & 7
        if kind == _VARINT:
            value, start = _varint(content, start)
            yield key >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            size, start = _varint(content, start)
        if size is None or size > stop - start:
            raise ValueError("no such field")
        yield key >> 3, slice(start, start + size)
        start += size


def _varint(content: bytes, start: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and where it ends."""
    value = content[start]
    if value < 0x80:
        return value, start + 1
    value &= 0x7F
    for i in range(1, _MAX_VARINT):
        byte = content[start + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, start + i + 1
    raise ValueError("no such integer")
