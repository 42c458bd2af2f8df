"""Special tokens of a Hugging Face tokenizer and tokens added to its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, read_json_object

_SPECIAL_TOKENS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_STRIPPING = ("lstrip", "rstrip")
_MAX_DIGITS = 9  # of an id


class AddedTokens:
    """The tokens that are cut out of the text before it is split into pieces.

    They are those that `transformers` would add: the ones listed in tokenizer_config.json, or in
    the older special_tokens_map.json and added_tokens.json, then the special tokens. One that the
    vocabulary lacks gets the next free id.
    """

    def __init__(
        self,
        directory: Path,
        config: Settings,
        defaults: Mapping[str, str],
        vocab: Mapping[str, Any],
    ) -> None:
        self._config = config
        if config.get("split_special_tokens"):
            raise UnsupportedModelError(f"{config.path}: split_special_tokens is not supported")
        self.tokens: dict[str, dict[str, Any]] = {}
        given = {**defaults, **config.values}
        if listed := config.get("added_tokens_decoder"):
            self._add_listed(listed)
        else:
            given = self._add_legacy(directory, given)
        special = {key: given[key] for key in _SPECIAL_TOKENS if given.get(key) is not None}
        self.named = {key: self._content(token) for key, token in special.items()}
        extra = given.get("extra_special_tokens") or given.get("additional_special_tokens") or []
        if not isinstance(extra, (list, dict)):
            raise config.error("extra_special_tokens", "a list of tokens")
        more = extra.values() if isinstance(extra, dict) else extra
        self._add_special([*special.values(), *more], vocab)

    def settings(self) -> dict[str, Any]:
        """What the tokenizer needs to know, ready for JSON."""
        return {
            **self.named,
            "added_tokens": [{"content": key, **self.tokens[key]} for key in self.tokens],
        }

    def _add_listed(self, listed: Any) -> None:
        if not isinstance(listed, dict):
            raise self._config.error("added_tokens_decoder", "an object")
        for key, value in listed.items():
            if not (key.isdecimal() and len(key) <= _MAX_DIGITS and isinstance(value, dict)):
                raise self._config.error("added_tokens_decoder", "a map of ids to tokens")
            self._add(value, int(key), special=value.get("special") is True)

    def _add_legacy(self, directory: Path, named: dict[str, Any]) -> dict[str, Any]:
        special_map, added = directory / "special_tokens_map.json", directory / "added_tokens.json"
        if special_map.is_file():
            named = {**named, **read_json_object(special_map)}
        if added.is_file():
            special = {
                self._content(named[key]) for key in _SPECIAL_TOKENS if named.get(key) is not None
            }
            for content, token_id in read_json_object(added).items():
                if type(token_id) is not int or token_id < 0:
                    raise CheckpointError(f"{added}: the id of {content!r} is not a number")
                self._add(content, token_id, special=content in special)
        return named

    def _add_special(self, special: list[Any], vocab: Mapping[str, int]) -> None:
        next_id = len({*vocab, *self.tokens})
        for token in special:
            content = self._content(token)
            if content in self.tokens:
                self.tokens[content]["special"] = True
            elif content in vocab:
                self._add(token, vocab[content], special=True)
            else:
                self._add(token, next_id, special=True)
                next_id += 1

    def _add(self, token: Any, token_id: int, *, special: bool) -> None:
        if isinstance(token, dict) and token.get("single_word"):
            raise UnsupportedModelError(
                f"{self._config.path}: single_word tokens are not supported"
            )
        flags = {key: isinstance(token, dict) and token.get(key) is True for key in _STRIPPING}
        self.tokens[self._content(token)] = {"id": token_id, "special": special, **flags}

    def _content(self, token: Any) -> str:
        content = token.get("content") if isinstance(token, dict) else token
        if not isinstance(content, str) or not content:
            raise CheckpointError(
                f"{self._config.path}: a special token is not text: {str(token)[:80]!r}"
            )
        return content


def check_named(options: Settings, named: Mapping[str, str], keys: Iterable[str]) -> None:
    """Raises CheckpointError unless the tokens with these names are there."""
    for key in keys:
        if key not in named:
            raise options.error(key, "a token")


def check_vocabulary(
    path: Path, vocab: Mapping[str, Any], size: int, needed: Sequence[str] = ("<unk>", "</s>")
) -> None:
    """Raises CheckpointError unless `vocab` maps tokens to ids below `size`, one each."""
    if not all(type(item) is int and item >= 0 for item in vocab.values()):
        raise CheckpointError(f"{path}: not a map of tokens to ids")
    if missing := [token for token in needed if token not in vocab]:
        raise CheckpointError(f"{path}: lacks the tokens {', '.join(missing)}")
    if len(set(vocab.values())) != len(vocab):
        raise CheckpointError(f"{path}: two tokens have the same id")
    largest = max(vocab.values())
    if largest >= size:
        raise CheckpointError(f"{path}: has ids up to {largest}, but there are {size} embeddings")


def token_list(vocab: Mapping[str, int]) -> bytes:
    """The tokens in the order of their ids as JSON, null for an id without one.

    A list is read many times faster than Hugging Face's map.
    """
    tokens: list[str | None] = [None] * (max(vocab.values()) + 1)
    for token, token_id in vocab.items():
        tokens[token_id] = token
    return json_bytes(tokens)


def json_bytes(value: Any) -> bytes:
    """JSON as it is kept with a model; lone surrogates, which a file may hold, stay as they are."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
