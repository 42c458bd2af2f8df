"""What it costs pytransformer and another library to share a process.

    python bench/neighbours.py                            # all of them that are installed
    python bench/neighbours.py --neighbours torch sklearn --first us

Each of the two runs alone in a process of its own; both run in a third, which imports them in the
order that `--first` says. There they work in turn, each with all threads, and then at once from
two threads of the program, each with half of them; "alone" is then alone with as many. A turn of
ours is a batch of so many sentences, and one of theirs takes about as long.

The three processes are measured in turn, round by round, and none works while another does. A
figure is the median over the rounds of the ratio of the medians within a round: what a turn takes
in the shared process, over what it takes alone. Rounds in which the rest of the machine was busy
are thrown away.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

Work = Callable[[], object]

SENTENCES = (1, 16, 64)
GOAL = 1.1
TURNS_SECONDS = 0.3  # of each side in a round
PAUSE = 0.1  # longer than what any library's idle threads spin
SENTENCE = "Drei Leute stehen an einer Straße und warten auf den Bus, während es stark regnet."


def torch_work(threads: int, _: Path) -> Work:
    import torch

    torch.set_num_threads(threads)
    layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True).eval()
    x = torch.randn(4, 32, 256)

    def work() -> object:
        with torch.inference_mode():
            return layer(x)

    return work


def numpy_work(threads: int, _: Path) -> Work:
    import numpy as np
    from threadpoolctl import threadpool_limits

    x = np.random.default_rng(0).random((384, 384), dtype=np.float32)
    x @ x  # a BLAS makes its pool when it is first used
    threadpool_limits(threads, user_api="blas")
    return lambda: x @ x


def sklearn_work(threads: int, _: Path) -> Work:
    import numpy as np
    from sklearn.metrics import pairwise_distances_argmin
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    x, y = rng.random((4000, 32)), rng.random((64, 32))
    pairwise_distances_argmin(x, y)
    threadpool_limits(threads)
    return lambda: pairwise_distances_argmin(x, y)


def ctranslate2_work(threads: int, folder: Path) -> Work:
    import ctranslate2

    from pytransformer.benchmark.random_checkpoint import SHAPES, random_sentences

    translator = ctranslate2.Translator(
        str(folder / "ctranslate2-int8"), compute_type="int8", intra_threads=threads
    )
    batch = random_sentences([16] * 2, SHAPES["tiny"].vocab_size)
    return lambda: translator.translate_batch(
        batch, beam_size=1, min_decoding_length=16, max_decoding_length=16
    )


def our_work(threads: int, sentences: int) -> Work:
    import pytransformer

    translator = pytransformer.Translator(inter_threads=1, intra_threads=threads)
    batch = [SENTENCE] * sentences
    return lambda: translator.translate(batch)


NEIGHBOURS = {
    "torch": torch_work,
    "numpy": numpy_work,
    "sklearn": sklearn_work,
    "ctranslate2": ctranslate2_work,
}


# --- a process that works -------------------------------------------------------------------------


def repeated(work: Work, count: int) -> Work:
    def turn() -> None:
        for _ in range(count):
            work()

    return turn


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(works: dict[str, Work], turns: int) -> dict[str, float]:
    """The median seconds of a turn of each."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: statistics.median(values) for name, values in times.items()}


