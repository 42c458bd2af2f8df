"""pytransformer itself."""

from __future__ import annotations

from typing import Any

import pytransformer
from peers.engine import Settings, TranslateBatchEngine


class PyTransformer(TranslateBatchEngine):
    def __init__(self, settings: Settings) -> None:
        self.translator = pytransformer.Translator(
            settings.checkpoint,
            compute_type=settings.format,
            inter_threads=settings.inter_threads,
            intra_threads=settings.intra_threads,
            **self._shortlist(settings),
        )

    @staticmethod
    def _shortlist(settings: Settings) -> dict[str, Any]:
        if not settings.shortlist:
            return {}
        from marian_student import BEST, FIRST

        path = settings.models / "marian" / "lex.bin"
        return {"shortlist": path, "shortlist_first": FIRST, "shortlist_best": BEST}

    @property
    def version(self) -> str:
        return f"{pytransformer.__version__} {self.translator.isa}"


open_engine = PyTransformer
