"""What an output layer for a list of tokens costs, with lists of several lengths.

    python bench/shortlist.py --shape tiny --compute-type int8 --threads 1

Greedy search, forced lengths, random weights. Each list holds the first 100 tokens, as shortlists
do by custom, and others that lie anywhere in the vocabulary. The first table is for one sentence at
a time: the time of a step, that of the output layer in it, and once for each sentence the time to
gather the weights of its list. The line below it is the straight line nearest to the output layer's
times. The second table is for 64 sentences together, each with a list of its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytransformer import _native
from pytransformer.benchmark.random_checkpoint import SHAPES, write_checkpoint
from pytransformer.model_files import OpenModel, open_model

SOURCE_TOKENS = 30
FIRST = 100
BATCH = 64
STAGES = ("decoder", "attention", "output", "search")


@dataclass(frozen=True)
class Row:
    """Medians over the rounds, in microseconds; `tokens` is None for the whole vocabulary."""

    tokens: int | None
    step: float
    output: float
    gathering: float  # for each sentence


class Bench:
    """A model and an engine, and what the rounds draw."""

    def __init__(self, opened: OpenModel, threads: int, length: int, rounds: int) -> None:
        self.vocab_size = opened.spec.decoder.vocab_size
        self._engine = _native.Engine(opened.native, 1, threads, "")
        self._start = opened.generation.decoder_start_token_id
        self._end = opened.generation.end_token_id
        self._length = length
        self._rounds = rounds
        self._rng = np.random.default_rng(0)

    def measure(self, sentences: int, lengths: Sequence[int | None]) -> list[Row]:
        """Lists of all lengths take turns; the first round warms up."""
        rows: dict[int | None, list[Row]] = {tokens: [] for tokens in lengths}
        for _ in range(self._rounds + 1):
            sources = [self._source() for _ in range(sentences)]
            bare = self._profile(sources, None, 1)["search_seconds"]
            for tokens in lengths:
                # With one step, all that search does besides is to gather.
                first = self._profile(sources, tokens, 1)
                whole = self._profile(sources, tokens, self._length)
                seconds = {
                    stage: 1e6 * (whole[f"{stage}_seconds"] - first[f"{stage}_seconds"])
                    for stage in STAGES
                }
                steps = self._length - 1
                gathering = 1e6 * (first["search_seconds"] - bare) / sentences
                step = sum(seconds.values()) / steps
                rows[tokens].append(Row(tokens, step, seconds["output"] / steps, gathering))
        return [_median(found[1:]) for found in rows.values()]

    def _profile(
        self, sources: Sequence[Sequence[int]], tokens: int | None, length: int
    ) -> dict[str, float]:
        options = _native.SearchOptions()
        options.min_decoding_length = options.max_decoding_length = length
        options.decoder_start_token_id = self._start
        options.end_token_ids = [self._end]
        options.max_batch_size = BATCH
        requests = [_native.Request(source, allowed=self._list(tokens)) for source in sources]
        self._engine.start_profile()
        self._engine.submit(requests, options).result()
        return self._engine.read_profile()

    def _source(self) -> list[int]:
        return [*self._rng.integers(1, self.vocab_size, SOURCE_TOKENS - 1).tolist(), self._end]

    def _list(self, tokens: int | None) -> _native.TokenList | None:
        if tokens is None:
            return None
        first = min(FIRST, tokens)
        others = self._rng.choice(self.vocab_size - first, tokens - first, replace=False) + first
        return _native.TokenList([*range(first), *np.sort(others).tolist()])


def _median(rows: Sequence[Row]) -> Row:
    def of(name: str) -> float:
        return statistics.median(getattr(row, name) for row in rows)

    return Row(rows[0].tokens, of("step"), of("output"), of("gathering"))


def print_rows(rows: Sequence[Row], sentences: int, vocab_size: int) -> None:
    """A table, and the straight line through the lists' times."""
    print("tokens  us/step  of it output  gathering, us  repaid after steps")
    (whole,) = (row for row in rows if row.tokens is None)
    for row in rows:
        saved = whole.step - row.step
        repaid = "" if row is whole or saved <= 0 else f"{sentences * row.gathering / saved:.1f}"
        gathering = "" if row is whole else f"{row.gathering:.1f}"
        print(
            f"{row.tokens or vocab_size:6} {row.step:8.1f} {row.output:13.1f} "
            f"{gathering:>14} {repaid:>18}"
        )
    lists = [row for row in rows if row.tokens is not None]
    slope, constant = np.polyfit([row.tokens for row in lists], [row.output for row in lists], 1)
    print(
        f"output: {constant:.1f} us and {1000 * slope:.2f} us for every 1000 tokens\n", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--length", type=int, default=32, help="forced tokens a sentence")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--lists", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000, 8000], metavar="N"
    )
    arguments = parser.parse_args()
    if min(arguments.lists) < 1 or len(arguments.lists) < 2 or arguments.length < 2:
        parser.error("two lists of 1 token or more, and a length of 2 or more, are needed")
    with tempfile.TemporaryDirectory() as temporary:
        write_checkpoint(SHAPES[arguments.shape], Path(temporary))
        opened = open_model(temporary, arguments.compute_type)
    bench = Bench(opened, arguments.threads, arguments.length, arguments.rounds)
    print(f"{arguments.shape}, {arguments.compute_type}, {arguments.threads} thread(s)\n")
    for sentences in (1, BATCH):
        print(f"{sentences} sentence(s)")
        rows = bench.measure(sentences, [*arguments.lists, None])
        print_rows(rows, sentences, bench.vocab_size)


if __name__ == "__main__":
    main()
