"""Languages of a model by its own codes, by ISO codes and by English names."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pytransformer.errors import OptionError

_TABLE = Path(__file__).with_name("languages.tsv")
_SHOWN = 12  # languages in a message


class _Language(NamedTuple):
    """A row of the table: a language in a script, with the codes and names that mean it."""

    code: str  # ISO 639-3 and ISO 15924, as in NLLB-200: deu_Latn
    others: tuple[str, ...]  # ISO 639-1 and more: de, ger
    names: tuple[str, ...]

    @property
    def short_codes(self) -> tuple[str, ...]:
        """The codes that say nothing of the script, or that say it in another way."""
        return (self.code.partition("_")[0], *self.others)

    def meanings(self) -> Iterator[str]:
        """All that means this language, in the spelling that is looked up."""
        script = self.code.partition("_")[2]
        for code in self.short_codes:
            yield _key(code)
            yield _key(f"{code}_{script}")
        yield from map(_key, self.names)


class Languages:
    """The languages of one side of a model, by the model's codes."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = tuple(codes)

    def resolve(self, option: str, language: str) -> str:
        """The model's code for a language.

        Upper and lower case are the same. Raises OptionError, which names the `option`, if the
        model knows no such language, or several.
        """
        if language in self._exact:
            return language
        found = self._by_key.get(_key(language), ())
        if len(found) == 1:
            return found[0]
        if found:
            raise OptionError(f"{option} is {language!r}, which may be {' or '.join(found)}")
        if not self.codes:
            raise OptionError(
                f"{option} is {language!r}, but this model has no languages to choose from"
            )
        raise OptionError(
            f"{option} is {language!r}, which this model does not know; it knows {self.some()}"
        )

    def some(self) -> str:
        """A few of the codes, for a message."""
        more = len(self.codes) - _SHOWN
        return ", ".join(self.codes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

    @functools.cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self.codes)

    @functools.cached_property
    def _by_key(self) -> Mapping[str, tuple[str, ...]]:
        """The model's codes by all that may be meant by them."""
        found: dict[str, dict[str, None]] = {}
        exact = {_key(code): code for code in self.codes}
        for code in self.codes:
            for row in _rows_of(code):
                for key in row.meanings():
                    found.setdefault(key, {})[code] = None
            found.setdefault(_key(code.partition("_")[0]), {})[code] = None
        # A code that is written out is never another one's.
        return {key: tuple(codes) for key, codes in found.items()} | {
            key: (code,) for key, code in exact.items()
        }


def _key(language: str) -> str:
    return language.strip("_ ").replace("-", "_").casefold()


def _rows_of(code: str) -> Sequence[_Language]:
    """The languages that a model's code means; several if it leaves the script open."""
    key = _key(code)
    return _table().get(key) or _table().get(key.partition("_")[0], ())


@functools.cache
def _table() -> Mapping[str, Sequence[_Language]]:
    """The rows by each of their codes."""
    rows: dict[str, list[_Language]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        code, others, names = line.split("\t")
        language = _Language(code, tuple(others.split()), tuple(names.split("|")))
        for known in (code, *language.short_codes):
            rows.setdefault(_key(known), []).append(language)
    return rows
