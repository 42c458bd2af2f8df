"""The rules that single option values keep, and the check that gathers every broken one.

Options are fields of a frozen dataclass, each declared once by :func:`option` with its rule and its
help text. :func:`check` reads them from there, and so does the command line.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import operator
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Rule(Protocol):
    """What the values of one option must be."""

    @property
    def expected(self) -> str:
        """What would be right, to follow the word "expected" in a message."""

    @property
    def metavar(self) -> str:
        """How the command line's help calls a value."""

    @property
    def several(self) -> bool:
        """Whether the flag may be given several times, for a list of values."""

    def convert(self, value: object) -> object:
        """The value in its plain Python type; ValueError, TypeError or OverflowError if unfit."""

    def parse(self, text: str) -> object:
        """Reads a command-line argument; ValueError if it is nothing of the kind."""


class _Single:
    """A rule for one value."""

    several = False


@dataclass(frozen=True)
class Integer(_Single):
    """An integer of any type but bool, within bounds."""

    minimum: int
    maximum: int

    @property
    def expected(self) -> str:
        return f"an integer from {self.minimum} to {self.maximum}"

    @property
    def metavar(self) -> str:
        return "N"

    def convert(self, value: Any) -> int:
        if _is_bool(value):
            raise TypeError
        number = operator.index(value)
        if not self.minimum <= number <= self.maximum:
            raise ValueError
        return number

    def parse(self, text: str) -> int:
        return int(text)


@dataclass(frozen=True)
class Number(_Single):
    """A real number of any type but bool, within bounds; NaN and infinity are none."""

    minimum: float
    maximum: float
    above: bool = False  # the minimum itself is out of bounds

    @property
    def expected(self) -> str:
        if self.above:
            return f"a number above {self.minimum:g}, at most {self.maximum:g}"
        return f"a number from {self.minimum:g} to {self.maximum:g}"

    @property
    def metavar(self) -> str:
        return "X"

    def convert(self, value: object) -> float:
        if _is_bool(value) or not isinstance(value, numbers.Real):
            raise TypeError
        number = float(value)
        if not math.isfinite(number) or not self.minimum <= number <= self.maximum:
            raise ValueError
        if self.above and number == self.minimum:
            raise ValueError
        return number

    def parse(self, text: str) -> float:
        return float(text)


@dataclass(frozen=True)
class Choice(_Single):
    """One of a few values; True and False are written as words on the command line.

    An alias is taken too, for the value that it maps to.
    """

    values: tuple[str | bool, ...]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(map(repr, (*self.values, *self.aliases)))

    @property
    def metavar(self) -> str:
        return "{" + ",".join(str(value).lower() for value in self.values) + "}"

    def convert(self, value: object) -> str | bool:
        if _is_bool(value):
            value = bool(value)
        if isinstance(value, str):
            value = self.aliases.get(value, value)
        for choice in self.values:
            if type(value) is type(choice) and value == choice:
                return choice
        raise ValueError

    def parse(self, text: str) -> str | bool:
        return {"true": True, "false": False}.get(text.lower(), text)


def _is_bool(value: object) -> bool:
    """Whether `value` is a truth value, Python's or NumPy's (which need not be imported)."""
    kind = type(value)
    return kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


FLAG = Choice((True, False))


@dataclass(frozen=True)
class Tokens:
    """One token or several, each as text or as an id: a tuple of str or a tuple of int."""

    expected: str = "a token (str), an id (int), or a list of either"
    metavar: str = "TOKEN"
    several: bool = True

    def convert(self, value: object) -> tuple[str | int, ...]:
        items = (value,) if isinstance(value, str) else _items(value)
        if not items:
            raise ValueError
        return tuple(item if isinstance(item, str) else _ID.convert(item) for item in items)

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Phrases:
    """Phrases of the target language: each as text, or as a list of tokens or ids."""

    expected: str = "a list of phrases, each a text (str) or a list of tokens (str) or ids (int)"
    metavar: str = "TEXT"
    several: bool = True

    def convert(self, value: object) -> tuple[str | tuple[str | int, ...], ...]:
        if isinstance(value, str):
            raise TypeError
        return tuple(self._phrase(item) for item in _items(value))

    def _phrase(self, value: object) -> str | tuple[str | int, ...]:
        if not isinstance(value, str):
            return Tokens().convert(value)
        if not value.strip():
            raise ValueError
        return value

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Integers:
    """A list of integers within bounds, or one of them."""

    minimum: int
    maximum: int
    several: bool = True

    @property
    def expected(self) -> str:
        return f"a list of integers from {self.minimum} to {self.maximum}"

    @property
    def metavar(self) -> str:
        return "N"

    def convert(self, value: object) -> tuple[int, ...]:
        rule = Integer(self.minimum, self.maximum)
        return tuple(rule.convert(item) for item in _items(value))

    def parse(self, text: str) -> int:
        return int(text)


def _items(value: Any) -> tuple[Any, ...]:
    """The items of a list, a tuple or a NumPy array; a single value is one item."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return tuple(value)
    return (value,)


_ID = Integer(0, 2**31 - 1)


@dataclass(frozen=True)
class OptionInfo:
    """What an option's declaration holds besides its name and type."""

    rule: Rule
    help: str
    flags: tuple[str, ...]


def option(rule: Rule, help_text: str, *, flags: tuple[str, ...] = ()) -> Any:
    """Declares an option as a dataclass field.

    Args:
        rule: what its values must be.
        help_text: one line for the command line's help and the documentation.
        flags: its names on the command line; empty for an option that is only for Python.
    """
    info = OptionInfo(rule, help_text, flags)
    return dataclasses.field(metadata={"info": info})


def option_infos(options_class: type[Any]) -> dict[str, OptionInfo]:
    """The declared options of a dataclass, by name."""
    return {field.name: field.metadata["info"] for field in dataclasses.fields(options_class)}


def check(
    infos: Mapping[str, OptionInfo],
    arguments: Mapping[str, object],
    other_names: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Checks each argument by itself; `other_names` are those that other toolkits use, for hints.

    Returns:
        The values that are right, in their plain types, and one message for each that is not, or
        whose name is unknown.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in arguments.items():
        if name not in infos:
            near = difflib.get_close_matches(name, infos, n=1)
            if other_names is not None and name in other_names:
                near = [other_names[name]]
            hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(infos)
            problems.append(f"there is no option {name} ({hint})")
        else:
            try:
                values[name] = infos[name].rule.convert(value)
            except (TypeError, ValueError, OverflowError):
                expected = infos[name].rule.expected
                problems.append(f"{name} is {reprlib.repr(value)}, expected {expected}")
    return values, problems
