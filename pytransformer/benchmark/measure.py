"""Times engines on the same sentences, in turn, and summarises the times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytransformer.benchmark.engines import Engine
from pytransformer.benchmark.workload import Workload

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Timings:
    """All timed calls of one engine; every round has the same calls in the same order.

    Attributes:
        seconds: how long each call took, by round.
        tokens: how many tokens each call gave, by round.
        outputs: the translations of the last round.
    """

    seconds: Sequence[Sequence[float]]
    tokens: Sequence[Sequence[int]]
    outputs: Sequence[Sequence[str]]

    @property
    def total_seconds(self) -> float:
        """The time of all calls."""
        return sum(map(sum, self.seconds))

    @property
    def total_tokens(self) -> int:
        """The tokens of all calls."""
        return sum(map(sum, self.tokens))

    @property
    def call_seconds(self) -> list[float]:
        """The time of every call: of one sentence where batches have one, else of a batch."""
        return [seconds for a_round in self.seconds for seconds in a_round]

    @property
    def token_seconds(self) -> list[float]:
        """The time of every call that gave tokens, divided by their number."""
        tokens = [count for a_round in self.tokens for count in a_round]
        pairs = zip(self.call_seconds, tokens, strict=True)
        return [seconds / count for seconds, count in pairs if count]

    @property
    def round_token_seconds(self) -> list[float]:
        """Seconds per token, round by round; a round without any token counts as one."""
        rounds = zip(self.seconds, self.tokens, strict=True)
        return [sum(seconds) / max(1, sum(tokens)) for seconds, tokens in rounds]

    @property
    def tokens_per_second(self) -> float:
        """The median over the rounds."""
        return 1 / statistics.median(self.round_token_seconds)


@dataclass(frozen=True)
class Percentiles:
    """How long it takes at most in so many percent of all cases, in seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one engine is as another, per token.

    Attributes:
        value: median of the ratios of the rounds.
        low: first quartile of them.
        high: third quartile of them.
    """

    value: float
    low: float
    high: float


def time_in_turn(
    engines: Mapping[str, Engine], workload: Workload, started: Callable[[], None], notify: Notify
) -> tuple[dict[str, Timings], dict[str, Exception]]:
    """Times all engines, round by round, so that a change of the machine's speed meets them all.

    Each runs a batch or two before, which are not counted. One that fails is left out.

    Args:
        engines: by name; the first one must not fail.
        workload: what to translate.
        started: called between the uncounted batches and the first round.
        notify: told what happens.

    Returns:
        The times of the engines that did not fail, and the errors of the others.
    """
    batches = workload.batches
    records: dict[str, _Record] = {name: _Record() for name in engines}
    errors: dict[str, Exception] = {}
    ours = next(iter(engines))
    for number in range(-1, workload.rounds):
        warm_up = number < 0
        if number == 0:
            started()
        notify("warming up" if warm_up else f"round {number + 1} of {workload.rounds}")
        # Every other round backwards: no engine always runs behind the same one.
        for name in list(records)[:: 1 if number % 2 == 0 else -1]:
            try:
                todo = [workload.largest_batch, batches[0]] if warm_up else batches
                timed = [_call(engines[name], batch, workload) for batch in todo]
            except Exception as error:
                if name == ours:
                    raise
                errors[name] = error
                del records[name]
                continue
            if not warm_up:
                records[name].add(timed)
    return {name: record.timings() for name, record in records.items()}, errors


def percentiles(values: Sequence[float]) -> Percentiles:
    """Those of `values`, which may be empty only if nothing was translated (then zero)."""
    if not values:
        return Percentiles(0.0, 0.0, 0.0)
    # A value that occurred, not one between two of them.
    found = np.percentile(values, (50, 90, 99), method="inverted_cdf")
    p50, p90, p99 = map(float, found)
    return Percentiles(p50, p90, p99)


def times_as_fast(ours: Timings, theirs: Timings) -> Ratio:
    """How many times as fast the first is."""
    ratios = [
        b / a for a, b in zip(ours.round_token_seconds, theirs.round_token_seconds, strict=True)
    ]
    low, value, high = (float(value) for value in np.percentile(ratios, (25, 50, 75)))
    return Ratio(value, low, high)


def same_outputs(ours: Timings, theirs: Timings) -> int:
    """How many sentences have the same tokens in both."""
    return sum(list(a) == list(b) for a, b in zip(ours.outputs, theirs.outputs, strict=True))


_Timed = tuple[float, list[list[str]]]


class _Record:
    """What the rounds of one engine gave so far."""

    def __init__(self) -> None:
        self._seconds: list[list[float]] = []
        self._tokens: list[list[int]] = []
        self._outputs: list[list[str]] = []

    def add(self, timed: Sequence[_Timed]) -> None:
        """Appends a round."""
        self._seconds.append([seconds for seconds, _ in timed])
        self._tokens.append([sum(map(len, outputs)) for _, outputs in timed])
        self._outputs = [tokens for _, outputs in timed for tokens in outputs]

    def timings(self) -> Timings:
        return Timings(self._seconds, self._tokens, self._outputs)


def _call(engine: Engine, batch: Sequence[Sequence[str]], workload: Workload) -> _Timed:
    start = time.perf_counter()
    outputs = engine.translate(batch, workload.options)
    return time.perf_counter() - start, outputs
