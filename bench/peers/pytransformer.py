"""pytransformer itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytransformer
from peers.engine import Engine, Request, Settings


class PyTransformer(Engine[Any]):
    def __init__(self, settings: Settings) -> None:
        self._translator = pytransformer.Translator(
            settings.checkpoint,
            compute_type=settings.format,
            inter_threads=settings.inter_threads,
            intra_threads=settings.intra_threads,
        )

    @property
    def version(self) -> str:
        return f"{pytransformer.__version__} {self._translator.isa}"

    def prepare(self, request: Request) -> Callable[[], Any]:
        return lambda: self._translator.translate_batch(
            request.sentences,
            beam_size=request.beam_size,
            min_decoding_length=request.length,
            max_decoding_length=request.length,
            max_batch_size=request.batch_size,
        )

    def outputs(self, raw: Any) -> list[list[str]]:
        return [result.hypotheses[0] for result in raw]


open_engine = PyTransformer
