"""What the tokenizers of T5 and of ByT5 have in common."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.tokenizers.language_prefixes import LanguagePrefixes
from pytransformer.tokenizers.marked_words import MarkedWords
from pytransformer.tokenizers.parts import checked_text


class T5FamilyTokenizer(MarkedWords):
    """A tokenizer with one vocabulary for both sides, for models that are told what to do by text.

    Settings: `eos_token`; `added_tokens`, of which special ones have no place in texts;
    `num_embeddings`, so many ids can come, some of which may have no token; `language_prefixes`, as
    :class:`LanguagePrefixes` has them.
    """

    def __init__(self, settings: Mapping[str, Any], unknown_id: int) -> None:
        self._unknown = unknown_id
        self._end_id = self._id(settings["eos_token"])
        if self._token(self._end_id) != settings["eos_token"]:
            raise CheckpointError(f"the tokenizer's settings: no token {settings['eos_token']!r}")
        added = settings["added_tokens"]
        self._special_ids = frozenset(token["id"] for token in added if token["special"])
        self._num_embeddings: int = settings["num_embeddings"]
        self._prefixes = LanguagePrefixes(settings["language_prefixes"])

    @property
    def unknown_id(self) -> int | None:
        return self._unknown

    @property
    def source_languages(self) -> tuple[str, ...]:
        return self._prefixes.sources

    @property
    def target_languages(self) -> tuple[str, ...]:
        return self._prefixes.targets

    def encode(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[str]:
        return self._cut(self._prefixes.put(checked_text(text), src_lang, tgt_lang))

    def encode_target(self, text: str) -> list[str]:
        return self._cut(checked_text(text))

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        ids = self.target_ids(tokens)
        return ids if ids and ids[-1] == self._end_id else [*ids, self._end_id]

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        return [self._id(token) for token in tokens]

    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        return self.target_tokens(ids)

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._checked_token(token_id) or f"<unused_{token_id}>" for token_id in ids]

    def decode(self, ids: Sequence[int]) -> str:
        kept = (token_id for token_id in ids if token_id not in self._special_ids)
        tokens = [self._checked_token(token_id) for token_id in kept]
        return self.decode_tokens([token for token in tokens if token is not None])

    @abc.abstractmethod
    def decode_tokens(self, tokens: Sequence[str]) -> str:
        """See :class:`pytransformer.tokenizers.Tokenizer`."""

    def forced_bos_id(self, tgt_lang: str | None) -> int | None:
        return None  # a language is named in front of the source

    def decoder_start_id(self, tgt_lang: str | None) -> int | None:
        return None

    @abc.abstractmethod
    def _cut(self, text: str) -> list[str]:
        """The tokens of a text."""

    @abc.abstractmethod
    def _id(self, token: str) -> int:
        """The id of a token, the unknown one if there is no such token."""

    @abc.abstractmethod
    def _token(self, token_id: int) -> str | None:
        """The token of an id from 0 up, None if there is none."""

    def _checked_token(self, token_id: int) -> str | None:
        """The token of an id; None for a row that the embedding has more than there are tokens."""
        token = self._token(token_id) if token_id >= 0 else None
        if token is None and not 0 <= token_id < self._num_embeddings:
            raise OptionError(f"no token has the id {token_id}")
        return token
