"""What options cost: the time of translations with an option against those with none.

The cases take turns on the same sentences in one process; a row shows the median of the rounds'
ratios and their quartiles. With --against, the same calls run in another environment that holds
another version of the package, so that "nothing set" is compared with that version as well.

    python bench/option_costs.py --newstest newstest2014.de.gz --shape base --compute-type int8
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LENGTH = 32
SOURCE_TOKENS = 30

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "return_scores": {"return_scores": True},
    "return_attention": {"return_attention": True},
    "repetition_penalty": {"repetition_penalty": 1.2},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 3},
    "suppress_sequences": {"suppress_sequences": [[5, 6], [7]]},
    "disable_unk": {"disable_unk": True},
    "coverage_penalty": {"coverage_penalty": 0.2},
}

Run = Callable[[int, dict[str, Any]], float]


def translator_run(model: str, compute_type: str, lines: list[str]) -> Run:
    """Seconds of one round over the sentences, one at a time."""
    import pytransformer

    translator = pytransformer.Translator(model, compute_type=compute_type, intra_threads=1)
    encode = translator._model.tokenizer.encode
    sources = [encode(line)[:SOURCE_TOKENS] for line in lines]

    def run(beam_size: int, options: dict[str, Any]) -> float:
        start = time.perf_counter()
        for source in sources:
            translator.translate_batch(
                [source],
                beam_size=beam_size,
                min_decoding_length=LENGTH,
                max_decoding_length=LENGTH,
                **options,
            )
        return time.perf_counter() - start

    return run


def serve(model: str, compute_type: str) -> None:
    """Runs rounds that the parent asks for on stdin."""
    run = translator_run(model, compute_type, json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(run(int(line), {}), flush=True)


@contextmanager
def other_version(
    interpreter: str, path: str | None, model: str, compute_type: str, lines: list[str]
) -> Iterator[Run]:
    """A process of another environment that runs the same rounds."""
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    command = [interpreter, __file__, "--serve", model, "--compute-type", compute_type]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(lines) + "\n")

        def run(beam_size: int, _: dict[str, Any]) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{beam_size}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield run
        process.stdin.close()


def measure(
    runs: dict[str, tuple[Run, dict[str, Any]]], beam_size: int, rounds: int
) -> dict[str, tuple[float, list[float]]]:
    """Median seconds and ratios to "nothing", by name; the order turns from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds + 1):
        names = list(runs)
        names = names[index % len(names) :] + names[: index % len(names)]
        for name in names:
            run, options = runs[name]
            seconds[name].append(run(beam_size, options))
    base = seconds["nothing"]
    return {
        name: (
            statistics.median(values[1:]),
            [value / own for value, own in zip(values[1:], base[1:], strict=True)],
        )
        for name, values in seconds.items()
    }


def show(beam_size: int, results: dict[str, tuple[float, list[float]]], sentences: int) -> None:
    print(f"\nbeam size {beam_size}, one sentence at a time")
    print(f"{'':<24}{'ms per token':>14}{'times':>9}{'quartiles':>18}")
    for name, (seconds, ratios) in results.items():
        per_token = 1000 * seconds / (sentences * LENGTH)
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:<24}{per_token:>14.3f}{middle:>9.3f}{low:>10.3f} -{high:>6.3f}")


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--newstest", type=Path, help="lines of source text (.gz)")
    parser.add_argument("--model", help="a model; by default a random one of --shape")
    parser.add_argument("--shape", default="base", help="base, base32k or tiny")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--sentences", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES), help="which, with commas between")
    parser.add_argument("--against", metavar="PYTHON", help="an environment's interpreter")
    parser.add_argument("--against-path", metavar="FOLDER", help="its PYTHONPATH")
    parser.add_argument("--serve", metavar="MODEL", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = arguments_of(argv)
    if arguments.serve is not None:
        serve(arguments.serve, arguments.compute_type)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            from pytransformer.benchmark.random_checkpoint import SHAPES, write_checkpoint

            write_checkpoint(SHAPES[arguments.shape], Path(folder))
            model = folder
        with gzip.open(arguments.newstest, "rt", encoding="utf-8") as file:
            lines = [line.strip() for line in file][: arguments.sentences]
        own = translator_run(model, arguments.compute_type, lines)
        names = ["nothing", *(n for n in arguments.cases.split(",") if n != "nothing")]
        runs = {name: (own, CASES[name]) for name in names}
        if arguments.against is None:
            compare(runs, arguments)
            return
        with other_version(
            arguments.against, arguments.against_path, model, arguments.compute_type, lines
        ) as other:
            compare({**runs, "the other version": (other, {})}, arguments)


def compare(runs: dict[str, tuple[Run, dict[str, Any]]], arguments: argparse.Namespace) -> None:
    for beam_size in (1, 4):
        results = measure(runs, beam_size, arguments.rounds)
        show(beam_size, results, arguments.sentences)


if __name__ == "__main__":
    main()
