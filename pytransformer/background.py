"""Threads that wait for the engine on behalf of event loops."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

# How to end each thread that runs.
_running: dict[threading.Thread, Callable[[], None]] = {}


def start_thread(run: Callable[[], None], end: Callable[[], None]) -> None:
    """Runs `run` in a thread; `end`, if the interpreter exits first, makes it return soon."""

    def go() -> None:
        try:
            run()
        finally:
            _running.pop(thread, None)

    # The interpreter waits for other threads before it says that it exits.
    thread = threading.Thread(target=go, name="pytransformer", daemon=True)
    _running[thread] = end
    try:
        thread.start()
    except BaseException:
        del _running[thread]
        raise


@atexit.register
def _end_all() -> None:
    # A thread that still waits in C++ when the interpreter goes away would take it down.
    for thread, end in list(_running.items()):
        end()
        thread.join()


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_running.clear)
