"""Sentences as callers give them: checked, and made lists of ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from pytransformer.errors import OptionError
from pytransformer.tokenizers import Tokenizer

# Tokens, or ids in a list or a NumPy array.
Sentence: TypeAlias = Sequence[str] | Sequence[int] | Any

_EXPECTED = "expected lists of tokens (str) or of ids (int)"


class InputLengthError(OptionError):
    """An input is longer than the model's positions reach, and no cut was asked for.

    Attributes:
        index: which input, counted from 0.
    """

    def __init__(self, index: int, length: int, limit: int) -> None:
        self.index = index
        self.length = length
        self.limit = limit
        super().__init__(f"input {index} {self.reason}")

    def __reduce__(self) -> Any:
        return type(self), (self.index, self.length, self.limit)

    @property
    def reason(self) -> str:
        """What is wrong and what would be right, without the input's number."""
        return (
            f"has {self.length} tokens, but this model's positions reach {self.limit} (end token "
            f"included); split it, or set max_input_length to cut it"
        )


class PromptLengthError(InputLengthError):
    """A prompt after which the model has no position left."""

    @property
    def reason(self) -> str:
        return (
            f"is a prompt of {self.length} tokens, but this model's positions leave room for "
            f"prompts of at most {self.limit}"
        )


def check_sentences(name: str, sentences: object) -> None:
    """Raises TypeError for what cannot hold sentences."""
    # What most callers give, without the long way through what it might be.
    if type(sentences) is list:
        return
    if isinstance(sentences, (str, bytes)) or not isinstance(sentences, Iterable):
        raise TypeError(f"{name} is {type(sentences).__name__}, {_EXPECTED}")


def sentence_list(
    name: str, sentences: Iterable[Sentence], first: int = 0
) -> list[list[str] | list[int]]:
    """Sentences as lists of str or of int; TypeError that names what is neither.

    `first` is the number of the first sentence in such a message.
    """
    check_sentences(name, sentences)
    return [_items(f"{name} {index}", sentence) for index, sentence in enumerate(sentences, first)]


def _items(name: str, sentence: Any) -> list[str] | list[int]:
    if type(sentence) is not list:
        if hasattr(sentence, "tolist"):
            sentence = sentence.tolist()
        if isinstance(sentence, (str, bytes)) or not isinstance(sentence, Sequence):
            raise TypeError(f"{name} is {type(sentence).__name__}, {_EXPECTED}")
    items = list(sentence)
    kinds = set(map(type, items))
    if len(kinds) > 1 or not kinds <= {str, int}:
        items = [item if isinstance(item, str) else _id(name, item) for item in items]
        if len({isinstance(item, str) for item in items}) > 1:
            raise TypeError(f"{name} holds both tokens and ids, {_EXPECTED}")
    return items


def _id(name: str, item: Any) -> int:
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise TypeError(f"{name} holds {type(item).__name__}, {_EXPECTED}")
    return int(item.__index__())


def source_ids(
    name: str, items: list[str] | list[int], tokenizer: Tokenizer, vocab_size: int
) -> list[int]:
    """The ids of a source sentence with its end token, which is added unless it is there."""
    if not items or isinstance(items[0], str):
        return tokenizer.source_ids(items)  # type: ignore[arg-type]
    ids = _checked(name, items, vocab_size)
    end = tokenizer.closing(ids)
    return ids if ids[-len(end) :] == end else ids + end


def target_ids(
    name: str, items: list[str] | list[int], tokenizer: Tokenizer, vocab_size: int
) -> list[int]:
    """The ids of target tokens, unknown ones as <unk>."""
    if not items or isinstance(items[0], str):
        return tokenizer.target_ids(items)  # type: ignore[arg-type]
    return _checked(name, items, vocab_size)


def _checked(name: str, ids: list[int], vocab_size: int) -> list[int]:
    for token_id in ids:
        if not 0 <= token_id < vocab_size:
            raise OptionError(f"{name} holds the id {token_id}, expected 0 to {vocab_size - 1}")
    return ids


def text_list(texts: Iterable[str]) -> list[str]:
    """Strings in any iterable as a list; TypeError for what is no text."""
    expected = "expected a string or strings"
    if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Iterable):
        raise TypeError(f"text is {type(texts).__name__}, {expected}")
    items = list(texts)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise TypeError(f"text {index} is {type(item).__name__}, {expected}")
    return items


def check_unicode(index: int, text: str) -> None:
    """Raises ValueError for a lone surrogate, which no text has."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"text {index} holds the lone surrogate U+{code:04X} at position {error.start}, "
            "expected Unicode text"
        ) from None


def cut(ids: list[int], length: int, end: list[int]) -> list[int]:
    """The first `length` tokens, not counting the end token that closes them."""
    return ids if len(ids) <= length + len(end) else ids[:length] + end
