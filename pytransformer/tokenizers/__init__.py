"""Turns text into the tokens of a model, and tokens into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pytransformer.errors import UnsupportedModelError
from pytransformer.model_spec import TokenizerSpec
from pytransformer.words import Word

__all__ = ["Tokenizer", "create"]


class Tokenizer(Protocol):
    """What every tokenizer does. Its methods may be called from several threads."""

    def encode(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[str]:
        """The source tokens of a text: with the language's prefix, without the end token.

        Raises TypeError if `text` is not a str, OptionError if it cannot be encoded as UTF-8 or if
        the model does not know a language.
        """

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        """The ids of `encode(text)` and the end token: exactly what Hugging Face gives."""

    def encode_target(self, text: str) -> list[str]:
        """The target tokens of a text, without the end token; raises as `encode` does."""

    def source_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of source tokens, unknown ones as <unk>, and of the end token if it is not last."""

    def closing(self, ids: Sequence[int]) -> list[int]:
        """What closes a source: the tokens at its end, or those that it lacks; none in some models.

        That is the end token, or with it the source's language.
        """

    def target_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of target tokens, unknown ones as <unk>; adds no end token."""

    def source_tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of source ids; raises OptionError for an id that has none."""

    def target_tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of target ids; raises OptionError for an id that has none."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids without the special ones; raises OptionError as above."""

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        """The text of target tokens, none of them special; others than the vocabulary's too."""

    def continues_word(self, token: str) -> bool:
        """Whether a target token goes on with the word that stands before it.

        So begins a letter or a digit without a space before it, but for scripts without spaces.
        """

    def words(self, tokens: Sequence[str]) -> list[Word]:
        """The words of source or target tokens: what stands between spaces, punctuation included.

        Special tokens, those of languages among them, are part of none.
        """

    def forced_bos_id(self, tgt_lang: str | None) -> int | None:
        """The token that translations into a language must begin with, if the language says so.

        Raises OptionError for a language that the model does not know.
        """

    def decoder_start_id(self, tgt_lang: str | None) -> int | None:
        """The token before the first one, if the language says so; raises as above."""

    @property
    def unknown_id(self) -> int | None:
        """The id of the target's unknown token, if there is one."""

    @property
    def source_languages(self) -> tuple[str, ...]:
        """The source languages, as far as the model names them."""

    @property
    def target_languages(self) -> tuple[str, ...]:
        """The target languages, as far as the model names them; several need `tgt_lang`."""


def create(spec: TokenizerSpec, files: Mapping[str, bytes]) -> Tokenizer:
    """The tokenizer that `spec` describes, from its files by name.

    Raises CheckpointError if a file is missing or broken, UnsupportedModelError for an unknown
    kind.
    """
    if spec.kind == "marian":
        from pytransformer.tokenizers.marian import MarianTokenizer

        return MarianTokenizer(spec.settings, files)
    if spec.kind == "marian_vocabulary":
        from pytransformer.tokenizers.marian_vocabulary import MarianVocabularyTokenizer

        return MarianVocabularyTokenizer(spec.settings, files)
    if spec.kind == "vocabulary_list":
        from pytransformer.tokenizers.vocabulary_list import VocabularyListTokenizer

        return VocabularyListTokenizer(spec.settings, files)
    if spec.kind == "t5":
        from pytransformer.tokenizers.t5 import T5Tokenizer

        return T5Tokenizer(spec.settings, files)
    if spec.kind == "byt5":
        from pytransformer.tokenizers.byt5 import ByT5Tokenizer

        return ByT5Tokenizer(spec.settings)
    if spec.kind in ("library", "m2m100", "metaspace", "moses"):
        from pytransformer.tokenizers.framed import create_framed

        return create_framed(spec, files)
    if spec.kind == "wordpiece":
        from pytransformer.tokenizers.wordpiece import create_wordpiece

        return create_wordpiece(spec.settings, files)
    raise UnsupportedModelError(f"no tokenizer of kind {spec.kind!r}")
