"""What many single calls cost beside one, and how soon streamed tokens arrive.

    python bench/concurrent_calls.py                      # the bundled model
    python bench/concurrent_calls.py --model M --to en     # another one too

First table: a hundred single `translate_async` calls, gathered by one event loop, beside one
`translate` of the same hundred lines. The two run in turn, and the ratio is the median of those of
the rounds.

Second table: from the moment when a token is certain in the engine until a reader has it. The
engine keeps the time that it is at work, so in a search for one sentence a token's lateness is its
arrival, counted from its request, less that time. It holds what the request took to reach the
worker, too, so it is an upper bound. "wake" is the way back alone: a job that waits behind a busy
worker is ended from another thread, which notes the time, and its reader notes when it hears of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytransformer

LINES = 100
WARM_UP = 2
GOAL_TOGETHER = 1.3
GOAL_LATE = 0.1
STAGES = ("encoder", "decoder", "attention", "output", "search")


@dataclass(frozen=True)
class Together:
    """Medians, in milliseconds; the ratio is that of single calls to one call."""

    model: str
    beam_size: int
    one_call: float
    single_calls: float
    ratio: float


@dataclass(frozen=True)
class Streaming:
    """Medians, in microseconds; shares are of one greedy step."""

    model: str
    reader: str
    step: float
    wake: float
    wake_share: float
    late: float
    late_share: float


class Subject:
    """A translator, and what it translates."""

    def __init__(self, path: Path | None, arguments: argparse.Namespace) -> None:
        self.translator = pytransformer.Translator(
            path, compute_type=arguments.compute_type, intra_threads=arguments.threads
        )
        self.name = "bundled" if path is None else path.name
        languages = self.translator.target_languages
        self.options: dict[str, Any] = {}
        if arguments.to in languages:
            self.options["tgt_lang"] = arguments.to
        if arguments.input is None:
            text = (files("pytransformer.benchmark") / "sentences.de.txt").read_text("utf-8")
        else:
            text = arguments.input.read_text("utf-8")
        lines = [line for line in text.split("\n") if line.strip()]
        self.lines = [lines[i % len(lines)] for i in range(LINES)]
        self.longest = max(self.lines, key=len)


def microseconds(values: list[float]) -> float:
    return round(1e6 * statistics.median(values), 1)


def measure_together(subject: Subject, beam_size: int, rounds: int) -> Together:
    translator, lines = subject.translator, subject.lines
    options = {**subject.options, "beam_size": beam_size}

    async def gather() -> list[str]:
        return await asyncio.gather(
            *[translator.translate_async(text, **options) for text in lines]
        )

    times: dict[str, list[float]] = {"one": [], "single": []}
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        calls: dict[str, Callable[[], list[str]]] = {
            "one": lambda: translator.translate(lines, **options),
            "single": lambda: loop.run_until_complete(gather()),
        }
        if calls["one"]() != calls["single"]():
            raise SystemExit("the translations differ")
        for turn in range(rounds + WARM_UP):
            # Whoever is second in a round may find warmer caches.
            for name in sorted(calls, reverse=turn % 2 == 1):
                start = time.perf_counter()
                calls[name]()
                times[name].append(time.perf_counter() - start)
    one, single = (values[WARM_UP:] for values in (times["one"], times["single"]))
    return Together(
        subject.name,
        beam_size,
        round(1e3 * statistics.median(one), 2),
        round(1e3 * statistics.median(single), 2),
        round(statistics.median(b / a for a, b in zip(one, single, strict=True)), 3),
    )


def busy(translator: pytransformer.Translator) -> tuple[int, float]:
    """Steps that the engine has done, and the seconds that it was at work."""
    profile = translator._engine.read_profile()
    return int(profile["steps"]), sum(profile[f"{stage}_seconds"] for stage in STAGES)


def arrivals(subject: Subject) -> Iterator[tuple[int, float]]:
    """The tokens of a greedy search that have arrived, and when, counted from the request."""
    translator = subject.translator
    tokens = translator.tokenizer.encode(subject.longest, **subject.options)
    decoding = translator._sentences.resolve({"beam_size": 1})
    decoding.search.stream = True
    sources = translator._batches.source_ids([tokens])
    start = time.perf_counter()
    pending = translator._batches._submit(sources, [[]], decoding)
    for _, step in translator._batches._steps(pending, with_log_prob=False):
        yield step.step + 1, time.perf_counter() - start


def measure_lateness(subject: Subject, rounds: int) -> tuple[list[float], float]:
    """How late tokens were, and the seconds of a step."""
    late, steps = [], []
    for turn in range(rounds + WARM_UP):
        arrived: dict[int, float] = {}
        worked: dict[int, float] = {}
        subject.translator._engine.start_profile()
        for count, moment in arrivals(subject):
            arrived[count] = moment
            # The engine adds a step just behind its token, so this is often that of the one before.
            done, seconds = busy(subject.translator)
            worked.setdefault(done, seconds)
        if turn < WARM_UP:
            continue
        late += [moment - worked[count] for count, moment in arrived.items() if count in worked]
        counts = sorted(count for count in worked if count > 0)
        steps += [(worked[b] - worked[a]) / (b - a) for a, b in itertools.pairwise(counts)]
    return late, statistics.median(steps)


class Reader:
    """Waits in its own way for a job that is ended from outside."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def tokens(self) -> float:
        tokens = self._subject.translator.generate_tokens(["▁"], beam_size=1)
        return self._heard(lambda: next(tokens))

    def text(self) -> float:
        pieces = self._stream("translate_stream")
        return self._heard(lambda: next(pieces))

    def text_async(self) -> float:
        async def read() -> float:
            pieces = self._stream("translate_stream_async")
            try:
                await pieces.__anext__()
            except CancelledError:
                return time.perf_counter()
            raise SystemExit("the job was not ended")

        return asyncio.run(read())

    def _stream(self, door: str) -> Any:
        subject = self._subject
        return getattr(subject.translator, door)(subject.longest, **subject.options)

    def _heard(self, wait: Callable[[], object]) -> float:
        try:
            wait()
        except CancelledError:
            return time.perf_counter()
        raise SystemExit("the job was not ended")


