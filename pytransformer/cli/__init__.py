"""The command line: `pytransformer translate`, `score`, `convert`, `attention` and others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import pytransformer
from pytransformer.cli import (
    attention,
    bench,
    convert,
    info,
    positions,
    score,
    shortlist,
    translate,
)

EXIT_USER_ERROR = 2
# As a shell reports a program that ended by the signal: 128 + its number.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        argv: the arguments without the program's name; None means those of this process.

    Returns:
        The exit code: 0, or 2 for a mistake of the user, told in one line on stderr.
    """
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        _flush_stdout()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return EXIT_BROKEN_PIPE
    except (pytransformer.PytransformerError, OSError, ValueError, MemoryError) as error:
        _abandon_stdout()
        print(f"pytransformer: error: {_one_line(error)}", file=sys.stderr)
        return EXIT_USER_ERROR
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pytransformer", description="Fast translation with Transformer models on a CPU."
    )
    version = f"%(prog)s {pytransformer.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (translate, score, convert, shortlist, attention, positions, info, bench):
        command.add_parser(commands)
    return parser


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory {error}".strip()
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _flush_stdout() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _abandon_stdout() -> None:
    """Sends what stdout still holds nowhere, so that Python does not try, and fail, at its end."""
    try:
        _flush_stdout()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
