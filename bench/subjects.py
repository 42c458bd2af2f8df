"""The random models that engines are compared on, and what each engine reads of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from peers.engine import make_once
from pytransformer.benchmark.random_checkpoint import SHAPES, write_checkpoint
from random_ctranslate2 import VOCABULARIES

STUDENT = "student"
NAMES = (*SHAPES, *VOCABULARIES, STUDENT)


def vocab_size(name: str) -> int:
    """How many pieces "▁0", "▁1", … and special tokens there are."""
    if name == STUDENT:
        from marian_student import VOCABULARY

        return VOCABULARY
    return SHAPES[name].vocab_size if name in SHAPES else VOCABULARIES[name]


def prepare(name: str, number_format: str, root: Path, peers: Collection[str]) -> Path:
    """Writes into `root` what the engines read, and returns what pytransformer opens.

    That is a Hugging Face directory, of which each peer makes what it needs; CTranslate2's own
    directory for the sizes of other families; or the student's file of Marian.
    """
    if name == STUDENT:
        from marian_student import write_student

        make_once(root / "marian", write_student)
        return root / "marian" / ("model.npz" if number_format == "float32" else "model.int8.bin")
    if name in VOCABULARIES:
        from random_ctranslate2 import write_ctranslate2

        path = root / f"ctranslate2-{number_format}"
        make_once(path, lambda out: write_ctranslate2(name, number_format, out))
        return path
    checkpoint = root / "huggingface"
    make_once(checkpoint, lambda out: write_checkpoint(SHAPES[name], out))
    if {"marian", "bergamot"} & set(peers):
        from marian_model import write_marian

        make_once(root / "marian", lambda out: write_marian(checkpoint, out))
    return checkpoint
