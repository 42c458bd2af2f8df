"""What CTranslate2 4.8.5 gives for small random models; `python ctranslate2_records.py` records it.

The records stand in for the program where it is not installed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from ctranslate2_models import VARIANTS, Variant, write_model

FILE = Path(__file__).with_name("ctranslate2_records.json")
TYPES = ("float32", "int8", "int16", "float16", "bfloat16")
# Each in float32, one of them in all types.
CASES = [(name, "float32") for name in VARIANTS] + [("post_norm", kind) for kind in TYPES[1:]]

Record = dict[str, list[Any]]


def sentences(variant: Variant) -> tuple[list[list[str]], list[list[str]]]:
    """Sources and targets of several lengths."""
    source, target = ("", "") if variant.shared else ("s", "t")
    sources = [[f"{source}{(5 * i + k) % 16}" for i in range(1 + 4 * k)] for k in range(3)]
    targets = [[f"{target}{(3 * i + k) % 15}" for i in range(9 - 4 * k)] for k in range(3)]
    return sources, targets


def run(module: Any, path: Path, variant: Variant) -> Record:
    """What a module with CTranslate2's interface gives for a model."""
    translator = module.Translator(str(path), compute_type="float32", intra_threads=1)
    sources, targets = sentences(variant)
    scored = translator.score_batch(sources, targets)
    greedy = translator.translate_batch(
        sources, beam_size=1, max_decoding_length=8, return_attention=True
    )
    return {
        "log_probs": [result.log_probs for result in scored],
        "greedy": [result.hypotheses[0] for result in greedy],
        "attention": [result.attention[0][0] for result in greedy],
    }


def read_records() -> dict[str, Record]:
    """The records by `variant/type`."""
    records: dict[str, Record] = json.loads(FILE.read_text())
    return records


def main() -> None:
    """Writes the records."""
    import ctranslate2

    records = {}
    for name, kind in CASES:
        with tempfile.TemporaryDirectory() as directory:
            path = write_model(Path(directory), VARIANTS[name], kind)
            records[f"{name}/{kind}"] = run(ctranslate2, path, VARIANTS[name])
    FILE.write_text(json.dumps(_rounded(records), separators=(",", ":")).replace("},", "},\n"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