def measure_wake(subject: Subject, read: Callable[[], float], rounds: int) -> list[float]:
    """Seconds from the end of a job that waits behind others until its reader hears of it."""
    translator = subject.translator
    ended: list[float] = []
    jobs: list[Any] = []
    submit = translator._sentences._submit

    def keep(*arguments: Any) -> Any:
        jobs.append(submit(*arguments))
        return jobs[-1]

    def end() -> None:
        time.sleep(0.02)
        ended.append(time.perf_counter())
        jobs[-1].cancel()
        # The interpreter's lock goes to the reader at once.
        time.sleep(0.02)

    times = []
    for _ in range(rounds):
        before = translator.translate_async(
            subject.lines * 3,
            **subject.options,
            beam_size=1,
            min_decoding_length=200,
            max_decoding_length=200,
        )
        translator._sentences._submit = keep  # type: ignore[method-assign]
        thread = threading.Thread(target=end)
        thread.start()
        heard = read()
        translator._sentences._submit = submit  # type: ignore[method-assign]
        thread.join()
        before.cancel()
        times.append(heard - ended[-1])
    return times


def measure_streaming(subject: Subject, rounds: int) -> list[Streaming]:
    late, step = measure_lateness(subject, rounds)
    reader = Reader(subject)
    rows = []
    for name in ("tokens", "text", "text_async"):
        wake = measure_wake(subject, getattr(reader, name), rounds)
        rows.append(
            Streaming(
                subject.name,
                name,
                round(1e6 * step, 1),
                microseconds(wake),
                round(statistics.median(wake) / step, 3),
                microseconds(late),
                round(statistics.median(late) / step, 3),
            )
        )
    return rows


def run(arguments: argparse.Namespace) -> list[Together | Streaming]:
    rows: list[Together | Streaming] = []
    subjects = [Subject(path, arguments) for path in (None, *arguments.model)]
    print(f"{'model':20} {'beam':>4} {'one call, ms':>12} {'single, ms':>11} {'ratio':>6}")
    for subject in subjects:
        for beam_size in arguments.beams:
            row = measure_together(subject, beam_size, arguments.rounds)
            print(
                f"{row.model:20} {row.beam_size:4} {row.one_call:12.2f} {row.single_calls:11.2f} "
                f"{row.ratio:6.3f}",
                flush=True,
            )
            rows.append(row)
    print(f"goal: at most {GOAL_TOGETHER}\n")
    print(
        f"{'model':20} {'reader':10} {'step, us':>9} {'wake, us':>9} {'share':>6} {'late, us':>9}"
    )
    for subject in subjects:
        for found in measure_streaming(subject, arguments.rounds):
            print(
                f"{found.model:20} {found.reader:10} {found.step:9.1f} {found.wake:9.1f} "
                f"{found.wake_share:6.1%} {found.late:9.1f}",
                flush=True,
            )
            rows.append(found)
    print(f"goal: at most {GOAL_LATE:.0%} of a step")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="besides the bundled one")
    parser.add_argument("--to", default="en", help="language to translate to, if there is a choice")
    parser.add_argument("--input", type=Path, help="UTF-8 lines; by default German sentences")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--compute-type", default="default", help="by default as stored")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rows = run(arguments)
    if arguments.json:
        text = json.dumps([asdict(row) for row in rows], indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
