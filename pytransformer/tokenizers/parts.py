"""What several tokenizers are made of."""

from __future__ import annotations

import json
from typing import Any

import sentencepiece

from pytransformer.errors import CheckpointError, OptionError


def checked_text(text: object) -> str:
    """The text, if it is one; raises TypeError, or OptionError if UTF-8 cannot hold it."""
    if not isinstance(text, str):
        raise TypeError(f"text must be str, not {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise OptionError(
            f"text is not valid Unicode: character {error.start} is the lone surrogate U+{code:04X}"
        ) from None
    return text


def sentencepiece_model(content: bytes, name: str) -> Any:
    """A sentencepiece processor; raises CheckpointError that names the file."""
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise CheckpointError(f"{name} is not a sentencepiece model: {error}") from None
    return processor


def token_list(content: bytes, name: str) -> list[str | None]:
    """Tokens in the order of their ids, None for an id without one, from a JSON list."""
    try:
        tokens: list[str | None] = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: broken JSON: {error}") from None
    if not isinstance(tokens, list) or not all(t is None or isinstance(t, str) for t in tokens):
        raise CheckpointError(f"{name}: not a list of tokens")
    return tokens
