"""Lines of text from a file descriptor, as they arrive."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Iterator

_READ_BYTES = 1 << 16


class LineReader:
    """Reads UTF-8 lines in chunks of as many as have arrived.

    A reader at a terminal or behind a slow pipe gets each line at once; one of a file gets chunks
    that grow from `first` to `most` lines, so that results start early and batches stay full.
    """

    def __init__(self, descriptor: int, name: str, *, first: int, most: int) -> None:
        self.descriptor = descriptor
        self.name = name
        self._limit = first
        self._most = most
        self._lines: deque[bytes] = deque()
        self._unfinished: list[bytes] = []
        self._ended = False
        self.bytes_read = 0
        self.lines_read = 0

    def chunks(self) -> Iterator[list[str]]:
        """Yields lists of lines, without the newline that ends each; stops at the end of input.

        Raises:
            ValueError: a line is not UTF-8, after the lines before it; names it and the byte.
            OSError: reading failed.
        """
        while True:
            while not self._ended and len(self._lines) < self._limit and self._may_read():
                self._read()
            if not self._lines:
                return
            chunk = [self._lines.popleft() for _ in range(min(self._limit, len(self._lines)))]
            yield from self._decoded(chunk)
            self._limit = min(2 * self._limit, self._most)

    def _may_read(self) -> bool:
        """Whether to read on: always with nothing in hand, else only what has arrived."""
        if not self._lines:
            return True
        readable, _, _ = select.select([self.descriptor], [], [], 0)
        return bool(readable)

    def _read(self) -> None:
        data = os.read(self.descriptor, _READ_BYTES)
        *ends, start = data.split(b"\n")
        for end in ends:
            self._lines.append(b"".join((*self._unfinished, end)))
            self._unfinished.clear()
        if start:
            self._unfinished.append(start)
        if not data:
            self._ended = True
            if self._unfinished:
                self._lines.append(b"".join(self._unfinished))
                self._unfinished.clear()

    def _decoded(self, chunk: list[bytes]) -> Iterator[list[str]]:
        texts: list[str] = []
        for line in chunk:
            self.lines_read += 1
            self.bytes_read += len(line) + 1
            try:
                texts.append(line.decode())
            except UnicodeDecodeError as error:
                if texts:
                    yield texts
                raise ValueError(
                    f"{self.name}, line {self.lines_read}: byte {error.start + 1} of the line, "
                    f"0x{line[error.start]:02x}, is not UTF-8 text"
                ) from None
        yield texts
