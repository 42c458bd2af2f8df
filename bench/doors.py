"""What each door of the engine costs over the engine, and how soon a fresh process translates.

    python bench/doors.py                 # builds the doors of C and C++, which takes minutes
    python bench/doors.py --build DIR     # keeps what it builds in DIR, for the next time

First tables: one sentence, whose ids or text go through the engine from inside (decode::Engine and
the tokenizer) and through each door. The doors take turns in rounds of many calls; a round gives a
median of the time by the clock, and the processor time of the calling thread for each call, which
other programs disturb less. "over" is the median, over the rounds, of what a door takes more than
the engine took in the same round. All of it runs on one core: how long a thread takes to wake up on
another one changes by more than a door costs. "tiny" is a random model so small that next to
nothing is computed, and what a door does stays in the caches; the bundled model sweeps them with
its weights. Both write as many tokens as --length says.

The last table: a fresh process, written in C, opens the bundled model from a warm page cache and
translates a sentence.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pytransformer
from pytransformer.benchmark.random_checkpoint import Shape, write_checkpoint
from pytransformer.benchmark.report import table
from pytransformer.cli import main as pytransformer_main
from pytransformer.model_files import BUNDLED_MODEL

SOURCES = Path(__file__).resolve().parent / "doors"
TINY = Shape(16, 32, 2, 1, 1, 64)
SENTENCE = "Ein Hund läuft durch den Schnee."
LANGUAGE = "en"
GOALS = {"C": 5, "C++": 5, "Cython": 5, "Python": 30}  # microseconds over the engine
GOAL_FIRST = 20  # milliseconds from exec() to the first translation
STAGES = ("exec() to main()", "opening the model", "first translation")
WARM_UP = 3

Times = npt.NDArray[np.int64]  # nanoseconds of each call
Door = Callable[[Times], int]  # fills them; gives the processor time of all


@dataclass(frozen=True)
class Round:
    """Microseconds of one call: the median by the clock, and of the thread's processor time."""

    clock: float
    processor: float


@dataclass(frozen=True)
class Cost:
    """What a call takes, and what of it is over the engine; medians of the rounds."""

    model: str
    door: str
    gives: str
    whole: Round
    over: Round | None  # None for the engine itself, and for the tokenizers


def build(directory: Path) -> None:
    """The library doors.so, the module cython_door, the program first_translation."""
    interpreter = f"-DPython_EXECUTABLE={sys.executable}"
    for command in (
        ["cmake", "-S", str(SOURCES), "-B", str(directory), interpreter],
        ["cmake", "--build", str(directory), "--parallel", "2"],
    ):
        subprocess.run(command, check=True, stdout=sys.stderr)


class Doors:
    """All doors of one model, each with the same sentence."""

    def __init__(self, directory: Path, path: Path, language: str, length: int) -> None:
        self._library = ctypes.CDLL(str(directory / "doors.so"))
        self._library.doors_open.restype = ctypes.c_void_p
        self._library.doors_run.restype = ctypes.c_int64
        name, text, to = str(path).encode(), SENTENCE.encode(), language.encode()
        self._subject = ctypes.c_void_p(self._library.doors_open(name, text, to, length))
        self._cython = importlib.import_module("cython_door").Door(name, text, to, length)
        self._python = pytransformer.Translator(path, intra_threads=1)
        self._language = language or None
        self._options: dict[str, Any] = {
            "beam_size": 1,
            "min_decoding_length": length,
            "max_decoding_length": length,
        }
        self._ids = self._python.tokenizer.encode_ids(SENTENCE, tgt_lang=self._language)
        (self._found,) = self._python.translate_batch([self._ids], **self._options)

    def close(self) -> None:
        self._library.doors_close(self._subject)

    @property
    def tokens(self) -> tuple[int, int]:
        """How many there are in the source and in its translation."""
        return len(self._ids), len(self._found.ids[0])

    def by_name(self) -> dict[tuple[str, str], Door]:
        """Every door, by its name and by what goes through it."""
        doors: dict[tuple[str, str], Door] = {}
        python = {
            "ids": lambda: self._python.translate_batch([self._ids], **self._options),
            "text": lambda: self._python.translate(
                SENTENCE, tgt_lang=self._language, **self._options
            ),
        }
        for gives in ("ids", "text"):
            for door in ("engine", "C", "C++"):
                doors[door, gives] = self._compiled(f"{door} {gives}")
            doors["Cython", gives] = self._through_cython(gives == "text")
            doors["Python", gives] = self._timed(python[gives])
        doors["C++ tokenizer", ""] = self._compiled("tokenizer")
        doors["Python tokenizer", ""] = self._timed(self._tokenizer_of_python)
        return doors

    def _tokenizer_of_python(self) -> None:
        tokenizer = self._python.tokenizer
        tokenizer.encode_ids(SENTENCE, tgt_lang=self._language)
        tokenizer.decode(self._found.ids[0])

    def _compiled(self, name: str) -> Door:
        def run(times: Times) -> int:
            place = times.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
            count = ctypes.c_int64(len(times))
            return int(self._library.doors_run(self._subject, name.encode(), place, count))

        return run

    def _through_cython(self, is_text: bool) -> Door:
        return lambda times: int(self._cython.run(is_text, times))

    @staticmethod
    def _timed(call: Callable[[], Any]) -> Door:
        def run(times: Times) -> int:
            begin = time.thread_time_ns()
            for i in range(len(times)):
                start = time.perf_counter_ns()
                call()
                times[i] = time.perf_counter_ns() - start
            return time.thread_time_ns() - begin

        return run


