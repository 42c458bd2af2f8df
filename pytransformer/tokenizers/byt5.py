"""The tokenizer of ByT5 (Xue et al. 2022): the bytes of a text, and tokens added to them.

Ids and texts equal those of transformers' ByT5Tokenizer: a byte's token is the character with its
number, and bytes that are no UTF-8 are left out of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.tokenizers.added_tokens import AddedTokens
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.t5_family import T5FamilyTokenizer

_FIRST_BYTE = 3  # the id of byte 0, behind <pad>, </s> and <unk>
_UNKNOWN = 2
_BYTES = [chr(byte) for byte in range(256)]


class ByT5Tokenizer(T5FamilyTokenizer):
    """See :class:`pytransformer.tokenizers.Tokenizer`.

    Settings: those of all the family; `clean_up_tokenization_spaces`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        try:
            added: list[dict[str, Any]] = settings["added_tokens"]
            self._added = {token["id"]: token["content"] for token in added}
            self._ids = byte_ids()
            self._ids.update((token["content"], token["id"]) for token in added)
            self._cutter = AddedTokens(added, white_space=None)
            self._clean_up: bool = settings["clean_up_tokenization_spaces"]
            super().__init__(settings, _UNKNOWN)
        except CheckpointError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"the tokenizer's settings are incomplete: {error!r}") from None

    def encode_ids(
        self, text: str, *, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> list[int]:
        return self.source_ids(self.encode(text, src_lang=src_lang, tgt_lang=tgt_lang))

    def decode_tokens(self, tokens: Sequence[str]) -> str:
        text = b"".join(map(_content, tokens)).decode(errors="ignore")
        return clean_up(text) if self._clean_up else text

    def _cut(self, text: str) -> list[str]:
        tokens: list[str] = []
        for part, is_token in self._cutter.cut(text):
            tokens += [part] if is_token else [_BYTES[byte] for byte in part.encode()]
        return tokens

    def _id(self, token: str) -> int:
        return self._ids.get(token, _UNKNOWN)

    def _token(self, token_id: int) -> str | None:
        byte = token_id - _FIRST_BYTE
        own = _BYTES[byte] if 0 <= byte < len(_BYTES) else None
        return self._added.get(token_id, own)


def byte_ids() -> dict[str, int]:
    """The tokens of all bytes with their ids."""
    return {token: byte + _FIRST_BYTE for byte, token in enumerate(_BYTES)}


def _content(token: str) -> bytes:
    """The bytes that a token stands for."""
    return token.encode("latin-1" if len(token) == 1 and ord(token) < len(_BYTES) else "utf-8")
