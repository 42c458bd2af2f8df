"""Other libraries with pools of threads, as what they do in a process that is started for it.

Started as a program, it works as its argument says and prints what came of it; see `ask`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

THREADS = 2
TEXTS = (
    "Ein Hund läuft durch den Schnee.",
    "Drei Leute stehen an einer Straße und warten auf den Bus, während es stark regnet.",
    "Wie geht es dir?",
)
SIZE = 160  # of matrices: enough for every library to use its threads

# Something that a library computes, as numbers that JSON keeps exactly.
Work = Callable[[], list[float]]


@dataclass(frozen=True)
class Order:
    """What a process does.

    Attributes:
        names: what is imported, in this order: "us" or a neighbour.
        ways: how these work then, once imported: in turn, at once from threads of the program.
        rounds: how often.
        folder: holds a model for CTranslate2.
        before: statements that are run first; `after`: when all is imported, and has worked.
    """

    names: tuple[str, ...]
    ways: tuple[str, ...] = ("in turn",)
    rounds: int = 4
    folder: str = ""
    before: str = ""
    after: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def ask(order: Order, cwd: Path) -> dict[str, list[list[float]]]:
    """The results of each of the order's names: those that differ, so that one is what is right."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(order))],
        cwd=cwd,
        env={**os.environ, **order.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[list[float]]] = json.loads(done.stdout)
    return answer


def _us(_: str) -> Work:
    from pytransformer import Translator

    translator = Translator(inter_threads=1, intra_threads=THREADS)

    def work() -> list[float]:
        found = translator.translate_n_best(TEXTS, beam_size=3, num_hypotheses=2)
        return [
            number
            for pair in found
            for best in pair
            for number in (best.score, *best.text.encode())
        ]

    return work


def _torch(_: str) -> Work:
    import torch

    torch.set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, SIZE, generator=generator)
    weights = torch.randn(SIZE, SIZE, generator=generator) / SIZE**0.5

    def work() -> list[float]:
        y = torch.softmax(torch.relu(x @ weights) @ weights, 1)
        return [float(value) for value in y.sum(0)]

    return work


def _numpy(_: str) -> Work:
    import numpy as np

    x = np.random.RandomState(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    return lambda: [float(value) for value in (x @ (x @ x)).sum(0)]


def _sklearn(_: str) -> Work:
    import numpy as np
    from sklearn.metrics import pairwise_distances_argmin_min

    random = np.random.RandomState(0)
    x, y = random.standard_normal((2000, 16)), random.standard_normal((40, 16))

    def work() -> list[float]:
        places, distances = pairwise_distances_argmin_min(x, y)
        return [*places.tolist(), *distances.tolist()]

    return work


def _ctranslate2(folder: str) -> Work:
    import ctranslate2

    translator = ctranslate2.Translator(folder, intra_threads=THREADS)
    batch = [[str(i) for i in range(5, 5 + length)] for length in (3, 9, 14)]

    def work() -> list[float]:
        found = translator.translate_batch(
            batch, beam_size=1, max_decoding_length=10, return_scores=True
        )
        return [result.scores[0] for result in found]

    return work


WORKS = {
    "us": _us,
    "torch": _torch,
    "numpy": _numpy,
    "sklearn": _sklearn,
    "ctranslate2": _ctranslate2,
}


def _in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def _at_once(works: Mapping[str, Work], rounds: int) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {name: [] for name in works}

    def go_on(name: str) -> None:
        # None stops while another still works.
        while min(map(len, found.values())) < rounds:
            found[name].append(works[name]())

    threads = [threading.Thread(target=go_on, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _main(settings: dict[str, Any]) -> None:
    names: dict[str, Any] = {}
    exec(settings["before"], names)
    works = {name: WORKS[name](settings["folder"]) for name in settings["names"]}
    found: dict[str, list[list[float]]] = {name: [] for name in works}
    for way in settings["ways"]:
        run = _in_turn if way == "in turn" else _at_once
        for name, results in run(works, settings["rounds"]).items():
            found[name] += results
    exec(settings["after"], names)
    for name, results in found.items():
        found[name] = [r for i, r in enumerate(results) if r not in results[:i]]
    print(json.dumps(found))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
