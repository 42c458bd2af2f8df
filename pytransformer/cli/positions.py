"""`pytransformer positions`: the positional encoding as a picture."""

from __future__ import annotations

import argparse
from typing import Any

from pytransformer.cli.outputs import check_output

_DESCRIPTION = """\
Draws the sinusoidal positional encoding of "Attention Is All You Need", section 3.5: the whole
table, and some dimensions along the positions."""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "positions", help="draw the positional encoding", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("output", metavar="FILE", help="a .png, .svg or .pdf (needs matplotlib)")
    parser.add_argument(
        "--length", metavar="N", type=int, default=100, help="number of positions (100)"
    )
    parser.add_argument(
        "--d-model", metavar="N", type=int, default=512, help="number of dimensions (512)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the picture."""
    from pytransformer.attention import plot_positions, sinusoidal_positions

    check_output(arguments.output)
    plot_positions(sinusoidal_positions(arguments.length, arguments.d_model), arguments.output)
    return 0
