"""Languages that a model is told by a text in front of the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pytransformer.errors import OptionError
from pytransformer.tokenizers.languages import Languages


class LanguagePrefix(NamedTuple):
    """What stands in front of a text from one language (None: any) that is to become another."""

    source: str | None
    target: str
    text: str


class LanguagePrefixes:
    """The prefixes of a model, given as [source or None, target, prefix]; it may have none."""

    def __init__(self, prefixes: Sequence[Sequence[str | None]]) -> None:
        self._prefixes = [
            LanguagePrefix(source, str(target), str(text)) for source, target, text in prefixes
        ]
        sources = (prefix.source for prefix in self._prefixes if prefix.source is not None)
        self._sources = Languages(tuple(dict.fromkeys(sources)))
        self._targets = Languages(tuple(dict.fromkeys(prefix.target for prefix in self._prefixes)))
        self._beginnings = tuple(prefix.text.rstrip() for prefix in self._prefixes)

    @property
    def sources(self) -> tuple[str, ...]:
        return self._sources.codes

    @property
    def targets(self) -> tuple[str, ...]:
        return self._targets.codes

    def put(self, text: str, src_lang: str | None, tgt_lang: str | None) -> str:
        """The text with the languages' prefix, unless it already begins with one.

        Raises OptionError for languages that the model does not know.
        """
        if src_lang is None and tgt_lang is None:
            return text
        if not self._prefixes:
            raise OptionError(
                "this model has no languages to choose from by src_lang and tgt_lang; what it is "
                "to do stands in its text, as in 'translate English to German: ...'"
            )
        if src_lang is not None and self.sources:
            src_lang = self._sources.resolve("src_lang", src_lang)
        if tgt_lang is None:
            return text
        prefix = self._prefix(src_lang, self._targets.resolve("tgt_lang", tgt_lang))
        return text if text.startswith(self._beginnings) else prefix + text

    def _prefix(self, source: str | None, target: str) -> str:
        found = [
            prefix
            for prefix in self._prefixes
            if prefix.target == target
            and (None in (source, prefix.source) or prefix.source == source)
        ]
        if not found:
            raise OptionError(f"this model does not translate {source!r} into {target!r}")
        if len(found) > 1:
            sources = ", ".join(str(prefix.source) for prefix in found)
            raise OptionError(f"src_lang must say what is translated: one of {sources}")
        return found[0].text