def at_once(works: dict[str, Work], turns: int) -> dict[str, float]:
    """The same, each from a thread of its own; who has done its turns goes on till all have."""
    times: dict[str, list[float]] = {name: [] for name in works}

    def go_on(name: str) -> None:
        while min(map(len, times.values())) < turns:
            times[name].append(seconds(works[name]))

    threads = [threading.Thread(target=go_on, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: statistics.median(values[:turns]) for name, values in times.items()}


def serve(settings: dict[str, Any]) -> None:
    """Does what stdin asks for, line by line: {"way": …, "turns": …, "repeats": {…}}."""
    threads, folder = settings["threads"], Path(settings["folder"])
    works: dict[str, Work] = {}
    for name in settings["names"]:
        if name == "us":
            works[name] = our_work(threads, settings["sentences"])
        else:
            works[name] = NEIGHBOURS[name](threads, folder)
        seconds(works[name])
    for line in sys.stdin:
        order = json.loads(line)
        turns = {name: repeated(work, order["repeats"][name]) for name, work in works.items()}
        way = at_once if order["way"] == "at once" else in_turn
        print(json.dumps(way(turns, order["turns"])), flush=True)


# --- the one that measures ------------------------------------------------------------------------


class Process:
    """A process that works when told to."""

    def __init__(self, names: list[str], threads: int, sentences: int, folder: Path) -> None:
        settings = {"names": names, "threads": threads, "sentences": sentences}
        settings["folder"] = str(folder)
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            cwd=folder,  # where no source hides the installed package
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.communicate()

    def work(self, way: str, turns: int, repeats: dict[str, int]) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        time.sleep(PAUSE)
        order = {"way": way, "turns": turns, "repeats": repeats}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """CPU time of the whole machine, stolen time included, idle time not."""
    first, *_ = Path("/proc/stat").read_text().splitlines()
    user, nice, system, _, _, *rest = map(int, first.split()[1:9])
    return sum((user, nice, system, *rest)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """Milliseconds of a turn alone, and how many times as long one takes beside the other."""

    neighbour: str
    way: str
    sentences: int
    our_milliseconds: float
    our_ratio: float
    their_milliseconds: float
    their_ratio: float
    rounds: int
    thrown_away: int


def measure(
    neighbour: str, way: str, sentences: int, folder: Path, arguments: argparse.Namespace
) -> Figure:
    threads = arguments.threads if way == "in turn" else max(1, arguments.threads // 2)
    both = ["us", neighbour] if arguments.first == "us" else [neighbour, "us"]
    rounds: list[tuple[float, ...]] = []
    thrown_away = 0
    with ExitStack() as stack:
        processes = [
            stack.enter_context(Process(names, threads, sentences, folder))
            for names in (["us"], [neighbour], both)
        ]
        ours, theirs, shared = processes
        repeats = {"us": 1, neighbour: 1}
        mine = ours.work("in turn", 20, repeats)["us"]
        repeats[neighbour] = max(1, round(mine / theirs.work("in turn", 20, repeats)[neighbour]))
        turns = max(5, round(TURNS_SECONDS / mine))
        while len(rounds) < arguments.rounds and thrown_away < arguments.patience:
            start, others = time.perf_counter(), busy_seconds()
            others -= sum(process.cpu_seconds() for process in processes)
            us = ours.work("in turn", turns, repeats)["us"]
            them = theirs.work("in turn", turns, repeats)[neighbour]
            found = shared.work(way, turns, repeats)
            others = busy_seconds() - sum(p.cpu_seconds() for p in processes) - others
            if others > arguments.noise * (time.perf_counter() - start):
                thrown_away += 1
            else:
                rounds.append((us, found["us"] / us, them, found[neighbour] / them))
    if not rounds:
        sys.exit("the machine was never quiet enough; see --noise and --patience")
    us, our_ratio, them, their_ratio = map(statistics.median, zip(*rounds, strict=True))
    figures = (1e3 * us, our_ratio, 1e3 * them, their_ratio)
    return Figure(neighbour, way, sentences, *figures, len(rounds), thrown_away)


def prepare(neighbour: str, folder: Path) -> None:
    """Makes what the neighbour needs, in a process that is none of those measured."""
    if neighbour != "ctranslate2":
        return
    from pytransformer.benchmark.engines import PeerModel
    from pytransformer.benchmark.peer_ctranslate2 import prepare_ctranslate2
    from pytransformer.benchmark.random_checkpoint import SHAPES, write_checkpoint

    if not (folder / "checkpoint").exists():
        write_checkpoint(SHAPES["tiny"], folder / "checkpoint")
    prepare_ctranslate2(PeerModel(folder / "checkpoint", folder, "int8", 1))


def run(arguments: argparse.Namespace) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        for neighbour in arguments.neighbours:
            if importlib.util.find_spec(neighbour) is None:
                print(f"{neighbour} is not installed")
                continue
            prepare(neighbour, Path(folder))
            for way in ("in turn", "at once"):
                for sentences in arguments.sentences:
                    yield measure(neighbour, way, sentences, Path(folder), arguments)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--neighbours", nargs="+", choices=NEIGHBOURS, default=list(NEIGHBOURS))
    add("--first", choices=("us", "them"), default="them", help="who is imported first")
    add("--sentences", nargs="+", type=int, default=SENTENCES, help="of a turn of ours")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--rounds", type=int, default=15)
    add("--noise", type=float, default=0.05, help="cores that the rest of the machine may use")
    add("--patience", type=int, default=300, help="rounds to throw away at most")
    add("--json", type=Path, help="writes the figures to this file too")
    add("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(json.loads(arguments.serve))
        return
    print(f"imported first: {arguments.first}; goal: ratios of at most {GOAL}")
    print("neighbour    way      sentences  ours ms  ratio  theirs ms  ratio  rounds (thrown away)")
    figures = []
    for figure in run(arguments):
        figures.append(asdict(figure))
        f = figure
        print(
            f"{f.neighbour:12} {f.way:8} {f.sentences:9} {f.our_milliseconds:8.2f} "
            f"{f.our_ratio:6.3f} {f.their_milliseconds:10.2f} {f.their_ratio:6.3f} "
            f"{f.rounds:7} ({f.thrown_away})",
            flush=True,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
