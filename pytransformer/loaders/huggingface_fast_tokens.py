"""Tokens that Hugging Face's tokenizers add to their own, with their ids and flags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings, read_json_object

_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_SENTINEL = "<extra_id_"


class OwnTokens(Protocol):
    """A tokenizer's own tokens, in the order of their ids.

    `added_tokens` are those of tokenizer.json, if there is one; `symbols` those that a
    sentencepiece model does not cut, and whether each is a special one.
    """

    pieces: list[str]
    added_tokens: list[dict[str, Any]] | None
    symbols: list[tuple[str, bool]] | None


class FastTokens:
    """The tokens of one directory, as transformers collects them.

    They are listed in tokenizer_config.json, or else in special_tokens_map.json, added_tokens.json
    and tokenizer.json, as older versions write them; then come those with a name, and then others
    that are special. `named` are those with a name, of which `defaults` are the usual ones. With
    `strips` these take the white space beside them along, unless it is said that they do not.
    """

    def __init__(
        self,
        directory: Path,
        options: Settings,
        defaults: Mapping[str, str],
        file: OwnTokens,
        *,
        strips: bool = False,
    ) -> None:
        self._options = options
        self._file = file
        self._stripping = frozenset(defaults if strips else ())
        given = {**defaults, **options.values}
        if "additional_special_tokens" in given and not given.get("extra_special_tokens"):
            given["extra_special_tokens"] = given.pop("additional_special_tokens")
        listed = given.get("added_tokens_decoder")
        self._listed: dict[int, dict[str, Any]] = {}
        if listed is not None:
            self._list(listed)
        else:
            self._merge_special_map(given, directory / "special_tokens_map.json")
        more = given.pop("extra_special_tokens") if _has_names(given) else {}
        self._named = dict(self._names(given, more))
        self.named = {key: token["content"] for key, token in self._named.items()}
        # Whether they stand for all others, T5's sentinels too.
        self._tells_extra = "extra_special_tokens" in given
        self._extra = list(self._extra_tokens(given))
        if listed is None:
            self._list_older(directory / "added_tokens.json")

    def added(self, sentinels: Sequence[str] | None) -> list[dict[str, Any]]:
        """All tokens with their ids; one that the pieces lack gets the next free id.

        `sentinels` are those of T5, which it adds unless it is told of others; None if they, and
        all that tokenizer.json adds, are told.
        """
        file = self._file
        names = {token["content"] for token in self._named.values()}
        own = [self._token(token) for token in (file.added_tokens or []) if sentinels is None]
        for token_id in sorted(self._listed):
            token = self._listed[token_id]
            own.append(self._token(token, str(token.get("content")) in names))
        known = {token["content"] for token in own}
        others = [*self._named.values(), *self._with_sentinels(sentinels)]
        ids = {piece: token_id for token_id, piece in enumerate(file.pieces)}
        next_id = len(file.pieces)
        found: dict[str, dict[str, Any]] = {}
        for token in [*own, *(token for token in others if token["content"] not in known)]:
            content = token["content"]
            if content not in ids:
                ids[content] = next_id
                next_id += 1
            found[content] = {**token, "id": ids[content]}
        return list(found.values())

    def _with_sentinels(self, sentinels: Sequence[str] | None) -> list[dict[str, Any]]:
        extra = self._extra
        if sentinels is None or self._tells_extra:
            return extra
        own = sum(token["content"].startswith(_SENTINEL) for token in extra)
        if own not in (0, len(sentinels)) and sentinels:
            raise CheckpointError(
                f"{self._options.path}: {own} {_SENTINEL}...> tokens, but extra_ids is "
                f"{len(sentinels)}"
            )
        return extra if own else [*extra, *(self._token(token, True) for token in sentinels)]

    def _list(self, listed: Any) -> None:
        if not isinstance(listed, dict) or not all(
            re.fullmatch("[0-9]{1,10}", key) and isinstance(token, dict)
            for key, token in listed.items()
        ):
            raise self._options.error("added_tokens_decoder", "a map of ids to tokens")
        self._listed.update((int(key), token) for key, token in listed.items())

    def _merge_special_map(self, given: dict[str, Any], path: Path) -> None:
        if not path.is_file():
            return
        for key, value in read_json_object(path).items():
            before = given.get(key) or []
            more = key == "extra_special_tokens" and isinstance(value, list)
            given[key] = [*before, *value] if more and isinstance(before, list) else value

    def _list_older(self, path: Path) -> None:
        special = {*self.named.values(), *(token["content"] for token in self._extra)}
        for content, token_id in (read_json_object(path) if path.is_file() else {}).items():
            if type(token_id) is not int or token_id < 0:
                raise CheckpointError(f"{path}: the id of {content!r} is not a number")
            self._listed[token_id] = {"content": content, "special": content in special}
        for token in self._file.added_tokens or []:
            self._listed[token["id"]] = token

    def _names(
        self, given: Mapping[str, Any], more: Mapping[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tokens with a name: the usual ones, then others, which may be the model's own."""
        own = {
            key: value
            for key, value in given.items()
            if key.endswith("_token") and key not in _NAMES and isinstance(value, str)
        }
        for key, value in {**{key: given.get(key) for key in _NAMES}, **own, **more}.items():
            if value is not None and key in self._stripping and isinstance(value, str):
                yield key, self._token({"content": value, "lstrip": True, "rstrip": True}, True)
            elif value is not None:
                yield key, self._token(value, True)

    def _extra_tokens(self, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Tokens without a name."""
        if not self._tells_extra and self._file.symbols is not None:
            for content, special in self._file.symbols:
                yield self._token({"content": content, "normalized": False}, special)
            return
        key = "extra_special_tokens" if self._tells_extra else "additional_special_tokens"
        values = given.get(key) or []
        if not isinstance(values, list):
            raise self._options.error(key, "a list of tokens")
        for value in values:
            yield self._token(value, True)

    def _token(self, token: Any, special: bool = False) -> dict[str, Any]:
        """The token as the tokenizer's settings have it, without its id."""
        flags = token if isinstance(token, dict) else {}
        content = flags.get("content") if isinstance(token, dict) else token
        if not isinstance(content, str) or not content:
            raise CheckpointError(
                f"{self._options.path}: a special token is not text: {str(token)[:80]!r}"
            )
        if flags.get("single_word"):
            raise UnsupportedModelError(f"{self._options.path}: single_word is not supported")
        special = special or flags.get("special") is True
        return {
            "content": content,
            "special": special,
            "lstrip": flags.get("lstrip") is True,
            "rstrip": flags.get("rstrip") is True,
            "normalized": flags.get("normalized", not special) is True,
        }


def _has_names(given: Mapping[str, Any]) -> bool:
    return isinstance(given.get("extra_special_tokens"), dict)
