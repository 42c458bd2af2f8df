"""pytransformer against other engines on the same random model and sentences, in one run.

Every round times all engines, one after the other and in another order each time, so that a change
of the machine's speed meets all of them; the table gives medians over the rounds, and how many
times as fast as the peer pytransformer is: the median of the rounds' ratios with its quartiles.
Every translation is as long as `--length` says. Each engine has a process of its own.

    python bench/compare_engines.py --newstest newstest2014.de.gz --shape base --threads 1

CTranslate2 and transformers run in this interpreter's environment (`pip install ".[bench,test]"`).
The others need interpreters of their own, whose paths are arguments:

    python3.11 -m venv ort && ort/bin/pip install torch==2.13.0 "optimum-onnx[onnxruntime]"
    python3.11 -m venv marian && marian/bin/pip install pymarian
    python3.10 -m venv bergamot && bergamot/bin/pip install bergamot
    python bench/compare_engines.py ... --python-onnxruntime ort/bin/python \
        --python-marian marian/bin/python --python-bergamot bergamot/bin/python

`--peers` picks engines, and number formats other than the usual ones of the compute type:
`--peers ctranslate2,bergamot:int8shift`. `--corpus` measures throughput over a whole text, with
`--threads` workers, each engine with the batch size that suits it best.

What to know when reading the tables:

- Marian and Bergamot limit a batch's length by its longest sentence. With several batches at a
  time (more than one thread, or a corpus) lengths differ, and have the right mean. All figures are
  per token.
- Their position table is not quite that of transformers, so a few of their tokens may differ.
- Their float32 goes through MKL, whose product of a matrix and a vector is slow on AMD processors.
- Marian's int8 leaves the output layer in float32. Both use one thread for one sentence.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import subjects
from engine_rounds import Result, Unit, best_batch_sizes, measure
from peer_process import PeerError, PeerProcess
from peers.engine import Request, Settings
from pytransformer.benchmark.random_checkpoint import random_sentences
from pytransformer.benchmark.workload import read_lines, token_counts

OURS = "pytransformer"

# Sentences of these lengths, in tokens, are used for the cases.
LEAST, MOST = 20, 60

# What each peer offers for a compute type of pytransformer.
FORMATS: dict[str, dict[str, tuple[str, ...]]] = {
    # Beside itself in another format, if `--peers` says so: pytransformer:int8.
    OURS: {},
    "ctranslate2": {"float32": ("float32",), "int8": ("int8",)},
    "transformers": {"float32": ("float32",), "bfloat16": ("bfloat16",)},
    "onnxruntime": {"float32": ("float32",), "int8": ("int8",)},
    # Its own int8 leaves the output layer in float32.
    "marian": {"float32": ("float32",), "int8": ("packed8",)},
    "bergamot": {"float32": ("float32",), "int8": ("int8shiftAll", "int8shiftAlphaAll")},
}
# In interpreters of their own.
ELSEWHERE = ("onnxruntime", "marian", "bergamot")


@dataclass(frozen=True)
class Case:
    """One table; `length` stands for `--length` where it is None."""

    name: str
    batch: int
    beam_size: int
    length: int | None = None


CASES = (
    Case("one sentence, greedy", 1, 1),
    Case("one sentence, beam 4", 1, 4),
    Case("64 sentences, greedy", 64, 1),
    Case("64 sentences, beam 4", 64, 4),
    Case("one sentence, encoder and first token", 1, 1, length=1),
)


def pick_peers(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Names and formats; without `--peers` all that have an interpreter and a format."""
    if arguments.peers is None:
        usable = [name for name in FORMATS if name not in ELSEWHERE or interpreter(arguments, name)]
        specs = [name for name in usable if arguments.compute_type in FORMATS[name]]
    else:
        specs = arguments.peers.split(",")
    picked = []
    for spec in specs:
        name, _, one = spec.partition(":")
        if name not in FORMATS:
            sys.exit(f"--peers: no engine {name}; there are {', '.join(FORMATS)}")
        if name in ELSEWHERE and not interpreter(arguments, name):
            sys.exit(f"--peers: {name} needs --python-{name}")
        formats = (one,) if one else FORMATS[name].get(arguments.compute_type, ())
        if not formats:
            sys.exit(f"--peers: say which format of {name}, as in {name}:int8")
        picked += [(name, each) for each in formats]
    return picked


def interpreter(arguments: argparse.Namespace, name: str) -> str | None:
    return getattr(arguments, f"python_{name}") if name in ELSEWHERE else sys.executable


