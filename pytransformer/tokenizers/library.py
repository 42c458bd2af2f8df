"""Tokenizers that need Hugging Face's library `tokenizers`, such as BART's pieces of bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytransformer.errors import CheckpointError, OptionError, UnsupportedModelError
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.library_growth import check_growth
from pytransformer.words import continues_word

# What stands for the space in front of a word, by the library's name of what joins pieces.
_SPACES = {"ByteLevel": "Ġ", "Metaspace": "▁"}


class LibraryPieces:
    """See :class:`pytransformer.tokenizers.framed.Pieces`.

    Settings: `unk_token`, which may be null; `clean_up_tokenization_spaces`. The file
    `tokenizer.json` is that of the library.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        try:
            import tokenizers
        except ImportError:
            raise UnsupportedModelError(
                "this model's tokenizer needs the package tokenizers: "
                "pip install 'pytransformer[tokenizers]'"
            ) from None
        with _faults():
            self._tokenizer = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            check_growth(self._tokenizer)
        self._space = _SPACES.get(type(self._tokenizer.decoder).__name__, " ")
        added = self._tokenizer.get_added_tokens_decoder().values()
        unknown: str | None = settings["unk_token"]
        self._special = frozenset(token.content for token in added if token.special) - {unknown}
        self._unknown = None if unknown is None else self._tokenizer.token_to_id(unknown)
        self._clean_up: bool = settings["clean_up_tokenization_spaces"]

    @property
    def unknown_id(self) -> int | None:
        return self._unknown

    def cut(self, text: str) -> list[str]:
        # Not the encoding's own tokens, which show added ones with the spaces beside them.
        tokens = map(self._tokenizer.id_to_token, self.cut_ids(text))
        return [token for token in tokens if token is not None]

    def cut_ids(self, text: str) -> list[int]:
        with _faults():
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def id_of(self, token: str) -> int:
        token_id: int | None = self._tokenizer.token_to_id(token)
        if token_id is None:
            token_id = self._unknown
        if token_id is None:
            raise OptionError(f"there is no token {token!r}, and none for unknown ones")
        return token_id

    def token_of(self, token_id: int) -> str | None:
        token: str | None = self._tokenizer.id_to_token(token_id)
        return token

    def text(self, ids: Sequence[int]) -> str:
        with _faults():
            text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return clean_up(text) if self._clean_up else text

    def text_of(self, tokens: Sequence[str]) -> str:
        with _faults():
            text: str = self._tokenizer.decoder.decode(list(tokens))
        return clean_up(text) if self._clean_up else text

    def is_special(self, token: str) -> bool:
        return token in self._special

    def begins_word(self, token: str, before: str) -> bool:
        return token.startswith(self._space)

    def continues_word(self, token: str) -> bool:
        if token.startswith(self._space):
            return False
        text = self.text_of([token])
        # Bytes that are no character by themselves go on with one.
        return text.startswith("\ufffd") or continues_word(text)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Makes errors of ours of those of the library, which has no class of its own for them.

    Over some files it panics, which is no plain exception either.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"tokenizer.json: {error}") from None
