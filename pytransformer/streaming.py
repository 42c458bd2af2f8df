"""Text that is certain while the rest of a translation is still searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# A word of a script without spaces may be as long as a line; of what has no space for so many
# characters, only the last ones are kept back.
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
        by_words: bool,
        by_tokens: bool,
    ) -> None:
        """Starts with nothing.

        Args:
            decode: the text of some tokens.
            complete: the whole line, given the text of all tokens.
            by_words: whether words are told of before the line is complete.
            by_tokens: whether the tokens alone make the line.
        """
        self._decode = decode
        self._complete = complete
        self._by_words = by_words
        self._by_tokens = by_tokens
        self._ids: list[int] = []
        self._ended = False
        self._told = 0

    @property
    def done(self) -> bool:
        """Whether :meth:`take` has given, or gives, all of it."""
        return self._ended and self._by_tokens

    def add(self, token: int) -> None:
        """Takes a token that is certain; a negative one says that none follows."""
        if token < 0:
            self._ended = True
        else:
            self._ids.append(token)

    def take(self) -> str:
        """What has become certain since the last call."""
        if not self._by_tokens or not (self._by_words or self._ended):
            return ""
        text = self._decode(self._ids)
        return self.finish(self._complete(text)) if self._ended else self._tell(text, _end(text))

    def finish(self, text: str) -> str:
        """The rest of the whole line."""
        return self._tell(text, len(text))

    def _tell(self, text: str, end: int) -> str:
        piece = text[self._told : end]
        self._told = max(self._told, end)
        return piece


def _end(text: str) -> int:
    """Where the part of a text ends that nothing behind it changes."""
    space = max(0, text.rfind(" "))
    return space if len(text) - space <= _LONG_WORD else len(text) - _KEPT_BACK
