"""CTranslate2; a format is one of its compute types, weights are stored in it."""

from __future__ import annotations

import ctranslate2

from peers.engine import Settings, TranslateBatchEngine, make_once


class CTranslate2(TranslateBatchEngine):
    end = ("</s>",)  # it adds none by itself

    def __init__(self, settings: Settings) -> None:
        path = settings.models / f"ctranslate2-{settings.format}"
        quantization = None if settings.format == "float32" else settings.format
        if not path.exists():
            converter = ctranslate2.converters.TransformersConverter(str(settings.checkpoint))
            make_once(path, lambda out: converter.convert(str(out), quantization=quantization))
        self.translator = ctranslate2.Translator(
            str(path),
            device="cpu",
            compute_type=settings.format,
            inter_threads=settings.inter_threads,
            intra_threads=settings.intra_threads,
        )

    @property
    def version(self) -> str:
        return f"{ctranslate2.__version__} {self.translator.compute_type}"


open_engine = CTranslate2
