"""What encoders read: texts, pairs of texts, tokens and pictures, checked and made requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pytransformer import _native
from pytransformer.errors import OptionError
from pytransformer.inputs import (
    InputLengthError,
    Sentence,
    check_unicode,
    sentence_list,
    target_ids,
    text_list,
)
from pytransformer.model_files import OpenModel

_ENDLESS = 2**31  # tokens; no text has as many


@runtime_checkable
class PairTokenizer(Protocol):
    """A tokenizer that knows how two texts stand behind one another."""

    def encode_pair(self, first: str, second: str, most: int) -> tuple[list[int], list[int]]:
        """At most `most` ids, and of which text each is: 0 or 1."""


@dataclass(frozen=True)
class EncoderInput:
    """One input: ids with the types of their tokens, or vectors [length, vector_size]."""

    ids: Sequence[int] = ()
    types: Sequence[int] = ()
    vectors: Any = None

    def request(self) -> _native.Request:
        if self.vectors is not None:
            return _native.Request.of_vectors(self.vectors)
        return _native.Request(self.ids, segments=self.types)


class InputReader:
    """Makes inputs for one model of what callers give."""

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._spec = model.spec.encoder

    def is_single(self, inputs: object) -> bool:
        """Whether a caller gives one input, and not several."""
        dimensions = getattr(inputs, "ndim", 0)
        return isinstance(inputs, str) or (self._model.reads_pictures and dimensions == 3)

    def read(self, inputs: Any, pairs: Any, length: int) -> list[EncoderInput]:
        """Texts, or pictures where the model reads them; of texts at most `length` ids, unless 0.

        Raises what :meth:`pytransformer.Encoder.encode` raises.
        """
        if self._model.reads_pictures:
            if pairs is not None:
                raise OptionError("text_pairs: this model reads pictures")
            is_array = self.is_single(inputs) and not isinstance(inputs, str)
            return self._pictures([inputs] if is_array else inputs)
        texts = _texts(inputs)
        if pairs is None:
            ids = [self._ids(text, length) for text in texts]
            return [self._fitting(i, EncoderInput(one)) for i, one in enumerate(ids)]
        seconds = _texts(pairs)
        if len(seconds) != len(texts):
            raise OptionError(f"there are {len(seconds)} text_pairs for {len(texts)} texts")
        both = enumerate(zip(texts, seconds, strict=True))
        return [self._fitting(i, self._pair(*pair, length)) for i, pair in both]

    def read_tokens(
        self, inputs: Iterable[Sentence], types: Iterable[Sequence[int]] | None
    ) -> list[EncoderInput]:
        """Tokens or ids as they are."""
        if self._model.reads_pictures:
            raise OptionError("this model reads pictures; give them to encode")
        tokenizer, size = self._model.tokenizer, self._spec.vocab_size
        given = sentence_list("input", inputs)
        ids = [target_ids(f"input {i}", one, tokenizer, size) for i, one in enumerate(given)]
        kinds: list[Any] = [()] * len(ids)
        if types is not None:
            kinds = sentence_list("token_type_ids", types)
        if len(kinds) != len(ids):
            raise OptionError(f"there are {len(kinds)} token_type_ids for {len(ids)} inputs")
        return [
            self._fitting(i, EncoderInput(one, _types(i, one, kind)))
            for i, (one, kind) in enumerate(zip(ids, kinds, strict=True))
        ]

    def _pictures(self, pictures: Any) -> list[EncoderInput]:
        if isinstance(pictures, (str, bytes)) or not isinstance(pictures, Iterable):
            raise TypeError(f"inputs are {type(pictures).__name__}, expected arrays of pictures")
        reader = self._model.pictures
        return [
            EncoderInput(vectors=reader.vectors(picture, f"picture {i}"))
            for i, picture in enumerate(pictures)
        ]

    def _ids(self, text: str, length: int) -> list[int]:
        tokenizer = self._model.tokenizer
        ids = tokenizer.encode_ids(text)
        if not length or len(ids) <= length:
            return ids
        closing = tokenizer.closing(ids)
        return ids[: max(0, length - len(closing))] + closing

    def _pair(self, first: str, second: str, length: int) -> EncoderInput:
        tokenizer = self._model.tokenizer
        if not isinstance(tokenizer, PairTokenizer):
            raise OptionError("text_pairs: this model's tokenizer does not say how to join texts")
        return EncoderInput(*tokenizer.encode_pair(first, second, length or _ENDLESS))

    def _fitting(self, index: int, one: EncoderInput) -> EncoderInput:
        if not one.ids:
            raise OptionError(f"input {index} is empty")
        limit = self._spec.positions.max_length
        if self._spec.positions.kind != "none" and len(one.ids) > limit:
            raise InputLengthError(index, len(one.ids), limit)
        return one


def _texts(texts: Any) -> list[str]:
    found = [texts] if isinstance(texts, str) else text_list(texts)
    for index, text in enumerate(found):
        check_unicode(index, text)
    return found


def _types(index: int, ids: Sequence[int], types: Sequence[Any]) -> list[int]:
    if any(isinstance(kind, str) for kind in types):
        raise TypeError(f"token_type_ids {index} holds str, expected ids (int)")
    if types and len(types) != len(ids):
        raise OptionError(f"input {index} has {len(ids)} tokens and {len(types)} token_type_ids")
    return list(types)
