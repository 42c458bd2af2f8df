"""Tokenizers that put special tokens around a text, among them those of its languages.

What cuts the text and joins it again is one :class:`Pieces` for each side, or one for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers.languages import Languages
from pytransformer.tokenizers.parts import checked_text
from pytransformer.words import Word

# Places in a frame; what else stands before and behind the text is named by tokens.
TEXT, SOURCE, TARGET = "$text", "$source", "$target"


class Pieces(Protocol):
    """Cuts texts of one side into tokens that have ids. Safe to use from several threads."""

    @property
    def unknown_id(self) -> int | None:
        """The id of what the vocabulary lacks, if there is one."""

    def cut(self, text: str) -> list[str]:
        """The tokens of a text; what the vocabulary lacks stands there as it is written."""

    def cut_ids(self, text: str) -> list[int]:
        """Their ids."""

    def id_of(self, token: str) -> int:
        """The id of a token, or the unknown one."""

    def token_of(self, token_id: int) -> str | None:
        """The token of an id that is not negative, if there is one."""

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, without special ones and those that have no token."""

    def text_of(self, tokens: Sequence[str]) -> str:
        """The text of tokens, none of them special."""

    def is_special(self, token: str) -> bool:
        """Whether a token stands for no text, not even for one that the vocabulary lacks."""

    def begins_word(self, token: str, before: str) -> bool:
        """Whether a token begins a word behind the token `before`."""

    def continues_word(self, token: str) -> bool:
        """Whether a token goes on with a word that could end before it."""


class FramedTokenizer:
    """See :class:`pytransformer.tokenizers.Tokenizer`.

    An embedding without a token, which some models have, is the token `<unused_ID>`, which makes no
    text.

    Settings:
        frame: the tokens around a source, with places for the text and the languages' tokens.
        end_token: the one that ends sentences.
        source_size, target_size: how many embeddings there are.
        language_tokens: by the language's code.
        source_languages, target_languages: the codes that may be asked for.
        source_language, target_language: what is meant where a call names none, or null.
        target_by: what names the target language: "first_token" of the translation, "start_token"
            of the decoder, a token of the "source", or null.
        needs_target: whether a call must name one if there is no `target_language`.
    """

    def __init__(self, settings: Mapping[str, Any], source: Pieces, target: Pieces) -> None:
        self._source, self._target = source, target
        frame: list[str] = settings["frame"]
        place = frame.index(TEXT)
        self._before, self._behind = frame[:place], frame[place + 1 :]
        self._end: str = settings["end_token"]
        self._sizes: tuple[int, int] = (settings["source_size"], settings["target_size"])
        self._tokens: dict[str, str] = settings["language_tokens"]
        self._sources = Languages(settings["source_languages"])
        self._targets = Languages(settings["target_languages"])
        self._default_source: str | None = settings["source_language"]
        self._default_target: str | None = settings["target_language"]
        self._target_by: str | None = settings["target_by"]
        self._needs_target: bool = settings["needs_target"]
        self._check_languages(frame)
        self._language_ids = frozenset(map(self._source.id_of, self._tokens.values()))

    def _check_languages(self, frame: Sequence[str]) -> None:
        """Raises KeyError for a language whose token will be needed, and that has none."""
        named_by_tokens = TARGET in frame or self._target_by in ("first_token", "start_token")
        for needed, languages, default in (
            (SOURCE in frame, self._sources.codes, self._default_source),
            (named_by_tokens, self._targets.codes, self._default_target),
        ):
            codes = [*languages, *([] if default is None else [default])]
            if needed and not self._tokens.keys() >= set(codes):
                raise KeyError("language_tokens")

    @property
    def source_languages(self) -> tuple[str, ...]:
        return self._sources.codes

    @property
    def target_languages(self) -> tuple[str, ...]:
        return self._targets.codes

    @property
    def unknown_id(self) -> int | None:
        return self._target.unknown_id

    def encode(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[str]:
        text = checked_text(text)
        before, behind = self._frame(src_lang, tgt_lang)
        closing = [] if behind == [self._end] else behind
        return [*before, *self._source.cut(text), *closing]

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        text = checked_text(text)
        before, behind = self._frame(src_lang, tgt_lang)
        ids, id_of = self._source.cut_ids(text), self._source.id_of
        return [*map(id_of, before), *ids, *map(id_of, behind)]

    def encode_target(self, text: str) -> list[str]:
        return self._target.cut(checked_text(text))

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        ids = [self._source.id_of(token) for token in tokens]
        closing = self.closing(ids)
        return ids if ids[-len(closing) :] == closing else ids + closing

    def closing(self, ids: Sequence[int]) -> list[int]:
        # Where the source's language is named behind the end token, they depend on the source.
        id_of = self._source.id_of
        if SOURCE not in self._behind:
            return list(map(id_of, self._behind))
        if len(ids) >= 2 and ids[-2] == id_of(self._end) and ids[-1] in self._language_ids:
            return list(ids[-2:])
        return list(map(id_of, self._frame(None, None)[1]))

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        return [self._target.id_of(token) for token in tokens]

    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        return _named_tokens(self._source, ids, self._sizes[0])

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        return _named_tokens(self._target, ids, self._sizes[1])

    def decode(self, ids: Sequence[int]) -> str:
        _check_ids(ids, self._sizes[1])
        return self._target.text(ids)

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        return self._target.text_of(tokens)

    def forced_bos_id(self, tgt_lang: str | None) -> int | None:
        return self._target_id(tgt_lang, "first_token")

    def decoder_start_id(self, tgt_lang: str | None) -> int | None:
        return self._target_id(tgt_lang, "start_token")

    def words(self, tokens: Sequence[str]) -> list[Word]:
        """See :class:`pytransformer.tokenizers.Tokenizer`.

        With Moses' rules, which cut off punctuation, that is a word of its own.
        """
        slices = self._word_slices(tokens)
        return [Word(word, self.decode_tokens(tokens[word]).strip()) for word in slices]

    def _word_slices(self, tokens: Sequence[str]) -> list[slice]:
        words: list[slice] = []
        start = None
        for place, token in enumerate(tokens):
            special = self._target.is_special(token)
            if start is not None and (
                special or self._target.begins_word(token, tokens[place - 1])
            ):
                words.append(slice(start, place))
                start = None
            if start is None and not special:
                start = place
        return words if start is None else [*words, slice(start, len(tokens))]

    def continues_word(self, token: str) -> bool:
        return not self._target.is_special(token) and self._target.continues_word(token)

    def _target_id(self, tgt_lang: str | None, by: str) -> int | None:
        code = self._target_code(tgt_lang) if self._target_by == by else None
        return None if code is None else self._target.id_of(self._tokens[code])

    def _target_code(self, tgt_lang: str | None) -> str | None:
        if tgt_lang is not None:
            return self._targets.resolve("tgt_lang", tgt_lang)
        if self._default_target is None and self._needs_target:
            raise _missing("tgt_lang", "translates into", self._targets)
        return self._default_target

    def _frame(self, src_lang: str | None, tgt_lang: str | None) -> tuple[list[str], list[str]]:
        """The tokens before and behind a text; raises OptionError for an unknown language."""
        source = self._default_source
        if src_lang is not None:
            source = self._sources.resolve("src_lang", src_lang)
        if tgt_lang is not None or self._target_by == "source":
            target = self._target_code(tgt_lang)
        else:
            target = None
        before = [self._placed(token, source, target) for token in self._before]
        return before, [self._placed(token, source, target) for token in self._behind]

    def _placed(self, token: str, source: str | None, target: str | None) -> str:
        if token not in (SOURCE, TARGET):
            return token
        language = source if token == SOURCE else target
        if language is None:
            raise _missing("src_lang", "translates from", self._sources)
        return self._tokens[language]


def create_framed(spec: TokenizerSpec, files: Mapping[str, bytes]) -> FramedTokenizer:
    """The tokenizer with the pieces of its kind; raises as :func:`pytransformer.tokenizers.create`.

    Imports what that kind needs, and nothing else.
    """
    try:
        return FramedTokenizer(spec.settings, *_PIECES[spec.kind](spec.settings, files))
    except CheckpointError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"the tokenizer's settings or files are incomplete: {error!r}"
        ) from None


