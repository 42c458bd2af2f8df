"""Flags of the command line that follow from declared options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pytransformer.option_rules import FLAG, OptionInfo, Rule
from pytransformer.settings import THREADS


class _Parser(Protocol):
    """A parser, or a group of its arguments."""

    def add_argument(self, *flags: str, **keywords: Any) -> argparse.Action: ...


def add_flags(parser: _Parser, infos: Mapping[str, OptionInfo]) -> None:
    """Adds a flag for each option that has one; its value is None where it is not given.

    A switch ``--name`` has a ``--no-name`` beside it. A flag for a list may be given several times.
    """
    for name, info in infos.items():
        if not info.flags:
            continue
        if info.rule is FLAG:
            parser.add_argument(
                *info.flags, dest=name, action=argparse.BooleanOptionalAction, help=info.help
            )
            continue
        parser.add_argument(
            *info.flags,
            dest=name,
            action="append" if info.rule.several else "store",
            type=read_as(info.rule),
            metavar=info.rule.metavar,
            help=info.help + "; may be given several times" * info.rule.several,
        )


def given(arguments: argparse.Namespace, infos: Mapping[str, OptionInfo]) -> dict[str, Any]:
    """The options that were given, by name."""
    values = {name: getattr(arguments, name, None) for name in infos}
    return {name: value for name, value in values.items() if value is not None}


def read_as(rule: Rule) -> Callable[[str], object]:
    """Reads an argument for a rule; what cannot be read stays text, for the rule to refuse."""

    def read(text: str) -> object:
        try:
            return rule.parse(text)
        except ValueError:
            return text

    return read


def thread_count(text: str) -> int:
    """Reads a number of threads."""
    try:
        return THREADS.convert(THREADS.parse(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {THREADS.expected}") from None
