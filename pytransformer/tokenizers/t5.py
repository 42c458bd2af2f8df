"""The tokenizer of T5 and its relatives: words with the space in front of them, cut into pieces.

Ids and texts equal those of transformers' T5Tokenizer. Its peculiarities, kept on purpose: special
tokens that stand literally in a text become those tokens, and a piece that stands for a single byte
is shown as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.tokenizers.metaspace import MetaspacePieces
from pytransformer.tokenizers.t5_family import T5FamilyTokenizer


class T5Tokenizer(T5FamilyTokenizer):
    """See :class:`pytransformer.tokenizers.Tokenizer`.

    Settings: those of all the family and those of :class:`MetaspacePieces`.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        try:
            self._pieces = MetaspacePieces(settings, files)
            super().__init__(settings, settings["unknown_id"])
        except CheckpointError:
            raise
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise CheckpointError(
                f"the tokenizer's settings or files are incomplete: {error!r}"
            ) from None

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        tokens = self.encode(text, src_lang=src_lang, tgt_lang=tgt_lang)
        return [*self.target_ids(tokens), self._end_id]

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        return self._pieces.text_of(tokens)

    def _cut(self, text: str) -> list[str]:
        return self._pieces.cut(text)

    def _id(self, token: str) -> int:
        return self._pieces.id_of(token)

    def _token(self, token_id: int) -> str | None:
        return self._pieces.token_of(token_id)
