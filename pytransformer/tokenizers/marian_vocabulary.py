"""The tokenizer of Marian's own models.

Each side has a sentencepiece model, whose ids are the model's; or a list of tokens, which stand in
the text between blanks; or both, as in OPUS-MT: the pieces of the one are looked up in the other,
and `>>xx<<` at the start of a text is a token by itself, which names the target language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.tokenizers.marked_words import MarkedWords
from pytransformer.tokenizers.parts import checked_text, sentencepiece_model, token_list

_LANGUAGE = re.compile(r">>([^<>\s]+)<<")


class MarianVocabularyTokenizer(MarkedWords):
    """See :class:`pytransformer.tokenizers.Tokenizer`.

    `settings` has for "source" and for "target" the names of files: "pieces" (a sentencepiece
    model) and "tokens" (a JSON list in the order of ids, null for an id without a token), either of
    which may be null, and the ids "end" and "unknown" of the tokens, if there are any.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        try:
            source, target = settings["source"], settings["target"]
            self._source = _Side(source, files)
            self._target = self._source if source == target else _Side(target, files)
            self._languages = tuple(sorted(self._source.languages()))
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"the tokenizer's settings or files are incomplete: {error!r}"
            ) from None

    @property
    def source_size(self) -> int:
        """How many ids the source's vocabulary has, those without a token included."""
        return self._source.size

    @property
    def target_size(self) -> int:
        """The same of the target's."""
        return self._target.size

    @property
    def end_id(self) -> int:
        """The id of the target's end token."""
        return self._target.end

    @property
    def unused_ids(self) -> list[int]:
        """Ids of the target's vocabulary that have no token."""
        return self._target.unused

    @property
    def source_languages(self) -> tuple[str, ...]:
        return ()

    @property
    def target_languages(self) -> tuple[str, ...]:
        return self._languages

    @property
    def unknown_id(self) -> int:
        return self._target.unknown

    def encode(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[str]:
        return self._source.split(self._with_language(checked_text(text), tgt_lang))

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        tokens = self.encode(text, src_lang=src_lang, tgt_lang=tgt_lang)
        return [*map(self._source.id, tokens), self._source.end]

    def encode_target(self, text: str) -> list[str]:
        return self._target.split(checked_text(text))

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        ids = [self._source.id(token) for token in tokens]
        end = self._source.end
        return ids if ids and ids[-1] == end else [*ids, end]

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        return [self._target.id(token) for token in tokens]

    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._source.token(token_id) for token_id in ids]

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._target.token(token_id) for token_id in ids]

    def decode(self, ids: Sequence[int]) -> str:
        return self.decode_tokens(self.target_tokens([i for i in ids if i != self._target.end]))

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        return self._target.join(tokens)

    def forced_bos_id(self, tgt_lang: str | None) -> int | None:
        return None  # the language is named by a token of the source

    def decoder_start_id(self, tgt_lang: str | None) -> int | None:
        return None

    def _with_language(self, text: str, language: str | None) -> str:
        if language is None or not self._languages:
            return text
        if language not in self._languages:
            raise OptionError(
                f"unknown target language {language!r}; this model knows "
                f"{', '.join(self._languages)}"
            )
        given = _LANGUAGE.match(text)
        return text if given and given[1] in self._languages else f">>{language}<< {text}"


class _Side:
    """The vocabulary of one side."""

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        pieces, tokens = settings["pieces"], settings["tokens"]
        self._tokens: list[str | None]
        self.end: int
        self.unknown: int
        self._pieces = None if pieces is None else sentencepiece_model(files[pieces], pieces)
        if tokens is not None:
            self._tokens = token_list(files[tokens], tokens)
            self.end, self.unknown = settings["end"], settings["unknown"]
        elif self._pieces is not None:
            self._tokens = self._pieces.id_to_piece(list(range(len(self._pieces))))
            self.end, self.unknown = self._pieces.eos_id(), self._pieces.unk_id()
        else:
            raise KeyError("neither pieces nor tokens")
        self._own_ids = tokens is not None
        self._ids = {token: i for i, token in enumerate(self._tokens) if token is not None}
        self.unused = [i for i, token in enumerate(self._tokens) if token is None]
        self.size = len(self._tokens)
        for name, token_id in (("end", self.end), ("unknown", self.unknown)):
            if not 0 <= token_id < self.size:
                raise CheckpointError(f"{tokens or pieces}: has no {name} token")

    def languages(self) -> list[str]:
        found = (_LANGUAGE.fullmatch(token) for token in self._ids if token.startswith(">>"))
        return [match[1] for match in found if match]

    def split(self, text: str) -> list[str]:
        if self._pieces is None:
            return [token for token in text.split(" ") if token]
        language = _LANGUAGE.match(text) if self._own_ids else None
        if language is None:
            return cast("list[str]", self._pieces.encode(text, out_type=str))
        rest = self._pieces.encode(text[language.end() :], out_type=str)
        return [language[0], *rest]

    def join(self, tokens: Sequence[str]) -> str:
        if self._pieces is None:
            return " ".join(tokens)
        return cast("str", self._pieces.decode_pieces(list(tokens)))

    def id(self, token: str) -> int:
        return self._ids.get(token, self.unknown)

    def token(self, token_id: int) -> str:
        token = self._tokens[token_id] if 0 <= token_id < self.size else None
        if token is None:
            raise OptionError(f"no token has the id {token_id}")
        return token
