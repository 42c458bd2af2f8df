"""`pytransformer convert`: any checkpoint to the native file."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from typing import Any

from pytransformer import native
from pytransformer.cli.arguments import add_flags, given
from pytransformer.cli.text import megabytes
from pytransformer.compute_types import check_compute_type
from pytransformer.errors import OptionError
from pytransformer.model_files import open_model, read_checkpoint
from pytransformer.native_conversion import converted_image
from pytransformer.native_header import is_native
from pytransformer.translator import SETTINGS

_DESCRIPTION = """\
Writes CHECKPOINT as one native model file, which opens at once and is shared by all processes that
use it. OUT appears when it is complete, and not at all if something fails."""


def add_parser(commands: Any) -> None:
    """Declares the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert", help="write a checkpoint as a native model file", description=_DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a Hugging Face directory, or a native model file to write in another compute type",
    )
    parser.add_argument("output", metavar="OUT", help="the file to write")
    add_flags(parser, SETTINGS)


def run(arguments: argparse.Namespace) -> int:
    """Converts; what is wrong with the options or OUT is found before the checkpoint is read."""
    output: str = arguments.output
    compute_type = check_compute_type(given(arguments, SETTINGS).get("compute_type", "default"))
    folder = os.path.dirname(os.path.abspath(output))
    if os.path.exists(output) and not os.path.isfile(output):
        # Renaming onto a device would replace it.
        raise OptionError(f"{output}: exists and is not a file, expected the name of a file")
    if not os.path.isdir(folder):
        raise OptionError(f"{folder}: no such directory")
    if not os.access(folder, os.W_OK):
        raise OptionError(f"{folder}: not writable")
    if is_native(arguments.checkpoint):
        _convert_native(arguments.checkpoint, output, compute_type)
    else:
        native.write(read_checkpoint(arguments.checkpoint), output, compute_type)
    model = open_model(output)
    print(
        f"{output}: {model.family}, {model.native.compute_type}, "
        f"{model.native.num_parameters:,} parameters, {megabytes(model.native.size_bytes)}"
    )
    return 0


def _convert_native(source: str, output: str, compute_type: str) -> None:
    model = open_model(source)  # raises if it is damaged
    image = converted_image(source, model.native, compute_type)
    if image is None:
        _copy(source, output)
    else:
        native.write_image(image, output)


def _copy(source: str, output: str) -> None:
    temporary = f"{output}.{os.getpid()}.tmp"
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
