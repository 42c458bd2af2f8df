"""The tokenizer of models that come with nothing but their lists of tokens.

Tokens become ids and ids tokens. Text is cut by the sentencepiece model or the BPE codes that lie
beside the lists, or, where the settings say that the tokens are words, at white space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.tokenizers.cutters import Cutter, MergedPairs, Pieces, Words
from pytransformer.words import Word, continues_word, word_text

_FILES = {"source": "source_vocabulary.json", "target": "target_vocabulary.json"}
_CUTTERS: dict[str, Callable[[bytes], Cutter]] = {".spm": Pieces, ".bpe": MergedPairs}


class VocabularyListTokenizer:
    """See :class:`pytransformer.tokenizers.Tokenizer`.

    Settings: `unk_token`, `bos_token` and `eos_token`; `add_source_bos` and `add_source_eos`,
    which say whether they stand around a source; `texts_end`, whether a source that was cut from
    text ends with the end token in any case; `decoder_start_token`, or None. Of a text's tokens
    `texts_begin` makes the begin token the first one. `splits_words` says that tokens are words
    where no file cuts text, `shows_unknown` that the unknown token is part of a translation's text.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        try:
            self._unknown: str = settings["unk_token"]
            self._begin: str = settings["bos_token"]
            self._end: str = settings["eos_token"]
            self._add_begin: bool = settings["add_source_bos"]
            self._add_end: bool = settings["add_source_eos"]
            self._texts_end: bool = settings["texts_end"]
            self._texts_begin: bool = settings.get("texts_begin", False)
            start: str | None = settings["decoder_start_token"]
            self._tokens = {side: _tokens(files, name) for side, name in _FILES.items()}
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"the tokenizer's settings or files are incomplete: {error!r}"
            ) from None
        self._ids = {side: _ids(tokens) for side, tokens in self._tokens.items()}
        for side, token in (("source", self._unknown), ("target", self._unknown)):
            if token not in self._ids[side]:
                raise CheckpointError(f"{_FILES[side]}: there is no {token!r}")
        special = {self._begin, self._end, start}
        if not settings.get("shows_unknown", False):
            special.add(self._unknown)
        self._special = frozenset(
            token_id for token, token_id in self._ids["target"].items() if token in special
        )
        self._cutters = _read_cutters(files, words=settings.get("splits_words", False))

    def encode(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[str]:
        _check_languages(src_lang, tgt_lang)
        tokens = self._cut("source", text)
        return [self._begin, *tokens] if self._texts_begin else tokens

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        ids = self.source_ids(self.encode(text, src_lang=src_lang, tgt_lang=tgt_lang))
        end = self._ids["source"].get(self._end)
        if self._texts_end and end is not None and ids[-1:] != [end]:
            ids.append(end)
        return ids

    def encode_target(self, text: str) -> list[str]:
        return self._cut("target", text)

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        """The ids of the tokens with what the model's settings put around them."""
        ids = self._lookup("source", tokens)
        known = self._ids["source"]
        if self._add_begin and ids[:1] != [known.get(self._begin)]:
            ids = self._lookup("source", [self._begin]) + ids
        if self._add_end and ids[-1:] != [known.get(self._end)]:
            ids = ids + self._lookup("source", [self._end])
        return ids

    def closing(self, ids: Sequence[int]) -> list[int]:
        return self._lookup("source", [self._end]) if self._add_end else []

    def continues_word(self, token: str) -> bool:
        cutter = self._cutters.get("target")
        return continues_word(token) if cutter is None else cutter.continues_word(token)

    def words(self, tokens: Sequence[str]) -> list[Word]:
        begins = self._cutters["target"].begins_word if self._cutters else Pieces.begins_word
        special = {self._begin, self._end}
        found: list[list[int]] = []
        before = None
        for place, token in enumerate(tokens):
            if token not in special:
                if before is None or begins(token, before):
                    found.append([place, place])
                found[-1][1] = place + 1
            before = None if token in special else token
        slices = [slice(*ends) for ends in found]
        return [Word(word, self._joined(tokens[word])) for word in slices]

    def _joined(self, tokens: Sequence[str]) -> str:
        return self.decode_tokens(tokens).strip() if self._cutters else word_text(tokens)

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        return self._lookup("target", tokens)

    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._token("source", token_id) for token_id in ids]

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._token("target", token_id) for token_id in ids]

    def decode(self, ids: Sequence[int]) -> str:
        return self.decode_tokens(
            self.target_tokens([token_id for token_id in ids if token_id not in self._special])
        )

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        return self._cutter("target").join(tokens)

    def forced_bos_id(self, tgt_lang: str | None) -> int | None:
        return None  # a language is named by a token of the source or of the prefix

    def decoder_start_id(self, tgt_lang: str | None) -> int | None:
        return None

    @property
    def unknown_id(self) -> int | None:
        return self._ids["target"][self._unknown]

    @property
    def source_languages(self) -> tuple[str, ...]:
        return ()

    @property
    def target_languages(self) -> tuple[str, ...]:
        return ()

    def _lookup(self, side: str, tokens: Sequence[str]) -> list[int]:
        ids = self._ids[side]
        unknown = ids[self._unknown]
        return [ids.get(token, unknown) for token in tokens]

    def _token(self, side: str, token_id: int) -> str:
        tokens = self._tokens[side]
        if not 0 <= token_id < len(tokens):
            raise OptionError(f"no token has the id {token_id}")
        return tokens[token_id]

    def _cut(self, side: str, text: str) -> list[str]:
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        return self._cutter(side).cut(_checked(text))

    def _cutter(self, side: str) -> Cutter:
        if not self._cutters:
            raise OptionError(
                "this model has lists of tokens and nothing that cuts text into them; put its "
                "sentencepiece model beside it (sentencepiece.model, or source.spm and "
                "target.spm), or give and take tokens with translate_batch"
            )
        return self._cutters[side]


def _tokens(files: Mapping[str, bytes], name: str) -> list[str]:
    """Tokens in the order of their ids."""
    try:
        tokens = json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: broken JSON: {error}") from None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(f"{name}: not a list of tokens")
    return tokens


def _ids(tokens: Sequence[str]) -> dict[str, int]:
    """Ids by token; of a token that comes twice, the first one."""
    ids: dict[str, int] = {}
    for token_id, token in enumerate(tokens):
        ids.setdefault(token, token_id)
    return ids


def _read_cutters(files: Mapping[str, bytes], *, words: bool) -> dict[str, Cutter]:
    """What cuts text on both sides; nothing if there are no files and tokens are no words."""
    made: dict[tuple[str, bytes], Cutter] = {}
    found: dict[str, Cutter] = {}
    for side in _FILES:
        for suffix, kind in _CUTTERS.items():
            content = files.get(side + suffix)
            if content is not None and (suffix, content) not in made:
                made[suffix, content] = kind(content)
            if content is not None:
                found[side] = made[suffix, content]
    return {side: found.get(side, Words()) for side in _FILES} if words else found


def _check_languages(src_lang: str | None, tgt_lang: str | None) -> None:
    for name, language in (("src_lang", src_lang), ("tgt_lang", tgt_lang)):
        if language is not None:
            raise OptionError(
                f"{name} is {language!r}, but this model does not say which languages it knows"
            )


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise OptionError(
            f"text is not valid Unicode: character {error.start} is the lone surrogate U+{code:04X}"
        ) from None
    return text
