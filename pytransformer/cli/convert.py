"""`pytransformer convert`: any checkpoint to the native file."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from typing import Any

from pytransformer import native
from pytransformer.cli.text import megabytes
from pytransformer.errors import OptionError
from pytransformer.model_files import open_model, read_checkpoint

_DESCRIPTION = """\
Writes CHECKPOINT as one native model file, which opens at once and is shared by all processes that
use it. OUT appears when it is complete, and not at all if something fails."""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert", help="write a checkpoint as a native model file", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a Hugging Face directory")
    parser.add_argument("output", metavar="OUT", help="the file to write")


def run(arguments: argparse.Namespace) -> int:
    """Converts; a place where OUT cannot be written is found before the checkpoint is read."""
    output: str = arguments.output
    folder = os.path.dirname(os.path.abspath(output))
    if os.path.exists(output) and not os.path.isfile(output):
        # Renaming onto a device would replace it.
        raise OptionError(f"{output}: exists and is not a file, expected the name of a file")
    if not os.path.isdir(folder):
        raise OptionError(f"{folder}: no such directory")
    if not os.access(folder, os.W_OK):
        raise OptionError(f"{folder}: not writable")
    if native.is_native(arguments.checkpoint):
        _copy(arguments.checkpoint, output)
    else:
        native.write(read_checkpoint(arguments.checkpoint), output)
    model = open_model(output)
    print(
        f"{output}: {model.family}, {model.native.num_parameters:,} parameters, "
        f"{megabytes(model.native.size_bytes)}"
    )
    return 0


def _copy(source: str, output: str) -> None:
    open_model(source)  # raises if it is damaged
    temporary = f"{output}.{os.getpid()}.tmp"
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