def _metaspace(settings: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[Pieces, Pieces]:
    from pytransformer.tokenizers.metaspace import MetaspacePieces

    pieces = MetaspacePieces(settings, files)
    return pieces, pieces


def _m2m100(settings: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[Pieces, Pieces]:
    from pytransformer.tokenizers.m2m100 import VocabularyPieces

    pieces = VocabularyPieces(settings, files)
    return pieces, pieces


def _library(settings: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[Pieces, Pieces]:
    from pytransformer.tokenizers.library import LibraryPieces

    pieces = LibraryPieces(settings, files)
    return pieces, pieces


def _moses(settings: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[Pieces, Pieces]:
    from pytransformer.tokenizers.moses import MosesPieces

    return MosesPieces(settings, files, "source"), MosesPieces(settings, files, "target")


_PIECES = {"library": _library, "m2m100": _m2m100, "metaspace": _metaspace, "moses": _moses}


def _missing(option: str, does: str, languages: Languages) -> OptionError:
    return OptionError(
        f"{option} is missing: this model {does} {len(languages.codes)} languages; name one by the "
        f"model's code, its ISO code or in English ({languages.some()})"
    )


def _named_tokens(pieces: Pieces, ids: Sequence[int], size: int) -> list[str]:
    _check_ids(ids, size)
    return [pieces.token_of(token_id) or f"<unused_{token_id}>" for token_id in ids]


def _check_ids(ids: Sequence[int], size: int) -> None:
    for token_id in ids:
        if not 0 <= token_id < size:
            raise OptionError(f"no token has the id {token_id}")
