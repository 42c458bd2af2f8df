"""What many single calls cost beside one, and how soon streamed tokens arrive.

    python bench/concurrent_calls.py                      # the bundled model
    python bench/concurrent_calls.py --model M --to en    # another one too

First table: a hundred single `translate_async` calls, gathered by one event loop, beside one
`translate` of the same hundred lines. The two run in turn, and the ratio is the median of those of
the rounds.

Second table: from the moment when a token is certain in the engine until a reader has it, or the
piece of text that it makes certain. The engine keeps the time that it is at work, so in a search
for one sentence what arrives is late by its moment, counted from the request, less that time. The
way of the request to the worker is in it too: it is an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytransformer
from pytransformer.streaming import LineStream

LINES = 100
TOKENS = 30
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
    """Medians, in microseconds; the share is of one greedy step.

    Nothing is known of readers who got all at the end, when the translation was over already.
    """

    model: str
    reader: str
    step: float
    late: float | None
    share: float | None


class Subject:
    """A translator, and what it translates."""

    def __init__(self, path: Path | None, arguments: argparse.Namespace) -> None:
        self.translator = pytransformer.Translator(
            path, compute_type=arguments.compute_type, intra_threads=arguments.threads
        )
        self.name = "bundled" if path is None else path.name
        self.options: dict[str, Any] = {}
        if arguments.to in self.translator.target_languages:
            self.options["tgt_lang"] = arguments.to
        if arguments.length:
            self.options["max_decoding_length"] = arguments.length
        source = arguments.input or files("pytransformer.benchmark") / "sentences.de.txt"
        lines = [line for line in source.read_text("utf-8").split("\n") if line.strip()]
        self.lines = [lines[i % len(lines)] for i in range(LINES)]
        self.longest = max(self.lines, key=len)


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


class Reader:
    """Reads one greedy search in one of three ways, and notes when what arrived."""

    def __init__(self, subject: Subject) -> None:
        self.translator = subject.translator
        self._text = subject.longest
        self._options = {"max_decoding_length": TOKENS, **subject.options, "beam_size": 1}
        self._told = self._told_after()
        self._begun = 0.0
        submit = self.translator._sentences._submit

        def submit_by_the_clock(*arguments: Any) -> Any:
            self._begun = time.perf_counter()
            return submit(*arguments)

        self.translator._sentences._submit = submit_by_the_clock  # type: ignore[method-assign]
        # Of one search: when the token of each count arrived, and how long the engine had worked.
        self.arrived: dict[int, float] = {}
        self.worked: dict[int, float] = {}

    def tokens(self) -> None:
        for step in self._steps():
            self._note(step.step + 1)

    def text(self) -> None:
        found = ""
        for piece in self.translator.translate_stream(self._text, **self._options):
            found += piece
            self._note(self._count(found))

    def text_async(self) -> None:
        async def read() -> None:
            found = ""
            async for piece in self.translator.translate_stream_async(self._text, **self._options):
                found += piece
                self._note(self._count(found))

        asyncio.run(read())

    def lateness(self) -> list[float]:
        """Of what arrived; the engine's time is interpolated where nothing arrived in a step."""
        counts = sorted(count for count in self.worked if count > 0)
        late = []
        for count, moment in self.arrived.items():
            before = max((known for known in counts if known <= count), default=None)
            after = min((known for known in counts if known >= count), default=None)
            if before is None or after is None:
                continue
            share = (count - before) / max(1, after - before)
            worked = self.worked[before] + share * (self.worked[after] - self.worked[before])
            late.append(moment - worked)
        return late

    def steps(self) -> list[float]:
        """Seconds of single steps."""
        counts = sorted(count for count in self.worked if count > 0)
        return [(self.worked[b] - self.worked[a]) / (b - a) for a, b in itertools.pairwise(counts)]

    def _steps(self) -> Iterator[pytransformer.GenerationStepResult]:
        options = {name: self._options[name] for name in ("beam_size", "max_decoding_length")}
        language = self._options.get("tgt_lang")
        tokens = self.translator.tokenizer.encode(self._text, tgt_lang=language)
        return self.translator.generate_tokens(tokens, **options)

    def _told_after(self) -> list[int]:
        """How much text is certain after each token, as long as another may follow."""
        line = LineStream(self.translator.tokenizer.decode, str, by_words=True, by_tokens=True)
        told = [0]
        for step in self._steps():
            line.add(step.step, step.token_id)
            told.append(told[-1] + len(line.take()))
        return told

    def _count(self, text: str) -> int:
        """The token that made so much text certain; 0 if it was the end."""
        return next((count for count, told in enumerate(self._told) if told >= len(text)), 0)

    def _note(self, count: int) -> None:
        moment = time.perf_counter() - self._begun
        # The engine adds a step just behind its token, so this is often that of the one before.
        profile = self.translator._engine.read_profile()
        seconds = sum(profile[f"{stage}_seconds"] for stage in STAGES)
        self.worked.setdefault(int(profile["steps"]), seconds)
        if count > 0:
            self.arrived[count] = moment


def measure_streaming(subject: Subject, rounds: int) -> Iterator[Streaming]:
    reader = Reader(subject)
    late: dict[str, list[float]] = {"tokens": [], "text": [], "text_async": []}
    steps: list[float] = []
    for turn in range(rounds + WARM_UP):
        for name, found in late.items():
            reader.arrived.clear()
            reader.worked.clear()
            reader.translator._engine.start_profile()
            getattr(reader, name)()
            if turn >= WARM_UP:
                found += reader.lateness()
                steps += reader.steps()
    step = statistics.median(steps)
    for name, found in late.items():
        median = statistics.median(found) if found else None
        yield Streaming(
            subject.name,
            name,
            round(1e6 * step, 1),
            None if median is None else round(1e6 * median, 1),
            None if median is None else round(median / step, 3),
        )


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
    print(f"{'model':20} {'reader':10} {'step, us':>9} {'late, us':>9} {'share':>6}")
    for subject in subjects:
        for found in measure_streaming(subject, arguments.rounds):
            late = "-" if found.late is None else f"{found.late:.1f}"
            share = "-" if found.share is None else f"{found.share:.1%}"
            print(
                f"{found.model:20} {found.reader:10} {found.step:9.1f} {late:>9} {share:>6}",
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
    parser.add_argument("--length", type=int, help="longest translation, for random weights")
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
