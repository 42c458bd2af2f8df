"""What transformers takes of a tokenizer.json where it builds the rest of the tokenizer itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import read_json_object


@dataclass
class Vocabulary:
    """Pieces in the order of their ids, and what their file says besides.

    Attributes:
        path: the file.
        pieces: those of the model, without tokens that are only added to it.
        scores: of a unigram model, one for each piece.
        merges: of a model that merges pairs.
        character_map: the normalisation of characters, in sentencepiece's binary form, or nothing.
        added_tokens: those of a tokenizer.json, with their ids.
        symbols: of a sentencepiece model, as :class:`FastTokens` wants them; they are not used.
        content: all of a tokenizer.json.
    """

    path: Path
    pieces: list[str]
    scores: list[float] | None = None
    merges: list[tuple[str, str]] | None = None
    character_map: bytes = b""
    added_tokens: list[dict[str, Any]] | None = None
    symbols: list[tuple[str, bool]] | None = None
    content: dict[str, Any] = field(default_factory=dict)

    def check_size(self, size: int) -> None:
        """Raises CheckpointError if there are more pieces than embeddings."""
        if len(self.pieces) > size:
            raise CheckpointError(
                f"{self.path}: has {len(self.pieces)} pieces, but there are {size} embeddings"
            )


def read_tokenizer_json(path: Path) -> Vocabulary:
    """Reads a tokenizer.json; raises CheckpointError that names it and what is wrong in it."""
    content = read_json_object(path)
    model = content.get("model")
    if not isinstance(model, dict):
        raise CheckpointError(f"{path}: model should be an object")
    vocab, merges = model.get("vocab"), model.get("merges")
    found = Vocabulary(
        path,
        [],
        character_map=_character_map(path, content.get("normalizer")),
        added_tokens=_added_tokens(path, content.get("added_tokens")),
        content=content,
    )
    if isinstance(vocab, list):
        found.pieces, found.scores = _scored(path, vocab)
    else:
        found.pieces = ordered(path, vocab)
    found.merges = None if merges is None else pairs(path, merges)
    return found


def ordered(path: Path, vocab: Any) -> list[str]:
    """The tokens of a map to their ids, in the order of these, which must leave none out."""
    if not isinstance(vocab, dict) or not all(type(item) is int for item in vocab.values()):
        raise CheckpointError(f"{path}: the vocabulary should be a map of tokens to ids")
    tokens = sorted(vocab, key=vocab.__getitem__)
    if any(vocab[token] != token_id for token_id, token in enumerate(tokens)):
        raise CheckpointError(f"{path}: the vocabulary's ids should be 0 to {len(tokens) - 1}")
    return tokens


def pairs(path: Path, merges: Any) -> list[tuple[str, str]]:
    """The pairs that are merged, which may stand in one text or in two."""
    if not isinstance(merges, list):
        raise CheckpointError(f"{path}: merges should be a list")
    split = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
    for pair in split:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not isinstance(pair[0], str)
            or not isinstance(pair[1], str)
        ):
            raise CheckpointError(f"{path}: {str(pair)[:80]!r} in merges is no pair of pieces")
    return [(pair[0], pair[1]) for pair in split]


def _scored(path: Path, vocab: Sequence[Any]) -> tuple[list[str], list[float]]:
    for item in vocab:
        if (
            not isinstance(item, list)
            or len(item) != 2
            or not isinstance(item[0], str)
            or type(item[1]) not in (int, float)
        ):
            raise CheckpointError(
                f"{path}: {str(item)[:80]!r} in vocab should be a piece and its score"
            )
    try:
        scores = [float(item[1]) for item in vocab]
    except OverflowError:
        raise CheckpointError(f"{path}: pieces without a finite score") from None
    return [item[0] for item in vocab], scores


def _character_map(path: Path, normalizer: Any) -> bytes:
    """The map of the first normaliser that has one."""
    rules = normalizer.get("normalizers") if isinstance(normalizer, dict) else None
    for rule in rules if isinstance(rules, list) else [normalizer]:
        if isinstance(rule, dict) and rule.get("type") == "Precompiled":
            try:
                return base64.b64decode(rule.get("precompiled_charsmap") or b"", validate=True)
            except (TypeError, ValueError, binascii.Error):
                raise CheckpointError(f"{path}: precompiled_charsmap is not base64") from None
    return b""


def _added_tokens(path: Path, tokens: Any) -> list[dict[str, Any]]:
    tokens = [] if tokens is None else tokens
    if not isinstance(tokens, list) or not all(
        isinstance(token, dict)
        and isinstance(token.get("content"), str)
        and type(token.get("id")) is int
        and token["id"] >= 0
        for token in tokens
    ):
        raise CheckpointError(f"{path}: added_tokens should be a list of tokens with their ids")
    return tokens
