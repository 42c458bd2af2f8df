"""CTranslate2; a format is one of its compute types, weights are stored in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ctranslate2

from peers.engine import Engine, Request, Settings, make_once


class CTranslate2(Engine[Any]):
    def __init__(self, settings: Settings) -> None:
        path = settings.models / f"ctranslate2-{settings.format}"
        quantization = None if settings.format == "float32" else settings.format
        converter = ctranslate2.converters.TransformersConverter(str(settings.checkpoint))
        make_once(path, lambda out: converter.convert(str(out), quantization=quantization))
        self._translator = ctranslate2.Translator(
            str(path),
            device="cpu",
            compute_type=settings.format,
            inter_threads=settings.inter_threads,
            intra_threads=settings.intra_threads,
        )

    @property
    def version(self) -> str:
        return f"{ctranslate2.__version__} {self._translator.compute_type}"

    def prepare(self, request: Request) -> Callable[[], Any]:
        # It adds no end token by itself.
        sentences = [[*tokens, "</s>"] for tokens in request.sentences]
        return lambda: self._translator.translate_batch(
            sentences,
            beam_size=request.beam_size,
            min_decoding_length=request.length,
            max_decoding_length=request.length,
            max_batch_size=request.batch_size,
        )

    def outputs(self, raw: Any) -> list[list[str]]:
        return [result.hypotheses[0] for result in raw]


open_engine = CTranslate2
