"""BERT's tokenizer: words and signs, cut into the longest pieces that the vocabulary has.

Ids equal those of transformers' BertTokenizer. Its tables of characters are of Unicode 8: marks,
punctuation and format characters that came later are letters to it, and here they are what Python
says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.tokenizers.added_tokens import AddedTokens
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.framed import FramedTokenizer
from pytransformer.tokenizers.parts import checked_text, token_list

_CONTINUES = "##"
_LONGEST_WORD = 100  # in characters; longer ones are unknown
_MOST_WORDS = 1 << 16  # whose pieces are remembered
_MARK = "Mn"
_LOST = frozenset(("Cc", "Cf", "Co"))
_SPACES = "\t\n\r"  # of the control characters
_CHINESE = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F), (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPieces:
    """See :class:`pytransformer.tokenizers.framed.Pieces`.

    Settings: `unk_token`; `added_tokens`, those that are cut out of texts; `lowercases`;
    `strips_accents`; `spaces_chinese`, whether Chinese characters are words of their own;
    `clean_up_tokenization_spaces`.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        self._tokens = token_list(files["vocabulary.json"], "vocabulary.json")
        self._ids = {token: i for i, token in enumerate(self._tokens) if token is not None}
        self._unknown_token: str = settings["unk_token"]
        self._unknown = self._ids[self._unknown_token]
        self._strips_accents: bool = settings["strips_accents"]
        self._clean = _Cleaning(bool(settings["spaces_chinese"]))
        self._fold = _Folding(bool(settings["lowercases"]), self._strips_accents)
        self._separate = _Separation()
        self._clean_up: bool = settings["clean_up_tokenization_spaces"]
        added = settings["added_tokens"]
        self._raw_tokens = AddedTokens([token for token in added if not token["normalized"]])
        self._normal_tokens = AddedTokens(
            [token for token in added if token["normalized"]], self._normalised
        )
        self._special = frozenset(token["content"] for token in added if token["special"])
        self._words: dict[str, list[str]] = {}

    @property
    def unknown_id(self) -> int | None:
        return self._unknown

    def cut(self, text: str) -> list[str]:
        """The tokens of a text; a word that the vocabulary cannot spell is the unknown token."""
        tokens: list[str] = []
        for segment, is_token in self._raw_tokens.cut(text):
            if is_token:
                tokens.append(segment)
                continue
            for part, is_normal_token in self._normal_tokens.cut(self._normalised(segment)):
                if is_normal_token:
                    tokens.append(part)
                else:
                    tokens += self._cut_words(part)
        return tokens

    def cut_ids(self, text: str) -> list[int]:
        return list(map(self.id_of, self.cut(text)))

    def id_of(self, token: str) -> int:
        return self._ids.get(token, self._unknown)

    def token_of(self, token_id: int) -> str | None:
        return self._tokens[token_id] if token_id < len(self._tokens) else None

    def text(self, ids: Sequence[int]) -> str:
        tokens = map(self.token_of, ids)
        return self.text_of([t for t in tokens if t is not None and t not in self._special])

    def text_of(self, tokens: Sequence[str]) -> str:
        spaced = [t.removeprefix(_CONTINUES) if self.continues_word(t) else f" {t}" for t in tokens]
        text = "".join([*tokens[:1], *map(clean_up, spaced[1:])])
        return clean_up(text) if self._clean_up else text

    def is_special(self, token: str) -> bool:
        return token in self._special

    def begins_word(self, token: str, before: str) -> bool:
        return not self.continues_word(token)

    def continues_word(self, token: str) -> bool:
        return token.startswith(_CONTINUES)

    def _normalised(self, text: str) -> str:
        text = text.translate(self._clean)
        if self._strips_accents:
            text = unicodedata.normalize("NFD", text)
        return text.translate(self._fold)

    def _cut_words(self, text: str) -> Iterator[str]:
        for word in text.translate(self._separate).split():
            pieces = self._words.get(word)
            if pieces is None:
                pieces = self._pieces(word)
                if len(self._words) >= _MOST_WORDS:
                    self._words.clear()
                self._words[word] = pieces
            yield from pieces

    def _pieces(self, word: str) -> list[str]:
        pieces: list[str] = []
        begin = 0
        while begin < len(word) <= _LONGEST_WORD:
            end = len(word)
            before = _CONTINUES if begin else ""
            while end > begin and before + word[begin:end] not in self._ids:
                end -= 1
            if end == begin:
                return [self._unknown_token]
            pieces.append(before + word[begin:end])
            begin = end
        return pieces or [self._unknown_token]


