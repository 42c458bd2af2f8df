"""Translations of the bundled model with their scores; `python recorded_translations.py` records.

Record anew where the bundled model is another one, or a change of the arithmetic is meant.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from bundled import GERMAN
from kernel_checks import same_bits_isas
from pytransformer import _native
from pytransformer.model_files import BUNDLED_MODEL, open_model
from random_models import run_search, search_options
from reference_formats import COMPUTE_TYPES

FILE = Path(__file__).with_name("recorded_translations.json")
BEAMS = (1, 4)

open_once = functools.cache(open_model)

# The text, and the bits of its score.
Translations = list[tuple[str, str]]


def translations(compute_type: str, isa: str, beam_size: int) -> Translations:
    """The best of each of some lines."""
    opened = open_once(BUNDLED_MODEL, compute_type)
    encode, decode = opened.tokenizer.encode_ids, opened.tokenizer.decode
    start = opened.generation.decoder_start_token_id
    options = search_options(
        start, beam_size=beam_size, num_hypotheses=beam_size, suppress_token_ids=[start]
    )
    engine = _native.Engine(opened.native, 1, 1, isa)
    sources = [encode(line, src_lang=None, tgt_lang="en") for line in GERMAN[:8]]
    best = [found[0] for found in run_search(engine, sources, options)]
    return [(decode(ids), np.float32(score).tobytes().hex()) for ids, score in best]


def read_records() -> dict[str, Translations]:
    """The recorded ones by compute type and width of the beam."""
    records = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: [(text, bits) for text, bits in lines] for name, lines in records.items()}


def main() -> None:
    """Records what the best instruction set gives."""
    records = {
        f"{compute_type} {beam_size}": translations(
            compute_type, same_bits_isas(compute_type)[-1], beam_size
        )
        for compute_type in COMPUTE_TYPES
        for beam_size in BEAMS
    }
    text = json.dumps(records, ensure_ascii=False, separators=(",", ":"))
    FILE.write_text(text.replace('],["', '],\n["') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
