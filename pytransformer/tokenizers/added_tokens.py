"""Finds the tokens in a text that stand there literally, such as </s> or the name of a language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# What Hugging Face's tokenizers take for white space; str.strip() knows four more characters.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


class AddedTokens:
    """Cuts texts at tokens that are known by their text; of several at a place the longest counts.

    Each token is an object with `content`, and with `lstrip` and `rstrip`, which take away the
    white space before or behind it. `normalise` is what was done to the texts, and so is done to
    the tokens before they are looked for. `white_space` is None where Python says what that is.
    """

    def __init__(
        self,
        tokens: Sequence[Mapping[str, Any]],
        normalise: Callable[[str], str] | None = None,
        white_space: str | None = WHITE_SPACE,
    ) -> None:
        self._white_space = white_space
        written = {
            token["content"] if normalise is None else normalise(token["content"]): token
            for token in tokens
        }
        written.pop("", None)
        self._tokens = written
        if written:
            longest_first = sorted(written, key=len, reverse=True)
            self._pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
            self._sign = re.compile("[" + re.escape("".join(_signs(written))) + "]")

    def cut(self, text: str) -> list[tuple[str, bool]]:
        """The parts of a text, and whether each is a token; no part is empty."""
        if not self._tokens or not self._sign.search(text):
            return [(text, False)] if text else []
        parts = self._pattern.split(text)
        for place in range(1, len(parts), 2):
            token = self._tokens[parts[place]]
            parts[place] = token["content"]
            if token["lstrip"]:
                parts[place - 1] = parts[place - 1].rstrip(self._white_space)
            if token["rstrip"]:
                parts[place + 1] = parts[place + 1].lstrip(self._white_space)
        return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def _signs(tokens: Iterable[str]) -> set[str]:
    """A few characters of which every token holds one, and texts without tokens hardly any.

    To look for hundreds of tokens at every place of a text is slow.
    """
    signs: set[str] = set()
    for token in tokens:
        if signs.isdisjoint(token):
            signs.add(next((sign for sign in token if not sign.isalnum()), token[0]))
    return signs
