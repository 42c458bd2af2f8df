"""The engine under test and the interface that it shares with those it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytransformer
from pytransformer.benchmark.workload import Batch
from pytransformer.errors import PytransformerError
from pytransformer.options import TranslationOptions


class Engine(Protocol):
    """An engine with a model open."""

    @property
    def compute_type(self) -> str:
        """The number format of its weights."""

    def translate(self, batch: Batch, options: TranslationOptions) -> list[list[str]]:
        """The tokens of the best translation of each sentence, start and end token left out.

        The whole batch is translated at once. Where the options allow only one length, every
        translation has it.
        """


# Opens the model. This is timed, so what an engine needs once is done before.
Opener = Callable[[], Engine]


class PeerError(PytransformerError):
    """A peer cannot run this model in this way."""


@dataclass(frozen=True)
class PeerModel:
    """What a peer is asked to run.

    Attributes:
        directory: a Hugging Face directory.
        cache: a folder where a peer may keep what it makes of it.
        compute_type: the number format to compute in, one of pytransformer's names. A peer that
            lacks it may compute in another; its `compute_type` says so.
        threads: how many threads to use.
    """

    directory: Path
    cache: Path
    compute_type: str
    threads: int


@dataclass(frozen=True)
class Ours:
    """pytransformer as an :class:`Engine`."""

    translator: pytransformer.Translator

    @property
    def compute_type(self) -> str:
        return self.translator.compute_type

    def translate(self, batch: Batch, options: TranslationOptions) -> list[list[str]]:
        results = self.translator.translate_batch(
            batch,
            beam_size=options.beam_size,
            length_penalty=options.length_penalty,
            early_stopping=options.early_stopping,
            min_decoding_length=options.min_decoding_length,
            max_decoding_length=options.max_decoding_length,
            max_batch_size=len(batch),
        )
        return [result.hypotheses[0] for result in results]


@dataclass(frozen=True)
class PrepareOurs:
    """Says how to open a model; a class, so that it can be sent to another process."""

    model: str | None
    compute_type: str
    threads: int

    def __call__(self) -> Callable[[], Ours]:
        """Nothing needs to be done before."""
        return self.open

    def open(self) -> Ours:
        """Opens it."""
        translator = pytransformer.Translator(
            self.model, compute_type=self.compute_type, intra_threads=self.threads
        )
        return Ours(translator)
