"""What each door of the engine costs over the engine, and how soon a fresh process translates.

    python bench/doors.py                 # builds the doors of C and C++, which takes minutes
    python bench/doors.py --build DIR     # keeps what it builds in DIR, for the next time

First tables: one sentence, whose ids or text go through the engine from inside (decode::Engine and
the tokenizer) and through each door. The doors take turns in rounds of many calls; a round gives a
median of the time by the clock, and the processor time of the calling thread for each call, which
other programs disturb less. Their costs are medians, over the rounds, of what a door takes more
than the engine took in the same round. "tiny" is a random model so small that next to nothing is
computed; it and the bundled model write as many tokens as --length says.

The last table: a fresh process, written in C, opens the bundled model from a warm page cache and
translates a sentence.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pytransformer
from pytransformer.benchmark.random_checkpoint import Shape, write_checkpoint
from pytransformer.cli import main as pytransformer_main
from pytransformer.model_files import BUNDLED_MODEL

SOURCES = Path(__file__).resolve().parent / "doors"
TINY = Shape(16, 32, 2, 1, 1, 64)
SENTENCE = "Ein Hund läuft durch den Schnee."
LANGUAGE = "en"
GOALS = {"C": 5, "C++": 5, "Cython": 5, "Python": 30}  # microseconds over the engine
GOAL_FIRST = 20  # milliseconds from main() to the first translation
WARM_UP = 3

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Round:
    """Nanoseconds of one call: the median by the clock, and of the thread's processor time."""

    clock: float
    processor: float


@dataclass(frozen=True)
class Cost:
    """Microseconds of one call, and what of them is over the engine; medians of the rounds."""

    model: str
    door: str
    gives: str
    clock: float
    clock_over: float
    processor: float
    processor_over: float


Door = Callable[[Times], int]


def build(directory: Path) -> None:
    """The module doors.so and the program first_translation, by CMake; the door of Cython."""
    steps = [
        ["cmake", "-S", str(SOURCES), "-B", str(directory)],
        ["cmake", "--build", str(directory), "--parallel", "2"],
    ]
    for step in steps:
        subprocess.run(step, check=True, stdout=sys.stderr)
    setup = directory / "setup.py"
    setup.write_text(
        "import pytransformer\n"
        "from Cython.Build import cythonize\n"
        "from setuptools import Extension, setup\n"
        f"door = Extension('cython_door', [{str(SOURCES / 'cython_door.pyx')!r}],\n"
        "                 include_dirs=[pytransformer.get_include()])\n"
        f"setup(name='cython_door', ext_modules=cythonize([door], build_dir={str(directory)!r}))\n",
        encoding="utf-8",
    )
    subprocess.run(
        [sys.executable, str(setup), "build_ext", "--inplace"],
        check=True,
        cwd=directory,
        stdout=sys.stderr,
    )


class Doors:
    """All doors of one model, each with the same sentence."""

    def __init__(self, directory: Path, path: Path, language: str, length: int) -> None:
        sys.path.insert(0, str(directory))
        import cython_door

        self._module = ctypes.CDLL(str(directory / "doors.so"))
        self._module.doors_open.restype = ctypes.c_void_p
        self._module.doors_run.restype = ctypes.c_int64
        name, text, to = str(path).encode(), SENTENCE.encode(), language.encode()
        self._subject = ctypes.c_void_p(self._module.doors_open(name, text, to, length))
        self._cython = cython_door.Door(name, text, to, length)
        self._python = pytransformer.Translator(path, intra_threads=1)
        self._ids = self._python.tokenizer.encode_ids(SENTENCE, tgt_lang=language or None)
        self._options = {"beam_size": 1, "max_decoding_length": length}
        self._language = language or None

    @property
    def tokens(self) -> tuple[int, int]:
        """How many there are in the source and in its translation."""
        (found,) = self._python.translate_batch([self._ids], **self._options)
        return len(self._ids), len(found.ids[0])

    def by_name(self) -> dict[tuple[str, str], Door]:
        """Every door, by its name and by what goes through it."""
        found: dict[tuple[str, str], Door] = {}
        for gives in ("ids", "text"):
            for door in ("engine", "C", "C++"):
                found[door, gives] = self._compiled(f"{door} {gives}")
            found["Cython", gives] = self._through_cython(gives == "text")
        found["Python", "ids"] = self._timed(
            lambda: self._python.translate_batch([self._ids], **self._options)
        )
        found["Python", "text"] = self._timed(
            lambda: self._python.translate(SENTENCE, tgt_lang=self._language, **self._options)
        )
        found["tokenizer of C++", ""] = self._compiled("tokenizer")
        tokenizer = self._python.tokenizer
        (answer,) = self._python.translate_batch([self._ids], **self._options)
        found["tokenizer of Python", ""] = self._timed(
            lambda: (
                tokenizer.encode_ids(SENTENCE, tgt_lang=self._language),
                tokenizer.decode(answer.ids[0]),
            )
        )
        return found

    def _compiled(self, name: str) -> Door:
        def run(times: Times) -> int:
            place = times.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))
            count = ctypes.c_int64(len(times))
            return int(self._module.doors_run(self._subject, name.encode(), place, count))

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
    """What each door costs, in turn."""
    by_name = doors.by_name()
    times = np.zeros(calls, np.int64)
    found: dict[tuple[str, str], list[Round]] = {name: [] for name in by_name}
    for index in range(WARM_UP + rounds):
        for name, door in by_name.items():
            processor = door(times) / calls
            if index >= WARM_UP:
                found[name].append(Round(float(np.median(times)), processor))
    for (door, gives), own in found.items():
        engine = found["engine", gives] if gives else [Round(0, 0)] * rounds
        over = [
            Round(one.clock - base.clock, one.processor - base.processor)
            for one, base in zip(own, engine, strict=True)
        ]
        yield Cost(model, door, gives, *_medians(own, over))


