"""pytransformer against CTranslate2 on the same random model and sentences, interleaved in one run.

Every round times both engines once, one after the other, so that a change of the machine's speed
meets both; the table gives the medians over the rounds and the median of the rounds' ratios with
its quartiles.

    python bench/compare_ctranslate2.py --newstest newstest2014.de.gz --shape base --threads 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ctranslate2

import pytransformer
from pytransformer.benchmark.random_checkpoint import SHAPES, random_sentences, write_checkpoint
from pytransformer.benchmark.workload import read_lines, token_counts

# Sentences of these lengths, in tokens, are used.
LEAST, MOST = 20, 60

# Translates a batch with a beam of some width.
Engine = Callable[[Sequence[list[str]], int], None]


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    batch: int
    beam_size: int


@dataclass(frozen=True)
class Result:
    """Medians over the rounds, and the median of the rounds' ratios with its quartiles."""

    case: str
    pytransformer_s: float
    ctranslate2_s: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    rounds: int


CASES = (
    Case("one sentence, greedy", 1, 1),
    Case("one sentence, beam 4", 1, 4),
    Case("64 sentences, greedy", 64, 1),
    Case("64 sentences, beam 4", 64, 4),
)


def ours(path: Path, threads: int, compute_type: str, length: int) -> Engine:
    translator = pytransformer.Translator(path, intra_threads=threads, compute_type=compute_type)
    return lambda batch, beam_size: run(translator, list(batch), beam_size, length)


def peer(path: Path, threads: int, compute_type: str, length: int) -> Engine:
    translator = ctranslate2.Translator(
        str(path), device="cpu", intra_threads=threads, inter_threads=1, compute_type=compute_type
    )

    def translate(batch: Sequence[list[str]], beam_size: int) -> None:
        run(translator, [[*tokens, "</s>"] for tokens in batch], beam_size, length)

    return translate


def run(translator: Any, batch: list[list[str]], beam_size: int, length: int) -> None:
    """The call is the same in both engines."""
    results = translator.translate_batch(
        batch,
        beam_size=beam_size,
        max_decoding_length=length,
        min_decoding_length=length,
        max_batch_size=64,
    )
    assert all(len(result.hypotheses[0]) == length for result in results)


def seconds(engine: Engine, batch: Sequence[list[str]], beam_size: int) -> float:
    start = time.perf_counter()
    engine(batch, beam_size)
    return time.perf_counter() - start


def compare(
    case: Case, engines: tuple[Engine, Engine], texts: list[list[str]], rounds: int
) -> Result:
    """Times both engines in turn; one warm-up round is not counted."""
    pairs: list[tuple[float, float]] = []
    for i in range(rounds + 1):
        first = i * case.batch % max(1, len(texts) - case.batch + 1)
        batch = texts[first : first + case.batch]
        a, b = (seconds(engine, batch, case.beam_size) for engine in engines)
        if i > 0:
            pairs.append((a, b))
    ratios = sorted(b / a for a, b in pairs)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return Result(
        case.name,
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        (quartiles[0], quartiles[2]),
        rounds,
    )


def sentences(text: Path, vocab_size: int, count: int) -> list[list[str]]:
    """Random tokens, as many as the text's lines have."""
    lengths = [length for length in token_counts(read_lines(text)) if LEAST <= length <= MOST]
    return random_sentences([lengths[i % len(lengths)] for i in range(count)], vocab_size)


def convert(checkpoint: Path, out: Path, compute_type: str) -> None:
    quantization = None if compute_type == "float32" else compute_type
    converter = ctranslate2.converters.TransformersConverter(str(checkpoint))
    converter.convert(str(out), quantization=quantization, force=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--newstest", type=Path, required=True, help="gzipped source sentences")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="base")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--length", type=int, default=32, help="forced tokens a sentence")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", default=None, help="numbers of the cases to run, as 0,2")
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps the models")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shape = SHAPES[arguments.shape]
    with tempfile.TemporaryDirectory() as temporary:
        root = (arguments.cache or Path(temporary)) / arguments.shape
        checkpoint = root / "huggingface"
        converted = root / f"ctranslate2-{arguments.compute_type}"
        if not (checkpoint / "vocab.json").exists():
            write_checkpoint(shape, checkpoint)
        if not (converted / "model.bin").exists():
            convert(checkpoint, converted, arguments.compute_type)
        texts = sentences(arguments.newstest, shape.vocab_size, 64)
        engines = (
            ours(checkpoint, arguments.threads, arguments.compute_type, arguments.length),
            peer(converted, arguments.threads, arguments.compute_type, arguments.length),
        )
        picked = range(len(CASES))
        if arguments.cases is not None:
            picked = [int(i) for i in arguments.cases.split(",")]
        rows = [compare(CASES[i], engines, texts, arguments.rounds) for i in picked]
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print(
        f"{arguments.shape} {arguments.compute_type}, {arguments.threads} thread(s), "
        f"{arguments.length} tokens a sentence, {arguments.rounds} rounds"
    )
    print(f"{'':24}{'pytransformer':>14}{'CTranslate2':>14}{'times as fast':>16}")
    for i, row in zip(picked, rows, strict=True):
        tokens = arguments.length * CASES[i].batch
        ours_s, peer_s = row.pytransformer_s, row.ctranslate2_s
        low, high = row.ratio_quartiles
        if CASES[i].batch == 1:
            figures = f"{1000 * ours_s / tokens:10.2f} ms {1000 * peer_s / tokens:11.2f} ms"
        else:
            figures = f"{tokens / ours_s:8.0f} tok/s {tokens / peer_s:7.0f} tok/s"
        print(f"{CASES[i].name:24}{figures}   {row.ratio:6.2f}  ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
