"""Sentences on their way through the engine, and how to wait for them."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pytransformer import _native
from pytransformer.results import FinishReason

T = TypeVar("T")


class Hypothesis(Protocol):
    """A translation as ids; :class:`pytransformer._native.Hypothesis` says more."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def score(self) -> float: ...
    @property
    def log_probs(self) -> list[float]: ...
    @property
    def reason(self) -> FinishReason: ...
    @property
    def attention(self) -> Any: ...
    @property
    def logits(self) -> Any: ...


@dataclass(frozen=True)
class _Nothing:
    """The translation of a sentence without content."""

    ids: list[int] = field(default_factory=list)
    score: float = 0.0
    log_probs: list[float] = field(default_factory=list)
    reason: FinishReason = "end"
    attention: Any = None
    logits: Any = None


class Pending:
    """Sentences of one call: those with content are in a job, the others have nothing to do."""

    def __init__(
        self, job: _native.Job | None, has_content: Sequence[bool], num_hypotheses: int
    ) -> None:
        self.job = job
        self._has_content = has_content
        self._num_hypotheses = num_hypotheses

    @property
    def sentences(self) -> list[int]:
        """Which sentence of the call each of the job's is."""
        return [index for index, content in enumerate(self._has_content) if content]

    def hypotheses(self) -> list[list[Hypothesis]]:
        """Those of each sentence; waits for them. To be called once."""
        found = iter(self.job.result() if self.job is not None else [])
        nothing: list[Hypothesis] = [_Nothing()] * self._num_hypotheses
        return [list(next(found)) if content else nothing for content in self._has_content]


class CompletionWatcher:
    """One thread that tells of jobs that have ended, started when somebody first awaits one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names = itertools.count()
        self._process: int | None = None
        self._thread: threading.Thread | None = None

    def watch(self, job: _native.Job, callback: Callable[[], None]) -> None:
        """Calls `callback` in the thread once the job has ended; it must not raise or block."""
        with self._lock:
            # A forked child has none of its parent's threads.
            if self._process != os.getpid():
                self._start()
            name = next(self._names)
            self._callbacks[name] = callback
        self._completions.add(job, name)

    def _start(self) -> None:
        self._process = os.getpid()
        self._completions = _native.Completions()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._thread = threading.Thread(
            target=_tell, args=(self._completions, self._callbacks), daemon=True
        )
        self._thread.start()
        _watchers.add(self)

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is None or self._process != os.getpid():
            return
        self._completions.close()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def __del__(self) -> None:
        self.close()


_watchers: weakref.WeakSet[CompletionWatcher] = weakref.WeakSet()


@atexit.register
def _close_watchers() -> None:
    # A thread that still waits in C++ when the interpreter goes away would take it down.
    for watcher in list(_watchers):
        watcher.close()


def _tell(completions: _native.Completions, callbacks: dict[int, Callable[[], None]]) -> None:
    while names := completions.wait():
        for name in names:
            callbacks.pop(name)()


class AsyncResult(Generic[T]):
    """A result that is not there yet; ``await`` it, or ask for it with :meth:`result`."""

    def __init__(
        self,
        job: _native.Job | None,
        make_result: Callable[[], T],
        watcher: CompletionWatcher,
    ) -> None:
        self._job = job
        self._make_result: Callable[[], T] | None = make_result
        self._watcher = watcher
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether :meth:`result` would return at once."""
        return self._job is None or self._job.done()

    def result(self) -> T:
        """Waits for the result; raises what went wrong. May be called again."""
        with self._lock:
            if self._make_result is not None:
                try:
                    self._value = self._make_result()
                except BaseException as error:
                    self._error = error
                self._make_result = None
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def cancel(self) -> None:
        """Ends the work; a result that is waited for may then be a CancelledError."""
        if self._job is not None:
            self._job.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if self._job is not None and not self._job.done():
            loop = asyncio.get_running_loop()
            ended = loop.create_future()

            def tell() -> None:
                # A loop that was closed meanwhile has nobody who waits.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_set, ended)

            self._watcher.watch(self._job, tell)
            try:
                await ended
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