def measure(doors: Doors, model: str, rounds: int, calls: int) -> Iterator[Cost]:
    """What each door costs; they take turns."""
    by_name = doors.by_name()
    times = np.zeros(calls, np.int64)
    found: dict[tuple[str, str], list[Round]] = {name: [] for name in by_name}
    for index in range(WARM_UP + rounds):
        for name, door in by_name.items():
            processor = door(times) / calls / 1e3
            if index >= WARM_UP:
                found[name].append(Round(float(np.median(times)) / 1e3, processor))
    for (door_name, gives), own in found.items():
        over = _over(own, found["engine", gives]) if door_name in GOALS else None
        yield Cost(model, door_name, gives, _median(own), over)


def _median(rounds: list[Round]) -> Round:
    return Round(
        statistics.median(one.clock for one in rounds),
        statistics.median(one.processor for one in rounds),
    )


def _over(own: list[Round], engine: list[Round]) -> Round:
    pairs = zip(own, engine, strict=True)
    return _median([Round(a.clock - b.clock, a.processor - b.processor) for a, b in pairs])


def first_translations(directory: Path, count: int) -> list[list[float]]:
    """Milliseconds of each of STAGES, of so many fresh processes."""
    command = [str(directory / "first_translation"), str(BUNDLED_MODEL), SENTENCE]
    found = []
    for _ in range(WARM_UP + count):
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        moments = map(int, output.split())
        found.append([(end - begin) / 1e6 for begin, end in itertools.pairwise(moments)])
    return found[WARM_UP:]


@contextmanager
def one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def tiny_model() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_checkpoint(TINY, root / "huggingface")
        path = root / "tiny.safetensors"
        with redirect_stdout(sys.stderr):
            if pytransformer_main(["convert", str(root / "huggingface"), str(path)]) != 0:
                raise SystemExit("the conversion failed")
        yield path


def show(costs: list[Cost], tokens: tuple[int, int]) -> None:
    header = ["microseconds", "clock", "over", "processor", "over", "goal"]
    rows = []
    for cost in costs:
        clock, processor = f"{cost.whole.clock:.1f}", f"{cost.whole.processor:.1f}"
        over = (f"{cost.over.clock:.1f}", f"{cost.over.processor:.1f}") if cost.over else ("", "")
        goal = f"{GOALS.get(cost.door, '')}"
        rows.append([f"{cost.door} {cost.gives}", clock, over[0], processor, over[1], goal])
    print(f"\n{costs[0].model}, {tokens[0]} tokens to {tokens[1]}")
    print("\n".join(table(header, rows)), flush=True)


def show_first(times: list[list[float]]) -> None:
    columns = [*zip(*times, strict=True), tuple(map(sum, times))]
    rows = []
    for name, column in zip((*STAGES, "all"), columns, strict=True):
        low, middle, high = statistics.quantiles(column, n=4, method="inclusive")
        goal = f"{GOAL_FIRST}" if name == "all" else ""
        rows.append([name, f"{middle:.1f}", f"{low:.1f} to {high:.1f}", goal])
    print(f"\n{len(times)} fresh processes, the bundled model from a warm page cache")
    print("\n".join(table(["milliseconds", "median", "quartiles", "goal"], rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", type=Path, help="where to build, and keep it")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=100, help="of each door in a round")
    parser.add_argument("--length", type=int, default=8, help="tokens of the translations")
    parser.add_argument("--starts", type=int, default=40, help="fresh processes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, tiny_model() as tiny:
        directory = Path(arguments.build or temporary).resolve()
        build(directory)
        sys.path.insert(0, str(directory))
        costs: list[Cost] = []
        for name, path, language in (("tiny", tiny, ""), ("bundled", BUNDLED_MODEL, LANGUAGE)):
            with one_core(), closing(Doors(directory, path, language, arguments.length)) as doors:
                own = list(measure(doors, name, arguments.rounds, arguments.calls))
                show(own, doors.tokens)
            costs += own
        first = first_translations(directory, arguments.starts)
        show_first(first)
    if arguments.json:
        figures = {"costs": [asdict(cost) for cost in costs], "first_milliseconds": first}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
