"""Bergamot on what `marian_model.py` writes.

A format is a value of its gemm-precision: float32, int8shiftAll, int8shiftAlphaAll and others. It
has no threads within a sentence: each worker translates batches of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

from peers.engine import Engine, Request, Settings, length_factor

# The longest sentence that stays whole.
MAX_LENGTH = 512


def _extension() -> Any:
    """The package's C++ part alone: the Python around it asks servers for lists of models."""
    package = find_spec("bergamot")
    if package is None:
        raise ImportError("this interpreter has no package bergamot")
    spec = PathFinder.find_spec("_bergamot", package.submodule_search_locations)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bergamot = _extension()


class Bergamot(Engine[Any]):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._service = bergamot.Service(
            bergamot.ServiceConfig(numWorkers=settings.threads, cacheSize=0, logLevel="off")
        )
        self._options = bergamot.ResponseOptions(
            qualityScores=False, alignment=False, HTML=False, sentenceMappings=False
        )
        # Beam size and length limit belong to a model; each holds all weights.
        self._model = lru_cache(maxsize=4)(self._open)

    @property
    def version(self) -> str:
        return f"{version('bergamot')} {self._settings.format}"

    def prepare(self, request: Request) -> Callable[[], Any]:
        widths = [len(tokens) + 1 for tokens in request.sentences]
        share = -(-len(widths) // self._settings.threads)
        words = _batch_words(widths, min(request.batch_size, share))
        factor = length_factor(request.length, _batches(widths, words))
        model = self._model(request.beam_size, factor, words)
        # One text whose lines are the sentences: texts of their own would not wait for each other
        # to fill a batch.
        lines = "\n".join(" ".join(token[1:] for token in s) for s in request.sentences)
        text = bergamot.VectorString([lines])
        return lambda: self._service.translate(model, text, self._options)[0]

    def outputs(self, raw: Any) -> list[list[str]]:
        target = raw.target
        sentences = [target.sentence(i) for i in range(target.numSentences())]
        return [[f"▁{word}" for word in sentence.split()] for sentence in sentences]

    def _open(self, beam_size: int, length_factor: float, batch_words: int) -> Any:
        """Greedy search needs no softmax, so no cost."""
        folder = self._settings.models / "marian"
        vocabulary = folder / "vocab.spm"
        names = {"float32": "model.npz", "int8shiftAlphaAll": "model.int8-alphas.bin"}
        model = self._service.modelFromConfig(
            f"""
            models: [{folder / names.get(self._settings.format, "model.int8.bin")}]
            vocabs: [{vocabulary}, {vocabulary}]
            {self._shortlist(folder)}
            beam-size: {beam_size}
            normalize: 0
            word-penalty: 0
            max-length-break: {MAX_LENGTH}
            max-length-factor: {length_factor}
            mini-batch-words: {max(batch_words, int(MAX_LENGTH * length_factor) + 1)}
            workspace: 256
            gemm-precision: {self._settings.format}
            skip-cost: {str(beam_size == 1).lower()}
            ssplit-mode: sentence
            cpu-threads: 0
            quiet: true
            quiet-translation: true
            """
        )
        # A model becomes ready in each worker at its first sentence.
        lines = bergamot.VectorString(["1 2 3"] * 4 * self._settings.threads)
        self._service.translate(model, lines, self._options)
        return model

    def _shortlist(self, folder: Path) -> str:
        return f"shortlist: [{folder / 'lex.bin'}, false]" if self._settings.shortlist else ""


def _batch_words(widths: list[int], size: int) -> int:
    """The least size in words, padding included, that makes as few batches as `size` sentences."""
    wanted = -(-len(widths) // size)
    sizes = range(max(widths), max(widths) * len(widths))
    return max(widths) + bisect_left(sizes, True, key=lambda n: len(_batches(widths, n)) <= wanted)


def _batches(widths: list[int], words: int) -> list[list[int]]:
    """The sentences' lengths, batched as Bergamot does: the shortest first."""
    batches: list[list[int]] = []
    for width in sorted(widths):
        if not batches or (len(batches[-1]) + 1) * width > words:
            batches.append([])
        batches[-1].append(width)
    return batches


open_engine = Bergamot
