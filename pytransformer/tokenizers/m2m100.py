"""The pieces of M2M100 and SMaLL-100: a sentencepiece model, and a vocabulary that numbers them.

Ids and texts equal those of transformers' M2M100Tokenizer. Special tokens that stand literally in a
text become those tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytransformer.tokenizers.added_tokens import AddedTokens
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.parts import sentencepiece_model, token_list
from pytransformer.words import continues_word

_SPACE = "▁"


class VocabularyPieces:
    """See :class:`pytransformer.tokenizers.framed.Pieces`.

    Settings: `unk_token`; `added_tokens`, those that are cut out of texts; `special_tokens`, those
    that are left out of texts; `clean_up_tokenization_spaces`.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        self._processor = sentencepiece_model(files["sentencepiece.model"], "sentencepiece.model")
        self._tokens = token_list(files["vocabulary.json"], "vocabulary.json")
        self._ids = {token: i for i, token in enumerate(self._tokens) if token is not None}
        self._unknown = self._ids[settings["unk_token"]]
        self._added = AddedTokens(settings["added_tokens"])
        special = frozenset(settings["special_tokens"])
        self._special = special - {settings["unk_token"]}
        self._special_ids = frozenset(map(self._ids.__getitem__, special))
        self._clean_up: bool = settings["clean_up_tokenization_spaces"]

    @property
    def unknown_id(self) -> int | None:
        return self._unknown

    def cut(self, text: str) -> list[str]:
        tokens: list[str] = []
        for part, is_token in self._added.cut(text):
            tokens += [part] if is_token else self._processor.encode(part, out_type=str)
        return tokens

    def cut_ids(self, text: str) -> list[int]:
        ids, unknown = self._ids, self._unknown
        return [ids.get(token, unknown) for token in self.cut(text)]

    def id_of(self, token: str) -> int:
        return self._ids.get(token, self._unknown)

    def token_of(self, token_id: int) -> str | None:
        return self._tokens[token_id] if token_id < len(self._tokens) else None

    def text(self, ids: Sequence[int]) -> str:
        special = self._special_ids
        tokens = (self.token_of(token_id) for token_id in ids if token_id not in special)
        return self.text_of([token for token in tokens if token is not None])

    def text_of(self, tokens: Sequence[str]) -> str:
        text: str = self._processor.decode_pieces(list(tokens)).strip()
        return clean_up(text) if self._clean_up else text

    def is_special(self, token: str) -> bool:
        return token in self._special

    def begins_word(self, token: str, before: str) -> bool:
        return token.startswith(_SPACE)

    def continues_word(self, token: str) -> bool:
        return continues_word(token)
