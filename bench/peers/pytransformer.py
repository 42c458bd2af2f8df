"""pytransformer itself."""

from __future__ import annotations

import pytransformer
from peers.engine import Settings, TranslateBatchEngine


class PyTransformer(TranslateBatchEngine):
    def __init__(self, settings: Settings) -> None:
        self.translator = pytransformer.Translator(
            settings.checkpoint,
            compute_type=settings.format,
            inter_threads=settings.inter_threads,
            intra_threads=settings.intra_threads,
        )

    @property
    def version(self) -> str:
        return f"{pytransformer.__version__} {self.translator.isa}"


open_engine = PyTransformer
