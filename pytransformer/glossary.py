"""Terms with a given translation: found in the source, forced or put into the target."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from pytransformer.errors import OptionError
from pytransformer.tokenizers import Tokenizer

GlossaryMode: TypeAlias = Literal["phrases", "placeholders"]
MODES: tuple[GlossaryMode, ...] = ("phrases", "placeholders")

_LETTERS = "XZQKJV"
# Where a word may begin, and where one may end.
_WORD_BEGIN = re.compile(r"(?<!\w)")
_WORD_END = re.compile(r"(?!\w)")


class GlossaryLine(NamedTuple):
    """A line as the model gets it, and what its translation must hold.

    Attributes:
        source: the line, with placeholders in place of terms where these are used.
        phrases: what the translation must hold.
        placeholders: what each placeholder in the translation stands for.
    """

    source: str
    phrases: Sequence[str] = ()
    placeholders: Mapping[str, str] = MappingProxyType({})

    def restored(self, translation: str) -> str:
        """The translation with terms in place of placeholders."""
        if not self.placeholders:
            return translation
        any_of_them = "|".join(map(re.escape, self.placeholders))
        return re.sub(
            rf"(?:{any_of_them})(?!\d)", lambda match: self.placeholders[match[0]], translation
        )


def check_mode(mode: object) -> None:
    """Raises OptionError for what is no mode."""
    if mode not in MODES:
        raise OptionError(f"glossary_mode is {mode!r}, expected one of {', '.join(MODES)}")


class Glossary:
    """Source terms and their translations.

    A term is found where it stands as whole words, in the spelling given; where terms overlap, the
    longest one counts, and of those that are equally long the first.
    """

    def __init__(self, terms: Mapping[str, str], mode: GlossaryMode = "phrases") -> None:
        """Raises TypeError or OptionError for what is no glossary."""
        if not isinstance(terms, Mapping):
            raise TypeError(f"glossary is {type(terms).__name__}, expected a dict of str to str")
        for source, target in terms.items():
            if not isinstance(source, str) or not isinstance(target, str):
                raise TypeError(f"glossary holds {source!r}: {target!r}, expected str and str")
            if not source.strip() or not target.strip():
                raise OptionError(f"glossary holds {source!r}: {target!r}, expected words in both")
        check_mode(mode)
        self._terms = {source.strip(): target.strip() for source, target in terms.items()}
        self._mode = mode
        self._lengths = sorted(set(map(len, self._terms)), reverse=True)

    def apply(self, line: str, tokenizer: Tokenizer, **languages: str | None) -> GlossaryLine:
        """Finds the terms in a line; `languages` are those of the call, as `encode` takes them.

        Raises OptionError if the model knows no placeholder that it could copy.
        """
        places = self._find(line)
        if not places:
            return GlossaryLine(line)
        terms = list(dict.fromkeys(line[begin:end] for begin, end in places))
        if self._mode == "phrases":
            return GlossaryLine(line, list(dict.fromkeys(self._terms[term] for term in terms)))
        names = dict(zip(terms, _placeholders(line, len(terms), tokenizer, languages), strict=True))
        parts = []
        told = 0
        for begin, end in places:
            parts += [line[told:begin], names[line[begin:end]]]
            told = end
        meanings = {names[term]: self._terms[term] for term in terms}
        return GlossaryLine("".join(parts) + line[told:], list(meanings), meanings)

    def _find(self, line: str) -> list[tuple[int, int]]:
        """Where terms begin and end, in order."""
        # A look-up for each length of term: patterns of thousands of terms are slow.
        begins = [match.start() for match in _WORD_BEGIN.finditer(line)]
        ends = {match.start() for match in _WORD_END.finditer(line)}
        found: list[tuple[int, int]] = []
        for length in self._lengths:
            for begin in begins:
                end = begin + length
                if (
                    end in ends
                    and line[begin:end] in self._terms
                    and all(end <= other[0] or other[1] <= begin for other in found)
                ):
                    found.append((begin, end))
        return sorted(found)


def _placeholders(
    line: str, count: int, tokenizer: Tokenizer, languages: Mapping[str, str | None]
) -> list[str]:
    """Names that the line does not hold and that both vocabularies can spell."""
    names: list[str] = []
    for letter, number in itertools.product(_LETTERS, range(1, 1 + max(9, count))):
        name = f"{letter}{number}"
        if name not in line and _is_spelt(name, tokenizer, languages):
            names.append(name)
        if len(names) == count:
            return names
    raise OptionError(
        "glossary_mode placeholders: the model's vocabulary has too few letters and digits that "
        "could stand for a term; use glossary_mode phrases"
    )


def _is_spelt(name: str, tokenizer: Tokenizer, languages: Mapping[str, str | None]) -> bool:
    ids = tokenizer.target_ids(tokenizer.encode_target(name))
    known_source = tokenizer.source_ids(tokenizer.encode(name, **languages))
    unknown_source = tokenizer.source_ids(["\ufffe"])[0]
    return (
        tokenizer.unknown_id not in ids
        and unknown_source not in known_source
        and tokenizer.decode(ids) == name
    )
