"""The tokenizer of MarianMT models: two sentencepiece models and a vocabulary of their own.

Ids and texts equal those of transformers' MarianTokenizer. Its peculiarities, kept on purpose:
special tokens that stand literally in a text become those tokens; `>>xx<<` at the start of a text
selects the target language; with one vocabulary for both sides, the source's sentencepiece model
joins the pieces of the translation, though the target's cuts target text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.tokenizers.added_tokens import AddedTokens
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.marked_words import MarkedWords
from pytransformer.tokenizers.parts import checked_text, sentencepiece_model, token_list

_PREFIX = re.compile(r">>(.+?)<<", re.DOTALL)
_UNDERLINE = "▁"
_SEVERAL = "mul"  # ISO 639-2: "multiple languages"


class MarianTokenizer(MarkedWords):
    """See :class:`pytransformer.tokenizers.Tokenizer`."""

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        try:
            self._read(settings, files)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"the tokenizer's settings or files are incomplete: {error!r}"
            ) from None

    def _read(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        separate = settings["separate_vocabs"]
        self._source_pieces = sentencepiece_model(files["source.spm"], "source.spm")
        self._target_pieces = (
            sentencepiece_model(files["target.spm"], "target.spm")
            if separate
            else self._source_pieces
        )
        self._target_file = files["target.spm"]
        self._separate = separate
        added = settings["added_tokens"]
        self._languages = tuple(settings["prefix_languages"])
        source = token_list(files["source_vocabulary.json"], "source_vocabulary.json")
        # With two vocabularies a token may have another id on the target side, or none.
        target = source
        if separate:
            target = token_list(files["target_vocabulary.json"], "target_vocabulary.json")
        self._source_ids = _ids(source)
        self._target_ids = _ids(target) if separate else self._source_ids
        self._source_names = _names(source, self._source_pieces)
        self._target_names = _names(target, self._target_pieces) if separate else self._source_names
        special = [token["content"] for token in added if token["special"]]
        self._special_ids = {
            self._target_ids[content] for content in special if content in self._target_ids
        }
        self._added = AddedTokens(added)
        self._end = settings["eos_token"]
        self._end_id = self._source_ids[self._end]
        self._source_unknown = self._source_ids[settings["unk_token"]]
        self._target_unknown = self._target_ids[settings["unk_token"]]
        self._source_lang = settings.get("source_lang")
        self._target_lang = settings.get("target_lang")
        self._default_language = settings.get("default_target_language")
        if self._default_language is not None and self._default_language not in self._languages:
            raise CheckpointError(
                f"default_target_language {self._default_language!r} is not a language of the model"
            )
        self._clean_up = settings["clean_up_tokenization_spaces"]

    @property
    def source_languages(self) -> tuple[str, ...]:
        return _known(self._source_lang)

    @property
    def target_languages(self) -> tuple[str, ...]:
        return self._languages or _known(self._target_lang)

    def encode(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[str]:
        text = self._with_prefix(checked_text(text), src_lang, tgt_lang)
        return self._tokens(text, self._source_pieces)

    def encode_target(self, text: str) -> list[str]:
        return self._tokens(checked_text(text), self._target_cutter)

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        tokens = self.encode(text, src_lang=src_lang, tgt_lang=tgt_lang)
        return [*self._ids_of(tokens), self._end_id]

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        ids = self._ids_of(tokens)
        return ids if ids and ids[-1] == self._end_id else [*ids, self._end_id]

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        return [self._target_ids.get(token, self._target_unknown) for token in tokens]

    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        return _named(ids, self._source_names)

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        return _named(ids, self._target_names)

    def forced_bos_id(self, tgt_lang: str | None) -> int | None:
        return None  # the language is named by a token of the source

    def decoder_start_id(self, tgt_lang: str | None) -> int | None:
        return None

    @property
    def unknown_id(self) -> int | None:
        return self._target_unknown

    def decode(self, ids: Sequence[int]) -> str:
        special = self._special_ids
        return self.decode_tokens(_named([i for i in ids if i not in special], self._target_names))

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        text: str = self._target_pieces.decode_pieces(list(tokens))
        text = text.replace(_UNDERLINE, " ").strip()
        return clean_up(text) if self._clean_up else text

    def _ids_of(self, tokens: Sequence[str]) -> list[int]:
        ids, unknown = self._source_ids, self._source_unknown
        return [ids.get(token, unknown) for token in tokens]

    def _with_prefix(self, text: str, src_lang: str | None, tgt_lang: str | None) -> str:
        if src_lang and any(_differ(src_lang, known) for known in self.source_languages):
            raise _unknown_language("source", src_lang, self.source_languages)
        if not self._languages:
            if tgt_lang and any(_differ(tgt_lang, known) for known in self.target_languages):
                raise _unknown_language("target", tgt_lang, self.target_languages)
            return text
        language = tgt_lang if tgt_lang is not None else self._default_language
        if language is None:
            return text
        if language not in self._languages:
            raise _unknown_language("target", language, self._languages)
        given = _PREFIX.match(text)
        return text if given and given[1] in self._languages else f">>{language}<< {text}"

    @functools.cached_property
    def _target_cutter(self) -> Any:
        """What cuts target text, made when it is first used: translation has no need of it."""
        if self._separate:
            return self._target_pieces
        return sentencepiece_model(self._target_file, "target.spm")

    def _tokens(self, text: str, pieces: Any) -> list[str]:
        tokens: list[str] = []
        for part, is_token in self._added.cut(text):
            tokens += [part] if is_token else _cut(part, pieces)
        return tokens


def _cut(text: str, pieces: Any) -> list[str]:
    """The pieces of a text, with a language that stands before it as one token."""
    found = text.find("<<") if text.startswith(">>") else -1
    end = found + 2 if found >= 0 else 0
    tokens: list[str] = pieces.encode(text[end:], out_type=str)
    return [text[:end], *tokens] if end else tokens


def _names(tokens: Sequence[str | None], pieces: Any) -> list[str | None]:
    """The tokens of all ids, None for one that has none.

    An embedding may have more rows than the vocabulary; transformers then asks sentencepiece.
    """
    names = [*tokens, *[None] * (pieces.get_piece_size() - len(tokens))]
    for token_id in range(pieces.get_piece_size()):
        if names[token_id] is None:
            names[token_id] = pieces.id_to_piece(token_id)
    return names


def _named(ids: Sequence[int], names: Sequence[str | None]) -> list[str]:
    found: list[str] = []
    for token_id in ids:
        name = names[token_id] if 0 <= token_id < len(names) else None
        if name is None:
            raise OptionError(f"no token has the id {token_id}")
        found.append(name)
    return found


def _ids(tokens: Sequence[str | None]) -> dict[str, int]:
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    ids.pop(None, None)
    return cast("dict[str, int]", ids)


def _known(language: str | None) -> tuple[str, ...]:
    return (language,) if language and language != _SEVERAL else ()


def _unknown_language(side: str, language: str, known: Sequence[str]) -> OptionError:
    return OptionError(f"unknown {side} language {language!r}; this model knows {', '.join(known)}")


def _differ(language: str, known: str) -> bool:
    """Whether two codes are surely two languages.

    A code of more than two letters may be another name of the same language (deu), a variant of it
    (pt_BR) or a group to which it belongs (roa, mul).
    """
    return len(language) == len(known) == 2 and language != known
