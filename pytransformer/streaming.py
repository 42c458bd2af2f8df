"""Text that is certain while the rest of a translation is still searched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from typing import Any, TypeVar

from pytransformer.background import start_thread

T = TypeVar("T")

# A word of a script without spaces may be as long as a line; of what has no space for so many
# characters, only the last ones are kept back: more than the bytes of one character.
_LONG_WORD = 32
_KEPT_BACK = 8


class LineStream:
    """The text of tokens that arrive one after another, as far as later ones cannot change it.

    A tokenizer may join the last word with what follows (a piece of the same word, a full stop, the
    bytes of one character), so the last word and the space before it are kept back.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        complete: Callable[[str], str],
        *,
        prefix: Sequence[int] = (),
        by_words: bool,
        by_tokens: bool,
    ) -> None:
        """Starts with the tokens that are forced, which nobody tells of.

        Args:
            decode: the text of some tokens.
            complete: the whole line, given the text of all tokens.
            prefix: the tokens that the line begins with.
            by_words: whether words are told of before the line is complete.
            by_tokens: whether the tokens alone make the line.
        """
        self._decode = decode
        self._complete = complete
        self._by_words = by_words
        self._by_tokens = by_tokens
        self._ids = list(prefix)
        self._ended = False
        self._told = 0

    @property
    def done(self) -> bool:
        """Whether :meth:`take` has given, or gives, all of it."""
        return self._ended and self._by_tokens

    def add(self, step: int, token: int) -> None:
        """Takes a token that is certain, and its place; a negative one says that none follows."""
        if token < 0:
            self._ended = True
        else:
            self._ids[step:] = [token]

    def take(self) -> str:
        """What has become certain since the last call."""
        if not self._by_tokens or not (self._by_words or self._ended):
            return ""
        text = self._decode(self._ids)
        return self.finish(self._complete(text)) if self._ended else self._tell(text[: _end(text)])

    def finish(self, text: str) -> str:
        """The rest of the whole line."""
        return self._tell(text)

    def _tell(self, certain: str) -> str:
        piece = certain[self._told :]
        self._told += len(piece)
        return piece


def _end(text: str) -> int:
    """Where the part of a text ends that nothing behind it changes."""
    space = text.rfind(" ")
    # "n ' t" is written "n't" by some tokenizers, and " 's" loses its space.
    if text.startswith("'", space + 1):
        space = text.rfind(" ", 0, max(0, space))
    end = max(0, space)
    if len(text) - end > _LONG_WORD:
        end = len(text) - _KEPT_BACK
    # A text does not end with white space, and the bytes to come may be such.
    return len(text[:end].rstrip())


def ending(items: Iterable[T], end: Callable[[], None]) -> Generator[T, None, None]:
    """The items; `end` is called behind the last one, or when the generator is closed."""

    def run() -> Generator[Any, None, None]:
        try:
            # Taken below: a generator that has not begun is not told that it is closed.
            yield None
            yield from items
        finally:
            end()

    begun = run()
    next(begun)
    return begun


async def in_event_loop(
    pieces: Generator[T, None, None], cancel: Callable[[], None]
) -> AsyncGenerator[T, None]:
    """What a generator that blocks yields, without blocking the loop.

    Args:
        pieces: is run, and closed, by a thread of its own: the loop's common threads are few, and
            as many streams could starve each other.
        cancel: makes the generator end soon; may be called while it runs.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[T | BaseException | None] = asyncio.Queue()

    def tell(what: T | BaseException | None) -> None:
        # A loop that was closed meanwhile has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(arrived.put_nowait, what)

    def run() -> None:
        try:
            for piece in pieces:
                tell(piece)
            tell(None)
        except BaseException as error:
            tell(error)

    start_thread(run, cancel)
    try:
        while (what := await arrived.get()) is not None:
            if isinstance(what, BaseException):
                raise what
            yield what
    finally:
        cancel()
