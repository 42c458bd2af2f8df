"""Rounds in which every engine has its turn, and what comes of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from peer_process import Answer, PeerProcess
from peers.engine import Request

BATCH_SIZES = (16, 32, 64, 128)
# Enough to fill several of the largest batches.
PROBE_SENTENCES = 512


class Unit(str, Enum):
    MILLISECONDS = "ms per token"
    TOKENS_PER_SECOND = "tokens/s"

    def of(self, seconds_per_token: float) -> str:
        if self is Unit.MILLISECONDS:
            return f"{1000 * seconds_per_token:8.2f} {self.value}"
        return f"{1 / seconds_per_token:8.0f} {self.value}"


@dataclass(frozen=True)
class Row:
    """One engine: medians over the rounds.

    `ratio` is the engine's time per token divided by the first engine's, `same_tokens` the share of
    tokens that are the first engine's, `lengths` the shortest and the longest translation.
    """

    engine: str
    version: str
    seconds_per_token: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    same_tokens: float
    lengths: tuple[int, int]


@dataclass(frozen=True)
class Result:
    """One table."""

    case: str
    unit: Unit
    rounds: int
    rows: list[Row]

    def __str__(self) -> str:
        lines = [f"{self.case} ({self.rounds} rounds)"]
        for i, row in enumerate(self.rows):
            text = f"  {row.engine:28}{self.unit.of(row.seconds_per_token)}"
            if i > 0:
                low, high = row.ratio_quartiles
                text += f"   x {row.ratio:5.2f} ({low:.2f} to {high:.2f})"
                text += f"   {100 * row.same_tokens:.1f} % of the tokens"
            if row.lengths[0] != row.lengths[1]:
                text += f", {row.lengths[0]} to {row.lengths[1]} a sentence"
            lines.append(f"{text}   [{row.version}]")
        return "\n".join(lines)


def measure(
    name: str,
    unit: Unit,
    rounds: Sequence[Sequence[tuple[PeerProcess, Request]]],
    pause: float,
) -> Result:
    """Asks all engines of each round in turn; the first round is not counted."""
    answers: list[list[Answer]] = []
    for i, requests in enumerate(rounds):
        answers.append(_one_round(requests, i, pause))
    engines = [engine for engine, _ in rounds[0]]
    counted = list(zip(*answers[1:], strict=True))
    rows = [_row(engine, own, counted[0]) for engine, own in zip(engines, counted, strict=True)]
    return Result(name, unit, len(rounds) - 1, rows)


def _one_round(
    requests: Sequence[tuple[PeerProcess, Request]], first: int, pause: float
) -> list[Answer]:
    """Answers in the order of the engines, who are asked beginning with another each time."""
    answers: dict[int, Answer] = {}
    for k in range(len(requests)):
        place = (first + k) % len(requests)
        engine, request = requests[place]
        time.sleep(pause)
        answers[place] = engine.ask(request)
    return [answers[place] for place in range(len(requests))]


def _row(engine: PeerProcess, own: Sequence[Answer], ours: Sequence[Answer]) -> Row:
    pairs = list(zip(own, ours, strict=True))
    ratios = [a.seconds_per_token / b.seconds_per_token for a, b in pairs]
    quartiles = (
        statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    )
    same = [
        x == y
        for a, b in pairs
        for left, right in zip(a.outputs, b.outputs, strict=True)
        for x, y in zip(left, right, strict=False)  # as far as both go
    ]
    lengths = [len(tokens) for answer in own for tokens in answer.outputs]
    return Row(
        engine=f"{engine.name} {engine.format}",
        version=engine.version,
        seconds_per_token=statistics.median(answer.seconds_per_token for answer in own),
        ratio=statistics.median(ratios),
        ratio_quartiles=(quartiles[0], quartiles[2]),
        same_tokens=sum(same) / len(same),
        lengths=(min(lengths), max(lengths)),
    )


def best_batch_sizes(engines: Sequence[PeerProcess], request: Request) -> list[int]:
    """For each engine the fastest size on the first sentences, the better of two tries."""
    few = replace(request, sentences=request.sentences[:PROBE_SENTENCES])
    times = {
        (engine, size): [engine.ask(replace(few, batch_size=size)).seconds_per_token]
        for size in BATCH_SIZES
        for engine in engines
    }
    for (engine, size), tries in times.items():
        tries.append(engine.ask(replace(few, batch_size=size)).seconds_per_token)
    return [min(BATCH_SIZES, key=lambda size: min(times[engine, size])) for engine in engines]
