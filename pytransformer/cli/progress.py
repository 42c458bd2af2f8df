"""A progress bar on a terminal."""

from __future__ import annotations

import time
from typing import TextIO

_BAR_WIDTH = 30


class Progress:
    """Shows how much of the input is done, how fast, and how long the rest will take."""

    def __init__(self, stream: TextIO | None, total_bytes: int | None) -> None:
        """Draws on `stream`, or nowhere if it is None; without a total, there is only a count."""
        self._stream = stream
        self._total_bytes = total_bytes
        self._start = time.monotonic()
        self._width = 0

    def show(self, lines: int, done_bytes: int) -> None:
        """Draws the state after so many lines and bytes of input."""
        if self._stream is None:
            return
        elapsed = max(time.monotonic() - self._start, 1e-3)
        text = f"{lines:,} lines, {lines / elapsed:,.0f} lines/s"
        if self._total_bytes:
            share = min(done_bytes / self._total_bytes, 1.0)
            bar = ("#" * round(share * _BAR_WIDTH)).ljust(_BAR_WIDTH, ".")
            left = _clock(elapsed * (1 - share) / share) if share else "--:--"
            text = f"{share:4.0%} [{bar}] {text}, {left} left"
        self._draw(text)

    def close(self) -> None:
        """Ends the line, so that what is printed next starts on its own."""
        if self._stream is not None and self._width:
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self, text: str) -> None:
        assert self._stream is not None
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
