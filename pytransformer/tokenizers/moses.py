"""Words as Moses cuts them, in pieces that are merged of pairs: the tokenizer of FSMT.

Ids and texts equal those of transformers' FSMTTokenizer, but for special tokens of the target,
which are looked up in the target's vocabulary. A piece that ends a word has "</w>" behind it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from pytransformer.errors import UnsupportedModelError
from pytransformer.tokenizers.added_tokens import AddedTokens
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.tokenizers.cutters import MergedPairs
from pytransformer.tokenizers.parts import token_list

_END_OF_WORD = "</w>"
_CONTINUES = "@@"  # how MergedPairs marks a piece that ends no word


class MosesPieces:
    """See :class:`pytransformer.tokenizers.framed.Pieces`; `side` is "source" or "target".

    Settings: `moses_languages`, the source's and the target's, by ISO 639-1; `unk_token`;
    `added_tokens`, those that are cut out of texts; `special_tokens`, those that are left out of
    texts; `lower_case`; `clean_up_tokenization_spaces`.
    """

    def __init__(self, settings: Mapping[str, Any], files: Mapping[str, bytes], side: str) -> None:
        name = f"{side}_vocabulary.json"
        self._tokens = token_list(files[name], name)
        self._ids = {token: i for i, token in enumerate(self._tokens) if token is not None}
        self._unknown = self._ids[settings["unk_token"]]
        self._pairs = MergedPairs(files["merges.txt"])
        self._added = AddedTokens(settings["added_tokens"])
        special = frozenset(settings["special_tokens"])
        self._special = special - {settings["unk_token"]}
        self._special_ids = frozenset(map(self._ids.__getitem__, special & self._ids.keys()))
        self._lower_case: bool = settings["lower_case"]
        self._clean_up: bool = settings["clean_up_tokenization_spaces"]
        moses = _sacremoses()
        language = settings["moses_languages"][0 if side == "source" else 1]
        self._normalizer = moses.MosesPunctNormalizer(language, pre_replace_unicode_punct=True)
        self._tokenizer = moses.MosesTokenizer(language)
        self._detokenizer = moses.MosesDetokenizer(language)

    @property
    def unknown_id(self) -> int | None:
        return self._unknown

    def cut(self, text: str) -> list[str]:
        tokens: list[str] = []
        for part, is_token in self._added.cut(text):
            tokens += [part] if is_token else self._pieces(part)
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
        words = "".join(token.replace(_END_OF_WORD, " ") for token in tokens).split()
        text: str = self._detokenizer.detokenize(words)
        return clean_up(text) if self._clean_up else text

    def is_special(self, token: str) -> bool:
        return token in self._special

    def begins_word(self, token: str, before: str) -> bool:
        return before.endswith(_END_OF_WORD)

    def continues_word(self, token: str) -> bool:
        return False  # a word ends with a token that says so

    def _pieces(self, text: str) -> list[str]:
        text = _printable(self._normalizer.normalize(text.lower() if self._lower_case else text))
        words = self._tokenizer.tokenize(text, aggressive_dash_splits=True)
        tokens: list[str] = []
        for word in words:
            *first, last = self._pairs.cut(word)
            tokens += [token.removesuffix(_CONTINUES) for token in first]
            tokens.append(last + _END_OF_WORD)
        return tokens


def _printable(text: str) -> str:
    """The text without control characters and other characters that nothing is written for."""
    if text.isprintable():
        return text
    return "".join(character for character in text if unicodedata.category(character)[0] != "C")


def _sacremoses() -> Any:
    try:
        import sacremoses
    except ImportError:
        raise UnsupportedModelError(
            "this model's tokenizer needs the package sacremoses: "
            "pip install 'pytransformer[tokenizers]'"
        ) from None
    return sacremoses
