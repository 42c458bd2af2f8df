"""Pieces of a unigram model, from tokenizer.json or from a model of sentencepiece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface_tokenizer_json import Vocabulary, read_tokenizer_json
from pytransformer.loaders.sentencepiece_file import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    read_sentencepiece,
)
from pytransformer.loaders.tensor_source import all_finite

_SPACE = "▁"


@dataclass
class UnigramFile:
    """What a file says of pieces and of what is done to a text before it is cut into them.

    `normalizers` and `splits_at_white_space` are settings of `MetaspacePieces` (module
    :mod:`pytransformer.tokenizers.metaspace`). `added_tokens` are those of tokenizer.json;
    `symbols` those that a sentencepiece model does not cut, and whether each is a special one.
    """

    path: Path
    pieces: list[str]
    scores: list[float]
    unknown_id: int
    character_map: bytes = b""
    normalizers: list[str] = field(default_factory=list)
    splits_at_white_space: bool = True
    added_tokens: list[dict[str, Any]] | None = None
    symbols: list[tuple[str, bool]] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.unknown_id < len(self.pieces):
            raise CheckpointError(f"{self.path}: there is no piece {self.unknown_id}")
        if not all_finite(np.array(self.scores, np.float32)):
            raise CheckpointError(f"{self.path}: pieces without a finite score")


def from_sentencepiece(path: Path, more_pieces: Sequence[str]) -> UnigramFile:
    """Reads a sentencepiece model; `more_pieces` follow its own.

    Its bytes for unknown characters are not used, as little as transformers does.
    """
    model = read_sentencepiece(path)
    if UNKNOWN not in model.kinds:
        raise CheckpointError(f"{path}: there is no piece for unknown characters")
    symbols = [
        (piece, kind == CONTROL)
        for piece, kind in zip(model.pieces, model.kinds, strict=True)
        if kind in (CONTROL, USER_DEFINED)
    ]
    return UnigramFile(
        path,
        [*model.pieces, *more_pieces],
        [*model.scores, *[0.0] * len(more_pieces)],
        model.kinds.index(UNKNOWN),
        character_map=model.character_map,
        normalizers=["character_map"] if model.character_map else [],
        symbols=symbols,
    )


def from_tokenizer_json(path: Path, as_it_stands: bool) -> UnigramFile:
    """Reads tokenizer.json; unless `as_it_stands`, texts are treated as T5's tokenizer does.

    Raises CheckpointError if it is broken, UnsupportedModelError if it asks for more than T5's
    tokenizer and others of its kind do.
    """
    return _JsonReader(read_tokenizer_json(path)).read(as_it_stands)


class _JsonReader:
    def __init__(self, file: Vocabulary) -> None:
        self._file = file

    def read(self, as_it_stands: bool) -> UnigramFile:
        file = self._file
        model = file.content["model"]
        kind = model.get("type", "Unigram")
        if kind != "Unigram" or file.scores is None:
            raise self._unsupported(f"a model of type {_shown(kind)}")
        normalizers = list(self._normalizers(file.content.get("normalizer")))
        splits = self._splits_at_white_space(file.content.get("pre_tokenizer"))
        if as_it_stands:
            self._check_rest()
        else:
            normalizers = [rule for rule in normalizers if rule == "character_map"]
            splits = True
        unknown_id = model.get("unk_id")
        if type(unknown_id) is not int:
            raise CheckpointError(f"{file.path}: unk_id should be a number")
        return UnigramFile(
            file.path,
            file.pieces,
            file.scores,
            unknown_id,
            character_map=file.character_map,
            normalizers=normalizers,
            splits_at_white_space=splits,
            added_tokens=file.added_tokens,
        )

    def _normalizers(self, rule: Any) -> Iterator[str]:
        kind = self._kind(rule)
        if kind == "Sequence":
            for part in self._parts(rule, "normalizers"):
                yield from self._normalizers(part)
        elif kind == "Precompiled":
            yield "character_map"
        elif kind == "Strip" and not rule.get("strip_left"):
            yield from ["strip_right"] if rule.get("strip_right") else []
        elif kind == "Replace" and rule.get("pattern") == {"Regex": " {2,}"}:
            # Of one "▁" or of one space the same becomes.
            if rule.get("content") not in (" ", _SPACE):
                raise self._unsupported(f"the normalizer {_shown(rule)}")
            yield "single_spaces"
        elif kind:
            raise self._unsupported(f"the normalizer {_shown(rule)}")

    def _splits_at_white_space(self, rule: Any) -> bool:
        is_sequence = self._kind(rule) == "Sequence"
        rules = self._parts(rule, "pretokenizers") if is_sequence else [rule]
        first, last = [self._kind(one) for one in rules[:-1]], rules[-1] if rules else None
        if not _marks_words(last) or first not in ([], ["WhitespaceSplit"]):
            raise self._unsupported(f"the pre_tokenizer {_shown(rule)}")
        return bool(first)

    def _check_rest(self) -> None:
        """That </s> is put behind the text, and that the space in front is taken away again."""
        content = self._file.content
        processor, decoder = content.get("post_processor"), content.get("decoder")
        expected = [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ]
        if not isinstance(processor, dict) or processor.get("single") != expected:
            raise self._unsupported(f"the post_processor {_shown(processor)}")
        if not _marks_words(decoder):
            raise self._unsupported(f"the decoder {_shown(decoder)}")

    def _parts(self, parent: Any, key: str) -> list[Any]:
        parts = parent.get(key)
        if not isinstance(parts, list):
            raise CheckpointError(f"{self._file.path}: {key} should be a list")
        return parts

    def _kind(self, rule: Any) -> str:
        """The name of a step, empty if there is none."""
        if rule is None:
            return ""
        kind = rule.get("type") if isinstance(rule, dict) else None
        if not isinstance(kind, str):
            raise CheckpointError(f"{self._file.path}: {_shown(rule)} has no type")
        return kind

    def _unsupported(self, what: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"{self._file.path}: {what} is not supported")


def _marks_words(rule: Any) -> bool:
    """Whether a step puts a space in front of every word and text, and cuts there."""
    if not isinstance(rule, dict) or rule.get("type") != "Metaspace":
        return False
    usual = "always" if rule.get("add_prefix_space", True) else "never"
    return (
        rule.get("replacement") == _SPACE
        and rule.get("prepend_scheme", usual) == "always"
        and rule.get("split", True) is True
    )


def _shown(rule: Any) -> str:
    return str(rule)[:100]