@contextmanager
def opened(
    arguments: argparse.Namespace, root: Path, inter_threads: int, intra_threads: int
) -> Iterator[list[PeerProcess]]:
    """The engines in processes of their own, ours first."""
    with ExitStack() as stack:
        processes = []
        for name, number_format in [(OURS, arguments.compute_type), *pick_peers(arguments)]:
            settings = Settings(
                arguments.checkpoint,
                root,
                number_format,
                inter_threads,
                intra_threads,
                arguments.shortlist,
            )
            python = interpreter(arguments, name)
            assert python is not None
            processes.append(stack.enter_context(PeerProcess(name, python, settings)))
        yield processes


def run_cases(arguments: argparse.Namespace, root: Path) -> Iterator[Result]:
    lengths = [n for n in token_counts(read_lines(arguments.newstest)) if LEAST <= n <= MOST]
    texts = random_sentences(lengths[:64], subjects.vocab_size(arguments.shape))
    with opened(arguments, root, 1, arguments.threads) as engines:
        for case in arguments.cases:
            requests = [
                Request(batch, case.beam_size, case.length or arguments.length, 64)
                for batch in rotated(texts, case.batch, arguments.rounds + 1)
            ]
            unit = Unit.MILLISECONDS if case.batch == 1 else Unit.TOKENS_PER_SECOND
            # The first round warms up.
            measured = [[(engine, request) for engine in engines] for request in requests]
            yield measure(case.name, unit, measured, arguments.pause)


def rotated(texts: Sequence[list[str]], size: int, rounds: int) -> Iterator[list[list[str]]]:
    """Batches of `size`, other sentences in each round where there are enough."""
    for i in range(rounds):
        first = i * size % max(1, len(texts) - size + 1)
        yield list(texts[first : first + size])


def run_corpus(arguments: argparse.Namespace, root: Path) -> Iterator[Result]:
    """Throughput over all sentences, each worker on one thread."""
    lengths = token_counts(read_lines(arguments.corpus, arguments.corpus_limit))
    texts = random_sentences(lengths, subjects.vocab_size(arguments.shape))
    request = Request(texts, 1, arguments.length, 64)
    with opened(arguments, root, arguments.threads, 1) as engines:
        sizes = best_batch_sizes(engines, request)
        requests = [
            (engine, replace(request, batch_size=size))
            for engine, size in zip(engines, sizes, strict=True)
        ]
        name = f"{len(texts)} sentences, greedy, batches of {', '.join(map(str, sizes))}"
        rounds = [requests] * (arguments.corpus_rounds + 1)
        yield measure(name, Unit.TOKENS_PER_SECOND, rounds, arguments.pause)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--newstest", type=Path, help="gzipped source sentences, for the cases")
    parser.add_argument("--corpus", type=Path, help="gzipped text, for throughput")
    parser.add_argument("--corpus-limit", type=int, help="the first sentences of it only")
    parser.add_argument("--corpus-rounds", type=int, default=3)
    parser.add_argument("--shape", choices=subjects.NAMES, default="base")
    parser.add_argument(
        "--shortlist", action="store_true", help="with the student's shortlist of some 1,000 tokens"
    )
    parser.add_argument("--compute-type", default="float32", help="of pytransformer")
    parser.add_argument("--peers", help="engines, as ctranslate2,bergamot:int8shift")
    for name in ELSEWHERE:
        parser.add_argument(f"--python-{name}", help="interpreter that has it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--length", type=int, default=32, help="forced tokens a sentence")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", default=None, help="numbers of the cases to run, as 0,2")
    parser.add_argument(
        "--pause", type=float, help="seconds before each call; 0.3 with several threads, else 0"
    )
    parser.add_argument("--cache", type=Path, help="folder that keeps the models")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.newstest is None and arguments.corpus is None:
        parser.error("one of --newstest and --corpus is needed")
    numbers = range(len(CASES)) if arguments.cases is None else arguments.cases.split(",")
    arguments.cases = [CASES[int(i)] for i in numbers]
    if arguments.pause is None:
        # Threads of a pool go on spinning for a while after a call.
        arguments.pause = 0.3 if arguments.threads > 1 else 0.0
    return arguments


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        root = (arguments.cache or Path(temporary)).resolve() / arguments.shape
        root.mkdir(parents=True, exist_ok=True)
        peers = {name for name, _ in pick_peers(arguments)}
        arguments.checkpoint = subjects.prepare(
            arguments.shape, arguments.compute_type, root, peers
        )
        if not arguments.json:
            print(
                f"{arguments.shape} {arguments.compute_type}, {arguments.threads} thread(s), "
                f"{arguments.length} tokens a sentence; "
                f"x: the peer's time per token divided by {OURS}'s (quartiles)"
            )
        results = []
        runs = ((arguments.newstest, run_cases), (arguments.corpus, run_corpus))
        try:
            for result in chain.from_iterable(run(arguments, root) for text, run in runs if text):
                results.append(result)
                if not arguments.json:
                    print(f"\n{result}", flush=True)
        except PeerError as error:
            sys.exit(str(error))
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))


if __name__ == "__main__":
    main()
