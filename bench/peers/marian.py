"""Marian (the package pymarian) on what `marian_model.py` writes.

A format is float32 or one that `pymarian convert` makes, such as intgemm8 or packed16; packed8 is
packed8avx512 or packed8avx2, by the processor. There are no threads within a sentence: each thread
translates batches of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pymarian

from peers.engine import (
    Engine,
    Request,
    Settings,
    batches_by_length,
    length_factor,
    make_once,
)


class Marian(Engine[list[str]]):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._format = _full_name(settings.format)
        self._model = _converted(settings.models / "marian" / "model.npz", self._format)
        self._translator = cache(self._open)

    @property
    def version(self) -> str:
        return f"{version('pymarian')} {self._format}"

    def prepare(self, request: Request) -> Callable[[], list[str]]:
        translator = self._translator(request.beam_size == 1)
        lines = [" ".join(token[1:] for token in tokens) for tokens in request.sentences]
        share = -(-len(lines) // self._settings.threads)
        batch_size = min(request.batch_size, share)
        batches = [
            [len(request.sentences[i]) + 1 for i in batch]
            for batch in batches_by_length(request.sentences, batch_size)
        ]
        options = {
            "beam-size": request.beam_size,
            "mini-batch": batch_size,
            "max-length-factor": length_factor(request.length, batches),
        }
        return lambda: translator.translate(lines, **options)

    def outputs(self, raw: list[str]) -> list[list[str]]:
        return [line.split() for line in raw]

    def _open(self, greedy: bool) -> pymarian.Translator:
        vocabulary = self._settings.models / "marian" / "vocab.spm"
        # Greedy search needs no softmax; beam search does.
        return pymarian.Translator(
            f"--models {self._model} --vocabs {vocabulary} {vocabulary} --quiet --no-spm-decode "
            f"--cpu-threads {self._settings.threads} --maxi-batch 100 --maxi-batch-sort src "
            f"{'--skip-cost' if greedy else ''}"
        )


def _full_name(number_format: str) -> str:
    if number_format != "packed8":
        return number_format
    wide = "avx512bw" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "packed8avx512" if wide else "packed8avx2"


def _converted(source: Path, number_format: str) -> Path:
    if number_format == "float32":
        return source
    target = source.with_name(f"model.{number_format}.bin")
    command = [sys.executable, "-m", "pymarian", "convert", "--gemm-type", number_format]
    make_once(
        target,
        lambda out: subprocess.run([*command, "--from", source, "--to", out], check=True),
    )
    return target


open_engine = Marian
