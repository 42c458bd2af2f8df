"""Terms with a given translation: found in the source, forced or put into the target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytransformer.errors import OptionError
from pytransformer.tokenizers import Tokenizer

GlossaryMode: TypeAlias = Literal["phrases", "placeholders"]
MODES: tuple[GlossaryMode, ...] = ("phrases", "placeholders")

_LETTERS = "XZQKJV"


@dataclass(frozen=True)
class GlossaryLine:
    """A line as the model gets it, and what its translation must hold.

    Attributes:
        source: the line, with placeholders in place of terms where these are used.
        phrases: what the translation must hold.
        placeholders: what each placeholder in the translation stands for.
    """

    source: str
    phrases: list[str] = field(default_factory=list)
    placeholders: dict[str, str] = field(default_factory=dict)

    def restored(self, translation: str) -> str:
        """The translation with terms in place of placeholders."""
        if not self.placeholders:
            return translation
        any_of_them = "|".join(map(re.escape, self.placeholders))
        return re.sub(
            rf"(?:{any_of_them})(?!\d)", lambda match: self.placeholders[match[0]], translation
        )


class Glossary:
    """Source terms and their translations.

    A term is found where it stands as whole words, in the spelling given; where terms overlap, the
    longest one counts.
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
        if mode not in MODES:
            raise OptionError(f"glossary_mode is {mode!r}, expected one of {', '.join(MODES)}")
        self._terms = dict(terms)
        self._mode = mode
        longest_first = sorted(self._terms, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)") if terms else None

    def apply(self, line: str, tokenizer: Tokenizer) -> GlossaryLine:
        """Finds the terms in a line.

        Raises OptionError if the model knows no placeholder that it could copy.
        """
        found = self._pattern.findall(line) if self._pattern is not None else []
        if not found:
            return GlossaryLine(line)
        terms = list(dict.fromkeys(found))
        if self._mode == "phrases":
            return GlossaryLine(line, [self._terms[term] for term in terms])
        names = dict(zip(terms, _placeholders(line, len(terms), tokenizer), strict=True))
        assert self._pattern is not None
        source = self._pattern.sub(lambda match: names[match[0]], line)
        meanings = {names[term]: self._terms[term] for term in terms}
        return GlossaryLine(source, list(meanings), meanings)


def _placeholders(line: str, count: int, tokenizer: Tokenizer) -> list[str]:
    """Names that the line does not hold and that both vocabularies can spell."""
    for letter in _LETTERS:
        names = [f"{letter}{number}" for number in range(1, count + 1)]
        if not any(name in line for name in names) and all(
            _is_spelt(name, tokenizer) for name in names
        ):
            return names
    raise OptionError(
        "glossary_mode placeholders: the model's vocabulary has no letter and digit that could "
        "stand for a term; use glossary_mode phrases"
    )


def _is_spelt(name: str, tokenizer: Tokenizer) -> bool:
    ids = tokenizer.target_ids(tokenizer.encode_target(name))
    known_source = tokenizer.source_ids(tokenizer.encode(name))
    unknown_source = tokenizer.source_ids(["\ufffe"])[0]
    return (
        tokenizer.unknown_id not in ids
        and unknown_source not in known_source
        and tokenizer.decode(ids) == name
    )
