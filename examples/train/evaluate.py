"""sacreBLEU of an exported folder, translated with `transformers`: raw text, 13a, cased."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import sacrebleu
import torch
from transformers import MarianMTModel, MarianTokenizer

from data import LANGUAGES, read_pairs

SETS = (("multi30k", "test_2016_flickr"), ("tatoeba", "val"))


@torch.inference_mode()
def translate(
    model: Any, tokenizer: Any, sentences: list[str], target_language: str, beams: int
) -> list[str]:
    """Translations in the order of `sentences`; sentences of similar length go together."""
    prefix = f">>{target_language}<<"
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    result = [""] * len(sentences)
    for start in range(0, len(order), 50):
        part = order[start : start + 50]
        texts = [f"{prefix} {sentences[index]}" for index in part]
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        output = model.generate(**inputs, num_beams=beams, max_length=128)
        decoded = tokenizer.batch_decode(output, skip_special_tokens=True)
        for index, text in zip(part, decoded, strict=True):
            result[index] = text
    return result


def evaluate(folder: Path, data: Path, beams: list[int], limit: int | None) -> dict[str, Any]:
    """BLEU by set, direction and number of beams."""
    model = MarianMTModel.from_pretrained(folder)
    model.train(False)
    tokenizer = MarianTokenizer.from_pretrained(folder)
    scores: dict[str, Any] = {}
    for corpus, split in SETS:
        pairs = read_pairs(data, corpus, split)[:limit]
        sides = {"de": [pair.de for pair in pairs], "en": [pair.en for pair in pairs]}
        for source_language, target_language in (LANGUAGES, LANGUAGES[::-1]):
            for count in beams:
                started = time.monotonic()
                hypotheses = translate(
                    model, tokenizer, sides[source_language], target_language, count
                )
                metric = sacrebleu.BLEU()
                score = metric.corpus_score(hypotheses, [sides[target_language]])
                name = f"{corpus}/{split} {source_language}-{target_language} beam {count}"
                seconds = time.monotonic() - started
                print(f"{name}: {score.score:.2f} ({seconds:.0f} s)", flush=True)
                scores[name] = round(score.score, 2)
                scores["signature"] = str(metric.get_signature())
    return scores


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder written by export.py")
    parser.add_argument("--data", type=Path, required=True, help="holds multi30k/ and tatoeba/")
    parser.add_argument("--beams", type=int, nargs="+", default=[4, 1])
    parser.add_argument("--limit", type=int, help="evaluate the first sentences of a set only")
    parser.add_argument("--json", type=Path, help="write the scores to this file")
    arguments = parser.parse_args()
    scores = evaluate(arguments.model, arguments.data, arguments.beams, arguments.limit)
    if arguments.json:
        arguments.json.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
