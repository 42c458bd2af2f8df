"""What the bundled model loses in smaller number formats: on the whole, next to nothing."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import sacrebleu

import pytransformer
from bundled import bundled_model, corpus

# BLEU may change by so much, and so many lines must stay the same, on any instruction set. A few
# changed words move BLEU up and down by a tenth.
LIMITS = {"bfloat16": (0.15, 0.94), "int8": (0.3, 0.84), "int4": (1.0, 0.38)}


@functools.cache
def translations(
    shared_data: Path, compute_type: str, target: str, beam_size: int
) -> tuple[list[str], float]:
    """Of the whole test set, and their BLEU."""
    german, english = corpus(shared_data, "multi30k/test_2016_flickr")
    source, reference = (german, english) if target == "en" else (english, german)
    translator = pytransformer.Translator(
        bundled_model(), compute_type=compute_type, intra_threads=1
    )
    assert translator.compute_type == compute_type
    found = translator.translate(source, tgt_lang=target, beam_size=beam_size)
    return found, sacrebleu.corpus_bleu(found, [reference]).score


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("target", ["en", "de"])
@pytest.mark.parametrize("compute_type", LIMITS)
def test_quality(shared_data: Path, compute_type: str, target: str, beam_size: int) -> None:
    most, least = LIMITS[compute_type]
    plain, expected = translations(shared_data, "float32", target, beam_size)
    found, bleu = translations(shared_data, compute_type, target, beam_size)
    assert abs(bleu - expected) <= most
    equal = sum(a == b for a, b in zip(found, plain, strict=True)) / len(plain)
    assert least <= equal < 1