def _medians(own: list[Round], over: list[Round]) -> Iterator[float]:
    for of in (lambda one: one.clock, lambda one: one.processor):
        for rounds in (own, over):
            yield statistics.median(map(of, rounds)) / 1000


def first_translations(directory: Path, count: int) -> list[tuple[float, ...]]:
    """Milliseconds from start to main(), to the open model, to the first translation, each time."""
    found = []
    command = [str(directory / "first_translation"), str(BUNDLED_MODEL), SENTENCE]
    for _ in range(WARM_UP + count):
        start = time.monotonic_ns()
        output = subprocess.run(command, check=True, capture_output=True).stdout
        moments = [start, *map(int, output.split())]
        found.append(tuple((b - a) / 1e6 for a, b in itertools.pairwise(moments)))
    return found[WARM_UP:]


@contextmanager
def tiny_model() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_checkpoint(TINY, root / "huggingface")
        path = root / "tiny.safetensors"
        if pytransformer_main(["convert", str(root / "huggingface"), str(path)]) != 0:
            raise SystemExit("the conversion failed")
        yield path


def show(costs: list[Cost], tokens: tuple[int, int]) -> None:
    print(f"\n{costs[0].model}: {tokens[0]} tokens to {tokens[1]}; microseconds")
    print(f"{'door':<22}{'gives':<6}{'clock':>8}{'over':>8}{'processor':>11}{'over':>8}  goal")
    for cost in costs:
        is_door = cost.door in GOALS
        over = (f"{cost.clock_over:.1f}", f"{cost.processor_over:.1f}") if is_door else ("", "")
        print(
            f"{cost.door:<22}{cost.gives:<6}{cost.clock:8.1f}{over[0]:>8}{cost.processor:11.1f}"
            f"{over[1]:>8}  {GOALS.get(cost.door, '')}"
        )


def show_first(times: list[tuple[float, ...]]) -> None:
    print("\na fresh process in C, bundled model, warm page cache; milliseconds")
    names = ("start of the process to main()", "opening the model", "first translation")
    for name, column in zip(names, zip(*times, strict=True), strict=True):
        print(f"{name:<34}{statistics.median(column):6.1f}  least {min(column):.1f}")
    whole = [opened + translated for _, opened, translated in times]
    print(f"{'main() to the translation':<34}{statistics.median(whole):6.1f}", end="")
    print(f"  least {min(whole):.1f}  goal {GOAL_FIRST}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", type=Path, help="where to build, and keep it")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=100, help="of each door in a round")
    parser.add_argument("--length", type=int, default=1, help="tokens of the translations")
    parser.add_argument("--starts", type=int, default=40, help="fresh processes")
    parser.add_argument("--json", type=Path, help="write the costs there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, tiny_model() as tiny:
        directory = Path(arguments.build or temporary).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        build(directory)
        costs: list[Cost] = []
        for name, path, language in (("tiny", tiny, ""), ("bundled", BUNDLED_MODEL, LANGUAGE)):
            doors = Doors(directory, path, language, arguments.length)
            costs += (one := list(measure(doors, name, arguments.rounds, arguments.calls)))
            show(one, doors.tokens)
        show_first(first_translations(directory, arguments.starts))
    if arguments.json:
        rows = [asdict(cost) for cost in costs]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
