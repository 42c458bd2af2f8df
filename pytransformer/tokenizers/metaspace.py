"""Pieces that hold the space in front of their word as "▁", as Hugging Face's tokenizers cut them.

Ids and texts equal theirs: NLLB's, which merges pairs, mBART's and Pegasus's, which are unigram
language models. Spaces are kept where sentencepiece drops them: one behind the text is a token of
its own. Special tokens that stand literally in a text become those tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pytransformer.errors import CheckpointError
from pytransformer.tokenizers.added_tokens import WHITE_SPACE, AddedTokens
from pytransformer.tokenizers.character_map import CharacterMap
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.parts import sentencepiece_model, token_list
from pytransformer.tokenizers.unigram import Unigram
from pytransformer.words import continues_word

_SPACE = "▁"
_NOT_SPACES = re.compile(f"[^{WHITE_SPACE}]+")
_SEVERAL_SPACES = re.compile(" {2,}")
# A word reaches up to the next space, and begins with its own.
_WORDS = re.compile(f"{_SPACE}?[^{_SPACE}]+|{_SPACE}")

_Rule = Callable[[str], str]


class _Model(Protocol):
    """Cuts texts whose spaces are "▁", and knows the ids of all tokens, added ones too."""

    def cut(self, text: str) -> list[str]: ...

    def cut_ids(self, text: str) -> list[int]: ...

    def id_of(self, token: str) -> int: ...

    def token_of(self, token_id: int) -> str | None: ...


class MetaspacePieces:
    """See :class:`pytransformer.tokenizers.framed.Pieces`.

    Settings: `model`, "unigram" or "pairs"; `unknown_id`; `added_tokens`, those that are cut out of
    texts; `normalizers`, which are applied in their order; `splits_at_white_space`, or else at
    spaces only; `clean_up_tokenization_spaces`.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        self._unknown: int = settings["unknown_id"]
        self._model: _Model = (
            _MergedPairs(files["pieces.model"], self._unknown)
            if settings["model"] == "pairs"
            else _UnigramWords(files, self._unknown)
        )
        self._rules = [_rule(name, files) for name in settings["normalizers"]]
        self._splits_at_white_space: bool = settings["splits_at_white_space"]
        self._clean_up: bool = settings["clean_up_tokenization_spaces"]
        added = settings["added_tokens"]
        self._raw_tokens = AddedTokens([token for token in added if not token["normalized"]])
        self._normal_tokens = AddedTokens(
            [token for token in added if token["normalized"]], self._normalised
        )
        special = [token for token in added if token["special"]]
        self._special = frozenset(
            token["content"] for token in special if token["id"] != self._unknown
        )
        self._special_ids = frozenset(token["id"] for token in special)

    @property
    def unknown_id(self) -> int | None:
        return self._unknown

    def cut(self, text: str) -> list[str]:
        tokens: list[str] = []
        for part, is_token in self._parts(text):
            tokens += [part] if is_token else self._model.cut(part)
        return tokens

    def cut_ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for part, is_token in self._parts(text):
            ids += [self._model.id_of(part)] if is_token else self._model.cut_ids(part)
        return ids

    def id_of(self, token: str) -> int:
        return self._model.id_of(token)

    def token_of(self, token_id: int) -> str | None:
        return self._model.token_of(token_id)

    def text(self, ids: Sequence[int]) -> str:
        token_of, special = self._model.token_of, self._special_ids
        tokens = (token_of(token_id) for token_id in ids if token_id not in special)
        return self.text_of([token for token in tokens if token is not None])

    def text_of(self, tokens: Sequence[str]) -> str:
        text = "".join(tokens[:1]).replace(_SPACE, "") + "".join(tokens[1:]).replace(_SPACE, " ")
        return clean_up(text) if self._clean_up else text

    def is_special(self, token: str) -> bool:
        return token in self._special

    def begins_word(self, token: str, before: str) -> bool:
        return token.startswith(_SPACE)

    def continues_word(self, token: str) -> bool:
        return continues_word(token)

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Added tokens, and what stands between them, normalised and with "▁" for spaces."""
        for segment, is_token in self._raw_tokens.cut(text):
            if is_token:
                yield segment, True
                continue
            for part, is_normal_token in self._normal_tokens.cut(self._normalised(segment)):
                yield part if is_normal_token else self._spaced(part), is_normal_token

    def _normalised(self, text: str) -> str:
        for rule in self._rules:
            text = rule(text)
        return text

    def _spaced(self, text: str) -> str:
        if self._splits_at_white_space:
            return "".join(map(_begun, _NOT_SPACES.findall(text)))
        return _begun(text.replace(" ", _SPACE))


class _MergedPairs:
    """Pieces made by merging pairs, which sentencepiece does: `content` is its model.

    The ids of its pieces are those of the tokens.
    """

    def __init__(self, content: bytes, unknown: int) -> None:
        self._processor = sentencepiece_model(content, "pieces.model")
        self._size: int = self._processor.get_piece_size()
        self._known: dict[int, str] = {}
        self.id_of: Callable[[str], int] = self._processor.piece_to_id
        if self._processor.unk_id() != unknown:
            raise CheckpointError(f"pieces.model: the unknown piece has not the id {unknown}")

    def cut(self, text: str) -> list[str]:
        tokens: list[str] = self._processor.encode(text, out_type=str)
        return tokens

    def cut_ids(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text, out_type=int)
        return ids

    def token_of(self, token_id: int) -> str | None:
        token = self._known.get(token_id)
        if token is None and token_id < self._size:
            token = self._known[token_id] = self._processor.id_to_piece(token_id)
        return token


class _UnigramWords:
    """Pieces of a unigram language model, cut word by word.

    `tokens.json` holds all tokens in the order of their ids, `scores.bin` the log probabilities of
    the first of them, those which are the model's, as doubles.
    """

    def __init__(self, files: Mapping[str, bytes], unknown: int) -> None:
        self._tokens = list(map(str, token_list(files["tokens.json"], "tokens.json")))
        scores = np.frombuffer(files["scores.bin"], "<f8").tolist()
        self._ids = dict(zip(self._tokens, range(len(self._tokens)), strict=True))
        self._unknown = unknown
        self._unigram = Unigram(self._tokens[: len(scores)], scores, unknown)

    def cut(self, text: str) -> list[str]:
        pieces = self._unigram.pieces
        return [piece for word in _WORDS.findall(text) for piece in pieces(word)]

    def cut_ids(self, text: str) -> list[int]:
        ids, unknown = self._ids, self._unknown
        return [ids.get(piece, unknown) for piece in self.cut(text)]

    def id_of(self, token: str) -> int:
        return self._ids.get(token, self._unknown)

    def token_of(self, token_id: int) -> str | None:
        return self._tokens[token_id] if token_id < len(self._tokens) else None


def _begun(word: str) -> str:
    """The word with a space in front of it; nothing stays nothing."""
    return word if not word or word.startswith(_SPACE) else _SPACE + word


def _rule(name: str, files: Mapping[str, bytes]) -> _Rule:
    """A step of the normalisation, by its name in the settings."""
    if name == "character_map":
        return CharacterMap(files["character_map.bin"])
    return _RULES[name]


_RULES: dict[str, _Rule] = {
    "newlines_to_spaces": lambda text: text.replace("\n", " "),
    "strip_right": lambda text: text.rstrip(WHITE_SPACE),
    "single_spaces": lambda text: _SEVERAL_SPACES.sub(" ", text),
}
