"""What an engine is told, and what it can do."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

Raw = TypeVar("Raw")


@dataclass(frozen=True)
class Settings:
    """How to open an engine.

    `checkpoint` is what pytransformer opens, mostly a Hugging Face directory, `models` a folder for
    what an engine makes of it and keeps. `inter_threads` batches run at a time, each on
    `intra_threads` threads; an engine with only one of the two uses as many threads in all.
    `shortlist` asks for the lexical shortlist of the student (`marian_student.py`).
    """

    checkpoint: Path
    models: Path
    format: str
    inter_threads: int
    intra_threads: int
    shortlist: bool = False

    @property
    def threads(self) -> int:
        return self.inter_threads * self.intra_threads


@dataclass(frozen=True)
class Request:
    """Sentences as tokens without end token, each to be translated into `length` tokens."""

    sentences: list[list[str]]
    beam_size: int
    length: int
    batch_size: int


class Engine(ABC, Generic[Raw]):
    """One engine with one model; only the call that `prepare` gives is timed."""

    @property
    @abstractmethod
    def version(self) -> str:
        """What goes below the table: version, number format, instruction set."""

    @abstractmethod
    def prepare(self, request: Request) -> Callable[[], Raw]:
        """Brings the request into the form that the engine's own call takes."""

    @abstractmethod
    def outputs(self, raw: Raw) -> list[list[str]]:
        """The best hypothesis of each sentence, in the order of the request."""


class TranslateBatchEngine(Engine[Any]):
    """An engine whose call is CTranslate2's `translate_batch`; `end` is added to each sentence."""

    translator: Any
    end: tuple[str, ...] = ()

    def prepare(self, request: Request) -> Callable[[], Any]:
        sentences = [[*tokens, *self.end] for tokens in request.sentences]
        return lambda: self.translator.translate_batch(
            sentences,
            beam_size=request.beam_size,
            min_decoding_length=request.length,
            max_decoding_length=request.length,
            max_batch_size=request.batch_size,
        )

    def outputs(self, raw: Any) -> list[list[str]]:
        return [result.hypotheses[0] for result in raw]


def make_once(path: Path, make: Callable[[Path], object]) -> None:
    """Makes a file or a folder under another name first, so that none is left half written."""
    partial = path.with_name(f"partial-{path.name}")
    if not path.exists():
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        partial.rename(path)


def batches_by_length(sentences: Sequence[Sequence[str]], size: int) -> list[list[int]]:
    """Indices of the sentences, longest first, in batches; for engines that do not batch."""
    order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))
    return [order[i : i + size] for i in range(0, len(order), size)]


def length_factor(length: int, batches: Sequence[Sequence[int]]) -> float:
    """For engines whose limit is a multiple of a batch's longest sentence, rounded up.

    `batches` holds the sentences' lengths, end token included. With one batch the limit is exactly
    `length`, with several it is in the mean of the sentences.
    """
    total = sum(len(batch) * max(batch) for batch in batches)
    return (length - 0.5) * sum(map(len, batches)) / total
