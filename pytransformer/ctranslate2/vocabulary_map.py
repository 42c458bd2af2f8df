"""The vocabulary map of a model: which target tokens may come, by the source's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pytransformer.errors import CheckpointError


class VocabularyMap:
    """A file vmap.txt: on each line an n-gram of source tokens, a tab, and target tokens.

    Tokens are separated by single spaces. The line with no source token has the target tokens that
    are always possible, besides the unknown, begin and end tokens.
    """

    def __init__(self, path: Path, target_id: Callable[[str], int], always: Iterable[int]) -> None:
        """Reads the file; CheckpointError that names it if it is not UTF-8 text."""
        try:
            lines = path.read_bytes().decode().split("\n")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: byte {error.start} is not UTF-8 text") from None
        self._rules: dict[str, list[int]] = {}
        self._longest = 1
        for line in lines:
            words, tab, tokens = line.removesuffix("\r").partition("\t")
            if not tab:
                continue
            self._longest = max(self._longest, 1 + words.count(" "))
            self._rules[words] = [target_id(token) for token in tokens.split(" ") if token]
        self._always = {*always, *self._rules.pop("", [])}

    def candidates(self, source: Sequence[str], prefix: Sequence[int]) -> list[int]:
        """The ids, in order, of the tokens that may come for a source and a target prefix."""
        found = {*self._always, *prefix}
        for i in range(len(source)):
            words = ""
            for token in source[i : i + self._longest]:
                words = f"{words} {token}" if words else token
                found.update(self._rules.get(words, ()))
        return sorted(found)
