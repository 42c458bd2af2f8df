"""The normalisation that a sentencepiece model brings along, as Hugging Face's tokenizers apply it.

A map holds a trie of character sequences, an array of 32-bit units as Darts-clone lays it out (Yata
2008, "Double-Array Trie"), and the texts that replace them. Sentencepiece replaces the longest
sequence that it finds. Hugging Face's tokenizers look at one user-perceived character at a time:
one of less than six bytes is replaced as a whole by what stands for the shortest sequence at its
beginning, even if that is not all of it, others character by character.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import weakref
from typing import cast

from pytransformer.errors import CheckpointError

_SHORT = 6  # bytes
_LONGEST = 1024  # bytes of what replaces a sequence; Unicode's longest has 33

# What does not begin a user-perceived character (Unicode Standard Annex 29), as far as it matters
# here, in sequences of less than six bytes: marks, but for some of Burmese and Tai Tham, joiners,
# vowels of Thai and Lao and the voicing marks of halfwidth katakana.
_BEGINNING = re.compile(
    "[\u102b\u102c\u1038\u1062-\u1064\u1067-\u106d\u1083\u1087-\u108c\u108f"
    "\u109a-\u109c\u1a61\u1a63\u1a64\uaa7b\uaa7d]"
)
_MARKS = "".join(
    character
    for character in map(chr, range(0x300, 0x10000))
    if unicodedata.category(character)[0] == "M" and not _BEGINNING.match(character)
)
_EXTENDING = f"[{_MARKS}\u200c\u200d\u0e33\u0eb3\uff9e\uff9f]"
# What is one user-perceived character with what follows it: Arabic signs in front of numbers.
_PREPENDED = "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2]"
# What nothing follows within a user-perceived character.
_BREAKING = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\ufffb"
)
_SEQUENCES = re.compile(
    f"\r\n|{_PREPENDED}+(?:[^{_BREAKING}]{_EXTENDING}*)?|[^{_BREAKING}]{_EXTENDING}+"
)


class CharacterMap:
    """Replaces characters by the map in `content`; safe to call from several threads.

    Raises CheckpointError, here or while it is used, if `content` is not such a map.
    """

    def __init__(self, content: bytes) -> None:
        size = int.from_bytes(content[:4], "little")
        if len(content) < 4 or size % 4 or size > len(content) - 4:
            raise _broken()
        self._units = struct.unpack(f"<{size // 4}I", content[4 : 4 + size])
        self._texts = content[4 + size :]
        # A cycle would keep both, which are large, until Python looks for cycles.
        self._characters = _Characters(cast("CharacterMap", weakref.proxy(self)))

    def __call__(self, text: str) -> str:
        parts: list[str] = []
        done = 0
        for match in () if text.isascii() and "\r\n" not in text else _SEQUENCES.finditer(text):
            replacement = self._of_sequence(match[0])
            if replacement is not None:
                parts += text[done : match.start()].translate(self._characters), replacement
                done = match.end()
        parts.append(text[done:].translate(self._characters))
        return "".join(parts)

    def replacement(self, text: str) -> str | None:
        """What stands for the shortest sequence at the beginning of `text`, None if none is there.

        From Darts-clone: a unit with bit 8 has a leaf as a child; the child for a byte lies at the
        unit's offset xor the byte.
        """
        units, position = self._units, 0
        try:
            position ^= _offset(units[0])
            for byte in text.encode():
                position ^= byte
                unit = units[position]
                if byte == 0 or unit & 0x800000FF != byte:
                    return None
                position ^= _offset(unit)
                if unit & 0x100:
                    return self._text(units[position] & 0x7FFFFFFF)
        except IndexError:
            raise _broken() from None
        return None

    def _text(self, start: int) -> str:
        end = self._texts.find(b"\0", start, start + _LONGEST)
        if end < 0 and len(self._texts) - start > _LONGEST:
            raise _broken()
        try:
            return self._texts[start : end if end >= 0 else None].decode()
        except UnicodeDecodeError:
            raise _broken() from None

    def _of_sequence(self, text: str) -> str | None:
        return self.replacement(text) if len(text.encode()) < _SHORT else None


class _Characters(dict[int, "str | int"]):
    """What stands for single characters, by their code, as :meth:`str.translate` wants it."""

    def __init__(self, character_map: CharacterMap) -> None:
        self._map = character_map

    def __missing__(self, code: int) -> str | int:
        replacement = self._map.replacement(chr(code))
        self[code] = result = code if replacement is None else replacement
        return result


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _broken() -> CheckpointError:
    return CheckpointError("the tokenizer's normalisation is broken")
