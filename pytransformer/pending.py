"""Sentences on their way through the engine, and how to wait for them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pytransformer import _native
from pytransformer.background import start_thread
from pytransformer.errors import DecodingError
from pytransformer.results import FinishReason

T = TypeVar("T")

# Seconds between tidings, as long as more are awaited: a thread that wakes for each of many takes a
# core from the engine each time.
_PAUSE = 0.0005


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
class PlainHypothesis:
    """One that the engine did not make; by default that of a sentence without content."""

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
        self._process = os.getpid()

    @property
    def sentences(self) -> list[int]:
        """Which sentence of the call each of the job's is."""
        return [index for index, content in enumerate(self._has_content) if content]

    def done(self) -> bool:
        """Whether :meth:`hypotheses` would return at once."""
        return self.job is None or self.job.done()

    def hypotheses(self) -> list[list[Hypothesis]]:
        """Those of each sentence; waits for them. To be called once.

        Raises DecodingError if the search of one came to nothing.
        """
        found = iter(self._result())
        return [list(next(found)) if content else self._nothing() for content in self._has_content]

    def encodings(self) -> list[_native.Hypothesis]:
        """What a job that only encodes has made of each source; waits. To be called once.

        Raises DecodingError if numbers are not finite.
        """
        return [found[0] for found in self._result()]

    def _result(self) -> list[list[_native.Hypothesis]]:
        self.check_process()
        try:
            return self.job.result() if self.job is not None else []
        except ValueError as error:
            raise DecodingError(str(error)) from None

    def events(self) -> list[_native.TokenEvent]:
        """Waits for tokens that are certain; an empty list says that there will be no more."""
        return [] if self.job is None else self.job.events()

    def cancel(self) -> None:
        """Ends the work; a result that is there already stays."""
        if self.job is not None and not self.job.done():
            self.job.cancel()

    def check_process(self) -> None:
        """Raises RuntimeError where waiting would have no end."""
        if self._process != os.getpid() and not self.done():
            raise RuntimeError(
                "this translation was begun before a fork, and only the parent's threads go on "
                "with it; begin it in the child"
            )

    def _nothing(self) -> list[Hypothesis]:
        return [PlainHypothesis() for _ in range(self._num_hypotheses)]


class _Waiting(NamedTuple):
    """Who waits for the end of a job."""

    loop: asyncio.AbstractEventLoop
    ended: asyncio.Future[None]


class CompletionWatcher:
    """One thread that tells of jobs that have ended, started when somebody first awaits one."""

    def __init__(self) -> None:
        self._completions: _native.Completions | None = None
        self._forget()
        _watchers.add(self)

    def watch(self, job: _native.Job) -> asyncio.Future[None]:
        """A future of the running loop, which has a result once the job has ended."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        with self._lock:
            completions = self._completions or self._start()
            name = next(self._names)
            self._waiting[name] = _Waiting(loop, ended)
        completions.add(job, name)
        return ended

    def _start(self) -> _native.Completions:
        completions, waiting = _native.Completions(), self._waiting
        start_thread(lambda: _tell(completions, waiting), completions.close)
        self._completions = completions
        return completions

    def _forget(self) -> None:
        """Begins anew; a forked child has none of its parent's threads, and perhaps its locks."""
        self._lock = threading.Lock()
        self._names = itertools.count()
        self._waiting: dict[int, _Waiting] = {}
        self._completions = None

    def __del__(self) -> None:
        # The thread is not waited for: the last reference may go away in any thread, at any time.
        if self._completions is not None:
            self._completions.close()


_watchers: weakref.WeakSet[CompletionWatcher] = weakref.WeakSet()


def _forget_all() -> None:
    for watcher in _watchers:
        watcher._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _tell(completions: _native.Completions, waiting: dict[int, _Waiting]) -> None:
    while names := completions.wait():
        _tell_of([waiting.pop(name) for name in names])
        if waiting:
            time.sleep(_PAUSE)


def _tell_of(told: Iterable[_Waiting]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for loop, ended in told:
        by_loop.setdefault(loop, []).append(ended)
    for loop, futures in by_loop.items():
        # A loop that was closed meanwhile has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_all, futures)


def _set_all(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class AsyncResult(Generic[T]):
    """A result that is not there yet; ``await`` it, or ask for it with :meth:`result`.

    Work whose result nobody holds any more is cancelled.
    """

    def __init__(
        self, pending: Pending, make_result: Callable[[], T], watcher: CompletionWatcher
    ) -> None:
        self._pending = pending
        self._make_result: Callable[[], T] | None = make_result
        self._watcher = watcher
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error: Exception | None = None

    def done(self) -> bool:
        """Whether :meth:`result` would return at once."""
        return self._pending.done()

    def result(self) -> T:
        """Waits for the result; raises what went wrong. May be called again."""
        self._pending.check_process()
        with self._lock:
            # Ctrl-C is no answer: it ends the job, and whoever asks again is told so.
            if self._make_result is not None:
                try:
                    self._value = self._make_result()
                except Exception as error:
                    self._error = error
                self._make_result = None
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def cancel(self) -> None:
        """Ends the work; whoever waits for it gets a ``concurrent.futures.CancelledError``.

        A result that is there already stays.
        """
        self._pending.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        job = self._pending.job
        if job is not None and self._make_result is not None:
            self._pending.check_process()
            try:
                await self._watcher.watch(job)
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()