class WordPieceTokenizer(FramedTokenizer):
    """A framed tokenizer of :class:`WordPieces` that puts two texts in one frame."""

    def encode_pair(self, first: str, second: str, most: int) -> tuple[list[int], list[int]]:
        """The ids of two texts behind one another, and of which text each is: 0 or 1.

        Of more than `most` ids, those at the ends are left out, first of the longer text.
        """
        before, behind = ([self._source.id_of(t) for t in part] for part in self._frame(None, None))
        texts = [self._source.cut_ids(checked_text(text)) for text in (first, second)]
        room = max(0, most - len(before) - 2 * len(behind))
        lengths = _shortened(len(texts[0]), len(texts[1]), room)
        parts = [ids[:length] + behind for ids, length in zip(texts, lengths, strict=True)]
        parts[0] = before + parts[0]
        return parts[0] + parts[1], [0] * len(parts[0]) + [1] * len(parts[1])


def create_wordpiece(settings: Mapping[str, Any], files: Mapping[str, bytes]) -> WordPieceTokenizer:
    """The tokenizer with these settings; raises as :func:`pytransformer.tokenizers.create`."""
    try:
        pieces = WordPieces(settings, files)
        return WordPieceTokenizer(settings, pieces, pieces)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"the tokenizer's settings or files are incomplete: {error!r}"
        ) from None


def _shortened(first: int, second: int, most: int) -> tuple[int, int]:
    """How much is left of two lengths, as the library truncates "longest_first"."""
    if first + second <= most:
        return first, second
    shorter = min(first, second)
    longer = max(shorter, most - shorter) if shorter <= most else shorter
    if shorter + longer > most:
        shorter, longer = most // 2, most // 2 + most % 2
    return (shorter, longer) if first <= second else (longer, shorter)


class _Table(dict[int, str]):
    """For str.translate: what becomes of each character, found when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = found = self._of(chr(code))
        return found

    def _of(self, character: str) -> str:
        raise NotImplementedError


class _Cleaning(_Table):
    """Takes away what is not written, makes every white space a space."""

    def __init__(self, spaces_chinese: bool) -> None:
        super().__init__()
        self._spaces_chinese = spaces_chinese

    def _of(self, character: str) -> str:
        if character in _SPACES or unicodedata.category(character) in ("Zs", "Zl", "Zp"):
            return " "
        if character == "\ufffd" or unicodedata.category(character) in _LOST:
            return ""
        if self._spaces_chinese and any(low <= ord(character) <= high for low, high in _CHINESE):
            return f" {character} "
        return character


class _Folding(_Table):
    """Lowers letters and takes away accents that stand apart."""

    def __init__(self, lowercases: bool, strips_accents: bool) -> None:
        super().__init__()
        self._lowercases = lowercases
        self._strips_accents = strips_accents

    def _of(self, character: str) -> str:
        if self._strips_accents and unicodedata.category(character) == _MARK:
            return ""
        return character.lower() if self._lowercases else character


class _Separation(_Table):
    """Puts spaces around every sign of punctuation."""

    def _of(self, character: str) -> str:
        is_ascii_sign = character.isascii() and character.isprintable() and not character.isalnum()
        is_sign = is_ascii_sign or unicodedata.category(character).startswith("P")
        return f" {character} " if is_sign and character != " " else character
