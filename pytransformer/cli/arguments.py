"""Flags of the command line that follow from declared options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pytransformer.option_rules import OptionInfo, Rule


class _Parser(Protocol):
    """A parser, or a group of its arguments."""

    def add_argument(self, *flags: str, **keywords: Any) -> argparse.Action: ...


def add_flags(parser: _Parser, infos: Mapping[str, OptionInfo]) -> None:
    """Adds a flag for each option that has one; its value is None where it is not given."""
    for name, info in infos.items():
        if info.flags:
            parser.add_argument(
                *info.flags,
                dest=name,
                action="append" if info.rule.several else "store",
                type=_reader(info.rule),
                metavar=info.rule.metavar,
                help=info.help,
            )


def given(arguments: argparse.Namespace, infos: Mapping[str, OptionInfo]) -> dict[str, Any]:
    """The options that were given, by name."""
    values = {name: getattr(arguments, name, None) for name in infos}
    return {name: value for name, value in values.items() if value is not None}


def _reader(rule: Rule) -> Callable[[str], object]:
    """Reads an argument for a rule; what cannot be read stays text, for the rule to refuse."""

    def read(text: str) -> object:
        try:
            return rule.parse(text)
        except ValueError:
            return text

    return read
