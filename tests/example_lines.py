"""Lines that every example translates, and what Python makes of them."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytransformer
from bundled import corpus
from pytransformer.model_files import BUNDLED_MODEL

COUNT = 1000
TARGET = "en"
COMPUTE_TYPES = ("float32", "int8")
BEAM_SIZES = (1, 4)

Scored = list[tuple[str, str]]  # text, and score as a hexadecimal number

# What corpora do not hold.
_ODD = (
    "",
    "   \t ",
    "Ärger über öffentliche Übermaße: „Fuß“ – naïve Größe …",
    "e\u0301tude, A\u030angstro\u0308m, \ufb01nal",  # not composed, and ligatures
    "Ein Hund 🐕 läuft 中文 اللغة durch den Schnee.",
    "  zwei  Leerzeichen   hintereinander  ",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnungsentwurf",
    "Ein Mann geht und geht " + "und geht " * 60 + "nach Hause.",
)


def real_lines(shared_data: Path) -> list[str]:
    """A thousand lines of all corpora, short, long, blank and odd ones, in one stable order."""
    lines = list(_ODD)
    for name, count in (("multi30k/test_2016_flickr", 450), ("newstest/newstest2014", 200)):
        lines += corpus(shared_data, name, count)[0]
    lines += corpus(shared_data, "tatoeba/val")[0]
    lines = lines[:COUNT]
    assert len(lines) == COUNT
    # Kinds alternate, as in no corpus: 7 and the count have no common factor.
    return [lines[i * 7 % COUNT] for i in range(COUNT)]


def stored_as(compute_type: str, directory: Path) -> Path:
    """The bundled model in a compute type, as the command line converts it."""
    path = directory / f"{compute_type}.safetensors"
    words = ["convert", "--compute-type", compute_type, str(BUNDLED_MODEL), str(path)]
    subprocess.run(
        [sys.executable, "-m", "pytransformer", *words],
        check=True,
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    return path


def by_python(compute_type: str, lines: list[str], beam_size: int) -> Scored:
    """What the translator of Python gives, converting by itself."""
    return _by_python(compute_type, tuple(lines), beam_size)


@functools.cache
def _by_python(compute_type: str, lines: tuple[str, ...], beam_size: int) -> Scored:
    translator = pytransformer.Translator(BUNDLED_MODEL, compute_type=compute_type)
    found = translator.translate_n_best(lines, tgt_lang=TARGET, beam_size=beam_size)
    return [(best.text, best.score.hex()) for best, *_ in found]
