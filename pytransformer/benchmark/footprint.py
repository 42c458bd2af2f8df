"""How long an engine takes to open a model, and the memory it then needs: in a fresh process.

In the process of the benchmark itself, other engines, buffers and leftovers would count too.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from pytransformer.benchmark.engines import Opener
from pytransformer.benchmark.workload import Batch
from pytransformer.errors import PytransformerError
from pytransformer.options import TranslationOptions


class FootprintError(PytransformerError):
    """The process that was to be measured failed."""


@dataclass(frozen=True)
class Footprint:
    """What opening a model and one translation cost.

    Attributes:
        load_seconds: time to open the model.
        peak_bytes: most memory that the process held at once, shared pages included; None where the
            system does not tell.
        private_bytes: memory of the process that no other can share, after the translation.
    """

    load_seconds: float
    peak_bytes: int | None
    private_bytes: int | None


def measure(prepare: Callable[[], Opener], batch: Batch, options: TranslationOptions) -> Footprint:
    """Opens the model in a process of its own and translates one batch.

    Args:
        prepare: gives what opens the model; it must be picklable.
        batch: the sentences to translate.
        options: how to translate them.

    Raises:
        FootprintError: the process failed; says how.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure_here, args=(theirs, prepare, batch, options))
    process.start()
    try:
        theirs.close()
        answer = ours.recv()
    except EOFError:
        process.join()
        raise FootprintError(f"its process ended with exit code {process.exitcode}") from None
    finally:
        process.terminate()
        process.join()
    if not isinstance(answer, Footprint):
        raise FootprintError(str(answer))
    return answer


def describe(error: BaseException) -> str:
    """An error of whatever kind in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if isinstance(error, PytransformerError) else f"{type(error).__name__}: {text}"


def _measure_here(
    connection: Connection,
    prepare: Callable[[], Opener],
    batch: Batch,
    options: TranslationOptions,
) -> None:
    # Ctrl-C reaches all processes at the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        open_model = prepare()
        start = time.perf_counter()
        engine = open_model()
        load_seconds = time.perf_counter() - start
        engine.translate(batch, options)
        connection.send(
            Footprint(
                load_seconds,
                _kilobytes("/proc/self/status", "VmHWM"),
                _kilobytes("/proc/self/smaps_rollup", "Private_Dirty"),
            )
        )
    except Exception as error:
        connection.send(describe(error))


def _kilobytes(path: str, name: str) -> int | None:
    """A quantity in bytes that the system lists in kilobytes; None if it does not."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key == name:
                    return 1024 * int(value.split()[0])
    except OSError:
        pass  # not Linux
    return None
